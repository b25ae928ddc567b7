"""Who takes out servers that pass their checks and fail requests, and brings them back where they are needed?

It hears of each time that the breaker turns away from a server, and of each new snapshot; nothing of single requests.
Quarantines are stored with the server; what speaks for the next one is in memory, and gone with the process.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from app.services.core.errors import NotFound, StorageUnavailable
from app.services.core.people.quarantine import (
    FORGET_SECONDS,
    MOST_EJECTIONS,
    Ejection,
    fault_of,
    is_needed,
    may_be_taken_out,
    out_for_seconds,
    verdict,
)
from app.services.core.types import HealthStatus
from app.utils.logger import get_logger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.retry import Failure

__all__ = ["Quarantine"]

logger = get_logger(__name__)


class Registry(Protocol):
    """``registry.service.Registry``."""

    async def quarantine(self, server_id: str, reason: str, until: datetime) -> None:
        """Take a server out."""

    async def release(self, server_id: str, /) -> bool:
        """Let it out again; whether it was in quarantine."""
        ...


class Spawns(Protocol):
    """``utils.tasks.TaskKeeper``."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a task and keep it."""
        ...


def _none_known(_server_id: str) -> int:
    return 0


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Case:
    """What speaks against a server. Times are monotonic seconds; ``times`` is how often it was out of late."""

    ejections: deque[Ejection] = field(default_factory=lambda: deque(maxlen=4 * MOST_EJECTIONS))
    times: int = 0
    out_until: float = 0.0


class Quarantine:
    """Judges servers by what becomes of requests.

    Args:
        registry: keeps the quarantines.
        tasks: starts the tasks that write them.
        snapshot: all servers, as routing sees them now.
        is_shut: whether the breaker holds requests back from a server, by its id.
        good_answers: how many answers of a server were good, since the gateway's start.
        clock: monotonic seconds.
        now: the present moment in UTC.
    """

    def __init__(
        self,
        registry: Registry,
        tasks: Spawns,
        *,
        snapshot: Callable[[], Snapshot],
        is_shut: Callable[[str], bool],
        good_answers: Callable[[str], int] = _none_known,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._registry = registry
        self._tasks = tasks
        self._snapshot = snapshot
        self._is_shut = is_shut
        self.good_answers = good_answers
        self._clock = clock
        self._now = now
        self._cases: dict[str, _Case] = {}
        self._deciding: set[str] = set()

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        """Take in that the breaker turned away from a server.

        Args:
            server_id: from which one.
            failure: why its last answer could not be used.
            status: of that answer; 0 if there was none.
            begun: whether a good answer had begun.
            failures: how many answers in a row were no good.
        """
        fault, server = fault_of(failure, status, begun=begun), self._snapshot().servers.get(server_id)
        if fault is None or server is None or not server.accepts_work:
            return
        case, moment = self._cases.setdefault(server_id, _Case()), self._clock()
        good = self.good_answers(server_id)
        case.ejections.append(Ejection(moment, fault, failures, good))
        reason = verdict(case.ejections, moment, good)
        is_well = server.health is HealthStatus.HEALTHY and not server.misconfigured
        if reason is None or not is_well or server_id in self._deciding:
            return
        if not may_be_taken_out(server, self._snapshot(), self._is_shut):
            logger.warning("A server fails requests and stays: it is needed", server_id=server_id, reason=reason)
            return
        self._begin(server_id, self._take_out(server_id, case, reason))

    def review(self, snapshot: Snapshot) -> None:
        """Look at a new list of servers: forget those that are gone, and bring back those that are needed."""
        for server_id in [known for known in self._cases if known not in snapshot.servers]:
            del self._cases[server_id]
        for server in snapshot.servers.values():
            if not server.quarantined or server.id in self._deciding:
                continue
            would_serve = (
                replace(server, quarantined=False).accepts_work and server.health is not HealthStatus.UNHEALTHY
            )
            if would_serve and is_needed(server, snapshot):
                self._begin(server.id, self._bring_back(server.id))

    def _begin(self, server_id: str, decision: Coroutine[Any, Any, None]) -> None:
        self._deciding.add(server_id)
        try:
            self._tasks.spawn(decision, name=f"quarantine of server {server_id}")
        except RuntimeError:  # the gateway ends, and a list of servers is published while it does
            self._deciding.discard(server_id)

    async def _take_out(self, server_id: str, case: _Case, reason: str) -> None:
        moment = self._clock()
        times = 0 if moment - case.out_until > FORGET_SECONDS else case.times
        seconds = out_for_seconds(times)
        try:
            await self._registry.quarantine(server_id, reason, self._now() + timedelta(seconds=seconds))
        except (NotFound, StorageUnavailable) as error:
            logger.warning("A server was not taken out", server_id=server_id, reason=error.message)
        else:
            logger.warning("A server is in quarantine", server_id=server_id, reason=reason, seconds=seconds)
            case.times, case.out_until = times + 1, moment + seconds
            case.ejections.clear()
        finally:
            self._deciding.discard(server_id)

    async def _bring_back(self, server_id: str) -> None:
        try:
            if await self._registry.release(server_id):
                logger.warning("A server is out of quarantine: nobody else serves its models", server_id=server_id)
        except (NotFound, StorageUnavailable) as error:
            logger.warning("A server stays in quarantine", server_id=server_id, reason=error.message)
        finally:
            self._deciding.discard(server_id)
