"""Who chooses the server? The gateway's own parts, and what they are measured against."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from app.services.core.affinity import Affinity
from app.services.core.choice.plan import Forward, plan
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server
from bench.stickiness.trace import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.stickiness.trace import Turn

__all__ = ["Policy", "PowerOfTwo", "Radix", "RoundRobin", "Sticky"]


class Policy(Protocol):
    """Chooses among servers that are known by their places in a list."""

    name: str

    def choose(self, turn: Turn, in_flight: Sequence[int], now: float) -> int:
        """Choose a server, and note that the request goes there.

        Args:
            turn: the request.
            in_flight: how many run on each server, without this one.
            now: seconds since the start.
        """

    def ended(self, turn: Turn, place: int, seconds: float) -> None:
        """Note that a server made the whole answer, in so long a time."""


class _Heedless:
    """Does not care how long a request took."""

    def ended(self, turn: Turn, place: int, seconds: float) -> None:
        """Do nothing."""


class RoundRobin(_Heedless):
    """One after the other."""

    name = "round robin"

    def __init__(self) -> None:
        self._last = -1

    def choose(self, turn: Turn, in_flight: Sequence[int], now: float) -> int:  # noqa: ARG002 - as all policies
        """Choose the next."""
        self._last = (self._last + 1) % len(in_flight)
        return self._last


class PowerOfTwo(_Heedless):
    """What the gateway does with a request that it knows nothing of: ``plan`` as it is."""

    name = "P2C"

    def __init__(self, servers: int, random: Callable[[], float]) -> None:
        made = [_server(place) for place in range(servers)]
        self._snapshot = build_snapshot(made)
        self._places = {server.id: place for place, server in enumerate(made)}
        self._random = random

    def choose(self, turn: Turn, in_flight: Sequence[int], now: float) -> int:  # noqa: ARG002 - as all policies
        """Choose by the gateway's plan."""
        return self.planned(None, in_flight, now)

    def planned(self, demand: Demand | None, in_flight: Sequence[int], now: float) -> int:
        """Choose by the gateway's plan for a request that demands this."""
        board = Board()
        for server_id, place in self._places.items():
            board.lane(server_id).in_flight = in_flight[place]
        verdict = plan(MODEL, self._snapshot, board, (), now, self._random, demand=demand)
        assert isinstance(verdict, Forward)
        return self._places[verdict.candidate.server.id]


class Sticky:
    """The gateway's own: ``plan``, told of the homes that its affinity knows."""

    name = "ours"

    def __init__(self, servers: int, random: Callable[[], float]) -> None:
        self.affinity = Affinity()
        self._ids = [_server(place).id for place in range(servers)]
        self._plan = PowerOfTwo(servers, random)
        self._given: dict[int, int] = {}

    def choose(self, turn: Turn, in_flight: Sequence[int], now: float) -> int:
        """Choose the best home that has room."""
        homes, trail = self.affinity.homes(MODEL, turn.body, None, now, self._ids)
        place = self._plan.planned(Demand(homes=homes), in_flight, now)
        self._given[turn.user] = self.affinity.went(trail, None, self._ids[place], now)
        return place

    def ended(self, turn: Turn, place: int, seconds: float) -> None:
        """Learn how fast it is."""
        self.affinity.ended(self._ids[place], self._given.pop(turn.user), seconds)


class Radix(_Heedless):
    """What the router of SGLang publishes as ``cache_aware``, written from its documentation (docs/router/router.md).

    A tree of texts per server says how much of a prompt each one saw. Where more than ``absolute`` requests lie between
    the busiest server and the idlest, and the one has more than ``relative`` times the other's, the idlest is taken;
    else the server that saw the largest share of the prompt, if that is more than ``threshold``; else the idlest, or as
    earlier versions do the one with the smallest tree. The trees are kept as sets of 64-byte blocks, each with all that
    is before it, which differs from letters by less than a block.
    """

    def __init__(
        self, servers: int, threshold: float, absolute: int, relative: float, *, smallest_tree: bool = False
    ) -> None:
        self.name = f"radix {threshold:g}/{absolute}/{relative:g}"
        self._threshold, self._absolute, self._relative = threshold, absolute, relative
        self._smallest_tree = smallest_tree
        self._trees: list[set[int]] = [set() for _server in range(servers)]

    def choose(self, turn: Turn, in_flight: Sequence[int], now: float) -> int:  # noqa: ARG002 - as all policies
        """Choose by cache or by load."""
        marks = _marks(turn.body)
        place = self._place(marks, in_flight)
        self._trees[place].update(marks)
        return place

    def _place(self, marks: list[int], in_flight: Sequence[int]) -> int:
        most, least = max(in_flight), min(in_flight)
        idlest = in_flight.index(least)
        if most - least > self._absolute and most > self._relative * least:
            return idlest
        seen = [sum(mark in tree for mark in marks) for tree in self._trees]
        if max(seen) > self._threshold * len(marks):
            return seen.index(max(seen))
        if self._smallest_tree:
            sizes = [len(tree) for tree in self._trees]
            return sizes.index(min(sizes))
        return idlest


def _marks(body: bytes) -> list[int]:
    last = 0
    return [last := hash((last, body[place : place + 64])) for place in range(0, len(body), 64)]


def _server(place: int) -> Server:
    width = int(math.log10(1000)) + 1
    return Server(
        id=f"server-{place:0{width}}",
        endpoint=Endpoint("http", "127.0.0.1", 8000 + place),
        models=(ModelEntry(MODEL, MODEL),),
        health=HealthStatus.HEALTHY,
    )
