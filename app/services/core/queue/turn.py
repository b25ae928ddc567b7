"""Which of those in a line is offered a place next, in one turn?

A turn goes through a line in its order. Who finds a place is charged at once, so that the next is somebody else's. Who
finds none keeps their place in the line and is passed over until the turn is over; so is everyone of a kind that is
known to find none. When nobody of another kind is left, the turn is over early: of a thousand that wait for one model
two are looked at.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from app.services.core.queue.line import Line, Rank, Standing

__all__ = ["Turn"]

_MOST_KINDS: Final = 8
"""With more of them it is cheaper to go on than to ask each time whether all are hopeless."""

Item = TypeVar("Item", bound="Hashable")


class _Walk(Generic[Item]):
    """A way through the items of one person. ``item`` is the one that it has come to."""

    __slots__ = ("_rest", "item", "standing")

    def __init__(self, standing: Standing[Item]) -> None:
        self.standing = standing
        self.item = standing.first()
        self._rest: Iterator[Item] | None = None  # needed once one was passed over

    def advance(self, *, past: bool) -> bool:
        """Come to the next item that waits; ``past`` one that still does. False when there is none."""
        items = self.standing.items
        if self._rest is None:
            if items and not past:
                self.item = self.standing.first()
                return True
            self._rest = iter(list(items))
            next(self._rest, None)
        for item in self._rest:
            if item in items:
                self.item = item
                return True
        return False


class Turn(Generic[Item]):
    """One turn of one line, to be closed at its end.

    Args:
        line: whose turn it is.
        kind_of: what an item has in common with others.
        is_hopeless: whether a kind is known to find no place in this turn.
    """

    __slots__ = ("_aside", "_is_hopeless", "_is_over", "_kind_of", "_line", "_walks")

    def __init__(
        self, line: Line[Item], kind_of: Callable[[Item], Hashable], is_hopeless: Callable[[Hashable], bool]
    ) -> None:
        self._line = line
        self._kind_of = kind_of
        self._is_hopeless = is_hopeless
        self._is_over = False
        self._aside: list[tuple[Rank, Standing[Item]]] = []
        self._walks: list[tuple[Rank, _Walk[Item]]] = []

    def peek(self) -> tuple[Rank, Item] | None:
        """Say who is to be offered a place next, by what is so now; None when nobody is left."""
        while not self._is_over:
            self._pull()
            if not self._walks:
                break
            rank, walk = self._walks[0]
            number = walk.standing.items.get(walk.item)
            if number is None:
                self._advance(past=False)
            elif self._is_hopeless(self._kind_of(walk.item)):
                self._advance(past=True)
            elif rank != (rank := self._line.rank(walk.standing, number)):
                heapreplace(self._walks, (rank, walk))
            else:
                return rank, walk.item
        return None

    def pass_over(self) -> None:
        """Go on behind the one that ``peek`` named: it found no place."""
        kinds = self._line.kinds
        self._is_over = len(kinds) <= _MOST_KINDS and all(self._is_hopeless(kind) for kind in kinds)
        self._advance(past=True)

    def close(self) -> None:
        """Put those back into the line's order who were taken out of it."""
        for rank, standing in self._aside:
            self._line.put_back(rank, standing)

    def _pull(self) -> None:
        """Take people out of the line's order until nobody in it comes before those who were taken out."""
        while (front := self._line.front()) is not None:
            rank, standing = front
            if self._walks and self._walks[0][0] < rank:
                return
            self._line.take_front()
            self._aside.append(front)
            if len(standing.items) > 1 or not self._is_hopeless(self._kind_of(standing.first())):
                heappush(self._walks, (rank, _Walk(standing)))

    def _advance(self, *, past: bool) -> None:
        walk = self._walks[0][1]
        if walk.advance(past=past):
            standing = walk.standing
            heapreplace(self._walks, (self._line.rank(standing, standing.items[walk.item]), walk))
        else:
            heappop(self._walks)
