"""How many files may this process have open, and can it be more?"""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any, Final

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["OPEN_FILES_ADVICE", "OPEN_FILES_WANTED", "on_loop_error", "raise_open_file_limit", "warn_of_low_limit"]

OPEN_FILES_WANTED: Final = 4096
"""Two sockets for each request, and warm connections beside them: some 2,000 requests at a time."""
OPEN_FILES_ADVICE: Final = (
    f"Raise the hard limit: `ulimit -Hn {OPEN_FILES_WANTED * 4}`, LimitNOFILE= in systemd, --ulimit nofile= in Docker."
)

_CAP: Final = 1_048_576
"""More than any gateway needs; some systems answer "unlimited", which can't be set."""
_OPEN_MAX: Final = 10_240
"""What macOS takes where it promises "unlimited" and refuses it (OPEN_MAX, its setrlimit(2))."""

_ACCEPT_FAILED: Final = "socket.accept()"

logger = get_logger("gateway")


def raise_open_file_limit() -> int | None:
    """Raise the soft limit as far as the hard one lets us, and give what it is then.

    Returns:
        The limit; None where there is none, on Windows for example.
    """
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - a Unix module

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    most = _CAP if hard == resource.RLIM_INFINITY else min(hard, _CAP)
    for wanted in (most, min(most, _OPEN_MAX)):
        if wanted <= soft:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError) as error:
            logger.debug("The limit of open files was not raised", wanted=wanted, reason=str(error))
        else:
            return wanted
    return soft


def warn_of_low_limit(limit: int | None) -> None:
    """Log one line where a busy gateway would run out of files."""
    if limit is not None and limit < OPEN_FILES_WANTED:
        logger.warning(
            "Few files may be open at a time: a request takes two",
            limit=limit,
            requests=limit // 2,
            fix=OPEN_FILES_ADVICE,
        )


def on_loop_error(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what an event loop reports, all as ever but one error.

    asyncio without uvloop reports each connection that it finds no descriptor for, up to two thousand in a turn. The
    data plane tells of that once a minute, with the fix.
    """
    error = context.get("exception")
    if (
        isinstance(error, OSError)
        and error.errno in (errno.EMFILE, errno.ENFILE)
        and str(context.get("message")).startswith(_ACCEPT_FAILED)
    ):
        return
    loop.default_exception_handler(context)
