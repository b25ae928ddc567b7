"""A data plane in which nothing moves, for what reads its figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from app.services.core.choice.snapshot import EMPTY, Snapshot
from app.services.core.live.board import Board

__all__ = ["StillFlow", "StillPool"]


@dataclass
class StillPool:
    """Connections as they are set."""

    open: list[tuple[str, int, int]] = field(default_factory=list)

    def connections(self) -> Iterable[tuple[str, int, int]]:
        return self.open


@dataclass
class StillFlow:
    """What ``exposition.Flow`` asks for."""

    snapshot: Snapshot = EMPTY
    board: Board = field(default_factory=Board)
    pool: StillPool = field(default_factory=StillPool)
    queued: int = 0
    open_exchanges: int = 0
    client_connections: int = 0
