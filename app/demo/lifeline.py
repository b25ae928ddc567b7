"""How does a child process end when its parent does, however the parent ends?

Two ways, for neither is enough alone. Everywhere: the parent holds the write end of the child's stdin and never
writes; the kernel closes it with the parent, and the child reads EOF. On Linux also PR_SET_PDEATHSIG (prctl(2)),
which works when the child is stuck and its threads no longer run. It fires when the *thread* that made the child
ends, so children are to be started from the parent's main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from typing import Final

__all__ = ["die_with_parent"]

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent_pid: int) -> None:
    """From now on, end this process at once when the one with ``parent_pid`` is gone."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent_pid:  # It went before the line above: no signal will come for that.
            os._exit(0)
    threading.Thread(target=_leave_at_end_of_stdin, name="lifeline", daemon=True).start()


def _leave_at_end_of_stdin() -> None:
    """Block until the parent's end of stdin closes. Unbuffered: an interpreter that ends must not wait for a lock."""
    while os.read(0, 1):
        continue
    os._exit(0)
