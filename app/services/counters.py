"""How does what was counted for limits outlive the process? Loaded at the start, saved twice a second.

A request is never held up by it: the gate counts in memory, and what changed is written in one transaction. A kill
gives back at most what came in since the last time. When the database fails, the newest states wait, and all else goes
on.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import StorageUnavailable
from app.services.core.limits.shelf import MOST_PEOPLE
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.services.core.limits.gate import Gate, SavedCounter

__all__ = ["CounterRows", "Counters"]

MOST_WAITING: Final = 100_000
"""States that wait for a database that fails; those that waited longest are given up first."""
_KEPT: Final = timedelta(days=35)
"""No limit counts for longer than a month."""

logger = get_logger(__name__)


class CounterRows(Protocol):
    """Where states outlive the process: ``registry.accounting.counter_store.CounterStore``.

    All of it raises ``StorageUnavailable`` where the database does not answer.
    """

    async def load(self, most_people: int) -> list[tuple[str, str | None, bytes]]:
        """Read all states, but of people only so many, newest first."""

    async def save(self, states: Sequence[SavedCounter], saved_at: datetime) -> None:
        """Write states, and delete where there is none any more, in one transaction."""

    async def purge(self, saved_before: datetime) -> None:
        """Delete what was not saved since a moment."""


class Counters:
    """Keeps what a gate counts.

    Args:
        gate: counts.
        store: where it is written to.
        may_write: whether the store is there; while another process has it, what is counted stays in memory.
        monotonic: seconds that never jump, as the gate is asked with.
        wall: Unix seconds, as the gate is asked with.
    """

    def __init__(
        self,
        gate: Gate,
        store: CounterRows,
        *,
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._store = store
        self._may_write = may_write
        self._monotonic = monotonic
        self._wall = wall
        self._waiting: dict[tuple[str, str | None], bytes | None] = {}
        self._flushing = asyncio.Lock()
        self._store_failed = False

    async def load(self) -> None:
        """Go on where the last process was.

        Raises:
            StorageUnavailable: it can't be read.
        """
        states = await self._store.load(MOST_PEOPLE)
        damaged = self._gate.restore(states, self._monotonic(), self._wall())
        if damaged:
            logger.warning("Counters of limits can't be read and begin anew", damaged=damaged, read=len(states))

    async def flush(self) -> None:
        """Write what changed since the last time. A database that fails is logged once, until it recovers.

        What was not seen to be written is kept for the next time, also when this call is cancelled.
        """
        async with self._flushing:
            if not self._may_write():
                return
            wall = self._wall()
            for subject, model, state in self._gate.changed(self._monotonic(), wall):
                self._waiting.pop((subject, model), None)  # what is newer waits behind what is older
                self._waiting[subject, model] = state
            states = [(subject, model, state) for (subject, model), state in self._waiting.items()]
            if not states:
                return
            try:
                await self._store.save(states, datetime.fromtimestamp(wall, UTC))
            except StorageUnavailable as error:
                self._note_failure(error)
                self._bound()
            else:
                self._waiting.clear()
                self._note_recovery()

    async def purge(self) -> None:
        """Delete what no limit asks for any more.

        Raises:
            StorageUnavailable: nothing was deleted; the next call does it.
        """
        if self._may_write():
            await self._store.purge(datetime.fromtimestamp(self._wall(), UTC) - _KEPT)

    def _bound(self) -> None:
        """Give up what waited longest: people are named by strangers."""
        for key in list(self._waiting)[: max(len(self._waiting) - MOST_WAITING, 0)]:
            del self._waiting[key]

    def _note_failure(self, error: StorageUnavailable) -> None:
        if not self._store_failed:
            logger.warning(
                "What was counted for limits cannot be saved; it is kept in memory until the database answers",
                reason=error.message,
            )
        self._store_failed = True

    def _note_recovery(self) -> None:
        if self._store_failed:
            logger.info("What was counted for limits is saved again")
        self._store_failed = False
