"""How busy and how well is each server, live?

The board is the mutable twin of the snapshot: one lane per server, written by exchanges as they begin, answer and
end, read by the choice of the next server. Times are monotonic seconds and come in as arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["GAP_BOUNDS_SECONDS", "Board", "Lane"]

GAP_BOUNDS_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the buckets of ``Lane.gaps``: finest where servers write, between 5 and 200 tokens a second."""
_SUSPECT_SECONDS = 1.0
_SUSPECT_LONGEST_SECONDS = 10.0
_FIRST_TOKEN_WEIGHT = 0.1
_RETRY_AFTER_LONGEST_SECONDS = 300.0


class Lane:
    """The live figures of one server.

    ``first_token_ewma_seconds`` is 0.0 until the first answer. ``suspect_until`` marks a server that just failed: it
    is taken only when no other is there. ``cooling_until`` marks one that asked to be left alone (429, 503 with
    Retry-After): it is not taken at all. The rest is counted for the operator: ``ejections`` is how often the server
    became suspect, ``gaps`` how many gaps between the events of streams fell into each bucket of
    ``GAP_BOUNDS_SECONDS`` (the last is beyond them), ``gap_seconds_total`` their sum.
    """

    __slots__ = (
        "cooling_until",
        "ejections",
        "failures_in_a_row",
        "first_token_ewma_seconds",
        "gap_seconds_total",
        "gaps",
        "in_flight",
        "refuses_stream_options",
        "suspect_until",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.failures_in_a_row = 0
        self.first_token_ewma_seconds = 0.0
        self.suspect_until = 0.0
        self.cooling_until = 0.0
        self.refuses_stream_options = False
        self.ejections = 0
        self.gaps = [0] * (len(GAP_BOUNDS_SECONDS) + 1)
        self.gap_seconds_total = 0.0

    def answered(self, first_token_seconds: float) -> None:
        """Note that a good answer began."""
        known = self.first_token_ewma_seconds
        step = _FIRST_TOKEN_WEIGHT * (first_token_seconds - known)
        self.first_token_ewma_seconds = known + step if known else first_token_seconds
        self.failures_in_a_row = 0
        self.suspect_until = 0.0

    def failed(self, now: float) -> None:
        """Note a failure that is the server's: look elsewhere first for a while, longer after each in a row."""
        if now < self.suspect_until:
            return  # several requests lost to one crash are one failure
        doubled = _SUSPECT_SECONDS * 2.0 ** min(self.failures_in_a_row, 10)
        self.failures_in_a_row += 1
        self.ejections += 1
        self.suspect_until = now + min(doubled, _SUSPECT_LONGEST_SECONDS)

    def cleared(self) -> None:
        """Forget earlier failures: checks have found the server well again."""
        self.failures_in_a_row = 0
        self.suspect_until = 0.0

    def cool(self, now: float, seconds: float) -> None:
        """Honour a server's own Retry-After, for at most five minutes."""
        self.cooling_until = max(self.cooling_until, now + min(max(seconds, 0.0), _RETRY_AFTER_LONGEST_SECONDS))


class Board:
    """All lanes by server id."""

    __slots__ = ("lanes",)

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}

    def lane(self, server_id: str) -> Lane:
        """The lane of a server, made when first asked for."""
        lane = self.lanes.get(server_id)
        if lane is None:
            lane = self.lanes[server_id] = Lane()
        return lane

    def in_flight(self, server_id: str) -> int:
        """How many requests run on a server now."""
        lane = self.lanes.get(server_id)
        return lane.in_flight if lane else 0

    def keep(self, server_ids: Container[str]) -> None:
        """Forget servers that are gone, once nothing runs on them."""
        for server_id in [known for known in self.lanes if known not in server_ids]:
            if self.lanes[server_id].in_flight == 0:
                del self.lanes[server_id]
