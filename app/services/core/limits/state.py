"""How does what was counted outlive the process? A counter as some hundred bytes, and back.

Saved are ages, with both clocks. The monotonic one tells how long the gateway was away if the computer was not started
anew meanwhile, the wall clock in any case, but it may have been set. Where both make sense the shorter is believed:
what was counted then counts a little longer, never shorter.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

import msgspec

from app.services.core.limits.calendar import Calendar, SavedCalendar, day_of, month_of
from app.services.core.limits.counter import Counter

__all__ = ["StateDamaged", "from_state", "to_state"]

_MOST: Final = 2**53
_MOST_SUMS: Final = 128
_MILLISECONDS: Final = 1000

_Amount = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
_Sums = Annotated[list[tuple[_Amount, _Amount, _Amount]], msgspec.Meta(max_length=_MOST_SUMS)]
_Start = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
_Calendar = tuple[_Start, _Amount, _Start | None, _Amount, bool]


class StateDamaged(ValueError):
    """These bytes are no state of a counter."""


class _State(msgspec.Struct, array_like=True, frozen=True):
    """What is written. Another shape needs another version."""

    version: Literal[1]
    saved_at: float
    """Monotonic seconds."""
    saved_wall: float
    """Unix seconds."""
    minute: _Sums
    """Ages in milliseconds, requests, tokens."""
    day: _Calendar | None
    month: _Calendar | None
    usual: Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
    answers: _Amount


_DECODER: Final = msgspec.msgpack.Decoder(_State)


def to_state(counter: Counter, now: float, wall: float) -> bytes:
    """Return all that was counted, but for what is in flight: that dies with the process."""
    return msgspec.msgpack.encode(
        _State(
            1,
            now,
            wall,
            counter.minute.saved(now),
            None if counter.day is None else counter.day.saved(),
            None if counter.month is None else counter.month.saved(),
            counter.usual,
            counter.answers,
        )
    )


def from_state(subject: str, model: str | None, data: bytes, now: float, wall: float) -> Counter:
    """Make a counter that goes on where another one was.

    Args:
        subject: whose it is.
        model: the only model that counts; None: all do.
        data: what ``to_state`` gave.
        now: monotonic seconds.
        wall: Unix seconds.

    Raises:
        StateDamaged: the bytes are none that ``to_state`` gives.
    """
    try:
        state = _DECODER.decode(data)
        away = _away(state, now, wall)
        day, month = _restored(state)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise StateDamaged(f"This is no state of a counter: {error}") from error
    counter = Counter(subject, model)
    counter.minute.restore(((age + away, requests, tokens) for age, requests, tokens in state.minute), now)
    counter.day, counter.month = day, month
    counter.usual, counter.answers = state.usual, state.answers
    counter.drawn_at = now
    return counter


def _away(state: _State, now: float, wall: float) -> int:
    """Return how long ago a state was saved, in whole milliseconds.

    Raises:
        ValueError: its clocks showed no times.
    """
    by_monotonic, by_wall = now - state.saved_at, wall - state.saved_wall
    if not (math.isfinite(by_monotonic) and math.isfinite(by_wall)):
        raise ValueError("its clocks show no times")
    seconds = by_wall if by_monotonic < 0 else min(by_wall, by_monotonic)
    return max(int(seconds * _MILLISECONDS), 0)


def _restored(state: _State) -> tuple[Calendar | None, Calendar | None]:
    """Return the calendars of day and month.

    Raises:
        ValueError, OverflowError: they are none.
    """
    day: SavedCalendar | None = state.day
    month: SavedCalendar | None = state.month
    return (
        None if day is None else Calendar.restored(day, day_of),
        None if month is None else Calendar.restored(month, month_of),
    )
