"""When is the next request due? A clock that ticks at a rate, exact to some 50 us where the kernel has timerfd.

The timers of an event loop round to a millisecond, which is all that an added latency may be.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Ticker"]

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1
_COARSE_SECONDS = 0.001


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Ticker:
    """Calls back with the number of ticks since the last call, from ``start`` on.

    Args:
        rate: ticks a second.
        start: of the first tick, as `time.monotonic` counts.
        on_ticks: takes how many ticks became due.
    """

    def __init__(self, rate: float, start: float, on_ticks: Callable[[int], None]) -> None:
        self._interval = 1 / rate
        self._start = start
        self._on_ticks = on_ticks
        self._told = 0
        self._descriptor = -1
        self._handle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Set the clock."""
        if sys.platform == "linux":
            self._descriptor = _timer(self._start, self._interval)
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)
        else:
            self._on_coarse()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _on_readable(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has not ticked since the last look
            self._on_ticks(int.from_bytes(os.read(self._descriptor, 8), sys.byteorder))

    def _on_coarse(self) -> None:
        since = time.monotonic() - self._start
        due = int(since / self._interval) + 1 if since >= 0 else 0
        if due > self._told:
            ticks, self._told = due - self._told, due
            self._on_ticks(ticks)
        self._handle = asyncio.get_running_loop().call_later(_COARSE_SECONDS, self._on_coarse)


def _timer(start: float, interval: float) -> int:
    """A timerfd that ticks from ``start`` on (timerfd_create(2))."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = int(library.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
    specification = _TimerSpec(_time(interval), _time(start))
    if descriptor < 0 or library.timerfd_settime(descriptor, _ABSOLUTE, ctypes.byref(specification), None):
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel gave no timer: {os.strerror(number)}")
    return descriptor


def _time(seconds: float) -> _TimeSpec:
    whole = int(seconds)
    return _TimeSpec(whole, int((seconds - whole) * 1e9))
