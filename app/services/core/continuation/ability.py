"""How can a server go on with an answer that another one began? What a probe found, per server and model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["UNJUDGED", "Ability", "Rung"]


class Rung(StrEnum):
    """One way to be asked to go on, best first."""

    FLAGS = "continue_final_message"
    """The text as a trailing assistant message, ``continue_final_message`` true, ``add_generation_prompt`` false."""
    TRAILING = "trailing_message"
    """The text as a trailing assistant message, and nothing else."""
    TEXT = "completions"
    """``/v1/completions`` with the text behind the prompt; for chat, behind the prompt as the engine's own template
    renders it."""
    TOKENS = "token_ids"
    """``/v1/completions`` with the ids of the rendered prompt's and the text's tokens."""
    NONE = "none"
    """It was tried and can't."""
    UNJUDGED = "unjudged"
    """Nobody knows yet."""


@dataclass(frozen=True, slots=True)
class Ability:
    """What was found of one model on one server.

    Attributes:
        chat: how a chat answer goes on.
        text: how an answer of ``/v1/completions`` goes on: ``TEXT``, ``NONE`` or ``UNJUDGED``.
        thinking_off: whether it goes on only with ``chat_template_kwargs: {"enable_thinking": false}``.
        trims: whether white space at the text's end is lost on the way, so that it comes once more.
        reason: why it can't, or why it is not known yet, in an owner's words; empty where it can.
        version: of the engine that this was found of; empty where it tells none.
    """

    chat: Rung = Rung.UNJUDGED
    text: Rung = Rung.UNJUDGED
    thinking_off: bool = False
    trims: bool = False
    reason: str = ""
    version: str = ""


UNJUDGED = Ability()
