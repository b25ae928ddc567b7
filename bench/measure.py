"""How much processor time and memory do a gateway's processes take? The whole tree, children too, from /proc."""

from __future__ import annotations

import sys
import time
from pathlib import Path

__all__ = ["cpu_seconds", "process_tree", "resident_kilobytes"]

_CPUCLOCK_SCHED = 2
"""The low bits of a process's clock id: user and system time, in nanoseconds (Linux, clock_getcpuclockid(3))."""


def process_tree(pid: int) -> list[int]:
    """A process and all its descendants; those that ended meanwhile are left out."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        children = _children(current)
        if children is not None:
            found.append(current)
            waiting += children
    return found


def cpu_seconds(pid: int) -> float | None:
    """User and system time that a process tree has taken so far; None where it can't be told (not on Linux).

    The process's own clock counts what /proc/PID/stat does, in nanoseconds rather than hundredths of a second.
    """
    if sys.platform != "linux":
        return None
    return sum([_clock(member) for member in process_tree(pid)])


def resident_kilobytes(pid: int) -> int | None:
    """VmRSS of a process tree in units of 1,024 B; None where there is no /proc (not on Linux)."""
    if sys.platform != "linux":
        return None
    return sum([_resident(member) for member in process_tree(pid)])


def _children(pid: int) -> list[int] | None:
    """The children that any thread of a process started; None when the process is gone."""
    try:
        return [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in _words(task)]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _words(task: Path) -> list[str]:
    try:
        return (task / "children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []  # a thread may end while its process goes on


def _clock(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def _resident(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1])
