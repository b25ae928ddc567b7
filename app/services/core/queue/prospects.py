"""Where does one stand in a line, and how long will it take from there?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from app.services.core.queue.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

__all__ = ["Prospects"]

_TURNS: Final = 10
"""Positions are worked out so rarely, for a whole line at once: they are at most a second old."""

Item = TypeVar("Item", bound="Hashable")


class Prospects(Generic[Item]):
    """What can be said to those who wait. ``turn`` is called about ten times a second."""

    __slots__ = ("_now", "_paces", "_places", "_turns")

    def __init__(self) -> None:
        self._paces: dict[Hashable, Pace] = {}
        self._places: dict[Hashable, dict[Item, tuple[int, int]]] = {}
        self._now: float | None = None
        self._turns = 0

    def turn(self, now: float, waiting_for: Callable[[Hashable], int]) -> None:
        """Let time pass.

        Args:
            now: monotonic seconds.
            waiting_for: how many stand in a line.
        """
        self._now = now
        for line, pace in list(self._paces.items()):
            waiting = waiting_for(line)
            pace.turn(now, somebody_waits=waiting > 0)
            if not waiting and pace.is_forgotten:
                del self._paces[line]
        self._turns += 1
        if self._turns % _TURNS == 0:
            self._places.clear()

    def waits(self, line: Hashable) -> None:
        """Note that somebody stands in a line."""
        if line not in self._paces:
            self._paces[line] = Pace(self._now)

    def found(self, line: Hashable) -> None:
        """Note that one who stood in a line has found a place."""
        pace = self._paces.get(line)
        if pace is not None:
            pace.found()

    def place(self, item: Item, line: Hashable, in_order: Callable[[], Iterable[Item]]) -> tuple[int, int] | None:
        """Say at which position one stands, 1 being the next, and how many stand there.

        Args:
            item: who asks.
            line: in which.
            in_order: tells all that stand there, in order; asked once a second at most.

        Returns:
            None for one who came since that was worked out.
        """
        places = self._places.get(line)
        if places is None:
            order = list(in_order())
            waiting = len(order)
            places = self._places[line] = {known: (number, waiting) for number, known in enumerate(order, 1)}
        return places.get(item)

    def wait_seconds(self, line: Hashable, position: int) -> int | None:
        """How long the wait is from a position on, in whole seconds; None where nothing is known of the line."""
        pace = self._paces.get(line)
        return None if pace is None else pace.wait_seconds(position)
