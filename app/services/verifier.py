"""When is which claim of a server looked at?

At registration, when a server's endpoint, engine, version or claim changes, and from time to time: one model at a time,
when its server is idle, and never beyond what it takes. A server that takes no work is not asked, and a model that
would put another out of memory waits until it is in memory. What is found is shown with its date and changes nothing
else. A fault decides nothing, and is tried again after ever longer pauses.
"""

from __future__ import annotations

import asyncio
import math
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from app.services.core.continuation.ability import UNJUDGED
from app.services.core.verification.asking import Claim, Inconclusive
from app.services.core.verification.examination import examine
from app.services.core.verification.findings import Subject, Verdict, VerificationFinding
from app.services.core.verification.rota import is_askable, may_be_asked
from app.services.core.verification.samples import Samples
from app.services.engines.identify import engine_named
from app.services.inquiry import PutOffError
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable

    from app.services.core.types import Server
    from app.services.core.verification.asking import Examined
    from app.services.core.verification.rota import Duty, Key, Rota
    from app.services.inquiry import Inquiry
    from app.services.pulse import Clock
    from app.services.registry.verifications import FindingsByModel, Served

__all__ = ["DAY_SECONDS", "Keeps", "Verifier"]

DAY_SECONDS: Final = 86_400.0
WAIT_SECONDS: Final = 2.0
"""How soon it is seen again whether a server is idle by now."""
IDLE_SECONDS: Final = 3600.0
REWRITE_SECONDS: Final = 60.0
"""How soon it is tried again to write what the database refused."""
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = DAY_SECONDS
MAX_DOUBLINGS: Final = 12
JITTER: Final = 0.1

logger = get_logger(__name__)


class Keeps(Protocol):
    """Keeps what was found; ``registry.verifications.Verifications`` is the one."""

    def of(self, server_id: str, /) -> FindingsByModel:
        """Return what was found of a server's models."""

    def keep(self, server_id: str, upstream_name: str, findings: Iterable[VerificationFinding], /) -> None:
        """Take over what was found of a model."""

    def forget(self, server_ids: Collection[str], /) -> None:
        """Forget all that was found of servers."""

    def retain(self, served: Served, /) -> None:
        """Forget what is not served any more."""

    async def flush(self) -> bool:
        """Write what changed to where it outlives a restart; return whether that was possible."""


class Spawns(Protocol):
    """Starts tasks and keeps them; ``utils.tasks.TaskKeeper`` is the one."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a named task; its failure is logged."""


