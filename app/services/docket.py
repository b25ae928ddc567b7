"""Which model on which server is tried next for how it goes on with broken answers? Without any waiting of its own.

A model is tried as long as nobody knows how its chats or its completions go on, or when what was found is in doubt.
A server that is not healthy, or that its owner, the gateway or the operator let no work to, is left alone until it is
back; one is tried with one model at a time.

On a server that swaps models one is tried while it is in memory: a trial loads nothing that nobody asked for. The only
model of a server is loaded for its first trial where nothing else is in memory, for else nobody would know of it before
its first clients do. Engines that never tell what is in memory are tried after a while with all their models.

All times are seconds of one monotonic clock, handed in by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from app.services.core.continuation.ability import UNJUDGED, Rung
from app.services.core.types import HealthStatus
from app.services.places import tells_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from app.services.core.continuation.ability import Ability
    from app.services.core.continuation.asking import Misses
    from app.services.core.types import Server

__all__ = ["Case", "Docket", "may_be_tried"]

DOUBT_GAP_SECONDS: Final = 60.0
"""What was found is doubted at most this often."""

UNTOLD_SECONDS: Final = 30.0
"""How long it is waited for what a server that swaps models has in memory; some never tell."""

Key = tuple[str, str]
"""A server's id, and what it calls the model."""


@dataclass(slots=True, eq=False)
class Case:
    """One model of one server that is to be tried.

    Attributes:
        server: as routing saw it last.
        upstream_name: what it calls the model.
        due: when it is to be tried.
        faults: how many tries in a row came to no verdict.
        doubted: whether it is tried although something was found.
        running: whether it is being tried.
        chat_misses: what tries counted against ways for chats.
        text_misses: and against those for completions.
    """

    server: Server
    upstream_name: str
    due: float
    faults: int = 0
    doubted: bool = False
    running: bool = False
    chat_misses: Misses = field(default_factory=dict)
    text_misses: Misses = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.server.id, self.upstream_name

    @property
    def ability(self) -> Ability:
        """What is known."""
        return self.server.abilities.get(self.upstream_name, UNJUDGED)

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to find out."""
        return self.doubted or _is_unjudged(self.ability)

    @property
    def may_load(self) -> bool:
        """Whether trying it may load it: the only model of a server, for its first try, into an empty memory."""
        is_first = _is_unjudged(self.ability) and not self.faults
        return is_first and len(_names(self.server)) == 1 and not self.server.loaded


class Docket:
    """All models that are to be tried.

    Args:
        has_room: whether one more request for a model could go to its server.
    """

    def __init__(self, has_room: Callable[[Case], bool]) -> None:
        self._has_room = has_room
        self._untold_since: dict[str, float] = {}
        self._servers: dict[str, Server] = {}
        self._cases: dict[Key, Case] = {}
        self._running: set[Case] = set()
        self._doubted_at: dict[Key, float] = {}

    @property
    def running(self) -> int:
        """How many are being tried, those that are no longer wanted among them."""
        return len(self._running)

    def follow(self, servers: Iterable[Server], now: float) -> None:
        """Take over what routing sees. What is new is due at once, and so is what is back."""
        before, known = self._servers, self._cases
        self._servers = {server.id: server for server in servers}
        self._cases = {}
        untold = filter(_is_untold, self._servers.values())
        self._untold_since = {server.id: self._untold_since.get(server.id, now) for server in untold}
        for server in self._servers.values():
            earlier = before.get(server.id)
            is_same = earlier is not None and _identity(earlier) == _identity(server)
            is_back = earlier is not None and may_be_tried(server) and not may_be_tried(earlier)
            for name in _names(server) - server.missing_models:
                case = known.get((server.id, name)) if is_same else None
                if case is not None:
                    case.server = server
                    case.due = now if is_back else case.due
                elif _is_unjudged(server.abilities.get(name, UNJUDGED)):
                    case = Case(server, name, now)
                if case is not None and (case.running or case.is_wanted):
                    self._cases[case.key] = case
        self._doubted_at = {key: when for key, when in self._doubted_at.items() if key[0] in self._servers}

    def doubt(self, server_id: str, upstream_name: str, now: float) -> bool:
        """Have a model tried again though something was found; at most once a minute. Whether it will be."""
        key = server_id, upstream_name
        server = self._servers.get(server_id)
        if server is None or now < self._doubted_at.get(key, -math.inf) + DOUBT_GAP_SECONDS:
            return False
        if upstream_name not in _names(server) - server.missing_models:
            return False
        case = self._cases.setdefault(key, Case(server, upstream_name, now))
        if not case.running:
            self._doubted_at[key] = now
            case.doubted = True
            case.due = min(case.due, now)
        return not case.running

    def begin_anew(self, server_id: str, now: float) -> None:
        """Forget what runs or was counted for a server: its engine is another by now."""
        for key, case in list(self._cases.items()):
            if key[0] == server_id:
                self._cases[key] = Case(case.server, case.upstream_name, now)

    def take(self, now: float, most: int) -> Iterator[Case]:
        """Yield the models to be tried now; each is running from here on. At most ``most`` run at a time."""
        busy = {case.server.id for case in self._running}
        for case in sorted(self._waiting(), key=self._ready_at):
            if len(self._running) >= most or self._ready_at(case) > now:
                return
            if case.server.id not in busy and self._has_room(case):
                busy.add(case.server.id)
                case.running = True
                self._running.add(case)
                yield case

    def finish(self, case: Case, due: float) -> None:
        """Take in that a try has ended; what is still wanted is due then."""
        case.running = False
        case.due = due
        self._running.discard(case)
        if self.is_current(case) and not case.is_wanted:
            del self._cases[case.key]

    def is_current(self, case: Case) -> bool:
        """Whether the server and its model are still those that the case was made for."""
        return self._cases.get(case.key) is case

    @property
    def next_due(self) -> float:
        """When the next one's time comes, or came if it waits for a place; infinite where nothing waits."""
        busy = {case.server.id for case in self._running}
        return min((self._ready_at(case) for case in self._waiting() if case.server.id not in busy), default=math.inf)

    def _ready_at(self, case: Case) -> float:
        """Say when a model may be tried at the earliest: not before its server had time to tell what is in memory."""
        return max(case.due, self._untold_since.get(case.server.id, -math.inf) + UNTOLD_SECONDS)

    def _waiting(self) -> Iterator[Case]:
        return (
            case
            for case in self._cases.values()
            if not case.running and case.is_wanted and may_be_tried(case.server) and _loads_nothing(case)
        )


