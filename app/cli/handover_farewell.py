"""What becomes of the client connections of a process whose listeners are another one's now?

What runs is answered to its end. A connection that has been idle stays open for a while longer: a request may be on its
way on it. The next request that comes is answered with ``Connection: close``, so that the client goes to the new
process with the one after it; where none comes the connection is closed. A request is lost only if it was sent in the
moment in which a connection closes that was silent for all that time, as with any idle timeout (RFC 9112, 9.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Collection

__all__ = ["LINGER_SECONDS", "ClientConnection", "Farewell"]

LINGER_SECONDS: Final = 5
"""How long an idle connection is kept for one more request."""


class ClientConnection(Protocol):
    """What is used of uvicorn 0.54's HTTP protocol (a test holds it)."""

    parser: Any
    timeout_keep_alive: int
    timeout_keep_alive_task: TimerHandle | None

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, if it is idle."""


class LastRequest:
    """A parser that says of every request to come: after this one the connection closes.

    uvicorn and the door ask ``should_keep_alive`` once for each request, when its head is whole, and add
    ``Connection: close`` to the answer. Everything else is the real parser's.
    """

    __slots__ = ("_parser",)

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def should_keep_alive(self) -> bool:
        """Say no."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


class Farewell:
    """The end of all client connections of one server.

    Args:
        connections: those that are open, as uvicorn keeps them; followed as they go, and as late ones come.
        loop: the one they run in.
        linger_seconds: how long an idle one is kept.
    """

    __slots__ = ("_connections", "_linger_seconds", "_loop", "_stays_until")

    def __init__(self, connections: Collection[Any], loop: AbstractEventLoop, linger_seconds: int) -> None:
        self._connections = connections
        self._loop = loop
        self._linger_seconds = linger_seconds
        self._stays_until = loop.time() + linger_seconds  # a connection may still be in its TLS handshake
        self.tick()

    def tick(self) -> bool:
        """See to connections that are new; True once all have gone."""
        for connection in list(self._connections):
            if type(getattr(connection, "parser", None)) not in (LastRequest, type(None)):
                self._let_go(connection)
        return not self._connections and self._loop.time() >= self._stays_until

    def _let_go(self, connection: ClientConnection) -> None:
        connection.parser = LastRequest(connection.parser)
        forget_head = getattr(connection, "forget_head", None)
        if forget_head is not None:  # the door's: what it knows of the next request's head passes by the parser
            forget_head()
        connection.timeout_keep_alive = min(connection.timeout_keep_alive, self._linger_seconds)
        timer = connection.timeout_keep_alive_task
        if timer is not None and timer.when() > self._loop.time() + self._linger_seconds:
            timer.cancel()
            connection.timeout_keep_alive_task = self._loop.call_later(
                self._linger_seconds, connection.timeout_keep_alive_handler
            )
