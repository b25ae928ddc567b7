"""What may the gateway's own requests take of a server? As much as traffic leaves, of its memory too.

On a server that swaps models they are sent for what is in memory and while nobody waits for another model, and they
count there as traffic does: so they put nothing out, nobody waits for them, and none of them is met by a swap. What the
lane knows of the memory is asked, which is as new as the last answer; routing hears of a swap with the next check.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.services.core.live.breaker import Phase
from app.services.engines.identify import engine_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.services.core.live.board import Board
    from app.services.core.live.residence import Residence
    from app.services.core.types import Server

__all__ = ["BoardPlaces", "tells_memory"]


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

    def has_room(self, server: Server, upstream_name: str, *, may_load: bool = False) -> bool:
        """Whether one more request of the gateway's own may go to a server now.

        It is below its cap, asks not to be left alone and is not ejected: its trial is traffic's. Where it swaps models
        this one is in memory, or may be loaded, and nobody waits for another.

        Args:
            server: as routing saw it last.
            upstream_name: what it calls the model.
            may_load: whether the request may load the model.
        """
        now = self._clock()
        lane = self._board.lane(server.id)
        well = lane.breaker.phase is Phase.CLOSED and lane.cooling_until <= now
        if not well or not lane.has_room(server.max_concurrency):
            return False
        residence = lane.residence
        if residence is None:
            is_untold = server.swaps_models and server.loaded is None and tells_memory(server)
            return may_load or not is_untold
        is_here = may_load or residence.is_warm(upstream_name) or not tells_memory(server)
        return is_here and _has_turn(residence, server, upstream_name, now)

    @contextmanager
    def hold(self, server_id: str, upstream_name: str) -> Iterator[Callable[[], None]]:
        """Take a place for a request, and one for its model in the server's memory.

        What becomes of the request counts for nothing but that: call what this yields when a good answer has come.
        """
        lane = self._board.lane(server_id)
        residence = lane.residence
        taken_at = self._clock()
        lane.take(taken_at)
        if residence is not None:
            residence.take(upstream_name, taken_at)

        def answered() -> None:
            if residence is not None and _is_expected(residence, upstream_name):
                residence.began(upstream_name, self._clock(), is_first_token=False)

        try:
            yield answered
        finally:
            now = self._clock()
            lane.give_back(now, taken_at)
            if residence is not None:
                residence.give_back(upstream_name, now)
            self._on_freed()


def tells_memory(server: Server) -> bool:
    """Whether a server told which models are in memory, or its engine is of those that tell such things."""
    return server.loaded is not None or bool(engine_named(server.engine).signal_paths())


def _is_expected(residence: Residence, upstream_name: str) -> bool:
    """Whether a model is in memory or on its way there. Of one that was put out meanwhile an answer is old news."""
    return residence.is_warm(upstream_name) or residence.loading_since(upstream_name) is not None


def _has_turn(residence: Residence, server: Server, upstream_name: str, now: float) -> bool:
    """Whether it is this model's turn. Clients that wait for another one go first."""
    others = (model.upstream_name for model in server.models if model.upstream_name != upstream_name)
    is_wanted_for_others = any(residence.waits_since(name, now) is not None for name in others)
    return not is_wanted_for_others and residence.is_open(upstream_name, now)