def may_be_tried(server: Server) -> bool:
    """Whether a server is well, and work is let to it."""
    return server.health is HealthStatus.HEALTHY and server.accepts_work and not server.misconfigured


def _names(server: Server) -> set[str]:
    """Return what a server calls its models."""
    return {model.upstream_name for model in server.models}


def _is_untold(server: Server) -> bool:
    """Whether a trial may put a model out of memory, and nobody knows yet. After an illness it is told anew.

    That a llama.cpp is a router, which swaps its models, is known by what it tells.
    """
    if server.loaded is not None or not may_be_tried(server):
        return False
    several = len(_names(server)) > 1
    if server.swaps_models:
        return several or tells_memory(server)
    return several and tells_memory(server) and not server.contexts


def _loads_nothing(case: Case) -> bool:
    """Whether a trial leaves the memory as it is, or may change it, as far as routing was told.

    What has happened since is asked of the lane, right before each request (``places``). This alone keeps the models
    that nobody asks for from being looked at again and again.
    """
    server = case.server
    return not server.swaps_models or server.loaded is None or case.upstream_name in server.loaded or case.may_load


def _is_unjudged(ability: Ability) -> bool:
    return Rung.UNJUDGED in (ability.chat, ability.text)


def _identity(server: Server) -> tuple[object, ...]:
    """What makes a server another one for whoever tries it."""
    return server.endpoint, server.api_key, server.engine
