"""What does a whole answer say that the gateway asked for itself, streamed or not?"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from app.services.core.answer.sse import data_of, events_of, has_data, is_done, is_error
from app.services.core.continuation.events import read_event

__all__ = ["Broken", "Heard", "Refused", "hear"]

_REFUSALS: Final = frozenset({400, 404, 405, 406, 410, 411, 413, 414, 415, 422, 501})
"""Statuses by which a server says that it does not do such a thing. Any other but 200 says that it can't just now."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A good answer.

    Attributes:
        pieces: its text, cut where its events end; in one piece where it was not streamed.
        thinks: whether thoughts came before or among it.
        finish: why it ended, as the server said.
    """

    pieces: tuple[str, ...]
    thinks: bool
    finish: str

    @property
    def text(self) -> str:
        """The text."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that the server does not serve. ``status`` is told as it was or as an error event has it."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer that could be judged: a fault of the moment, perhaps. ``reason`` is in words for an owner."""

    reason: str


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None


class _Error(msgspec.Struct):
    code: int | str | None = None
    status: int | None = None


class _ErrorAnswer(msgspec.Struct):
    error: _Error | None = None
    code: int | str | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_error = msgspec.json.Decoder(_ErrorAnswer).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def hear(status: int, body: bytes) -> Heard | Refused | Broken:
    """Judge a whole answer to a request for a chat or a completion with one choice."""
    if status in _REFUSALS:
        return Refused(status, body)
    if status != HTTPStatus.OK:
        return Broken(f"answered {status}")
    if body.lstrip()[:1] == b"{":
        return _hear_whole(body)
    return _hear_events(body)


def _hear_events(body: bytes) -> Heard | Refused | Broken:
    pieces: list[str] = []
    thinks, finish = False, ""
    for event in events_of(body):
        if not has_data(event) or is_done(event):
            continue
        if is_error(event):
            return _error(data_of(event))
        read = read_event(event)
        choice = read.choice if read is not None else None
        if choice is None:
            continue
        delta = choice.delta
        thinks = thinks or (delta is not None and bool(delta.reasoning_content or delta.reasoning))
        text = choice.text if delta is None else delta.content
        if text:
            pieces.append(text)
        finish = choice.finish_reason or finish
    return Heard(tuple(pieces), thinks, finish) if finish else Broken("its answer broke off")


def _hear_whole(body: bytes) -> Heard | Refused | Broken:
    """Judge an answer of a server that does not stream, or an error under a status of success."""
    if is_error(b"data: %b\n\n" % body.strip().replace(b"\n", b" ").replace(b"\r", b" ")):
        return _error(body)
    try:
        choices = _decode_answer(body).choices
    except _UNREADABLE:
        return Broken("its answer can't be read")
    if not choices:
        return Broken("its answer is empty")
    first = choices[0]
    message = first.message
    text = (first.text if message is None else message.content) or ""
    thinks = message is not None and bool(message.reasoning_content or message.reasoning)
    if not first.finish_reason:
        return Broken("its answer broke off")
    return Heard((text,) if text else (), thinks, first.finish_reason)


def _error(body: bytes) -> Refused | Broken:
    """Tell a refusal under a status of success (its error bears the code that the status should have had)."""
    try:
        read = _decode_error(body)
    except _UNREADABLE:
        return Broken("answered with an error")
    codes = (read.code,) if read.error is None else (read.error.code, read.error.status, read.code)
    for code in codes:
        if code in _REFUSALS and isinstance(code, int):
            return Refused(code, body)
    return Broken("answered with an error")
