"""Is a server lent now, and when does that change? Weekly windows, read off a clock on the wall of its time zone.

A window opens on its days at one time and closes at another, on the next day where that is no later: ``18:00`` to
``08:00`` passes midnight, ``00:00`` to ``00:00`` is the whole day. What counts is what a clock on the wall there shows,
so summer time needs no rule of its own: where the clock skips 02:00 to 03:00, a window from 02:30 opens at 03:00; where
it shows that hour twice, a window of that hour is open twice.

The zone comes in as a value: whoever makes an ``Hours`` has read it (``registry.terms``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date, tzinfo

__all__ = ["Day", "Hours", "Opening", "Window", "is_open", "next_change", "opening", "opens_in_words"]

_LOOK_AHEAD_DAYS: Final = 16
"""Two weeks and a bit: in one week the clock may skip the only window."""
_TURN: Final = timedelta(hours=6)
"""No zone changes its offset twice within so long."""
_PRECISION: Final = timedelta(seconds=1)


class Day(IntEnum):
    """A day of the week, numbered as ``date.weekday`` does."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


@dataclass(frozen=True, slots=True)
class Window:
    """On which days it opens, and at which times of day it opens and closes; on the next day if that is no later."""

    days: frozenset[Day]
    opens: time
    closes: time

    @property
    def passes_midnight(self) -> bool:
        """Whether it closes on the day after."""
        return self.closes <= self.opens

    def holds(self, day: int, at: time) -> bool:
        """Whether a clock on the wall that shows this day of the week and this time is within it."""
        if not self.passes_midnight:
            return day in self.days and self.opens <= at < self.closes
        return (day in self.days and at >= self.opens) or ((day - 1) % len(Day) in self.days and at < self.closes)


@dataclass(frozen=True, slots=True)
class Hours:
    """When a server is lent.

    Attributes:
        timezone: its IANA name, such as ``Europe/Berlin``.
        windows: when; outside all of them it is not.
        zone: the zone itself; None where this machine does not know it, and then the server is not lent at all.
    """

    timezone: str
    windows: tuple[Window, ...]
    zone: tzinfo | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """How it is at a moment: open or not, and from when on that is otherwise (UTC; None: never)."""

    is_open: bool
    until: datetime | None


def is_open(hours: Hours, now: datetime) -> bool:
    """Whether a server is lent at this moment, which is timezone-aware."""
    return hours.zone is not None and _shows(hours.windows, now.astimezone(hours.zone))


def next_change(hours: Hours, now: datetime) -> datetime | None:
    """Say when that next becomes otherwise, in UTC; None if it never does."""
    zone = hours.zone
    if zone is None:
        return None
    state, moment, today = is_open(hours, now), now.astimezone(UTC), now.astimezone(zone).date()
    known: set[datetime] = set()
    for ahead in range(-1, _LOOK_AHEAD_DAYS):
        day = today + timedelta(days=ahead)
        known.update(_marks(hours.windows, day, zone), _turns(day, zone))
        certain_until = _begin(day, zone)  # where the clock is put over midnight, a day's marks lie beside it
        for candidate in sorted(known):
            is_change = moment < candidate and _shows(hours.windows, candidate.astimezone(zone)) is not state
            if is_change and candidate < certain_until:
                return candidate
    return None


def opening(hours: Hours, now: datetime) -> Opening:
    """Say how it is at this moment, and until when."""
    return Opening(is_open(hours, now), next_change(hours, now))


def opens_in_words(hours: Hours, now: datetime, opens_at: datetime | None) -> str:
    """Say to people when a server that is not lent now is: ``opens 18:00 Europe/Berlin``.

    Args:
        hours: of the server.
        now: this moment.
        opens_at: what ``next_change`` says of it.
    """
    if hours.zone is None:
        return f"its time zone {hours.timezone} is not known on this machine: install the package tzdata"
    if opens_at is None:
        return "its windows never open"
    there, today = opens_at.astimezone(hours.zone), now.astimezone(hours.zone).date()
    day = "" if there.date() == today else f"{Day(there.weekday()).name.capitalize()} "
    return f"opens {day}{there:%H:%M} {hours.timezone}"


def _shows(windows: Iterable[Window], there: datetime) -> bool:
    """Whether a clock on the wall that shows this is within one of the windows."""
    day, at = there.weekday(), there.time()
    return any(window.holds(day, at) for window in windows)


def _marks(windows: Iterable[Window], day: date, zone: tzinfo) -> Iterator[datetime]:
    """Give the moments at which the clock may show the beginning or end of a window on a day, twice where it does."""
    for window in windows:
        for at in (window.opens, window.closes):
            for fold in (0, 1):
                yield datetime.combine(day, at, zone).replace(fold=fold).astimezone(UTC)


def _turns(day: date, zone: tzinfo) -> Iterator[datetime]:
    """Give the moments of a day at which the clock is put forward or back."""
    early, end = _begin(day, zone), _begin(day + timedelta(days=1), zone)
    while early < end:
        late = early + _TURN
        if _offset(early, zone) != _offset(late, zone):
            yield _turn(early, late, zone)
        early = late


def _turn(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """Find the first whole second of the offset that ``late`` has; at ``early`` it is another."""
    new = _offset(late, zone)
    while late - early > _PRECISION:
        middle = early + (late - early) / 2
        early, late = (early, middle) if _offset(middle, zone) == new else (middle, late)
    return late.replace(microsecond=0)


def _begin(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _offset(moment: datetime, zone: tzinfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
