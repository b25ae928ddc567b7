"""How does a command end: which exit codes are there, and how does a failure speak?"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXIT_CODES_HELP", "CommandFailed", "ExitCode", "Interrupted", "Stopped"]

EXIT_CODES_HELP = (
    "Exit codes: 0 done, 1 what was asked for failed, 2 wrong usage or settings, "
    "3 the gateway can't be reached, 4 the key is missing or not allowed, 130 ended by Ctrl-C."
)


class ExitCode(IntEnum):
    """What a script can tell from ``$?``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORISED = 4
    INTERRUPTED = 130


class CommandFailed(Exception):
    """The end of a command that could not do its work.

    ``message`` says in plain words what is wrong; ``fix`` says what to do about it, and may be empty where the
    message says it already (the gateway's own messages are shown as they are).
    """

    def __init__(self, message: str, *, fix: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code


class Interrupted(KeyboardInterrupt):
    """Ctrl-C arrived while a server was running; everything that it had started has ended already."""


class Stopped(BaseException):
    """SIGTERM or a closed terminal: end everything and leave with 0. Not an ``Exception``: nothing may swallow it."""
