"""Who used what, and who gave what? Use waits in memory for half a second, then it is in the database.

Nothing is counted twice and nothing is left out but what a ``kill -9`` finds in memory: a batch is one transaction that
is carried to its end even if its caller goes away, and a database that fails has written none of it (a commit that
SQLite refuses is not there for this process, and the rows that a recovery might find belong to a process that died
with its memory). What was not written waits, merged and bounded, until the database answers again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from app.services.core.errors import NotAllowed, StorageUnavailable, Unavailable
from app.services.core.people.principal import Role
from app.services.core.reporting.use import UseTally
from app.services.registry.accounting.contributions import contributions
from app.services.registry.accounting.usage_names import UsageNames
from app.services.registry.accounting.usage_query import (
    DEFAULT_DAYS,
    GroupBy,
    Narrowing,
    OwnUse,
    Span,
    UsageLine,
    UsageReport,
    UsageSums,
    narrowed,
)
from app.services.registry.changes import Changes
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from datetime import datetime

    from app.services.core.limits.standing import Standing
    from app.services.core.people.principal import Principal
    from app.services.core.reporting.use import Use, UseKey
    from app.services.registry.accounting.usage_query import Contribution, UsageQuery
    from app.services.registry.accounting.usage_spool import UsageSpool
    from app.services.registry.accounting.usage_store import UsageStore

__all__ = ["Usage"]

_LEAST_SECONDS_BETWEEN_READS: Final = 0.1
"""Who reads waits for what has just ended to be written, and all who read cause so many writes a second at most."""
_MODELS_TOLD: Final = 100
_READERS: Final = 2
"""So many questions are answered at once: adding up long spans must not take every connection to the database."""
_PATIENCE_SECONDS: Final = 10.0
_FLUSHES_A_LOOK: Final = 20
"""How often it is looked whether another process left something: every ten seconds."""

logger = get_logger(__name__)


def _nothing() -> None:
    """Nobody holds outcomes back."""


def _no_limits(_principal: Principal) -> Iterable[Standing]:
    """Nobody counts."""
    return ()


class Usage:
    """What was used, from the request that ends to the question of who used how much.

    Args:
        store: where it outlives the process.
        clock: the present moment, timezone-aware UTC.
        may_write: whether the store is there; while another process has it, use waits in memory.
        spool: where use is left that this process can't write any more; None: it is lost.
        sleep: waits so many seconds.

    Attributes:
        tally: takes what ends.
        fold: called before a batch is written, so that what waits elsewhere (the ledger) gets into the tally.
        left: says how the limits of a key stand.
    """

    def __init__(
        self,
        store: UsageStore,
        clock: Callable[[], datetime],
        *,
        may_write: Callable[[], bool] = lambda: True,
        spool: UsageSpool | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.tally = UseTally()
        self.fold: Callable[[], None] = _nothing
        self.left: Callable[[Principal], Iterable[Standing]] = _no_limits
        self._store = store
        self._names = UsageNames(store)
        self._clock = clock
        self._may_write = may_write
        self._spool = spool
        self._flushes = 0
        self._sleep = sleep
        self._writing = asyncio.Lock()
        self._readers = asyncio.Semaphore(_READERS)
        self._changes = Changes("writing of use")
        self._store_failed = False
        self._written_at = float("-inf")

    async def flush(self) -> None:
        """Write what was used since the last time. A database that fails is logged once, until it recovers."""
        if self._flushes % _FLUSHES_A_LOOK == 0 and self._spool is not None and self._may_write():
            await self._changes.carry_through(self._take_in(self._spool))
        self._flushes += 1
        self.fold()
        if not self.tally.is_empty and self._may_write():
            await self._changes.carry_through(self._write())

    async def close(self) -> None:
        """Write the last of it, before the database is closed; what can't be written is left to the next process."""
        await self.flush()
        await self._changes.settle()
        if self.tally.is_empty:
            return
        rows = self.tally.take()
        reason = "there is no folder for it"
        if self._spool is not None:
            try:
                await asyncio.to_thread(self._spool.leave, rows)
            except OSError as error:
                reason = str(error)
            else:
                logger.info("The last use is left to the process that has the database", requests=_requests(rows))
                return
        logger.error("The last use was not written", requests=_requests(rows), reason=reason)

    async def purge(self, before: datetime) -> None:
        """Forget what is older.

        Raises:
            StorageUnavailable: some of it may be there still.
        """
        await self._store.purge(before)

    async def report(self, principal: Principal, query: UsageQuery) -> UsageReport:
        """Add up what a key may see.

        Raises:
            NotAllowed: it may not ask this.
            Unavailable: too many ask, or the database does not answer.
        """
        query, narrowing = narrowed(principal, query)
        page = (query.limit, query.offset)
        async with self._turn():
            found = await self._store.grouped(query.group_by, query.span, narrowing, query.filters, page)
            names = await self._names.of(principal, query.group_by, found.rows)
        lines = tuple(UsageLine(known, names[known], sums) for known, sums in found.rows.items())
        return UsageReport(query, lines, found.count, found.totals)

    async def contributions(self, principal: Principal, span: Span) -> list[Contribution]:
        """Say what each owner gave and took, who gave the most first; an owner hears of itself alone.

        Raises:
            NotAllowed: a user's key.
            StorageUnavailable: the database does not answer.
        """
        if principal.role is Role.USER:
            raise NotAllowed("Contributions are told to owners and admins. GET /v1/usage tells this key its own use.")
        async with self._turn():
            return await contributions(self._store, principal, span)

    async def own(self, principal: Principal) -> OwnUse:
        """Say what a key itself used today and this month.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        now = self._clock()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        month = day.replace(day=1)
        own = Narrowing(key=principal.key_id)
        end = now + timedelta(hours=1)
        async with self._turn():
            today = await self._store.grouped(GroupBy.KEY, Span(day, end), own, {})
            by_model = await self._store.grouped(GroupBy.MODEL, Span(month, end), own, {}, (_MODELS_TOLD, 0))
        models = tuple(UsageLine(model, model, sums) for model, sums in by_model.rows.items())
        return OwnUse(day, month, today.totals, by_model.totals, models, tuple(self.left(principal)))

    async def own_days(self, principal: Principal) -> dict[datetime, UsageSums]:
        """Say what a key itself used on each of the last 30 days, by the midnight (UTC) that each begins with.

        The oldest is the first; days without use are there too.

        Raises:
            Unavailable: too many ask, or the database does not answer.
        """
        today = self._clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [today - timedelta(days=back) for back in reversed(range(DEFAULT_DAYS))]
        span, itself = Span(days[0], today + timedelta(days=1)), Narrowing(key=principal.key_id)
        async with self._turn():
            used = (await self._store.grouped(GroupBy.DAY, span, itself, {})).rows
        return {day: used.get(day.date().isoformat(), UsageSums()) for day in days}

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Read in turn, when what has ended is written.

        Raises:
            Unavailable: too many ask.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._readers.acquire()
        except TimeoutError as error:
            message = "Too many ask for use at once. Ask again in a second."
            raise Unavailable(message, retry_after_seconds=1) from error
        try:
            await self._settle()
            yield
        finally:
            self._readers.release()

    async def _settle(self) -> None:
        """See that what has ended by now can be read."""
        self.fold()
        if not self.tally.is_empty:
            early_seconds = self._written_at + _LEAST_SECONDS_BETWEEN_READS - time.monotonic()
            if early_seconds > 0:
                await self._sleep(early_seconds)
            await self.flush()
        async with self._writing:  # another one may have taken it meanwhile: it can be read once that is written
            return

    async def _take_in(self, spool: UsageSpool) -> None:
        """Count what another process left."""
        for rows in await asyncio.to_thread(spool.collect):
            self.tally.give_back(rows)

    async def _write(self) -> None:
        """Write a batch whole or not at all."""
        async with self._writing:
            rows = self.tally.take()
            if not rows:  # another one who waited wrote it
                return
            try:
                await self._store.add(rows)
            except StorageUnavailable as error:
                self.tally.give_back(rows)
                self._note_failure(error)
            except Exception:  # one batch that can't be written for ever must not keep back all that follow
                logger.exception("A batch of use was lost by a bug of the gateway's", requests=_requests(rows))
            else:
                self._note_recovery()
            self._written_at = time.monotonic()

    def _note_failure(self, error: StorageUnavailable) -> None:
        if not self._store_failed:
            logger.warning("Use cannot be saved; it is kept in memory until the database answers", reason=error.message)
        self._store_failed = True

    def _note_recovery(self) -> None:
        if self._store_failed:
            logger.info("Use is saved again")
        self._store_failed = False


def _requests(rows: dict[UseKey, Use]) -> int:
    return sum(use.requests for use in rows.values())
