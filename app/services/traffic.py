"""How much goes through, now and over time? The counters that the ledger keeps anyway, looked at every ten seconds.

No request pays for it. Somebody who asks has them looked at once a second. A minute of it is a row in the database,
for the whole pool and for each owner whose servers had something to do: a chart goes on where it was after a restart,
and a kill loses one minute of it. While the database fails or another process has it, rows wait in memory, for as long
as the chart of six hours tells them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import StorageUnavailable
from app.services.core.reporting.deltas import Deltas
from app.services.core.reporting.series import POOL, SPANS, Bucket, History, first_token_seconds, rate, share
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from app.services.core.reporting.series import Series, Span
    from app.services.core.reporting.tallies import Tallies

__all__ = ["WINDOW_SECONDS", "Figures", "MinuteRows", "Sources", "Traffic"]

WINDOW_SECONDS: Final = 300
"""How far back the figures go that one request alone would sway: first tokens, errors, continuations."""
RATE_SECONDS: Final = 10.0
"""How far back the present rates go."""
LOOK_SECONDS: Final = 1.0
_STEP: Final = 10
_MINUTE: Final = 60
_HALF_HOUR: Final = 1800
_DAY_MINUTES: Final = 1440
_MOST_LOOKS: Final = 32

logger = get_logger(__name__)


class MinuteRows(Protocol):
    """Where minutes outlive the process: ``registry.accounting.traffic_store.TrafficStore``.

    All of it raises ``StorageUnavailable`` where the database does not answer.
    """

    async def save(self, rows: Iterable[tuple[int, str, Bucket]]) -> None:
        """Write minutes in place of what was there of them, in one transaction."""

    async def load(self, since_minute: int, minutes: int = 1) -> list[tuple[int, str, Bucket]]:
        """Read them from a minute on, so many added up."""

    async def purge(self, before_minute: int) -> None:
        """Delete what is older."""


def _nobody_hears(_came: Mapping[str, int]) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from.

    Attributes:
        tallies: everything counted since the start.
        owners: who registered each server, by its id.
        queued: how many requests wait for a place now.
    """

    tallies: Callable[[], Tallies]
    owners: Callable[[], Mapping[str, str]]
    queued: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Figures:
    """How much goes through at this moment.

    Rates are those of the last ten seconds and None before anything was watched. What stands below ``queued`` is of
    the last five minutes. ``queued`` is None but for the whole pool.
    """

    requests_per_second: float | None
    prompt_tokens_per_second: float | None
    completion_tokens_per_second: float | None
    queued: int | None
    requests: int
    errors: int
    errors_share: float | None
    continuations: int
    first_token_p50_seconds: float | None
    first_token_p95_seconds: float | None


