"""Where do whole server-sent events end, and what kind of event is this?

Only whole events are forwarded, so that a stream that breaks in the midst of one can still end honestly. The framing
is that of the HTML standard (Server-sent events, 9.2.6): an event ends at an empty line; lines end in LF, CRLF or CR.
Engines write LF or CRLF; a lone CR is taken as part of a line.
"""

from __future__ import annotations

import re

import msgspec

__all__ = [
    "DONE",
    "PING",
    "EventOverflowError",
    "EventSplitter",
    "choices_of",
    "data_of",
    "events_of",
    "has_data",
    "is_done",
    "is_error",
    "is_plain",
    "is_usage_only",
    "lacks_choices",
    "says_more",
]

PING = b": ping\n"
"""A comment line that keeps proxies from closing a silent stream. One newline: a blank line after a comment makes
openai-python up to 2.37 and openai-go see an empty event."""
DONE = b"data: [DONE]\n\n"

_OBJECT_LINE = (b"data: {", b"data:{")
_NULL = (b":null", b": null")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_HIGHEST_INDEX = 65535
"""Beyond it an index is nonsense: the sets of those seen must stay small."""
says_more = re.compile(rb'_(?:reason"\s*:\s*"|tokens")').search
"""A quick look whether a block may say why a choice ended, or hold figures. An ordinary event says
``"finish_reason":null``."""

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_ERROR_LINE = re.compile(rb"^event: ?error[ \t]*\r?$", re.MULTILINE)


class EventOverflowError(Exception):
    """One event is larger than the bound on what is buffered per stream."""


class EventSplitter:
    """Cuts a byte stream after the last whole event and keeps the rest for the next call."""

    __slots__ = ("_tail", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._tail = b""
        self.limit_bytes = limit_bytes

    @property
    def pending(self) -> bytes:
        """The bytes of an event that has not ended yet."""
        return self._tail

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they come; return all whole events that they complete, possibly none.

        Raises:
            EventOverflowError: an event has not ended within ``limit_bytes``, and no other one ended meanwhile.
        """
        if self._tail:
            data = self._tail + data
        elif data.endswith(b"\n\n"):
            return data
        line_feeds, returns = data.rfind(b"\n\n"), data.rfind(b"\n\r\n")
        end = max(line_feeds + 2 if line_feeds >= 0 else 0, returns + 3 if returns >= 0 else 0)
        self._tail = data[end:]
        if not end and len(self._tail) > self.limit_bytes:
            raise EventOverflowError
        return data[:end]


def events_of(block: bytes) -> list[bytes]:
    """Split a block of whole events into single ones, each with its ending."""
    if block.find(b"\r") < 0:  # a quarter of the time
        parts = block.split(b"\n\n")
        rest = parts.pop()
        events = [part + b"\n\n" for part in parts]
        return [*events, rest] if rest else events
    events, start = [], 0
    for ending in _EVENT_END.finditer(block):
        events.append(block[start : ending.end()])
        start = ending.end()
    if start < len(block):
        events.append(block[start:])
    return events


def data_of(event: bytes) -> bytes:
    """The payload of an event: its ``data`` lines joined by newlines, without the one leading space."""
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and event.endswith(b"\n\n"):
        return event[6:-2].rstrip(b"\r")
    lines = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join([line.removeprefix(b" ") for line in lines])


def has_data(event: bytes) -> bool:
    """Whether an event carries data: comments and bare field lines open no gate."""
    return event.startswith(b"data:") or b"\ndata:" in event


def is_plain(block: bytes) -> bool:
    """Whether this is one event of one line that says nothing but how an answer goes on.

    No end of a choice, no figures, no error and no ``[DONE]``. A quick look: what only might say more is not plain.
    """
    if not (block.startswith(_OBJECT_LINE) and block.endswith(b"}\n\n") and block.find(b"\n") == len(block) - 2):
        return False
    reason = block.find(b'_reason"')
    if reason >= 0 and not (block.startswith(_NULL, reason + 8) and block.find(b'_reason"', reason + 8) < 0):
        return False
    return block.find(b'_tokens"') < 0 and block.find(b'"error"') < 0


def is_done(event: bytes) -> bool:
    """Whether this is the ``[DONE]`` that ends an OpenAI stream."""
    return b"[DONE]" in event and data_of(event).strip() == b"[DONE]"


def choices_of(event: bytes) -> list[tuple[int, bool]]:
    """The choices that an event speaks of: the index of each, and whether it says why it ended.

    A ``finish_reason`` that is null or empty says nothing. A choice without a sensible index is the first.
    """
    try:
        choices = _decode_choices(data_of(event)).choices or ()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return [(_index(choice.index), bool(choice.finish_reason)) for choice in choices]


def _index(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= _HIGHEST_INDEX else 0


def lacks_choices(block: bytes) -> bool:
    """Whether the closing usage event may be in this block: a quick look before ``is_usage_only``."""
    return block.find(b'"usage"') >= 0 and _NO_CHOICES.search(block) is not None


def is_usage_only(event: bytes) -> bool:
    """Whether this is the closing usage event: no choices, and figures."""
    if not lacks_choices(event):
        return False
    try:
        seen = _decode_closing(data_of(event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return seen.choices == [] and seen.usage is not None


class _ClosingPeek(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: dict[str, msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    index: object = 0
    finish_reason: object = None


class _ChoicesPeek(msgspec.Struct):
    choices: list[_Choice] | None = None


class _ErrorPeek(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")  # in a union Raw would not be taken
    object: msgspec.Raw = msgspec.Raw(b"null")


_decode_choices = msgspec.json.Decoder(_ChoicesPeek).decode
_decode_closing = msgspec.json.Decoder(_ClosingPeek).decode
_decode_error = msgspec.json.Decoder(_ErrorPeek).decode
_EMPTY = (b"null", b"false", b"0", b'""', b"[]", b"{}")


def is_error(event: bytes) -> bool:
    """Whether a server reports an error inside a stream that it opened with 200.

    Shapes seen: ``{"error": {...}}`` (vLLM 0.33, llama.cpp), ``{"object": "error", ...}`` (SGLang 0.5),
    ``event: error``.
    An ``error`` that is empty is none, as openai-python has it.
    """
    if b"error" not in event:
        return False
    if _ERROR_LINE.search(event) is not None:
        return True
    try:
        seen = _decode_error(data_of(event))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bytes(seen.error) not in _EMPTY or bytes(seen.object) == b'"error"'
