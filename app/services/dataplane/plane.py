"""What do all exchanges share? The snapshot, the board, the pools, the queue, and the sweeper's ticks."""

from __future__ import annotations

import logging
import time
from random import random
from typing import TYPE_CHECKING

from app.services.core.choice.sight import Views
from app.services.core.choice.snapshot import EMPTY, Snapshot, recovered
from app.services.core.errors import GatewayError
from app.services.core.http.peek import peek
from app.services.core.live.board import Board
from app.services.core.live.breaker import Phase
from app.services.core.live.loading import SAY_AFTER_SECONDS, SAY_EVERY_SECONDS
from app.services.core.prompt.demand_reading import needs_demand
from app.services.core.retry import RetryBudget
from app.services.dataplane.admission import Admission, TurnedDown
from app.services.dataplane.batch import Batch
from app.services.dataplane.demands import LEAST_BYTES, Demands
from app.services.dataplane.doubts import Doubts
from app.services.dataplane.exchange import Exchange
from app.services.dataplane.pool import Pool
from app.services.dataplane.reasons import foresee
from app.services.dataplane.reception import Call, Reception, Reply, error_reply
from app.services.dataplane.reporting import Reporting
from app.services.dataplane.turned_away import outcome_of_reply
from app.services.dataplane.waiting_room import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from app.services.core.choice.explain import Explanation
    from app.services.core.reporting.outcome import Outcome
    from app.services.dataplane.link import Link
    from app.services.dataplane.neighbours import Observer, Spawner, Unread, Waiting
    from app.services.dataplane.onward import Preparer
    from app.services.dataplane.patience import Patience
    from app.services.dataplane.sides import Bounds, ClientSide, Limits
    from app.services.dataplane.terms import Terms

__all__ = ["TICK_SECONDS", "DataPlane"]

TICK_SECONDS = 0.1
_TICKS_PER_LOOK = 10
_logger = logging.getLogger("gateway.plane")


