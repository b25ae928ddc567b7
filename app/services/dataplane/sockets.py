"""How is a TCP connection opened to the first of several addresses that answers?

Happy Eyeballs (RFC 8305, 5): addresses are tried in order, the next one as soon as the last failed or has been silent
for 250 ms, and the first to answer wins. Whatever way this ends, no other socket stays open.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_ADDRESSES_TRIED", "AllFailed", "connect_first"]

MAX_ADDRESSES_TRIED = 8
"""A name may have hundreds of addresses; one dial does not knock at more than these."""
STAGGER_SECONDS = 0.25
_KEEPALIVE_OPTIONS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class AllFailed(Exception):  # noqa: N818 - named as what happened, like the error tree of the core
    """No address answered; ``errors`` holds one error for each that was tried, in order."""

    def __init__(self, errors: list[OSError]) -> None:
        super().__init__(f"{len(errors)} addresses failed")
        self.errors = errors


async def connect_first(addresses: Sequence[str], port: int, stagger_seconds: float = STAGGER_SECONDS) -> socket.socket:
    """Connect to one of ``addresses``: IP literals, so that nothing is resolved. The caller sets the deadline.

    Raises:
        AllFailed: each address failed.
    """
    waiting = deque(addresses[:MAX_ADDRESSES_TRIED])
    # Not by a task helper: these tasks live inside this call, which collects every result and error itself.
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while winner is None:
            if waiting:
                address = waiting.popleft()
                attempts.append(asyncio.create_task(_connect(address, port), name=f"connect to {address} port {port}"))
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


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.settimeout(0)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_OPTIONS:
            if hasattr(socket, name):
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    return opened


def _error(attempt: asyncio.Task[socket.socket]) -> OSError | None:
    """What ``attempt``, which is done, failed with. Anything but an OSError is a bug and is raised."""
    error = attempt.exception()
    if error is not None and not isinstance(error, OSError):
        raise error
    return error


def _discard(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what a losing attempt may have opened in the moment in which it was cancelled."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
