"""What may the gateway's own requests take of a server? As much as traffic leaves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.services.core.live.breaker import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.services.core.live.board import Board
    from app.services.core.types import Server

__all__ = ["BoardPlaces"]


class BoardPlaces:
    """Places on the board that traffic uses: what is held here counts in a server's ``max_concurrency``.

    Args:
        board: of the data plane.
        clock: monotonic seconds, the data plane's.
        on_freed: told when a place was given back, so that requests that wait may take it.
    """

    __slots__ = ("_board", "_clock", "_on_freed")

    def __init__(self, board: Board, clock: Callable[[], float], on_freed: Callable[[], None]) -> None:
        self._board = board
        self._clock = clock
        self._on_freed = on_freed

    def has_room(self, server: Server) -> bool:
        """Whether a server is below its cap, asks not to be left alone, and is not ejected: its trial is traffic's."""
        lane = self._board.lane(server.id)
        well = lane.breaker.phase is Phase.CLOSED and lane.cooling_until <= self._clock()
        return well and lane.has_room(server.max_concurrency)

    @contextmanager
    def hold(self, server_id: str) -> Iterator[None]:
        """Take a place for a while. What becomes of the request counts for nothing."""
        lane = self._board.lane(server_id)
        taken_at = self._clock()
        lane.take(taken_at)
        try:
            yield
        finally:
            lane.give_back(self._clock(), taken_at)
            self._on_freed()
