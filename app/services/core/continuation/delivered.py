"""What does the client have of an answer that broke?"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NOTHING", "Delivered", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What all events of one stream share, as the client saw it: JSON values as they stood, empty where absent."""

    id: bytes = b""
    created: bytes = b""
    model: bytes = b""


@dataclass(frozen=True, slots=True)
class Delivered:
    r"""What went to the client of one streamed answer with one choice.

    Attributes:
        identity: of the stream; None while no event with data went out.
        role: whether a delta with a role went out.
        content: the text: a chat's ``content``, a completion's ``text``.
        reasoning: what a model thought aloud before.
        reasoning_member: the delta's member that it stood in: ``reasoning_content`` or ``reasoning``; empty if none.
        calls: whether a part of a tool call went out.
        foreign: whether something else went out that can't be gone on with, such as ``refusal`` or ``audio``.
        text_events: how many events bore content: about as many tokens.
        content_tokens: how many tokens the content is, where an engine said so; else None.
        overflow: whether it was more than is kept.
        white_events: how many of the last events bore white space alone.
        split_white: whether the white space at the content's end came in several events, or is all of the content. Then
            a tokenizer may take it for other tokens than those that were said: ``"\n"`` and ``"\t"`` are two before a
            word, and one at the end of a text, to tokenizers like that of GPT-2.
    """

    identity: Identity | None = None
    role: bool = False
    content: str = ""
    reasoning: str = ""
    reasoning_member: str = ""
    calls: bool = False
    foreign: bool = False
    text_events: int = 0
    content_tokens: int | None = None
    overflow: bool = False
    white_events: int = 0
    split_white: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens the content is: as an engine counted, else about as many as there were events."""
        return self.text_events if self.content_tokens is None else self.content_tokens

    @property
    def white_tokens(self) -> int:
        """How many tokens the white space at the content's end is, where there is some."""
        return max(1, self.white_events)


NOTHING = Delivered()
