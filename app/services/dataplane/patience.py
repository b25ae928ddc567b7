"""Does a client still read what was written for it, however slowly?

Slow is not stuck: time counts from when something was last seen to move, not from when the writing was paused.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["Patience", "unsent_bytes"]

_LOOKS = 8
"""So many looks are taken within the limit: a client is given up after the limit and an eighth of it at most."""


class Patience:
    """Counts the ticks for which nothing has moved. One for each wait, or ``renew`` it."""

    __slots__ = ("_seen", "_ticks")

    def __init__(self) -> None:
        self._seen: object = None
        self._ticks = 0

    def renew(self) -> None:
        """Begin a new wait."""
        self._seen = None
        self._ticks = 0

    def is_over(self, limit_ticks: int, look: Callable[[], object]) -> bool:
        """Grow older by one tick; say whether nothing has moved for longer than the limit.

        Args:
            limit_ticks: how long nothing may move.
            look: gives what differs from its last answer if something has moved.
        """
        self._ticks += 1
        if self._ticks % max(1, limit_ticks // _LOOKS):
            return False
        seen = look()
        if seen != self._seen:
            self._seen = seen
            self._ticks = 0
        return self._ticks > limit_ticks


def unsent_bytes(transport: asyncio.Transport) -> int:
    """How much of what was written the other side has not taken yet, as far as the system tells.

    On Linux that counts what waits in the kernel too (SIOCOUTQ, tcp(7)): a client that reads slowly may take from there
    for minutes before the transport can write again.
    """
    size_bytes = transport.get_write_buffer_size()
    plug = transport.get_extra_info("socket")
    if sys.platform != "linux" or plug is None:
        return size_bytes
    try:
        queued = fcntl.ioctl(plug.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):  # it is closed, and has no descriptor any more
        return size_bytes
    return size_bytes + int.from_bytes(queued, sys.byteorder)
