"""Whose turn is it, of those that wait? The person's who used the fewest tokens of late, then in order of arrival.

People who wait for the same thing stand in one line (``core.queue.line``). Who is served is charged at once with what
the request will probably use, and at its end what it did use takes the place of that: shares are of tokens, not of
requests. Between two lines that could use the same place, who used the least comes first.

The background class stands behind: it is offered what nobody of the others could use. When the queue is full, the
newest of who has the most waiting is turned away, of the background first, so that a flood cannot keep others out.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from itertools import count
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from app.services.core.queue.crowd import Crowd
from app.services.core.queue.line import Line
from app.services.core.queue.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator

    from app.services.core.queue.use import Charge, RecentUse

__all__ = ["Claim", "FairQueue"]

IDLE_SECONDS: Final = 120.0
"""A line that nobody stands in is kept so long, with the levels of who stood in it."""

Item = TypeVar("Item", bound="Hashable")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request waits for, and for whom.

    Attributes:
        person: whose it is.
        line: what it waits for: those that wait for the same stand in one line.
        kind: what it has in common with others in its line: where one found no place, another finds none either.
        weight: how large its person's share is beside others'.
        expected_tokens: what it will probably use; 0 where that was charged before.
        background: whether it yields to all that is not.
    """

    person: str
    line: Hashable = ""
    kind: Hashable = None
    weight: float = 1.0
    expected_tokens: float = 1.0
    background: bool = False


class FairQueue(Generic[Item]):
    """Items that wait.

    Args:
        most: how many may, all together; 0: none.
        use: who has used how much of late.
    """

    __slots__ = ("_claims", "_crowds", "_lines", "_most", "_numbers", "_use")

    def __init__(self, most: int, use: RecentUse) -> None:
        self._most = most
        self._use = use
        self._claims: dict[Item, Claim] = {}
        self._lines: tuple[dict[Hashable, Line[Item]], dict[Hashable, Line[Item]]] = ({}, {})
        self._crowds: tuple[Crowd[Item], Crowd[Item]] = (Crowd(), Crowd())  # people's, and the background's
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._claims)

    def __contains__(self, item: object) -> bool:
        return item in self._claims

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._claims))

    def claim_of(self, item: Item) -> Claim | None:
        """What an item waits for; None where it does not wait."""
        return self._claims.get(item)

    def waiting_for(self, line: Hashable) -> int:
        """How many stand in a line, the background's with them."""
        return sum(len(lines[line]) for lines in self._lines if line in lines)

    # -- coming and going

    def join(self, item: Item, claim: Claim, rivals: Callable[[], Iterable[Hashable]] = tuple) -> Item | None:
        """Let an item wait. One that waits already stays where it stands.

        Args:
            item: who waits.
            claim: for what, and for whom.
            rivals: names the other lines that could use the same places; asked where it makes a difference.

        Returns:
            Who is turned away: the item itself, or another that had to make room for it. None where all may wait.
        """
        if item in self._claims:
            return None
        turned_away: Item | None = None
        if len(self._claims) >= self._most:
            turned_away = self._least_right(item, claim)
            if turned_away is item:
                return item
            self.leave(turned_away)
        lines = self._lines[claim.background]
        line = lines.get(claim.line)
        if line is None:
            line = lines[claim.line] = Line(self._use)
        if not line.knows(claim.person):
            contested = [lines[name] for name in rivals() if lines.get(name)] if len(lines) > 1 else []
            levels = [other.floor() for other in (line, *contested) if other]
            line.lift(claim.person, claim.weight, min(levels) if levels else line.floor())
        line.join(item, claim.person, claim.weight, next(self._numbers), claim.kind)
        self._crowds[claim.background].join(item, claim.person)
        self._claims[item] = claim
        return turned_away

    def leave(self, item: Item) -> None:
        """Take an item out that waits no more. Of one that does not wait nothing comes."""
        claim = self._claims.pop(item, None)
        if claim is not None:
            self._lines[claim.background][claim.line].leave(item, claim.person, claim.kind)
            self._crowds[claim.background].leave(item, claim.person)

    def serve(self, item: Item) -> Charge | None:
        """Take an item out that has found its place, and charge its person; None where there is nothing to charge."""
        claim = self._claims.get(item)
        if claim is None:
            return None
        self._lines[claim.background][claim.line].served(claim.person)
        self.leave(item)
        return self._use.expect(claim.person, claim.expected_tokens) if claim.expected_tokens > 0 else None

    def refresh(self, person: str) -> None:
        """Look again at where somebody stands whose charge was settled (``RecentUse.settle``)."""
        for lines in self._lines:
            for line in lines.values():
                line.refresh(person)

    def turn(self, now: float) -> None:
        """Let time pass: forget lines that nobody has stood in for long. ``now`` in monotonic seconds."""
        for lines in self._lines:
            for name, line in list(lines.items()):
                if line:
                    line.idle_since = None
                elif line.idle_since is None:
                    line.idle_since = now
                elif now - line.idle_since > IDLE_SECONDS:
                    del lines[name]

    # -- the order

    def in_turn(self, is_hopeless: Callable[[Hashable], bool] = lambda _kind: False) -> Generator[Item]:
        """Go through those that wait, in turn. Each is to be served, or to leave, or it keeps its place. To be closed.

        Args:
            is_hopeless: whether a kind is known by now to find no place; those of it are left out.
        """
        for lines in self._lines:
            turns = [Turn(line, self._kind_of, is_hopeless) for line in lines.values() if line]
            try:
                yield from self._merged(turns)
            finally:
                for turn in turns:
                    turn.close()

    def in_order(self, line: Hashable) -> list[Item]:
        """All that stand in a line, in the order in which they would be served if nothing else came."""
        return [item for lines in self._lines if line in lines for item in lines[line].in_order(self._expected)]

    def _merged(self, turns: list[Turn[Item]]) -> Iterator[Item]:
        """Go through several lines as one."""
        heads = [(offer[0], place) for place, turn in enumerate(turns) if (offer := turn.peek()) is not None]
        heapify(heads)
        while heads:
            rank, place = heads[0]
            turn = turns[place]
            offer = turn.peek()
            if offer is not None and offer[0] == rank:
                yield offer[1]
                if offer[1] in self._claims:
                    turn.pass_over()
                offer = turn.peek()
            if offer is None:
                heappop(heads)
            else:
                heapreplace(heads, (offer[0], place))

    def _kind_of(self, item: Item) -> Hashable:
        return self._claims[item].kind

    def _expected(self, item: Item) -> float:
        return self._claims[item].expected_tokens

    def _least_right(self, item: Item, claim: Claim) -> Item:
        """Say who has to go where the queue is full."""
        people, background = self._crowds
        if claim.background or not background:
            crowd = background if claim.background else people
            if crowd.waiting_of(claim.person) + 1 >= crowd.most:
                return item  # its own person would have the most
            return crowd.newest_of_the_most()
        return background.newest_of_the_most()
