"""May an answer that broke go on elsewhere, and how?

What decides is what the client already has. As long as no text of the answer went out, nothing binds: the same request
is made anew, whatever it asks for, and of a model's thoughts the client is shown only what it has not seen. Once text
went out, the answer has to go on behind it, or it ends here.

What is known of tokens: how many the *content* is. A tokenizer or the engine says it, or there were as many as there
were events, which is never too many: an event bears one token or more. Of the *reasoning* before it only the text is
known. vLLM, SGLang and llama.cpp count both against ``max_tokens``, so both are taken off the limit of a continued
answer (``spent_tokens``), the thoughts with a guess. A guess may shorten what comes, down to one token, but it never
ends an answer: ``Complete`` wants the content alone to have reached the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.services.core.answer.usage import BYTES_PER_TOKEN
from app.services.core.continuation.stops import ends_in_stop

if TYPE_CHECKING:
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = ["Anew", "Complete", "Impossible", "Judgement", "Resume", "judge", "spent_tokens"]


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on behind the text."""


@dataclass(frozen=True, slots=True)
class Anew:
    """Ask the same again: nothing that binds went out."""


@dataclass(frozen=True, slots=True)
class Complete:
    """All of the answer went out: only its end is missing. ``finish_reason``: as the client is to read it."""

    finish_reason: str = "length"


@dataclass(frozen=True, slots=True)
class Impossible:
    """It ends here. ``reason`` is in words for the client."""

    reason: str


Judgement = Resume | Anew | Complete | Impossible
_RESUME, _ANEW, _COMPLETE, _STOPPED = Resume(), Anew(), Complete(), Complete("stop")


def judge(asked: Asked, delivered: Delivered, tokens: int | None) -> Judgement:
    """Decide on one break of one answer.

    Args:
        asked: what the client wants.
        delivered: what it has.
        tokens: how many tokens the content is, where somebody counted; None takes ``delivered.tokens``.
    """
    binding = _binding(delivered)
    if binding:
        return Impossible(binding)
    if not delivered.content:
        return _ANEW
    if asked.obstacle:
        return Impossible(asked.obstacle)
    if ends_in_stop(asked, delivered):
        return _STOPPED
    most = asked.most_tokens
    counted = delivered.tokens if tokens is None else tokens
    return _COMPLETE if most is not None and counted >= most else _RESUME


def _binding(delivered: Delivered) -> str:
    """What was delivered that binds, whatever was asked for; empty if nothing."""
    if delivered.calls:
        return "a part of a tool call was delivered already"
    if delivered.foreign:
        return "something was delivered already that can't be gone on with, such as a refusal or audio"
    return "the answer is longer than what is kept of it" if delivered.overflow else ""


def spent_tokens(delivered: Delivered, tokens: int | None) -> int:
    """How much of a limit on tokens is used up: the content, as ``judge`` takes it, and about what was thought."""
    counted = delivered.tokens if tokens is None else tokens
    return counted + len(delivered.reasoning.encode(errors="replace")) // BYTES_PER_TOKEN
