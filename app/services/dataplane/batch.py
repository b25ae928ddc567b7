"""When are the events of many streams written? Together, at the end of a turn of the event loop.

A turn reads what has come on many connections. If each event were written at once, each write would wake the process
that waits for it, which is the dearest part of it. Written one after the other, some find it awake: with 100 streams
that saves a tenth of an event, with 400 nothing (devlog, 2026-11-23). An event waits for a part of one turn at most.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["MOST_TOGETHER", "Batch", "Late"]

MOST_TOGETHER = 16
"""So many are written without waiting for the turn's end: nobody waits long for others."""


class Late(Protocol):
    """One who has put a write off."""

    late: bytes
    """What is to be written; empty once it was written in another way."""
    transport: asyncio.Transport


class Batch:
    """Those who have put off a write in this turn, in order."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Late] = []

    def add(self, late: Late) -> None:
        """Take one in."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self.write)
        waiting.append(late)
        if len(waiting) >= MOST_TOGETHER:
            self.write()

    def write(self) -> None:
        """Write for all of them. A connection that was lost meanwhile takes nothing, and costs the others nothing."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            late, one.late = one.late, b""
            if late and not one.transport.is_closing():
                one.transport.write(late)
