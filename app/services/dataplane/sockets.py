"""How is a TCP connection opened to the first of several addresses that answers?

Happy Eyeballs (RFC 8305, 5): addresses are tried in order, the next one as soon as the last failed or has been silent
for 250 ms, and the first to answer wins. Whatever way this ends, no other connection stays open.

Sockets are left to the event loop from the start: uvloop closes the descriptor of a socket that it was handed when the
hand-over is cancelled, and asyncio does not, so that no caller could close it safely. A new connection belongs to a
``Doorstep`` until its real protocol takes over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, cast

from app.services.dataplane.connect_failures import ConnectFailed, ConnectFailure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

__all__ = ["MAX_ADDRESSES_TRIED", "AllFailed", "Doorstep", "connect_first", "secure"]

MAX_ADDRESSES_TRIED = 8
"""A name may have hundreds of addresses; one dial does not knock at more than these."""
STAGGER_SECONDS = 0.25
_KEEPALIVE_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_TLS_SHUTDOWN_SECONDS = 1.0
"""How long a closing TLS connection waits for the server's farewell; asyncio's 30 s would hold its socket as long."""


class AllFailed(Exception):
    """No address answered; ``errors`` holds one error for each that was tried, in order."""

    def __init__(self, errors: list[OSError]) -> None:
        super().__init__(f"{len(errors)} addresses failed")
        self.errors = errors


class Doorstep(asyncio.Protocol):
    """The protocol of a connection on which nothing has been said yet."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._failure: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for whoever takes over."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class, only by its methods

    def data_received(self, data: bytes) -> None:
        """Remember the breach: in HTTP the server has nothing to say yet."""
        reason = f"the server sends before it is asked ({len(data)} bytes); it is not an HTTP server"
        self._failure = ConnectFailed(reason, ConnectFailure.OTHER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that nothing is left to take over."""
        self._failure = self._failure or exc or ConnectionResetError("closed before it was used")

    def hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the connection to ``protocol``, whose ``connection_made`` is called.

        Raises:
            ConnectFailed: the server spoke first.
            OSError: the connection was lost in the meantime.
        """
        if self._failure is not None or self.transport is None:
            raise self._failure or ConnectionResetError("no connection")
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)

    def abort(self) -> None:
        """Drop the connection, if there is one, without a farewell."""
        if self.transport is not None:
            self.transport.abort()


def _always() -> bool:
    return True


async def connect_first(
    addresses: Sequence[str],
    port: int,
    stagger_seconds: float = STAGGER_SECONDS,
    has_room: Callable[[], bool] = _always,
) -> Doorstep:
    """Connect to one of ``addresses``: IP literals, so that nothing is resolved. The caller sets the deadline.

    Args:
        addresses: best first.
        port: of all of them.
        stagger_seconds: how long one may be silent before the next is tried.
        has_room: whether a descriptor may be taken; asked right before each socket is opened.

    Raises:
        AllFailed: each address failed.
    """
    waiting = deque(addresses[:MAX_ADDRESSES_TRIED])
    # Not by a task helper: these tasks live inside this call, which collects every result and error itself.
    attempts: list[asyncio.Task[Doorstep]] = []
    winner: asyncio.Task[Doorstep] | None = None
    try:
        while winner is None:
            if waiting:
                address = waiting.popleft()
                connecting = _connect(address, port, has_room)
                attempts.append(asyncio.create_task(connecting, name=f"connect to {address} port {port}"))
            running = [attempt for attempt in attempts if not attempt.done()]
            if not running and not waiting:
                raise AllFailed([error for error in map(_error, attempts) if error is not None])
            if running:
                limit = stagger_seconds if waiting else None
                await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            winner = next((attempt for attempt in attempts if attempt.done() and _error(attempt) is None), None)
        return winner.result()
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_discard)


async def secure(plain: Doorstep, context: ssl.SSLContext, host: str, handshake_seconds: float) -> Doorstep:
    """Put TLS over a fresh connection, which the caller aborts on errors. SNI and the certificate's name are ``host``.

    Raises:
        OSError: the handshake failed; ``ssl.SSLError`` where TLS is at fault.
    """
    if plain.transport is None:
        raise ConnectionResetError("no connection")
    secured = Doorstep()
    transport = await asyncio.get_running_loop().start_tls(
        plain.transport,
        secured,
        context,
        server_hostname=host,
        ssl_handshake_timeout=handshake_seconds,
        ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
    )
    if transport is not None:
        secured.connection_made(transport)  # start_tls leaves this to its caller
    return secured


async def _connect(address: str, port: int, has_room: Callable[[], bool]) -> Doorstep:
    if not has_room():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    _transport, doorstep = await asyncio.get_running_loop().create_connection(
        Doorstep, address, port, flags=socket.AI_NUMERICHOST
    )
    if doorstep.transport is not None:
        plug = doorstep.transport.get_extra_info("socket")
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_OPTIONS:
            if hasattr(socket, name):
                plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return doorstep


def _error(attempt: asyncio.Task[Doorstep]) -> OSError | None:
    """What ``attempt``, which is done, failed with. Anything but an OSError is a bug and is raised."""
    error = attempt.exception()
    if error is not None and not isinstance(error, OSError):
        raise error
    return error


def _discard(attempt: asyncio.Task[Doorstep]) -> None:
    """Drop what a losing attempt may have opened in the moment in which it was cancelled."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().abort()