class DataPlane(Reporting):
    """The way of all requests. Handed only frozen values; knows neither settings, nor SQL, nor the web framework."""

    def __init__(  # noqa: PLR0913 - the composition root names each part once
        self,
        *,
        link: Link,
        reception: Reception,
        limits: Limits,
        bounds: Bounds,
        tasks: Spawner,
        observer: Observer,
        preparer: Preparer,
        pool_keepalive_ticks: int,
        retry_ratio: float,
        demands: Demands | None = None,
        admission: Admission | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random,
    ) -> None:
        self.link = link
        self.reception = reception
        self.limits = limits
        self.soonest_ticks = limits.soonest_ticks
        self.bounds = bounds
        self.tasks = tasks
        self.preparer = preparer
        self.tick_seconds = TICK_SECONDS
        self.say_after_ticks = round(SAY_AFTER_SECONDS / TICK_SECONDS)
        self.say_every_ticks = round(SAY_EVERY_SECONDS / TICK_SECONDS)
        self.clock = clock
        self.wall_clock = wall_clock
        self.random = draw
        self.snapshot: Snapshot = EMPTY
        self.board = Board()
        self.budget = RetryBudget(retry_ratio)
        self.pool = Pool(pool_keepalive_ticks, observer.look_again)
        self.batch = Batch()
        self.demands = demands or Demands()
        self.admission = admission or Admission()
        self.views = Views()
        self._all_alike = True
        self.descriptors = link.descriptors
        self.waiting: set[Waiting] = set()
        self.unread: dict[Unread, Patience] = {}
        self.held_bytes = 0
        """How much of answers is held until they are whole, all together."""
        self.unread_bytes = 0
        """How much waits for clients that read slowly, all together, as of the last tick."""
        self.client_connections = 0
        """How many clients are connected to the door; 0 behind another ASGI server."""
        self._observer = observer
        self._doubts = Doubts(observer, tasks, self._judged)
        self._running: set[Exchange] = set()
        self._queue = WaitingRoom(limits.queue_size, self._running)
        self.people = self._queue.people
        self._turns = 0

    @property
    def open_exchanges(self) -> int:
        """How many requests are being served or wait."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """How many requests wait for a place."""
        return self._queue.count

    def install(self, snapshot: Snapshot) -> None:
        """Swap the snapshot. Requests that run go on; those that wait may find a place."""
        back = recovered(self.snapshot, snapshot)
        self.snapshot = snapshot
        self.look_at_rules()
        self.pool.install(snapshot)
        self.board.keep(snapshot.servers)
        self.demands.keep(snapshot.servers)
        for server_id in back:
            self.demands.forget(server_id)
            self.board.lane(server_id).returned(self.clock())
            self._tell_waiting(server_id)
        self._queue.place_freed(for_all=True)

    def look_at_rules(self) -> None:
        """See whether requests of plain keys have terms at all; to be called when the limits of models changed.

        Those that began when all servers were open to all get their terms as soon as that is no longer so.
        """
        snapshot = self.snapshot
        self._all_alike = snapshot.is_open and not snapshot.aliases and not self.admission.gate.model_rules
        if not snapshot.is_open:
            for exchange in self._running:
                exchange.bind(self.admission)

    def shut_out(self, key_ids: Container[str]) -> None:
        """Turn away those that wait and whose keys are not among these any more."""
        for exchange in list(self._queue):
            exchange.hold_key_against(key_ids)

    def returned(self, server_id: str) -> None:
        """A server that somebody waits for has passed a check: if it was ejected, it is used again, gently at first."""
        lane = self.board.lane(server_id)
        if lane.breaker.phase is not Phase.CLOSED:
            lane.returned(self.clock())
        self._tell_waiting(server_id)
        self._queue.place_freed(for_all=True)

    def _tell_waiting(self, server_id: str) -> None:
        for exchange in self._queue:
            exchange.returned(server_id)

    def begin(self, call: Call, body: bytes, client: ClientSide) -> Exchange | None:
        """Start an exchange; None when the body is refused, which the client has then been told."""
        terms: Terms | None = None
        try:
            seen = peek(body, self.limits.max_json_depth)
            if not (self._all_alike and call.principal.is_plain):
                call, terms = self.admission.judge(self, call, seen, body, self.clock())
        except GatewayError as error:
            self._turn_down(call, error, client)
            return None
        except TurnedDown as turned_down:
            self._turn_down(call, turned_down.error, client, turned_down.lines, turned_down.model)
            return None
        exchange = Exchange(self, call, body, seen, client, terms)
        self.budget.request(exchange.started_at)
        self._running.add(exchange)
        route = self.snapshot.routes.get(seen.model) if terms is None else terms.route()
        if route is not None and (
            len(body) >= LEAST_BYTES
            or call.session
            or (route.least_context and needs_demand(len(body), route.least_context, seen.answer_tokens))
        ):
            exchange.wish = self.demands.read(call, body, seen, route, exchange.started_at)
        if self._queue.is_busy:
            self._queue.let_in(exchange)
        else:
            exchange.route()
        return exchange

    def _turn_down(
        self, call: Call, error: GatewayError, client: ClientSide, lines: bytes = b"", model: str = ""
    ) -> None:
        """Answer a request that may not go; ``lines`` go out beside the error's own."""
        reply = error_reply(error, call.lines + lines, path=call.path, client=call.client, request_id=call.request_id)
        client.respond(reply.status, reply.lines, reply.body, more=False)
        self.replied(reply, call, model)

    def explain(
        self, model: str, prompt_tokens: int, answer_tokens: int, session: str | None, key_id: str
    ) -> Explanation:
        """Say where a request would go now, and why; arguments and errors are those of ``reasons.foresee``."""
        return foresee(self, model, prompt_tokens, answer_tokens, session, key_id)

    def replied(self, reply: Reply, call: Call | None = None, model: str = "") -> None:
        """Report an answer that needed no server: a refusal, or the list of models.

        Args:
            reply: what was answered.
            call: the head, where the key was good.
            model: what was asked for, where that is known.
        """
        self._observer.finished(outcome_of_reply(reply, call, model, self.wall_clock()))

    # -- called by exchanges

    def queue(self, exchange: Exchange) -> bool:
        """Let an exchange wait for a place; False when the queue is full."""
        return self._queue.join(exchange)

    def place_of(self, exchange: Exchange) -> tuple[int, int] | None:
        """At which position an exchange waits, and how many wait for its model; None where that is not known yet."""
        return self._queue.place_of(exchange)

    def wait_seconds(self, exchange: Exchange) -> int:
        """How long the client of an exchange should stay away that found no place, by how fast the queue moves."""
        return self._queue.wait_seconds(exchange)

    def place_freed(self) -> None:
        """Let those that wait try again."""
        if self._queue.count:
            self._queue.place_freed()

    def doubt(self, server_id: str) -> None:
        """Have a silent server asked whether it lives; those who wait for it are told."""
        self._doubts.ask(server_id)

    def _judged(self, server_id: str, alive: bool) -> None:  # noqa: FBT001 - a callback
        for exchange in list(self._running):
            try:
                exchange.judged(server_id, alive=alive)
            except Exception:  # as on a tick
                _logger.exception("An exchange failed when its server was judged")
                exchange.crashed()

    def finished(self, exchange: Exchange, outcome: Outcome) -> None:
        """Forget an exchange and report what became of it."""
        self._running.discard(exchange)
        usage = outcome.usage
        self._queue.ended(exchange, usage.prompt_tokens + usage.completion_tokens)
        self._observer.finished(outcome)

    # -- time

    def tick(self) -> None:
        """One turn of the sweeper: deadlines of requests and of slow clients, age of idle connections."""
        for exchange in list(self._running):
            try:
                exchange.tick()
            except Exception:  # one exchange's bug must not keep time from the others
                _logger.exception("An exchange failed on a tick")
                exchange.crashed()
        self._queue.turn(self.clock())
        self._queue.place_freed(for_all=True)
        self._redial()
        for connection in list(self.waiting):
            connection.tick()
        limit_ticks = self.limits.idle_ticks
        unread = list(self.unread.items())
        self.unread_bytes = sum(client.tick_unread(patience, limit_ticks) for client, patience in unread)
        self.pool.tick()
        self._turns += 1
        if self._turns % _TICKS_PER_LOOK == 0:
            self.descriptors.look()

    def _redial(self) -> None:
        """Look for those that requests wait for. How often a server is really asked is for the observer to say."""
        awaited = self._queue.awaited() if self._queue.count else []
        if awaited:
            self._observer.redial(awaited)

    def shut(self) -> None:
        """End what still runs with an error that says so, and close every connection to a server."""
        self._queue.clear()
        for exchange in list(self._running):
            exchange.shut()
        self.pool.close()
