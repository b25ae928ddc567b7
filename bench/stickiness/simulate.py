"""What becomes of a trace under a policy? One pass over time, event by event; the same input gives the same figures."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import TYPE_CHECKING

from bench.stickiness.servers import SimulatedServer, Started

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stickiness.policies import Policy
    from bench.stickiness.servers import Speed
    from bench.stickiness.trace import Trace, Turn

__all__ = ["Outcome", "simulate"]


@dataclass(slots=True)
class Outcome:
    """What a policy made of a trace.

    Attributes:
        policy: its name.
        warm_share: which part of all prompt tokens was in the cache of the server that read them.
        requests: how many each server had.
        busy_seconds: how long each server's places were in use, added up.
        in_flight_ratio: the busiest server's requests in flight over the mean, on average over time.
        first_token_seconds: of each request, in no order.
        moves: how often a conversation went elsewhere than before, on average.
    """

    policy: str
    warm_share: float
    requests: list[int]
    busy_seconds: list[float]
    in_flight_ratio: float
    first_token_seconds: list[float]
    moves: float

    @property
    def busiest_by_requests(self) -> float:
        """The requests of the server that had the most, over the mean."""
        return _over_mean(self.requests)

    @property
    def busiest_by_seconds(self) -> float:
        """The busy seconds of the server that had the most, over the mean."""
        return _over_mean(self.busy_seconds)


def _over_mean(values: Sequence[float]) -> float:
    return max(values) * len(values) / sum(values)


@dataclass(slots=True)
class _Run:
    trace: Trace
    policy: Policy
    servers: list[SimulatedServer]
    events: list[tuple[float, int, Turn | tuple[int, Started]]] = field(default_factory=list)
    numbers: count[int] = field(default_factory=count)
    went: dict[int, list[int]] = field(default_factory=dict)
    first_token_seconds: list[float] = field(default_factory=list)
    asked_at: dict[int, float] = field(default_factory=dict)
    warm_tokens: int = 0
    most_seconds: float = 0.0
    mean_seconds: float = 0.0

    def run(self) -> None:
        """Go through all events in order."""
        for conversation in self.trace:
            self._at(conversation[0].planned_at, conversation[0])
        before = 0.0
        while self.events:
            now, _number, event = heapq.heappop(self.events)
            in_flight = [server.in_flight for server in self.servers]
            self.most_seconds += max(in_flight) * (now - before)
            self.mean_seconds += sum(in_flight) / len(in_flight) * (now - before)
            before = now
            if isinstance(event, tuple):
                self._end(*event, now)
            else:
                self._ask(event, in_flight, now)

    def _at(self, time: float, event: Turn | tuple[int, Started]) -> None:
        heapq.heappush(self.events, (time, next(self.numbers), event))

    def _ask(self, turn: Turn, in_flight: list[int], now: float) -> None:
        place = self.policy.choose(turn, in_flight, now)
        self.went.setdefault(turn.user, []).append(place)
        self.asked_at[turn.user] = now
        self.servers[place].take(turn)
        self._start(place, now)

    def _start(self, place: int, now: float) -> None:
        for started in self.servers[place].start(now):
            asked_at = self.asked_at[started.turn.user]
            self.first_token_seconds.append(started.first_token_at - asked_at)
            self.warm_tokens += started.warm_tokens
            self._at(started.ends_at, (place, started))

    def _end(self, place: int, started: Started, now: float) -> None:
        turn = started.turn
        self.servers[place].end(turn)
        self.policy.ended(turn, place, now - self.asked_at[turn.user])
        conversation = self.trace[turn.user]
        if turn.number + 1 < len(conversation):
            following = conversation[turn.number + 1]
            self._at(max(now, following.planned_at), following)
        self._start(place, now)


def simulate(trace: Trace, policy: Policy, speeds: Sequence[Speed]) -> Outcome:
    """Let a policy send a trace to servers of these speeds."""
    run = _Run(trace, policy, [SimulatedServer(speed) for speed in speeds])
    run.run()
    prompt_tokens = sum(turn.prompt_tokens for conversation in trace for turn in conversation)
    moves = sum(one != two for places in run.went.values() for one, two in pairwise(places))
    return Outcome(
        policy=policy.name,
        warm_share=run.warm_tokens / prompt_tokens,
        requests=[server.requests for server in run.servers],
        busy_seconds=[server.busy_seconds for server in run.servers],
        in_flight_ratio=run.most_seconds / run.mean_seconds,
        first_token_seconds=run.first_token_seconds,
        moves=moves / len(trace),
    )