class Traffic:
    """The figures over time.

    Args:
        sources: where they come from.
        store: where they outlive the process.
        retention_days: how long they are kept there.
        may_write: whether the store is there.
        monotonic: seconds that never jump: how long something was watched.
        wall: Unix seconds: where in time it lies.

    Attributes:
        on_continued: told once a minute how many broken answers went on elsewhere, by owner and for ``POOL``; not where
            there were none.
    """

    def __init__(
        self,
        sources: Sources,
        store: MinuteRows,
        *,
        retention_days: int = 30,
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.on_continued: Callable[[Mapping[str, int]], None] = _nobody_hears
        self._sources = sources
        self._store = store
        self._retention_days = retention_days
        self._may_write = may_write
        self._monotonic = monotonic
        self._wall = wall
        self._deltas = Deltas()
        self._history = History()
        self._looks: deque[tuple[float, dict[str, Bucket]]] = deque(maxlen=_MOST_LOOKS)
        self._continued: dict[str, int] = {}
        self._unsaved: set[tuple[int, str]] = set()
        self._looked_at = monotonic()
        self._step = self._number(_STEP)
        self._minute = self._written = self._number(_MINUTE)
        self._loaded = False
        self._flushing = asyncio.Lock()
        self._store_failed = False

    # -- what is told

    def figures(self, owners: Collection[str]) -> Figures:
        """Tell how much goes through now on the servers of some; ``{POOL}``: on all."""
        self._look_if_due()
        lately = self._history.lately(owners, self._wall(), WINDOW_SECONDS)
        now, seconds = Bucket(), 0.0
        for lasted, came in reversed(self._looks):
            seconds += lasted
            for owner in owners:
                if (bucket := came.get(owner)) is not None:
                    now.add(bucket)
            if seconds >= RATE_SECONDS:
                break
        return Figures(
            rate(now.requests, seconds),
            rate(now.prompt_tokens, seconds),
            rate(now.completion_tokens, seconds),
            self._sources.queued() if POOL in owners else None,
            lately.requests,
            lately.errors,
            share(lately.errors, lately.requests),
            lately.continuations,
            first_token_seconds(lately.first_tokens, 0.5),
            first_token_seconds(lately.first_tokens, 0.95),
        )

    def series(self, span: Span, owners: Collection[str], steps_a_row: int = 1) -> Series:
        """Tell a span of time, of the servers of some together; so many of its steps as one."""
        self._look_if_due()
        return self._history.series(span, owners, self._wall(), steps_a_row)

    def owners(self) -> set[str]:
        """Whose servers served anything within the longest span."""
        return self._history.owners()

    # -- as time goes by

    def tick(self) -> None:
        """Look at the counters when ten seconds of the wall clock have passed; to be called more often than that."""
        if self._number(_STEP) != self._step:
            self._look()

    def _look_if_due(self) -> None:
        if self._monotonic() - self._looked_at >= LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        """Take in what came since the last look. It lies in the middle of the time that it took."""
        moment, now = self._monotonic(), self._wall()
        lasted = moment - self._looked_at
        came = self._deltas.take(self._sources.tallies(), self._sources.owners())
        pool = came.setdefault(POOL, Bucket())
        pool.seconds, pool.queued_most = lasted, self._sources.queued()
        middle = now - lasted / 2
        for owner, bucket in came.items():
            self._history.add(owner, middle, bucket)
            self._unsaved.add((int(middle // _MINUTE), owner))
            if bucket.continuations > 0:
                self._continued[owner] = self._continued.get(owner, 0) + bucket.continuations
        self._looks.append((lasted, came))
        self._looked_at, self._step = moment, int(now // _STEP)
        if int(now // _MINUTE) != self._minute:
            self._minute = int(now // _MINUTE)
            self._history.forget(now)
            if self._continued:
                continued, self._continued = self._continued, {}
                self.on_continued(continued)

    # -- what outlives the process

    async def flush(self, *, everything: bool = False) -> None:
        """Write the minutes that have passed since the last time, once a minute; the first time, read what is stored.

        A database that fails is logged once, until it recovers.

        Args:
            everything: write the minute that is not over too: another process is about to take over.
        """
        is_due = self._number(_MINUTE) != self._written or not self._loaded or everything
        if is_due and self._may_write():
            async with self._flushing:
                self._written = self._number(_MINUTE)
                await self._write(everything=everything)

    async def close(self) -> None:
        """Write the last of it, before the database is closed."""
        self._look()
        await self.flush(everything=True)

    async def purge(self) -> None:
        """Forget what is past its retention.

        Raises:
            StorageUnavailable: some of it may be there still.
        """
        if self._may_write():
            await self._store.purge(self._number(_MINUTE) - self._retention_days * _DAY_MINUTES)

    async def _write(self, *, everything: bool) -> None:
        try:
            if not self._loaded:
                await self._load()
            minute = self._number(_MINUTE)
            due = {(one, owner) for one, owner in self._unsaved if everything or one != minute}
            await self._save(due)
        except StorageUnavailable as error:
            self._note_failure(error)
        else:
            self._note_recovery()

    async def _save(self, due: set[tuple[int, str]]) -> None:
        """Write minutes; what was not seen to be written waits for the next time, as long as it is told at all."""
        known = [(minute, owner, self._history.minute(owner, minute)) for minute, owner in due]
        rows = [(minute, owner, bucket) for minute, owner, bucket in known if bucket is not None]
        self._unsaved -= due
        try:
            await self._store.save(rows)
        except BaseException:
            self._unsaved.update((minute, owner) for minute, owner, _bucket in rows)
            raise

    async def _load(self) -> None:
        """Go on where the last process was; the present minute is added to what that one stored of it."""
        now = self._wall()
        half_hours, minutes = SPANS["7d"], SPANS["6h"]
        spans = (
            (half_hours, self._number(_HALF_HOUR) - half_hours.points, half_hours.step_seconds // _MINUTE),
            (minutes, self._number(_MINUTE) - minutes.points, 1),
        )
        found = [(span, await self._store.load(first * each, each)) for span, first, each in spans]
        for span, rows in found:
            present = int(now // span.step_seconds)
            for number, owner, bucket in rows:
                if number == present:
                    bucket.seconds = min(bucket.seconds, now % span.step_seconds)
                if number <= present:
                    self._history.put(span.step_seconds, owner, number, bucket)
        self._loaded = True

    def _number(self, step: int) -> int:
        return int(self._wall() // step)

    def _note_failure(self, error: StorageUnavailable) -> None:
        if not self._store_failed:
            logger.warning(
                "The figures of each minute cannot be saved; they are kept in memory until the database answers",
                reason=error.message,
            )
        self._store_failed = True

    def _note_recovery(self) -> None:
        if self._store_failed:
            logger.info("The figures of each minute are saved again")
        self._store_failed = False
