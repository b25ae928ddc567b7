"""What does one event of a streamed answer say? A typed reading of what a continuation depends on.

Chats (``chat.completion.chunk``) and completions (``text_completion``) are read alike. Members that are not named here
stay in the event's own bytes. Read at vLLM 0.33, SGLang 0.5.23, llama.cpp 0c1e570, Ollama 0.33.
"""

from __future__ import annotations

import msgspec

from app.services.core.answer.sse import data_of

__all__ = ["Choice", "Delta", "Event", "Figures", "read_event"]

_NULL = msgspec.Raw(b"null")


class Delta(msgspec.Struct, gc=False):
    """What one event adds to a chat's message. ``tool_calls``, ``function_call`` and the rest as they stand."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _NULL  # in a union Raw would not be taken
    function_call: msgspec.Raw = _NULL
    refusal: msgspec.Raw = _NULL
    audio: msgspec.Raw = _NULL

    @property
    def calls(self) -> bool:
        """Whether it bears a part of a tool call. An empty list is none."""
        return not is_empty(self.tool_calls) or not is_empty(self.function_call)

    @property
    def foreign(self) -> bool:
        """Whether it bears something that can't be gone on with."""
        return not is_empty(self.refusal) or not is_empty(self.audio)


class Choice(msgspec.Struct, gc=False):
    """One choice of an event: ``delta`` of a chat, ``text`` of a completion."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = _NULL


class Figures(msgspec.Struct, gc=False):
    """The tokens that an engine counted so far."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Event(msgspec.Struct, gc=False):
    """One event with data. ``id``, ``created`` and ``model`` as they stand, ``null`` where absent."""

    id: msgspec.Raw = _NULL
    created: msgspec.Raw = _NULL
    model: msgspec.Raw = _NULL
    choices: list[Choice] | None = None
    usage: Figures | None = None

    @property
    def choice(self) -> Choice | None:
        """The first choice; None in the closing usage event."""
        return self.choices[0] if self.choices else None


_decode = msgspec.json.Decoder(Event).decode


def is_empty(value: msgspec.Raw) -> bool:
    """Whether a member is absent, null or an empty container or string."""
    told = bytes(value)
    return told in (b"null", b'""') or (told[:1] in (b"[", b"{") and not told[1:-1].strip(b" \t\r\n"))


def read_event(event: bytes) -> Event | None:
    """Read one whole event, comments and other fields allowed. None where its data is no such object."""
    try:
        return _decode(data_of(event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
