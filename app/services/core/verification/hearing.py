"""What does an answer say of itself: under which name, how long, how fast, and in which words?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.answer.sse import events_of, has_data, is_error
from app.services.core.answer.usage import read_answer, usage_of_events
from app.services.core.continuation.events import read_event

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pace", "Said", "listen", "says_error"]

MAX_TEXT_CHARACTERS: Final = 4096
_LONGEST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Pace:
    """How an answer came. Times count from the moment that the request was written.

    Attributes:
        first_ms: until the first text, in milliseconds.
        rate: tokens a second after it; None where all came at once.
        counted: whether the engine counted the tokens, or their events stand for them.
    """

    first_ms: float
    rate: float | None
    counted: bool


@dataclass(frozen=True, slots=True)
class Said:
    """One good answer.

    Attributes:
        model: the name that it bears; empty where it bears none.
        text: its words, thoughts included.
        thinks: whether thoughts are among them.
        tokens: how many it has, by the engine's count; None where that tells none.
        pace: how it came; None where no text came, or nobody timed it.
    """

    model: str
    text: str
    thinks: bool
    tokens: int | None
    pace: Pace | None


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None


class _Answer(msgspec.Struct):
    model: object = None
    choices: list[_Choice] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_decode_name = msgspec.json.Decoder(str).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def listen(body: bytes, arrivals: Iterable[tuple[int, float]]) -> Said:
    """Read a whole answer that was found to be good: events, or one document."""
    timed = tuple(arrivals)
    return _of_document(body, timed) if body.lstrip()[:1] == b"{" else _of_events(body, timed)


def says_error(body: bytes) -> bool:
    """Whether an answer under a status of success tells of an error: as one document, or in one of its events."""
    if body.lstrip()[:1] == b"{":
        return is_error(b"data: %b\n\n" % b" ".join(body.split()))
    return any(map(is_error, events_of(body)))


def _of_events(body: bytes, arrivals: tuple[tuple[int, float], ...]) -> Said:
    model, thinks, end = "", False, 0
    pieces: list[str] = []
    ends: list[int] = []
    events = events_of(body)
    for event in events:
        end += len(event)
        read = read_event(event) if has_data(event) else None
        if read is None:
            continue
        model = model or _name(bytes(read.model))
        choice = read.choice
        if choice is None:
            continue
        thought = choice.delta and (choice.delta.reasoning_content or choice.delta.reasoning)
        text = choice.text if choice.delta is None else choice.delta.content
        thinks = thinks or bool(thought)
        if thought or text:
            pieces.append(f"{thought or ''}{text or ''}")
            ends.append(end)
    usage = usage_of_events(events)
    tokens = usage.completion_tokens if usage else None
    return Said(model, "".join(pieces)[:MAX_TEXT_CHARACTERS], thinks, tokens, _pace(ends, arrivals, tokens))


def _of_document(body: bytes, arrivals: tuple[tuple[int, float], ...]) -> Said:
    try:
        answer = _decode(body)
        usage, _is_error = read_answer(body)
    except (*_UNREADABLE, ValueError):
        return Said("", "", thinks=False, tokens=None, pace=None)
    choice = answer.choices[0] if answer.choices else _Choice()
    message = choice.message or _Message(content=choice.text)
    thought = message.reasoning_content or message.reasoning or ""
    text = f"{thought}{message.content or ''}"
    tokens = usage.completion_tokens if usage else None
    model = answer.model if isinstance(answer.model, str) else ""
    pace = _pace([len(body)], arrivals, tokens) if text else None
    return Said(model[:_LONGEST_NAME], text[:MAX_TEXT_CHARACTERS], bool(thought), tokens, pace)


def _pace(ends: list[int], arrivals: tuple[tuple[int, float], ...], tokens: int | None) -> Pace | None:
    """Say how texts came that were whole after so many bytes of the body."""
    if not ends or not arrivals:
        return None
    first, last = _came(ends[0], arrivals), _came(ends[-1], arrivals)
    count = len(ends) if tokens is None else tokens
    seconds = last - first
    rate = (count - 1) / seconds if seconds > 0 and len(ends) > 1 and count > 1 else None
    return Pace(first * 1000, rate, counted=tokens is not None)


def _came(end: int, arrivals: tuple[tuple[int, float], ...]) -> float:
    return next((seconds for total, seconds in arrivals if total >= end), arrivals[-1][1])


def _name(raw: bytes) -> str:
    try:
        return _decode_name(raw)[:_LONGEST_NAME]
    except _UNREADABLE:
        return ""
