"""Does a server that fell silent still live? It is asked once for all who wait for it.

A laptop whose lid was closed sends no reset, and a model that thinks sends nothing either: only another question tells
them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.dataplane.neighbours import Observer, Spawner

__all__ = ["Doubts"]


class Doubts:
    """The servers that are being asked.

    Args:
        observer: asks.
        tasks: starts the tasks that wait for an answer.
        tell: called with a server's id and whether it lives.
    """

    __slots__ = ("_asked", "_observer", "_tasks", "_tell")

    def __init__(self, observer: Observer, tasks: Spawner, tell: Callable[[str, bool], None]) -> None:
        self._observer = observer
        self._tasks = tasks
        self._tell = tell
        self._asked: set[str] = set()

    def ask(self, server_id: str) -> None:
        """Ask a server, if it is not being asked."""
        if server_id not in self._asked:
            self._asked.add(server_id)
            self._tasks.spawn(self._ask(server_id), name="ask a silent server")

    async def _ask(self, server_id: str) -> None:
        alive = True  # what can't be asked is not accused
        try:
            alive = await self._observer.answers(server_id)
        finally:
            self._asked.discard(server_id)
            self._tell(server_id, alive)
