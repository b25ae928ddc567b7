"""What do the policies make of a pool in trouble? Simulated engines and requests under a clock of their own.

The plan, the board, the budget and the table of health are the gateway's own; what they are fed with is made up here,
as the data plane would feed it. A minute of a busy pool takes a moment.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from app.services.core.choice.plan import Await, Forward, Queue, plan
from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.live.board import Board
from app.services.core.retry import Failure, RetryBudget, costs_nothing, may_move_on
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

MODEL = ModelEntry("llama", "llama")
_DIAL_SECONDS = 0.001
_FAIL_SECONDS = 0.01
_TICK_SECONDS = 0.1
_AWAIT_SECONDS = 1.0
_QUEUE_SECONDS = 30.0
_CHECK_SECONDS = 1.0
_MAX_ATTEMPTS = 3
_MISSES, _PASSES = 3, 2


@dataclass
class Engine:
    """One simulated server. ``failure`` is what becomes of requests now; None: they are answered."""

    name: str
    first_token_seconds: float = 0.1
    rest_seconds: float = 0.9
    slots: int | None = None
    failure: Failure | None = None
    failing_share: float = 1.0
    health: HealthStatus = HealthStatus.HEALTHY
    misses: int = 0
    passes: int = 0
    running: dict[Request, float] = field(default_factory=dict)


@dataclass(eq=False)
class Request:
    """One request. ``state`` is ``waits``, ``runs``, ``done`` or ``failed``."""

    asked_at: float
    tried: list[str] = field(default_factory=list)
    sent: int = 0
    state: str = "waits"
    begun: bool = False
    ended_at: float = 0.0


class SimulatedPool:
    """Runs requests through the gateway's policies. ``sent`` is one entry for each request that reached an engine."""

    def __init__(self, engines: list[Engine], *, seed: int = 7, ratio: float = 0.2, health_checks: bool = True) -> None:
        self.engines = {engine.name: engine for engine in engines}
        self.now = 1000.0
        self.dice = Random(seed)
        self.board = Board()
        self.budget = RetryBudget(ratio)
        self.requests: list[Request] = []
        self.attempts: list[tuple[float, str]] = []
        self.sent: list[tuple[float, str]] = []
        self._health_checks = health_checks
        self._waiting: dict[Request, None] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._snapshot = self._built()
        self.after(_TICK_SECONDS, self._tick)
        self.after(_CHECK_SECONDS, self._check)

    # -- time

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _order, act = heapq.heappop(self._events)
            act()
        self.now = until

    def arrivals(self, rate: float, seconds: float) -> None:
        """Let requests come in an open loop, at ``rate`` a second on average, from now on."""
        later = 0.0
        while (later := later + self.dice.expovariate(rate)) < seconds:
            self.after(later, self.ask)

    def settle(self) -> None:
        """Let all that was asked come to its end."""
        while any(request.state in {"waits", "runs"} for request in self.requests):
            self.run(1.0)

    # -- what happens to engines

    def fail(self, name: str, failure: Failure, share: float = 1.0) -> None:
        """Let an engine fail so. Where its connections break, those of running requests do too."""
        engine = self.engines[name]
        engine.failure, engine.failing_share = failure, share
        if failure in {Failure.DIAL, Failure.RESET} and share == 1.0:
            for request, taken_at in list(engine.running.items()):
                self._failed(request, engine, Failure.RESET, taken_at)

    def mend(self, name: str) -> None:
        """Let an engine answer again."""
        self.engines[name].failure = None

    # -- requests

    def ask(self) -> Request:
        """One request comes in."""
        request = Request(self.now)
        self.requests.append(request)
        self.budget.request(self.now)
        self._route(request)
        return request

    def share(self, name: str, since: float, until: float | None = None) -> float:
        """Which part of the attempts in a span of time went to an engine."""
        span = [engine for at, engine in self.attempts if since <= at < (self.now if until is None else until)]
        return span.count(name) / max(len(span), 1)

    def failed_requests(self) -> int:
        """How many got an error."""
        return sum(request.state == "failed" for request in self.requests)

    def _route(self, request: Request) -> None:
        verdict = plan("llama", self._snapshot, self.board, request.tried, self.now, self.dice.random)
        waited = self.now - request.asked_at
        self._waiting[request] = None
        if isinstance(verdict, Forward):
            self._attempt(request, self.engines[verdict.candidate.server.id])
        elif isinstance(verdict, Queue) and waited < _QUEUE_SECONDS:
            request.state = "waits"
        elif isinstance(verdict, Await) and waited < _AWAIT_SECONDS:
            request.state = "waits"
            for server_id in verdict.server_ids:
                self._look(self.engines[server_id], wanted=True)
        else:
            self._end(request, "failed")

    def _attempt(self, request: Request, engine: Engine) -> None:
        request.state, request.begun = "runs", False
        del self._waiting[request]
        request.tried.append(engine.name)
        self.attempts.append((self.now, engine.name))
        taken_at = self.now
        self.board.lane(engine.name).take(taken_at)
        engine.running[request] = taken_at
        fails = engine.failure is not None and self.dice.random() < engine.failing_share
        if engine.failure is not Failure.DIAL:
            self.sent.append((self.now, engine.name))
        if not fails and engine.slots is not None and len(engine.running) > engine.slots:
            self.after(_FAIL_SECONDS, lambda: self._fail_if_running(request, engine, Failure.OVERLOADED, taken_at))
        elif fails and engine.failure is not None:
            failure = engine.failure
            later = _DIAL_SECONDS if failure is Failure.DIAL else _FAIL_SECONDS
            self.after(later, lambda: self._fail_if_running(request, engine, failure, taken_at))
        else:
            self.after(engine.first_token_seconds, lambda: self._begin(request, engine, taken_at))

    def _begin(self, request: Request, engine: Engine, taken_at: float) -> None:
        if engine.running.get(request) == taken_at:
            request.begun = True
            self.board.lane(engine.name).answered(self.now - taken_at, self.now)
            self.after(engine.rest_seconds, lambda: self._complete(request, engine, taken_at))

    def _complete(self, request: Request, engine: Engine, taken_at: float) -> None:
        if engine.running.get(request) == taken_at:
            self.board.lane(engine.name).completed(self.now)
            self._give_back(request, engine, taken_at)
            self._end(request, "done")

    def _fail_if_running(self, request: Request, engine: Engine, failure: Failure, taken_at: float) -> None:
        if engine.running.get(request) == taken_at:
            self._failed(request, engine, failure, taken_at)

    def _failed(self, request: Request, engine: Engine, failure: Failure, taken_at: float) -> None:
        lane = self.board.lane(engine.name)
        if failure is Failure.OVERLOADED:
            lane.cool(self.now, 1.0)
            lane.overloaded(self.now, taken_at)
        else:
            lane.failed(failure, self.now, self.dice.random, taken_at, begun=request.begun)
        self._give_back(request, engine, taken_at)
        if failure is Failure.DIAL:
            self._miss(engine)
        request.sent += not costs_nothing(failure)
        if may_move_on(failure, request.sent, _MAX_ATTEMPTS, self.budget):
            self._route(request)
        else:
            self._end(request, "failed")

    def _give_back(self, request: Request, engine: Engine, taken_at: float) -> None:
        del engine.running[request]
        self.board.lane(engine.name).give_back(self.now, taken_at)

    def _end(self, request: Request, state: str) -> None:
        request.state, request.ended_at = state, self.now
        self._waiting.pop(request, None)

    def _tick(self) -> None:
        for request in list(self._waiting):
            self._route(request)
        self.after(_TICK_SECONDS, self._tick)

    # -- health

    def _built(self) -> Snapshot:
        return build_snapshot(
            Server(engine.name, Endpoint("http", engine.name, 80), (MODEL,), health=engine.health)
            for engine in self.engines.values()
        )

    def _miss(self, engine: Engine) -> None:
        engine.passes, engine.misses = 0, engine.misses + 1
        if self._health_checks and engine.misses >= _MISSES and engine.health is HealthStatus.HEALTHY:
            engine.health = HealthStatus.UNHEALTHY
            self._snapshot = self._built()

    def _look(self, engine: Engine, *, wanted: bool = False) -> None:
        """A check: it asks for the models only, so an engine that fails at its work passes."""
        if engine.failure is Failure.DIAL:
            self._miss(engine)
            return
        engine.misses, engine.passes = 0, engine.passes + 1
        was_down = engine.health is HealthStatus.UNHEALTHY
        if was_down and (wanted or engine.passes >= _PASSES):
            engine.health = HealthStatus.HEALTHY
            self._snapshot = self._built()
        if wanted or (was_down and engine.health is HealthStatus.HEALTHY):
            self.board.lane(engine.name).returned(self.now)

    def _check(self) -> None:
        if self._health_checks:
            for engine in self.engines.values():
                self._look(engine)
        self.after(_CHECK_SECONDS, self._check)


def engines(count: int, model: Engine | None = None) -> list[Engine]:
    """So many alike, named by number."""
    return [replace(model or Engine(""), name=str(place), running={}) for place in range(count)]
