"""How much was used this day or this month, by UTC, whatever the wall clock does?

Wall clocks jump: a step by NTP around midnight, a small computer that starts in 1970 and learns the date later, a date
set wrong for an hour. A period that is over is over for good, but a clock that goes **back** never makes a period begin
anew. So the last two periods are known:

* the clock goes back into the one before, or on again into the one after: each goes on with what it had;
* it goes back to where nothing is known: what was used in the later period is carried there, and back again when the
  clock finds its way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Calendar", "Period", "SavedCalendar", "day_of", "month_of"]

_DAY_SECONDS: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SavedCalendar = tuple[int, int, int | None, int, bool]
"""When the present period starts and what was used in it, the same of the other one, and whether use was carried."""


class Period(msgspec.Struct, gc=False):
    """One day or month. Bounds are Unix seconds; the end is not part of it."""

    starts_at: int
    ends_at: int
    used: int = 0


def day_of(wall: float) -> tuple[int, int]:
    """Return when the UTC day begins and ends that a moment lies in, all in Unix seconds."""
    starts_at = int(wall // _DAY_SECONDS) * _DAY_SECONDS
    return starts_at, starts_at + _DAY_SECONDS


def month_of(wall: float) -> tuple[int, int]:
    """Return when the UTC month begins and ends that a moment lies in, all in Unix seconds.

    Raises:
        OverflowError: no calendar knows the moment.
    """
    first = (_EPOCH + timedelta(seconds=wall // 1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(first.timestamp()), int(following.timestamp())


class Calendar:
    """What was used by day, or by month.

    Args:
        bounds_of: ``day_of`` or ``month_of``.
        wall: Unix seconds.
    """

    __slots__ = ("_bounds_of", "_carried", "_current", "_other")

    def __init__(self, bounds_of: Callable[[float], tuple[int, int]], wall: float) -> None:
        self._bounds_of = bounds_of
        self._current = Period(*bounds_of(wall))
        self._other: Period | None = None
        self._carried = False
        """Whether what was used in the other period, which is later, is counted in the present one too."""

    def at(self, wall: float) -> Period:
        """Return the period that a moment lies in; what is used then is added to it."""
        current = self._current
        return current if current.starts_at <= wall < current.ends_at else self._turn(wall)

    def saved(self) -> SavedCalendar:
        """Return what ``restored`` takes."""
        other = self._other
        return (
            self._current.starts_at,
            self._current.used,
            None if other is None else other.starts_at,
            0 if other is None else other.used,
            self._carried,
        )

    @classmethod
    def restored(cls, saved: SavedCalendar, bounds_of: Callable[[float], tuple[int, int]]) -> Calendar:
        """Make one of what was saved.

        Raises:
            ValueError: it is none that was ever saved.
            OverflowError: nor does it name moments that a calendar knows.
        """
        starts_at, used, other_starts_at, other_used, carried = saved
        made = cls(bounds_of, starts_at)
        made._current.used = used
        if other_starts_at is not None:
            made._other = Period(*bounds_of(other_starts_at), other_used)
        made._carried = carried and made._other is not None
        if made._current.starts_at != starts_at or (made._other and made._other.starts_at != other_starts_at):
            raise ValueError("a period does not begin where it says")
        return made

    def _turn(self, wall: float) -> Period:
        """Go to another period."""
        current, other = self._current, self._other
        if other is not None and other.starts_at <= wall < other.ends_at:
            if self._carried:
                other.used = max(other.used, current.used)
            self._current, self._other, self._carried = other, current, False
            return other
        made = Period(*self._bounds_of(wall))
        self._carried = wall < current.starts_at
        if self._carried:
            made.used = current.used
        if other is None or other.starts_at <= wall:  # one that lies ahead is kept: the clock may find back to it
            self._other = current
        self._current = made
        return made