class Verifier:
    """Looks at what servers claim.

    Args:
        inquiry: asks them.
        rota: says whose turn it is.
        keeps: takes in what is found.
        tasks: starts the task that a look runs in.
        clock: time, and waiting in it.
        interval_seconds: how long a verdict stands until it is looked again; 0: for ever.
        kind_of: what two models must share to be one, by what their servers call them.
        draw: draws evenly from [0, 1).
    """

    def __init__(
        self,
        inquiry: Inquiry,
        rota: Rota,
        keeps: Keeps,
        tasks: Spawns,
        *,
        clock: Clock,
        interval_seconds: float = DAY_SECONDS,
        kind_of: Callable[[str], Hashable] = str.casefold,
        draw: Callable[[], float] = random,
    ) -> None:
        self._inquiry = inquiry
        self._rota = rota
        self._keeps = keeps
        self._tasks = tasks
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._draw = draw
        self._samples = Samples(kind_of)
        self._served: dict[str, Collection[str]] = {}
        self._versions: dict[str, str] = {}
        self._current: tuple[Duty, asyncio.Task[None]] | None = None
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Look at whatever is due until cancelled; a look under way ends then."""
        while True:
            self._wake.clear()
            most = IDLE_SECONDS if await self._keeps.flush() else REWRITE_SECONDS
            now = self._clock.monotonic()
            duty = self._rota.next(now)
            if duty is not None:
                await self._see_through(duty)
                continue
            due = self._rota.next_due(now)
            await self._clock.wait(self._wake, min(max(due - now, WAIT_SECONDS), most))

    def review(self, servers: Iterable[Server]) -> None:
        """Take over what routing sees, whenever that changes. What was found of what is gone or moved is forgotten."""
        listed = tuple(servers)
        for server_id in self._rota.follow(listed, self._clock.monotonic(), self._first_due):
            self._versions.pop(server_id, None)
            self._forget(server_id)
        served = self._rota.served
        if served != self._served:
            self._served = served
            self._samples.retain(served)
            self._keeps.retain(served)
        self._versions = {server.id: self._versions.get(server.id) or _version_of(server) for server in listed}
        self._end_outdated()

    def versioned(self, server_id: str, version: str) -> None:
        """A server's engine tells this version: of another one, what was found holds no more."""
        before = self._versions.get(server_id)
        if before is None or not version:
            return
        self._versions[server_id] = version
        if before and before != version:
            self._rota.begin_anew(server_id, self._clock.monotonic())
            self._forget(server_id)
            self._end_outdated()

    def _forget(self, server_id: str) -> None:
        self._samples.forget(server_id)
        self._keeps.forget((server_id,))

    def _first_due(self, key: Key) -> float:
        """Say when a model is due that is new here: at once, unless it is known when it was looked at."""
        found = self._keeps.of(key[0]).get(key[1])
        now = self._clock.monotonic()
        if not found:
            return now
        looked_at = max(one.found_at for one in found if one.subject is not Subject.CANARY or len(found) == 1)
        age = (self._clock.now() - looked_at).total_seconds()
        return now + max(0.0, self._until_next() - max(0.0, age))

    def _until_next(self) -> float:
        return self._jittered(self._interval_seconds) if self._interval_seconds else math.inf

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self._draw())

    def _end_outdated(self) -> None:
        """End a look at what is not there any more, is another by now, or may not be asked: it holds a place."""
        if self._current is not None:
            duty, task = self._current
            if not self._rota.is_current(duty) or not may_be_asked(duty.server):
                task.cancel()
        self._wake.set()

    async def _see_through(self, duty: Duty) -> None:
        task = self._tasks.spawn(self._look_at(duty), name=f"look at {duty.upstream_name} on server {duty.server.id}")
        self._current = duty, task
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._current = None

    async def _look_at(self, duty: Duty) -> None:
        duty.begun_at = self._clock.monotonic()
        duty.due = duty.begun_at + LONGEST_PAUSE_SECONDS  # for a bug, which the keeper of tasks logs
        claimed = duty.claimed
        try:
            fault = await self._examine(duty)
        except asyncio.CancelledError:
            duty.due = self._clock.monotonic()  # again at once, if it is still there and may be asked
            raise
        except PutOffError:
            duty.due = self._clock.monotonic() + WAIT_SECONDS
            return
        duty.faults = duty.faults + 1 if fault else 0
        duty.due = self._clock.monotonic() + (self._pause_seconds(duty.faults) if fault else self._until_next())
        if duty.claimed != claimed:
            self._rota.hasten(duty, self._clock.monotonic())

    async def _examine(self, duty: Duty) -> str:
        """Look at all claims of a model; return what went wrong, empty if nothing did."""
        server, name = duty.server, duty.upstream_name
        told = server.contexts.get(name)
        thinking_off = server.abilities.get(name, UNJUDGED).thinking_off
        claim = Claim(name, engine_named(server.engine), duty.claimed, told, thinking_off)
        outcome = await self._inquiry.carry_through(duty, examine(claim))
        fault = outcome.reason if isinstance(outcome, Inconclusive) else outcome.fault
        if fault:
            logger.debug("A server's claims could not be looked at", server_id=server.id, model=name, reason=fault)
        if not isinstance(outcome, Inconclusive) and self._rota.is_current(duty):
            self._take_in(duty, outcome)
            await self._keeps.flush()
        return fault

    def _take_in(self, duty: Duty, outcome: Examined) -> None:
        """Keep what was found, and what it changes for the servers that it is compared with."""
        now = self._clock.now()
        self._samples.put(duty.key, outcome.sample)
        self._keeps.keep(*duty.key, [VerificationFinding.of(one, now) for one in outcome.judgements])
        unheard = [twin for twin in self._rota if self._samples.is_unheard_twin(duty.key, twin.key)]
        for twin in unheard:  # after a start nobody knows what they said
            self._rota.hasten(twin, self._clock.monotonic())
        for key, judgement in self._samples.compare(duty.key):
            known = self._canary_of(key)
            finding = VerificationFinding.of(judgement, now)
            is_settled = known is not None and (known.verdict, known.detail) == (finding.verdict, finding.detail)
            is_early = known is not None and any(is_askable(twin) and not twin.faults for twin in unheard)
            if not (is_early or (is_settled and key != duty.key)):
                self._keeps.keep(*key, [finding])
        found = self._keeps.of(duty.server.id).get(duty.upstream_name, ())
        logger.info(
            "A server's claims were looked at",
            server_id=duty.server.id,
            model=duty.upstream_name,
            mismatches=[one.subject.value for one in found if one.verdict is Verdict.MISMATCH],
        )

    def _canary_of(self, key: Key) -> VerificationFinding | None:
        found = self._keeps.of(key[0]).get(key[1], ())
        return next((finding for finding in found if finding.subject is Subject.CANARY), None)

    def _pause_seconds(self, faults: int) -> float:
        return self._jittered(min(FIRST_PAUSE_SECONDS * 2.0 ** min(faults - 1, MAX_DOUBLINGS), LONGEST_PAUSE_SECONDS))


def _version_of(server: Server) -> str:
    """Return the version of the engine that the server's continuation was tried with; empty where nobody knows."""
    return next((ability.version for ability in server.abilities.values() if ability.version), "")
