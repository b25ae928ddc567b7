"""Who keeps a background task alive, and who hears of its failure? Every task is spawned by a :class:`TaskKeeper`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["TaskKeeper"]

logger = get_logger(__name__)

Result = TypeVar("Result")


class TaskKeeper:
    """Spawns named tasks, holds them until they end, and logs those that fail.

    The event loop keeps only weak references to tasks (asyncio's documentation of ``create_task``): one that nobody
    keeps may vanish in the middle. One keeper belongs to one owner, who closes it, and may open it again.
    """

    __slots__ = ("_closed", "_tasks")

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[object, object, Result], *, name: str) -> asyncio.Task[Result]:
        """Start a task.

        Args:
            coroutine: what it does.
            name: what the log calls it.

        Returns:
            The task, for those who want its result; nobody needs to await it.

        Raises:
            RuntimeError: the keeper is closed.
        """
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"task '{name}' was spawned after its keeper was closed")
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def open(self) -> None:
        """Let tasks be spawned again, perhaps in another event loop. A keeper that was never closed is open."""
        self._closed = False

    async def close(self, *, deadline_seconds: float = 5.0) -> None:
        """Cancel every task and wait until all have ended, at most so long. Nothing is spawned until ``open``."""
        self._closed = True
        pending = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        if pending:
            _, stuck = await asyncio.wait(pending, timeout=deadline_seconds)
            for task in stuck:
                logger.error("A task did not end in time", task=task.get_name(), deadline_seconds=deadline_seconds)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            logger.error("A task failed", task=task.get_name(), exc_info=failure)
