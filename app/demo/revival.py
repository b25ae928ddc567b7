"""How is a model server of the demo killed before the eyes of whoever looks, and how does it come back?

Killed as a crash would: it says no word of farewell. After some seconds a new process serves in its place, on the same
port, so that the gateway, which knows the server by its URL, takes it back by itself.

All that come back are started by one thread that lives as long as the demo does: see ``lifeline``.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from app.demo.children import ModelServerFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.demo.children import ModelServer, Started

__all__ = ["Revival"]

REVIVE_AFTER_SECONDS: Final = 7.0
READY_SECONDS: Final = 120.0


class Revival:
    """The model servers of a demo by registration id. Every method may be called from any thread.

    Args:
        children: all processes that the end of the demo has to end; those that come back take their places there.
        on_back: told of each that serves again, from a thread of its own.
        on_lost: told why one did not come back, from there too.
        after_seconds: how long one stays dead.
    """

    __slots__ = ("_after_seconds", "_by_id", "_children", "_closing", "_killed", "_on_back", "_on_lost", "_starting")

    def __init__(
        self,
        children: list[ModelServer],
        on_back: Callable[[ModelServer, Started], None],
        on_lost: Callable[[ModelServerFailed], None],
        *,
        after_seconds: float = REVIVE_AFTER_SECONDS,
    ) -> None:
        self._children = children
        self._on_back = on_back
        self._on_lost = on_lost
        self._after_seconds = after_seconds
        self._by_id: dict[str, ModelServer] = {}
        self._killed: queue.SimpleQueue[tuple[float, str, ModelServer] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._starting = threading.Lock()

    def begin(self) -> None:
        """Start the thread that brings them back."""
        threading.Thread(target=self._run, name="demo-revival", daemon=True).start()

    def serves(self, server_id: str, child: ModelServer) -> None:
        """Learn which process serves under a registration id."""
        self._by_id[server_id] = child

    def killable(self, server_id: str) -> bool:
        """Whether a process of ours serves under this id now."""
        child = self._by_id.get(server_id)
        return child is not None and child.is_running

    def kill(self, server_id: str) -> None:
        """Kill the process that serves under this id, at once; nothing where none does. It comes back by itself."""
        child = self._by_id.get(server_id)
        if child is not None and child.is_running and not self._closing.is_set():
            child.kill()
            self._killed.put((time.monotonic() + self._after_seconds, server_id, child))

    def close(self) -> None:
        """Bring none back any more. When it returns, ``children`` stay as they are."""
        self._closing.set()
        self._killed.put(None)
        with self._starting:
            return

    def _run(self) -> None:
        while (killed := self._killed.get()) is not None:
            due_monotonic, server_id, child = killed
            is_over = self._closing.wait(max(0.0, due_monotonic - time.monotonic()))
            if not is_over and self._by_id.get(server_id) is child:  # else it was brought back already
                self._revive(server_id, child)

    def _revive(self, server_id: str, child: ModelServer) -> None:
        try:
            successor = self._start_in_place_of(child)
            if successor is None:
                return
            started = successor.wait_ready(READY_SECONDS)
        except ModelServerFailed as failure:
            self._by_id.pop(server_id, None)
            self._on_lost(failure)
        else:
            self._by_id[server_id] = successor
            self._on_back(successor, started)

    def _start_in_place_of(self, child: ModelServer) -> ModelServer | None:
        """Start its successor; None where the demo ends. Not while ``close`` looks: each is ended that was begun."""
        with self._starting:
            if self._closing.is_set():
                return None
            child.ask_to_stop()  # it has ended; this lets go of its pipe
            try:
                successor = child.successor()
            except OSError as error:
                message = f"A model server can't be started again: {error.strerror}."
                raise ModelServerFailed(message) from error
            self._children[self._children.index(child)] = successor
            return successor
