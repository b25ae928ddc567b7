"""How is something done as soon as it is asked for, and yet never for more than a small part of all time?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Paced"]

_REST: Final = 5.0
"""It rests for so many times as long as it took: no more than a sixth of all time goes into it."""


class Paced:
    """Something that is done at once, unless it has just been done: then once for all who ask meanwhile.

    To be asked from the event loop. What takes no time to speak of is done whenever it is asked for.

    Args:
        act: what is done; must not block.
        clock: monotonic seconds.
        later: calls something back after so many seconds; that of the running event loop if left out.
    """

    __slots__ = ("_act", "_clock", "_is_due", "_later", "_rests_until")

    def __init__(
        self,
        act: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._act = act
        self._clock = clock
        self._later = later
        self._rests_until = 0.0
        self._is_due = False

    def ask(self) -> None:
        """Have it done, now or soon."""
        if self._is_due:
            return
        rest_seconds = self._rests_until - self._clock()
        if rest_seconds <= 0.0:
            self._do()
            return
        self._is_due = True
        later = self._later or asyncio.get_running_loop().call_later
        later(rest_seconds, self._do)

    def _do(self) -> None:
        self._is_due = False
        began = self._clock()
        try:
            self._act()
        finally:
            ended = self._clock()
            self._rests_until = ended + _REST * (ended - began)
