"""A service with few places, under a clock of its own: who got how much, and who waited how long?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from app.services.core.queue.fair_queue import Claim, FairQueue
from app.services.core.queue.use import Charge, RecentUse

__all__ = ["Asked", "Service", "jain"]

TICK_SECONDS = 0.1


@dataclass(frozen=True)
class Asked:
    """One request. ``expected``: what it is taken to use, before anybody knows."""

    person: str
    number: int
    tokens: float
    expected: float
    line: str = "m"
    weight: float = 1.0
    background: bool = False


@dataclass
class Service:
    """Places that each give so many tokens a second. ``places``: by the line that they serve, or "" for any."""

    places: dict[str, int]
    tokens_per_second: float = 100.0
    most: int = 1_000_000
    now: float = 0.0
    use: RecentUse = field(default_factory=RecentUse)
    got: Counter[str] = field(default_factory=Counter)
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    served: list[Asked] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue: FairQueue[Asked] = FairQueue(self.most, self.use)
        self.use.turn(0.0)
        self._running: list[tuple[float, int, Asked, str, Charge | None]] = []
        self._coming: list[tuple[float, int, Asked]] = []
        self._numbers = count()
        self._asked_at: dict[Asked, float] = {}
        self.on_end: Callable[[Asked], None] = lambda _asked: None

    def ask(
        self, person: str, tokens: float, *, at: float = 0.0, expected: float | None = None, line: str = "m",
        weight: float = 1.0, background: bool = False,
    ) -> Asked:  # fmt: skip
        number = next(self._numbers)
        asked = Asked(person, number, tokens, tokens if expected is None else expected, line, weight, background)
        heappush(self._coming, (at, number, asked))
        return asked

    def ask_many(self, person: str, sizes: Iterable[float], **fields: object) -> None:
        for tokens in sizes:
            self.ask(person, tokens, **fields)  # type: ignore[arg-type]

    def run(self, until: float) -> None:
        """Let time pass: ends come before arrivals of the same moment."""
        while True:
            nexts = [events[0][0] for events in (self._running, self._coming) if events]
            if not nexts or min(nexts) > until:
                break
            self.now = min(nexts)
            self.use.turn(int(self.now / TICK_SECONDS) * TICK_SECONDS)
            if self._running and self._running[0][0] <= self.now:
                self._end()
            else:
                self._arrive()
        self.now = max(self.now, until)

    def _end(self) -> None:
        _at, _number, asked, place, charge = heappop(self._running)
        self.places[place] += 1
        if charge is None:
            self.use.charge(asked.person, asked.tokens)
        else:
            self.use.settle(charge, asked.tokens)
            self.queue.refresh(asked.person)
        self.on_end(asked)
        self._pump()

    def _arrive(self) -> None:
        _at, _number, asked = heappop(self._coming)
        self._asked_at[asked] = self.now
        self._pump()
        if self._place_for(asked):
            self._start(asked, None)
            return
        claim = Claim(asked.person, asked.line, asked.line, asked.weight, asked.expected, asked.background)
        gone = self.queue.join(asked, claim, lambda: [line for line in ("m", "other") if line != asked.line])
        if gone is not None:
            self.refused.append(gone)

    def _place_for(self, asked: Asked) -> str | None:
        return next((place for place in (asked.line, "any") if self.places.get(place, 0) > 0), None)

    def _pump(self) -> None:
        full: set[str] = set()
        for asked in self.queue.in_turn(lambda kind: kind in full):
            if self._place_for(asked):
                self._start(asked, self.queue.serve(asked))
            else:
                full.add(asked.line)

    def _start(self, asked: Asked, charge: Charge | None) -> None:
        place = self._place_for(asked)
        assert place is not None
        self.places[place] -= 1
        self.served.append(asked)
        self.got[asked.person] += asked.tokens  # type: ignore[assignment]
        self.waits[asked.person].append(self.now - self._asked_at[asked])
        seconds = asked.tokens / self.tokens_per_second
        heappush(self._running, (self.now + seconds, next(self._numbers), asked, place, charge))


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: 1.0 where all have the same, 1/n where one has it all."""
    values = list(shares)
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))
