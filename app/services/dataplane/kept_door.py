"""How long is a client kept that has its answer: one that asks no more, and one that reads no more?

A connection on which nothing is asked is closed after a while. Closing waits until all that was written has been read,
in asyncio as in uvloop, so a client that never reads would keep its socket and its answer here for ever: once the
transport's buffer is full, or the connection closes, it is watched, and reset when it takes nothing for too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.services.dataplane.patience import Patience, unsent_bytes

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.services.dataplane.door_call import DoorCall
    from app.services.dataplane.plane import DataPlane

__all__ = ["KeptDoor"]


class KeptDoor(HttpToolsProtocol):
    """A client connection between and after its answers. ``answering`` is the inference request being served."""

    def __init__(self, plane: DataPlane, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._plane = plane
        self._idle_since = 0.0
        self.answering: DoorCall | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, which uvicorn leaves running on an error, and let go of what would keep this in memory."""
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # it knows this door: else both wait for the collector of cycles
        self._plane.unread.pop(self, None)
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        if timer is not None:
            timer.cancel()

    # -- what goes out

    def pause_writing(self) -> None:
        """What was written is not read as fast; from now on it is watched."""
        super().pause_writing()
        self.await_reading()

    def resume_writing(self) -> None:
        """The client has read nearly all. A connection that closes is watched until the rest has gone, too."""
        super().resume_writing()
        self._idle_since = self.loop.time()
        if not self.transport.is_closing():
            self._plane.unread.pop(self, None)

    def tick_unread(self, patience: Patience, limit_ticks: int) -> int:
        """Give up a client that reads nothing, whether its answer is still under way or over."""
        if self not in self.connections:
            self._plane.unread.pop(self, None)
            return 0
        if patience.is_over(limit_ticks, self._unsent_bytes):
            answering = self.answering
            if answering is not None and answering.exchange is not None:
                answering.exchange.stalled()
            else:
                self.transport.abort()
        return self.transport.get_write_buffer_size()

    def await_reading(self) -> None:
        """Watch from now on whether the client reads: until it has, or is gone."""
        self._plane.unread.setdefault(self, Patience())

    def _unsent_bytes(self) -> int:
        return unsent_bytes(self.transport)

    # -- between requests

    def on_response_complete(self) -> None:
        """Go on with what was pipelined, or wait for the next request, for a while.

        One timer serves all waits of a connection: it is set anew when it rings too early, not for each request.
        """
        if self.transport.is_closing():
            self.server_state.total_requests += 1
            self.await_reading()
            return
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._ring_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was asked for a while."""
        self.timeout_keep_alive_task = None
        cycle: Any = self.cycle
        waiting: Collection[object] = self._plane.waiting
        if self.transport.is_closing() or not cycle.response_complete or self in waiting:
            return  # what keeps it busy sets the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._ring_in(left)
        elif self.flow.write_paused:  # it still reads its last answer
            self._ring_in(self.timeout_keep_alive)
        else:
            self.transport.close()
            self.await_reading()

    def _ring_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer be (called by uvicorn on each read): it looks for itself."""
