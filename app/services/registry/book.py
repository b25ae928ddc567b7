"""How well is each server right now, and how was it lately? The live health of all servers, batched to the database.

Memory is the truth that routing follows; the database gets a copy about once a second, so that a restart begins with
what was last known. Losing that second costs a check. When the database fails, the batch is kept (bounded) and
everything else goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.checks.health import (
    CheckRecord,
    HealthState,
    Refused,
    Rejected,
    WentSilent,
    advance,
    event_from,
)
from app.services.core.checks.rejections import Rejections
from app.services.core.errors import StorageUnavailable
from app.services.core.types import CheckFailure, HealthStatus
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from app.services.core.checks.health import Event, Thresholds
    from app.services.core.types import Inspection

__all__ = ["HISTORY_LENGTH", "CheckRecord", "HealthBook", "HealthStore"]

HISTORY_LENGTH: Final = 100
"""Checks kept for each server."""

MAX_PENDING_RECORDS: Final = 10_000
"""Records that wait for a database that fails; the oldest are given up first."""

UNKNOWN: Final = HealthState()

logger = get_logger(__name__)


class HealthStore(Protocol):
    """Where states and records outlive the process."""

    async def save_health(self, states: Mapping[str, HealthState], records: Sequence[tuple[str, CheckRecord]]) -> None:
        """Write the latest state of each server and append the records, oldest first, in one transaction.

        Raises:
            StorageUnavailable: nothing was written; the same batch will be offered again.
        """


class HealthBook:
    """The live health of every server.

    Args:
        store: where ``flush`` writes to.
        thresholds: how much evidence a change of state takes.
        on_change: called, without arguments, when a state or a list of missing models changed, so that routing
            follows at once.
        may_write: whether the store is there; while another process has it, what is found stays in memory.
        monotonic: seconds that never jump, the clock of ``asked_at``.
    """

    def __init__(
        self,
        store: HealthStore,
        thresholds: Thresholds,
        on_change: Callable[[], None],
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._may_write = may_write
        self._thresholds = thresholds
        self._on_change = on_change
        self._monotonic = monotonic
        self._rejections = Rejections()
        self._states: dict[str, HealthState] = {}
        self._histories: dict[str, deque[CheckRecord]] = {}
        self._unsaved: set[str] = set()
        self._pending: deque[tuple[str, CheckRecord]] = deque(maxlen=MAX_PENDING_RECORDS)
        self._flushing = asyncio.Lock()
        self._store_failed = False

    def load(self, states: Mapping[str, HealthState], histories: Mapping[str, Iterable[CheckRecord]]) -> None:
        """Take over what the database knows, or what an examination of a changed server found.

        What these servers refused before says nothing any more. Histories come newest first.
        """
        self._states.update(states)
        for server_id in states:
            self._rejections.renewed(server_id, self._monotonic())
        for server_id, records in histories.items():
            self._histories[server_id] = deque(list(records)[:HISTORY_LENGTH], HISTORY_LENGTH)

    def state(self, server_id: str) -> HealthState:
        """Return what is known of a server; the unknown state if that is nothing."""
        return self._states.get(server_id, UNKNOWN)

    def history(self, server_id: str) -> list[CheckRecord]:
        """Return the last checks and lost dials of a server, newest first, at most 100."""
        return list(self._histories.get(server_id, ()))

    def record(self, server_id: str, inspection: Inspection, now: datetime, *, wanted: bool = False) -> None:
        """Take in what a check found. One that could not be made says nothing of the server, and changes nothing.

        Args:
            server_id: who was checked.
            inspection: what was found.
            now: timezone-aware UTC, for people.
            wanted: requests wait for the server, so one good check opens it. One that refused a request is opened by
                its chance alone.
        """
        if inspection.failure is CheckFailure.NOT_MADE:
            logger.warning("A server could not be checked", server_id=server_id, reason=inspection.reason)
            return
        before, moment = self.state(server_id), self._monotonic()
        counts = self._rejections.has_chance(server_id, moment) if before.rejection else wanted
        record = CheckRecord(now, inspection.passed, inspection.reason, inspection.latency_ms)
        self._take(server_id, event_from(inspection, wanted=counts), record)
        if before.misconfigured and not self._states[server_id].misconfigured:
            self._rejections.opened(server_id, moment)

    def refused(self, server_id: str, reason: str, now: datetime) -> None:
        """Take in a request that could not connect. Calls about servers that are not in the book are dropped."""
        if server_id in self._states:
            self._take(server_id, Refused(reason), CheckRecord(now, ok=False, reason=reason, source="traffic"))

    def rejected(
        self, server_id: str, status: int, reason: str, now: datetime, *, asked_at: float | None = None
    ) -> None:
        """Take in a request that a server answered with 401 or 403: it takes no work until it is given a chance.

        Args:
            server_id: who answered; dropped if it is not in the book, or known to refuse already.
            status: the answer's.
            reason: its words, without the server's key; empty if they are not known.
            now: timezone-aware UTC, for people.
            asked_at: monotonic seconds when the request was sent, None for now. What was sent before the server was
                trusted anew is dropped: it was sent with the old key.
        """
        state, moment = self._states.get(server_id), self._monotonic()
        if state is None or state.misconfigured:
            return
        if self._rejections.reject(server_id, moment, moment if asked_at is None else asked_at):
            told = f"answered {status} to a request: {reason or _phrase(status)}, update the server's api_key"
            self._take(server_id, Rejected(told), CheckRecord(now, ok=False, reason=told, source="traffic"))

    def silent(self, server_id: str, now: datetime) -> None:
        """Take in that a server fell silent in the middle of an answer, and beside it too. Strangers are dropped."""
        if server_id in self._states:
            event = WentSilent()
            self._take(server_id, event, CheckRecord(now, ok=False, reason=event.reason))

    def pardon(self, server_id: str) -> None:
        """Let the next good check open a server that refused a request: its owner asks for it."""
        self._rejections.pardon(server_id, self._monotonic())

    def forget(self, server_id: str) -> None:
        """Drop all that is known of a server that was removed, or that moved to another endpoint."""
        self._states.pop(server_id, None)
        self._histories.pop(server_id, None)
        self._rejections.forget(server_id)
        self._unsaved.discard(server_id)
        kept = [entry for entry in self._pending if entry[0] != server_id]
        self._pending.clear()
        self._pending.extend(kept)

    async def flush(self) -> None:
        """Write what changed since the last time. A database that fails is logged once, until it recovers.

        What was not seen to be written is kept for the next time, also when this call is cancelled: a check may then
        be stored twice, but none is lost.
        """
        async with self._flushing:
            states = {server_id: self._states[server_id] for server_id in self._unsaved}
            records = list(self._pending)
            if (not states and not records) or not self._may_write():
                return
            self._unsaved.clear()
            self._pending.clear()
            try:
                await self._store.save_health(states, records)
            except StorageUnavailable as error:
                self._keep(states, records)
                self._note_failure(error)
            except BaseException:
                self._keep(states, records)
                raise
            else:
                self._note_recovery()

    def _take(self, server_id: str, event: Event, record: CheckRecord) -> None:
        """Advance the state, keep the record, and tell routing if it matters there."""
        before = self.state(server_id)
        after = advance(before, event, record.checked_at, self._thresholds)
        self._states[server_id] = after
        self._histories.setdefault(server_id, deque(maxlen=HISTORY_LENGTH)).appendleft(record)
        self._unsaved.add(server_id)
        self._pending.append((server_id, record))
        has_changed = _for_routing(after) != _for_routing(before)
        if has_changed:
            _log_transition(server_id, before, after)
        if has_changed or after.loading is not before.loading:
            self._on_change()

    def _keep(self, states: Mapping[str, HealthState], records: list[tuple[str, CheckRecord]]) -> None:
        """Put a batch back that was not written, before what came since; what was forgotten meanwhile stays out."""
        self._unsaved.update(server_id for server_id in states if server_id in self._states)
        newer = list(self._pending)
        self._pending.clear()
        self._pending.extend(entry for entry in (*records, *newer) if entry[0] in self._states)

    def _note_failure(self, error: StorageUnavailable) -> None:
        if not self._store_failed:
            logger.warning(
                "Health results cannot be saved; they are kept in memory until the database answers",
                reason=error.message,
            )
        self._store_failed = True

    def _note_recovery(self) -> None:
        if self._store_failed:
            logger.info("Health results are saved again")
        self._store_failed = False


def _for_routing(state: HealthState) -> tuple[HealthStatus, bool, frozenset[str]]:
    """What routing follows of a state."""
    return state.status, state.misconfigured, state.missing_models


def _phrase(status: int) -> str:
    """What a status is called (RFC 9110, 15)."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _log_transition(server_id: str, before: HealthState, after: HealthState) -> None:
    """Write the one line that a transition is worth."""
    healthy = after.status is HealthStatus.HEALTHY
    write = logger.info if healthy and not after.missing_models else logger.warning
    write(
        "The state of a server changed",
        changed=_changed(before, after),
        server_id=server_id,
        status=after.status.value,
        previous_status=before.status.value,
        missing_models=sorted(after.missing_models),
        reason=after.reason,
    )


def _changed(before: HealthState, after: HealthState) -> str:
    """Name what a transition is about."""
    if after.status is not before.status:
        return "health"
    return "list of models" if after.missing_models != before.missing_models else "credentials"
