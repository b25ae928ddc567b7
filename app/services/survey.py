"""What do the engines say of themselves, lately? Asked beside the health checks, never on the way of a request.

After each good check of a healthy server it is asked for the pages that its engine's adapter names, over the same link
as all traffic, with the server's key. No check waits for it, and nothing that goes wrong here counts against a server.
A page that it says it does not have is not asked for again until another engine may run there: it was down, or tells
another version. So no server's log is flooded.

What changes always (how many requests run, how many wait) is told at once. What changes seldom (places, models in
memory, contexts) is published when it differs, for many servers together. What was found counts for the server that it
was found of: once it is another one, or not healthy, it is gone. So is the context that a model had there, which else
counts on while it is out of memory. Nothing of the answers is logged, for some engines show prompts in them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from app.services.core.errors import EndpointRefused
from app.services.core.signals import NO_SIGNALS
from app.services.core.types import HealthStatus
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed
from app.services.engines.identify import engine_named
from app.services.pulse import SystemClock
from app.services.registry.records import NO_FACTS, EngineFacts
from app.services.signal_scope import concerning, facts_of, is_final
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from app.services.core.signals import Signals
    from app.services.core.types import DiscoveredModel, Endpoint, Inspection
    from app.services.engines.interface import Engine
    from app.services.inspector import SmallGet
    from app.services.prober_interface import ProbeTarget, Spawns
    from app.services.pulse import Clock
    from app.services.registry.publisher import HealthStates

__all__ = ["Survey"]

MAX_PAGE_BYTES: Final = 1024 * 1024
LONGEST_PAGE_SECONDS: Final = 2.0
"""For one page, connecting included; less where a health check itself has less."""
ASKED_AT_A_TIME: Final = 32
GATHER_SECONDS: Final = 0.25
"""How long news are gathered before they are published: at a start all servers tell theirs in one second."""

_SWAPPING: Final = EngineFacts(swaps_models=True)

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Identity:
    """What makes a server another one for whoever asked it; ``since``: when it last became healthy."""

    endpoint: Endpoint
    api_key: str | None = field(repr=False)
    engine: str
    since: datetime | None


@dataclass(slots=True, eq=False)
class _Visit:
    """What is known of one server for as long as it is the same and healthy."""

    identity: _Identity
    facts: EngineFacts
    refused: set[str] = field(default_factory=set)
    version: str = ""
    signals: Signals = NO_SIGNALS
    seen: dict[str, int] = field(default_factory=dict)
    """The contexts that its models had when they were in memory last."""
    is_known: bool = False
    told_at: datetime | None = None
    asking: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Round:
    """One server's turn: whom to ask for what, and what its check found."""

    server_id: str
    visit: _Visit
    engine: Engine
    expected: tuple[str, ...]
    listed: tuple[DiscoveredModel, ...]


