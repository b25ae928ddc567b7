"""What does an exchange ask of the way in, and what are both bound by?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["BODY_BYTES_PER_SECOND", "Bounds", "ClientSide", "Limits"]


BODY_BYTES_PER_SECOND = 65536
"""A body that keeps coming at least this fast is given the time it needs."""


class ClientSide(Protocol):
    """What an exchange asks of the way in. ``respond`` comes first and once; ``end`` or ``cut`` comes last."""

    def respond(self, status: int, lines: bytes, body: bytes, *, more: bool) -> None:
        """Send status, header lines (each ending in CRLF, no framing) and body; ``more``: further bytes follow."""

    def write(self, data: bytes) -> None:
        """Send bytes of the body."""

    def write_chunk(self, data: bytes, start: int) -> None:
        """Send bytes of the body that stand in one chunk: from ``start`` on, two before its end."""

    def end(self, data: bytes = b"") -> None:
        """Send the last bytes of the body, if there are any left: it is whole now."""

    def cut(self) -> None:
        """Close without a proper end: the client must see that the answer is not whole."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may send, and how slowly. Ticks are turns of the sweeper."""

    header_count: int
    header_bytes: int
    body_bytes: int
    header_ticks: int
    body_ticks: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request. Ticks are turns of the sweeper (``plane.TICK_SECONDS``)."""

    request_ticks: int
    first_token_ticks: int
    idle_ticks: int
    keepalive_ticks: int
    queue_ticks: int
    queue_size: int
    max_attempts: int
    max_json_depth: int
    hold_bytes: int
    suspect_ticks: int = 30
    """After so long a silence a server is asked whether it lives, where its own ways give no longer time."""
    return_ticks: int = 9
    """How long a new request waits for a server to come back where none is there: its error comes within a second."""
    max_continuations: int = 3
    """How often a stream may go on elsewhere; 0 where it may not at all."""
    hold_tool_calls: bool = True
    model_load_ticks: int = 3000
    """How long a first token, or a turn in a server's memory, is waited for where a model has to be loaded first."""
    held_bytes: int = 256 * 1024 * 1024
    """Beyond this no more is held: so much may answers take together that are held, or wait for slow clients."""

    @property
    def soonest_ticks(self) -> int:
        """Before so long a silence of a server nothing has to be done about it."""
        return min(self.suspect_ticks, self.idle_ticks, self.first_token_ticks, self.request_ticks)
