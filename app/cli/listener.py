"""Can the gateway listen where it should? Ports are taken before anything else is begun.

The sockets listen at once: two that are merely bound can share a port for a while, and the later one would fail in
the midst of its start. Who connects early waits in the queue until the gateway accepts.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING

from app.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["bind_listeners", "bind_next_free", "close_all", "port_of"]

LAST_PORT = 65535
PORTS_TRIED = 100
BACKLOG = 2048


def bind_listeners(host: str, port: int, given: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """Listen on every address that ``host`` stands for (``localhost`` has two).

    Args:
        host: an address or a name.
        port: 0 for one that is free.
        given: sockets that listen already: those with a wanted address are used, the others closed, all of them if
            this fails.

    Raises:
        CommandFailed: the port is taken, may not be used, or the host is none of this machine's; each with its fix.
    """
    there = {(listener.family, *listener.getsockname()[:2]): listener for listener in given}
    sockets: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            listener = there.pop((family, *address), None)
            wanted = address if not sockets or port else (address[0], port_of(sockets))
            sockets.append(listener or _bind(family, wanted))
    except OSError as error:
        close_all(sockets)
        raise _in_words(error, host, port) from error
    finally:
        close_all(there.values())
    return sockets


def bind_next_free(host: str, first_port: int) -> list[socket.socket]:
    """Bind ``first_port``, or the next one above it that is free and where nothing answers.

    Raises:
        CommandFailed: none of the next hundred ports is free.
    """
    last = min(first_port + PORTS_TRIED, LAST_PORT + 1)
    for port in range(first_port, last):
        if _is_answered(host, port):
            continue
        try:
            return bind_listeners(host, port)
        except CommandFailed as failure:
            if not isinstance(failure.__cause__, OSError) or failure.__cause__.errno != errno.EADDRINUSE:
                raise
    raise CommandFailed(f"No port from {first_port} to {last - 1} is free on {host}.", fix="Name one with --port.")


def port_of(sockets: list[socket.socket]) -> int:
    """The port that bound sockets have; it differs from the one asked for where that was 0."""
    return int(sockets[0].getsockname()[1])


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Give the ports back."""
    for bound in sockets:
        bound.close()


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((entry[0], (str(entry[4][0]), port)) for entry in found))


def _bind(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    # The protocol is named, or asyncio leaves Nagle's algorithm on in what it accepts: 40 ms an answer without uvloop.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # There SO_REUSEADDR would let two programs share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _is_answered(host: str, port: int) -> bool:
    """Whether someone listens: on some systems a port can be bound although another program serves all addresses."""
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _in_words(error: OSError, host: str, port: int) -> CommandFailed:
    if error.errno == errno.EADDRINUSE:
        return CommandFailed(
            f"Port {port} on {host} is in use by another program.",
            fix=f"Stop that program, or take another port: --port {port + 1 if port < LAST_PORT else 8000}, or PORT in "
            f".env. `multiverse doctor` tells whether it is a gateway.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return CommandFailed(
            f"This user may not listen on port {port} of {host}.", fix="Take a port above 1023, such as --port 8000."
        )
    return CommandFailed(
        f"Can't listen on {host}: {error.strerror or error}.",
        fix="Set HOST to an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for all its networks.",
        code=ExitCode.USAGE if isinstance(error, socket.gaierror) else ExitCode.FAILED,
    )
