"""What does SIGHUP mean to this process?

In a terminal it says that the terminal was closed, and the gateway ends, as programs there do. Without one nobody can
have hung up: it is an operator, or systemd, who wants new code and settings. Under ``nohup`` it is ignored.
"""

from __future__ import annotations

import os
import signal
import sys
from enum import Enum, auto

__all__ = ["Hangup", "Meaning"]


class Meaning(Enum):
    """What is done on SIGHUP."""

    IGNORED = auto()
    END = auto()
    REPLACE = auto()


class Hangup:
    """Made at the start of the process; until there is a handler, a signal that asks for a replacement is not heard."""

    __slots__ = ("meaning",)

    def __init__(self) -> None:
        self.meaning = Meaning.IGNORED
        if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            return
        if _has_terminal():
            self.meaning = Meaning.END
        else:
            self.meaning = Meaning.REPLACE
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal, in the background too, wherever its output goes."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    os.close(descriptor)
    return True
