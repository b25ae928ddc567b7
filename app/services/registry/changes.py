"""How is a change that has begun carried through, even if its caller goes away?

Otherwise a cancelled request could leave the database with something that memory does not know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Changes"]

Result = TypeVar("Result")

logger = get_logger(__name__)


class Changes:
    """The changes of one kind that are under way.

    Args:
        name: what their tasks are called.
    """

    __slots__ = ("_name", "_running")

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def under_way(self) -> int:
        """How many have begun and not ended."""
        return len(self._running)

    async def carry_through(self, change: Coroutine[Any, Any, Result]) -> Result:
        """Run a change to its end, even if the caller is cancelled; the cancellation goes on afterwards."""
        # Not spawned by TaskKeeper: a refused change is its caller's to tell, no failure of a task.
        task = asyncio.get_running_loop().create_task(change, name=self._name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is not None:
                logger.warning("A change whose caller went away failed", error=type(task.exception()).__name__)
            raise

    async def settle(self) -> None:
        """Wait for changes whose callers went away."""
        if self._running:
            await asyncio.wait(self._running)
