"""Is there a file descriptor left for one more connection?

A new descriptor gets the lowest number that is free (POSIX), so the number of a connection says how many are open at
least, and nothing has to be counted. A client whose number lies in the last part below the limit is told to come back:
that part is for connections to servers, and its end for the log, the database and the resolver alone. So a crowd of
clients never takes what serves those who are in. Without this the event loop itself would meet the limit, and drop
clients without a word (uvloop), log thousands of lines (asyncio), or turn in circles.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform != "win32":
    import fcntl
    import resource

__all__ = ["RETRY_AFTER_SECONDS", "Descriptors"]

RETRY_AFTER_SECONDS: Final = 5
"""When a client that was turned away may try again."""

_LEAST_SHARE: Final = 32
_MOST_SHARE: Final = 1024
_MOST_RESERVED: Final = 16
"""More than the log, the database and a few threads that resolve names open at a time."""
_MEMORY_SECONDS: Final = 10.0
"""For so long after a shortage what the resolver says is not believed."""
_SILENCE_SECONDS: Final = 60.0
_FIX: Final = "Raise the limit: `ulimit -n`, LimitNOFILE= in systemd, --ulimit nofile= in Docker."
_OUT_OF_DESCRIPTORS: Final = frozenset((errno.EMFILE, errno.ENFILE))

logger = get_logger("gateway.descriptors")


class Descriptors:
    """What this process may still open. ``look`` is to be called about once a second.

    Attributes:
        clients_below: a client whose descriptor has this number or a higher one is turned away.
        farewells_below: one whose number is below this is given the time to read why.
    """

    __slots__ = (
        "_clock",
        "_limit",
        "_reserved",
        "_short_until",
        "_silent_until",
        "_turned_away",
        "clients_below",
        "farewells_below",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._short_until = self._silent_until = float("-inf")
        self._turned_away = 0
        self._read_limit()

    def look(self) -> None:
        """Follow the limit, which can be changed from outside, and log when it is felt: once a minute at most."""
        self._read_limit()
        has_room = self.has_room()
        now = self._clock()
        if (has_room and not self._turned_away) or now < self._silent_until:
            return
        self._silent_until = now + _SILENCE_SECONDS
        turned_away, self._turned_away = self._turned_away, 0
        logger.warning(
            "The gateway is short of file descriptors: clients are turned away, or will be",
            limit=self._limit,
            turned_away=turned_away,
            fix=_FIX,
        )

    def turned_away(self) -> None:
        """Count a client that was sent away; ``look`` tells of them."""
        self._turned_away += 1
        self.felt()

    def judge(self, error: OSError) -> None:
        """Note what an error says of a shortage, wherever it was met."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            self.felt()

    def felt(self) -> None:
        """Note a shortage."""
        self._short_until = self._clock() + _MEMORY_SECONDS

    @property
    def felt_lately(self) -> bool:
        """Whether there was a shortage in the last seconds, so that other failures may come from it."""
        return self._clock() < self._short_until

    def has_room(self) -> bool:
        """Whether something new may be opened without touching the last few descriptors; a shortage is noted."""
        if self._limit is None:
            return True
        try:
            has_room = self._top_is_free(self._limit) or self._can_open()
        except OSError as error:
            has_room = error.errno not in _OUT_OF_DESCRIPTORS
        if not has_room:
            self.felt()
        return has_room

    def _top_is_free(self, limit: int) -> bool:
        """Whether even the first of the last few is free: then they all are, for lower ones are taken first."""
        probe = os.open(os.devnull, os.O_RDONLY)
        try:
            first = limit - self._reserved
            copy = fcntl.fcntl(probe, fcntl.F_DUPFD_CLOEXEC, first)
            os.close(copy)
        except OSError:
            return False
        else:
            return copy == first
        finally:
            os.close(probe)

    def _can_open(self) -> bool:
        """Whether as many as are reserved can be opened, wherever they lie."""
        opened: list[int] = []
        try:
            opened.extend(os.open(os.devnull, os.O_RDONLY) for _number in range(self._reserved + 1))
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return True

    def _read_limit(self) -> None:
        limit = _soft_limit()
        self._limit = limit
        if limit is None:
            self.clients_below = self.farewells_below = sys.maxsize
            self._reserved = 0
            return
        share = min(max(limit // 8, min(limit // 4, _LEAST_SHARE)), _MOST_SHARE)
        quarter = share // 4
        self.clients_below = limit - share
        self.farewells_below = limit - share + quarter
        self._reserved = min(quarter, _MOST_RESERVED)


def _soft_limit() -> int | None:
    """How many descriptors this process may have; None where there is no such limit."""
    if sys.platform == "win32":
        return None
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
