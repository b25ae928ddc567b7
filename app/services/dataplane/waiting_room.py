"""Who waits for a server, and whose turn is it?

Begun streams come first: their clients have a part of an answer. Within each of the two queues keys take turns, so that
one that floods holds up only itself.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from app.services.core.fair_queue import FairQueue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.services.dataplane.exchange import Exchange

__all__ = ["WaitingRoom"]

_logger = logging.getLogger("gateway.plane")


class WaitingRoom:
    """The exchanges that wait, ``count`` of them: each request asks whether there are any.

    Args:
        most: how many may; those with a begun stream are let in in any case.
    """

    __slots__ = ("_begun", "_fresh", "_pumping", "count")

    def __init__(self, most: int) -> None:
        self._begun: FairQueue[Exchange, str] = FairQueue(sys.maxsize)
        self._fresh: FairQueue[Exchange, str] = FairQueue(most)
        self._pumping = False
        self.count = 0

    def __iter__(self) -> Iterator[Exchange]:
        yield from self._begun.in_turn()
        yield from self._fresh.in_turn()

    def join(self, exchange: Exchange) -> bool:
        """Let an exchange wait; False when there is no room for it. Another may have to leave in its place."""
        queue = self._fresh if exchange.leg is None else self._begun
        turned_away = queue.join(exchange, exchange.call.principal.key_id)
        self._recount()
        if turned_away is not None and turned_away is not exchange:
            turned_away.turned_away()
        return turned_away is not exchange

    def leave(self, exchange: Exchange) -> None:
        """Forget one that has ended."""
        self._fresh.leave(exchange)
        self._begun.leave(exchange)
        self._recount()

    def _recount(self) -> None:
        self.count = len(self._begun) + len(self._fresh)

    def place_freed(self, *, for_all: bool = False) -> None:
        """Let those that wait try again, in turn. One that still finds no place keeps its own.

        Args:
            for_all: also those that wait for a server to come back, to whom a place means nothing.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            self._pump(self._begun, for_all=for_all)
            self._pump(self._fresh, for_all=for_all)
        finally:
            self._pumping = False

    def _pump(self, queue: FairQueue[Exchange, str], *, for_all: bool) -> None:
        full: dict[str, tuple[int, int]] = {}
        for exchange in queue.in_turn():
            if (exchange.awaits and not for_all) or _is_hopeless(exchange, full):
                continue
            try:
                exchange.route()
            except Exception:  # one exchange's bug must not hold up the others
                _logger.exception("An exchange that waited failed")
                exchange.crashed()
            if not exchange.waits:
                queue.serve(exchange)
                self._recount()
            elif exchange.leg is None and not exchange.has_tried:
                full[exchange.model] = exchange.need  # who was sent somewhere has fewer servers left than the others

    def awaited(self) -> list[str]:
        """The servers whose return somebody waits for."""
        return list(dict.fromkeys(server_id for exchange in self for server_id in exchange.awaits))

    def clear(self) -> None:
        """Forget all: the gateway goes down."""
        for exchange in list(self):
            self.leave(exchange)


def _is_hopeless(exchange: Exchange, full: Mapping[str, tuple[int, int]]) -> bool:
    """Whether one that needs no more than this found no place just now: a shorter prompt may fit where it did not."""
    known = full.get(exchange.model)
    if known is None:
        return False
    need = exchange.need
    return need[0] >= known[0] and need[1] >= known[1]
