"""Who waits for the same thing, and in which order? Who used the least of late per weight comes first.

A person's *level* in a line is what they used of late, divided by their weight. A newcomer to the line is lifted to the
level at which the line is being served, so that nobody saves up by being away (the virtual time of start-time fair
queueing, and the lifted counters of "Fairness in Serving Large Language Models", OSDI 2024). Of two on one level that
one comes first who really used less: a newcomer is next. What is only expected of running requests lifts nobody: it may
be far too much. The lift is the line's own, as another line may be served at quite another level; it stays when its
person has left, else who always has one request waiting would be a newcomer with each.

Figures are scaled (``core.queue.use``). A heap keeps the order. People are charged without a word to it, so the one on
top is looked at again before it is believed; that is enough, as charges only move people back. Who moves forward is to
be ``refreshed``.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from app.services.core.queue.use import RecentUse

__all__ = ["Line", "Rank", "Standing"]

_LEAST_WEIGHT: Final = 1e-3
_GREATEST_WEIGHT: Final = 1e6
_MOST_LIFTS: Final = 8192
_STEPS: Final = 1024
"""Levels nearer to each other than a step are the same: those of whom one was lifted to the other, but for rounding."""

Item = TypeVar("Item", bound="Hashable")
Rank = tuple[int, float, int]
"""The level in steps, the use per weight, and the number of the item; lower comes first."""


class Standing(Generic[Item]):
    """How one person stands in a line: the items by arrival, each with its number, and the entry in the heap."""

    __slots__ = ("entry", "items", "person", "weight")

    def __init__(self, person: str) -> None:
        self.person = person
        self.weight = 1.0
        self.items: dict[Item, int] = {}
        self.entry: tuple[Rank, Standing[Item]] | None = None

    def first(self) -> Item:
        """The item that came first."""
        return next(iter(self.items))

    def first_number(self) -> int:
        """Its number."""
        return next(iter(self.items.values()))


class Line(Generic[Item]):
    """One line. ``kinds`` says how many items there are of each kind."""

    __slots__ = ("_count", "_era", "_heap", "_lifts", "_served_at", "_standings", "_use", "idle_since", "kinds")

    def __init__(self, use: RecentUse) -> None:
        self._use = use
        self._count = 0
        self._era = use.era
        self._standings: dict[str, Standing[Item]] = {}
        self._heap: list[tuple[Rank, Standing[Item]]] = []
        self._lifts: dict[str, float] = {}
        self._served_at = math.inf  # the level at which it is served; endless: it was not yet
        self.kinds: dict[Hashable, int] = {}
        self.idle_since: float | None = None

    def __len__(self) -> int:
        return self._count

    def knows(self, person: str) -> bool:
        """Whether a person waits in it."""
        return person in self._standings

    # -- coming and going

    def join(self, item: Item, person: str, weight: float, number: int, kind: Hashable) -> None:
        """Let an item wait behind the others of its person. ``number``: higher than that of any before."""
        standing = self._standings.get(person)
        if standing is None:
            standing = self._standings[person] = Standing(person)
        standing.weight = _sane(weight)
        standing.items[item] = number
        self._count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if len(standing.items) == 1:
            self._enter(standing)

    def leave(self, item: Item, person: str, kind: Hashable) -> None:
        """Take an item out."""
        standing = self._standings[person]
        del standing.items[item]
        self._count -= 1
        self.kinds[kind] -= 1
        if not self.kinds[kind]:
            del self.kinds[kind]
        if not standing.items:
            standing.entry = None
            del self._standings[person]

    def refresh(self, person: str) -> None:
        """Look again at somebody who was charged less than was expected."""
        standing = self._standings.get(person)
        if standing is not None and standing.entry is not None:
            self._enter(standing)

    # -- levels

    def lift(self, person: str, weight: float, level: float) -> None:
        """Lift a newcomer to a level, unless they stand higher. An endless level lifts nobody."""
        if level == math.inf:
            return
        use = self._use
        lift = level * _sane(weight) - (use.scaled(person) - use.pending(person))
        if lift > self._lifts.get(person, 0.0):
            if len(self._lifts) >= max(_MOST_LIFTS, 2 * len(self._standings)):
                self._lifts = {known: kept for known, kept in self._lifts.items() if known in self._standings}
            self._lifts[person] = lift

    def floor(self) -> float:
        """The level at which it is served: nobody is let in below. Endless where nobody waits or was served."""
        front = self.front()
        return self._served_at if front is None else min(self._served_at, self._settled_level(front[1]))

    def served(self, person: str) -> None:
        """Note that a person who waits is served now, before they are charged for it."""
        self._keep_up()
        level = self._settled_level(self._standings[person])
        self._served_at = level if self._served_at == math.inf else max(self._served_at, level)

    def rank(self, standing: Standing[Item], number: int) -> Rank:
        """Say where an item of somebody stands."""
        used = self._use.scaled(standing.person)
        level = (used + self._lifts.get(standing.person, 0.0)) / standing.weight
        return int(level * _STEPS + 0.5), used / standing.weight, number

    def _settled_level(self, standing: Standing[Item]) -> float:
        """The level of somebody without what is only expected."""
        use, person = self._use, standing.person
        return (use.scaled(person) - use.pending(person) + self._lifts.get(person, 0.0)) / standing.weight

    # -- the order

    def front(self) -> tuple[Rank, Standing[Item]] | None:
        """Who comes first, and where they stand; None where nobody waits that was not taken out."""
        if self._era != self._use.era:
            self._keep_up()
        heap = self._heap
        while heap:
            entry = heap[0]
            standing = entry[1]
            if standing.entry is not entry:
                heappop(heap)  # there is a newer one, or they left
                continue
            rank = self.rank(standing, standing.first_number())
            if rank == entry[0]:
                return entry
            standing.entry = (rank, standing)
            heapreplace(heap, standing.entry)
        return None

    def take_front(self) -> None:
        """Take the one out of the order for a while whom ``front`` has just named. Their items wait on."""
        heappop(self._heap)[1].entry = None

    def put_back(self, rank: Rank, standing: Standing[Item]) -> None:
        """Put somebody back into the order who was taken out, unless they left. ``rank``: where they stood then."""
        if standing.items and standing.entry is None:
            standing.entry = (rank, standing)
            heappush(self._heap, standing.entry)

    def in_order(self, expected: Callable[[Item], float]) -> Iterator[Item]:
        """Go through all items in the order in which they would be served if nothing else came.

        Args:
            expected: how many tokens an item will probably use.
        """
        self._keep_up()
        scale = self._use.scale
        heap: list[tuple[float, float, int, Item, float, Iterator[tuple[Item, int]]]] = []
        for standing in self._standings.values():
            rest = iter(standing.items.items())
            item, number = next(rest)
            steps, used, _number = self.rank(standing, number)
            heap.append((float(steps), used, number, item, scale / standing.weight, rest))
        heapify(heap)
        while heap:
            level, used, _number, item, step, rest = heap[0]
            yield item
            following = next(rest, None)
            if following is None:
                heappop(heap)
            else:
                cost = expected(item) * step
                heapreplace(heap, (level + cost * _STEPS, used + cost, following[1], following[0], step, rest))

    def _enter(self, standing: Standing[Item]) -> None:
        standing.entry = (self.rank(standing, standing.first_number()), standing)
        heappush(self._heap, standing.entry)
        if len(self._heap) > 2 * len(self._standings) + 64:
            self._rebuild()

    def _rebuild(self) -> None:
        """Make the heap anew, of those alone that are in the order."""
        standings = [standing for standing in self._standings.values() if standing.entry is not None]
        self._heap = []
        for standing in standings:
            standing.entry = (self.rank(standing, standing.first_number()), standing)
            self._heap.append(standing.entry)
        heapify(self._heap)

    def _keep_up(self) -> None:
        """Divide what is kept here when all figures were."""
        use = self._use
        if self._era == use.era:
            return
        lifts = {person: use.as_of_now(lift, self._era) for person, lift in self._lifts.items()}
        self._lifts = {person: lift for person, lift in lifts.items() if lift > 1.0 or person in self._standings}
        if self._served_at != math.inf:
            self._served_at = use.as_of_now(self._served_at, self._era)
        self._era = use.era
        self._rebuild()


def _sane(weight: float) -> float:
    """A weight that can be divided by, whatever was said."""
    return min(max(_LEAST_WEIGHT, weight), _GREATEST_WEIGHT)
