"""How does a child process begin? On its cores, with room for open files, and ended by the kernel if we are killed.

Run as a program: ``python -P launch.py CORES COMMAND ARGUMENT ...``, where CORES are numbers with commas, or ``any``.
It becomes the command, so that the process id stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["begin"]

_PR_SET_PDEATHSIG = 1


def begin(cores: str, command: list[str]) -> None:
    """Become the command. Returns never, or raises ``OSError`` when it can't be run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if cores != "any":
            os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - it is not there on every system

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    begin(sys.argv[1], sys.argv[2:])