class Survey:
    """Asks engines, and keeps what they said.

    Args:
        fetcher: how pages are fetched.
        tasks: starts the tasks that servers are asked in.
        targets: hands out the servers by id; the same mapping until something changes.
        states: the present health of each server.
        on_facts: called, without arguments, when routing should follow something new. Must not block.
        on_load: called with a server's id and what it said whenever it said something. Must not block.
        timeout_seconds: of a health check; no page is given more.
        clock: time, and waiting in it.
    """

    def __init__(
        self,
        fetcher: SmallGet,
        tasks: Spawns,
        *,
        targets: Callable[[], Mapping[str, ProbeTarget]],
        states: HealthStates,
        on_facts: Callable[[], None],
        on_load: Callable[[str, Signals], None],
        timeout_seconds: float,
        clock: Clock | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._tasks = tasks
        self._targets = targets
        self._states = states
        self._on_facts = on_facts
        self._on_load = on_load
        self._page_seconds = min(timeout_seconds, LONGEST_PAGE_SECONDS)
        self._clock = clock or SystemClock()
        self._places = asyncio.Semaphore(ASKED_AT_A_TIME)
        self._visits: dict[str, _Visit] = {}
        self._adopted: Mapping[str, ProbeTarget] | None = None
        self._publishing: asyncio.Task[None] | None = None

    def checked(self, server_id: str, target: ProbeTarget, inspection: Inspection) -> None:
        """A check found a server well: ask it more, unless that is under way. Returns at once."""
        self._forget_gone()
        state = self._states.state(server_id)
        if state.status is not HealthStatus.HEALTHY:
            self._forget(server_id)
            return
        identity = _Identity(target.endpoint, target.api_key, inspection.engine, state.last_transition_at)
        visit = self._visits.get(server_id)
        if visit is None or visit.identity != identity:
            self._forget(server_id)
            visit = self._visits[server_id] = _Visit(identity, _assumed(inspection.engine))
        if visit.asking is not None and not visit.asking.done():
            return
        engine = engine_named(inspection.engine)
        turn = _Round(server_id, visit, engine, target.expected, inspection.models)
        if paths := [path for path in engine.signal_paths() if path not in visit.refused]:
            visit.asking = self._tasks.spawn(self._ask(turn, paths), name=f"survey of server {server_id}")
        else:
            self._take(turn, {}, whole=True)

    def versioned(self, server_id: str, version: str) -> None:
        """A server's engine tells this version: another one may have the pages that the last one had not."""
        visit = self._visits.get(server_id)
        if visit is not None and version:
            if visit.version not in {"", version}:
                visit.refused.clear()
            visit.version = version

    def signals(self, server_id: str) -> Signals:
        """Return what a server last said of itself, by its registered upstream names; nothing if that does not hold."""
        visit = self._current(server_id)
        return NO_SIGNALS if visit is None else visit.signals

    def told_at(self, server_id: str) -> datetime | None:
        """Return when a server said that, aware, in UTC; None if it said nothing."""
        visit = self._current(server_id)
        return None if visit is None else visit.told_at

    def facts(self, server_id: str) -> EngineFacts:
        """Return what routing is to follow of it: what it said, or what all engines of its kind have in common."""
        visit, target = self._current(server_id), self._targets().get(server_id)
        if visit is not None:
            return visit.facts
        return NO_FACTS if target is None else _assumed(target.engine)

    async def _ask(self, turn: _Round, paths: Sequence[str]) -> None:
        """Fetch the pages one after the other. What is there already stays where a server does not answer in time."""
        answers: dict[str, bytes] = {}
        whole = True
        async with self._places:
            for path in paths:
                if self._current(turn.server_id) is not turn.visit:
                    return
                try:
                    found = await self._page(turn.visit, path)
                except (EndpointRefused, ConnectFailed):
                    return  # it is for the checks to find out what this means
                except AnswerBroken:
                    found = None
                if found is not None:
                    answers[path] = found
                elif path not in turn.visit.refused:
                    whole = False
        if self._current(turn.server_id) is turn.visit:
            self._take(turn, answers, whole=whole)

    async def _page(self, visit: _Visit, path: str) -> bytes | None:
        """Fetch one page; None where there is none, and where there will be none that is noted.

        Raises:
            EndpointRefused, ConnectFailed, AnswerBroken: as the fetcher has it.
        """
        server = visit.identity
        answer = await self._fetcher.get(
            server.endpoint,
            path,
            api_key=server.api_key,
            timeout_seconds=self._page_seconds,
            limit_bytes=MAX_PAGE_BYTES,
        )
        if answer.status == HTTPStatus.OK:
            return answer.body
        if is_final(answer.status):
            visit.refused.add(path)
        return None

    def _take(self, turn: _Round, answers: Mapping[str, bytes], *, whole: bool) -> None:
        """Take in what a server said; of a part of it only what changes always, once the whole is known."""
        visit = turn.visit
        if answers or visit.told_at is None:
            visit.signals = concerning(_read(turn, answers), turn.expected, turn.engine)
            seen = {**visit.seen, **visit.signals.contexts}
            visit.seen = {name: seen[name] for name in turn.expected if name in seen}
        if answers:
            visit.told_at = self._clock.now()
            self._on_load(turn.server_id, visit.signals)
        facts = facts_of(visit.signals, turn.listed, turn.expected, turn.engine, visit.seen)
        if whole or not visit.is_known:
            visit.is_known = True
            if facts != visit.facts:
                visit.facts = facts
                self._publish_soon()

    def _publish_soon(self) -> None:
        if self._publishing is None or self._publishing.done():
            self._publishing = self._tasks.spawn(self._publish(), name="publishing of what engines say")

    async def _publish(self) -> None:
        await self._clock.wait(asyncio.Event(), GATHER_SECONDS)
        self._on_facts()

    def _current(self, server_id: str) -> _Visit | None:
        """Return what is known of a server, None if it is another one by now, or not healthy."""
        visit, target = self._visits.get(server_id), self._targets().get(server_id)
        if visit is None or target is None:
            return None
        state = self._states.state(server_id)
        now = _Identity(target.endpoint, target.api_key, target.engine, state.last_transition_at)
        return visit if state.status is HealthStatus.HEALTHY and now == visit.identity else None

    def _forget_gone(self) -> None:
        """Follow the registry."""
        targets = self._targets()
        if targets is not self._adopted:
            self._adopted = targets
            for server_id in self._visits.keys() - targets.keys():
                self._forget(server_id)

    def _forget(self, server_id: str) -> None:
        visit = self._visits.pop(server_id, None)
        if visit is not None and visit.asking is not None:
            visit.asking.cancel()


def _assumed(engine: str) -> EngineFacts:
    """Return what is known of a server by its engine's name alone."""
    return _SWAPPING if engine_named(engine).swaps_models else NO_FACTS


def _read(turn: _Round, answers: Mapping[str, bytes]) -> Signals:
    """Have an adapter read what a server said. Of a bug there only its kind is logged: its words may quote a prompt."""
    try:
        return turn.engine.signals(answers)
    except Exception as error:  # noqa: BLE001 - whatever it is, the server is not to blame and the checks go on
        logger.error(  # noqa: TRY400 - a traceback would quote the answer
            "What an engine says of itself could not be read",
            server_id=turn.server_id,
            engine=turn.engine.name,
            error=type(error).__name__,
        )
        return NO_SIGNALS
