"""How long may a server be silent? An errand that keeps time: first token, gaps, suspicion, and the limits of patience.

A server that fell silent is not given up at once, as many are only slow. Beside the stream it is asked whether it still
lives (``DataPlane.doubt``). One that answers may take its time, up to the limits; one that does not is dead.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from math import ceil, inf

from app.services.core.board import GAP_BOUNDS_SECONDS
from app.services.core.relay import EventRelay
from app.services.core.retry import Failure
from app.services.dataplane.errand import Errand

__all__ = ["Vigil"]

_DONE_TICKS = 10
"""How long the end of the body may lag behind ``[DONE]`` before the connection is given up."""
_DEAD_TICKS = 10
"""Whoever was silent while a check failed is as dead as the one that it was made for."""


class Vigil(Errand):
    """One server that owes an answer. ``relaying``: it has begun to give a good one. The attempt sets it up."""

    __slots__ = ("_last_at", "_suspect_at_ticks", "first_token_seconds", "relaying")

    _last_at: float
    _suspect_at_ticks: float
    first_token_seconds: float | None
    relaying: bool

    def tick(self) -> None:
        """Grow older by one tick: a server that stays silent too long has failed. A dial has its own deadline.

        An answer without streaming has no first token: it may take as long as the whole request.
        """
        if self._upstream is None:
            return
        self._silent_ticks += 1
        silent, relay, limits = self._silent_ticks, self._relay, self._plane.limits
        if silent <= _DONE_TICKS and silent < self._plane.soonest_ticks:
            return  # nearly always
        if type(relay) is EventRelay and relay.done and silent > _DONE_TICKS:
            self._end_stream(relay)  # all was said; only the end of the body is missing
            return
        longest = limits.first_token_ticks if self._exchange.wants_stream else limits.request_ticks
        if silent > (limits.idle_ticks if self.relaying else longest):
            self._unusable("the server fell silent", Failure.SILENT)
        elif silent >= limits.suspect_ticks:
            self._suspect(silent)

    def _suspect(self, silent_ticks: int) -> None:
        """Ask whether the server still lives, once it was silent for longer than is its way."""
        if silent_ticks <= self._plane.limits.suspect_ticks or not self._suspect_at_ticks:
            self._suspect_at_ticks = self._suspicion_ticks()
        if silent_ticks >= self._suspect_at_ticks:
            self._suspect_at_ticks = inf  # until the answer is there
            self._plane.doubt(self.candidate.server.id)

    def _suspicion_ticks(self) -> float:
        plane = self._plane
        seconds = self._lane.suspicion_seconds(plane.limits.suspect_ticks * plane.tick_seconds, plane.clock())
        return ceil(seconds / plane.tick_seconds)

    def judged(self, *, alive: bool) -> None:
        """Hear whether the server answered a check beside the stream. One that does is asked again after as long."""
        if self._upstream is None:
            return
        if alive:
            self._suspect_at_ticks = self._silent_ticks + self._suspicion_ticks()
        elif self._silent_ticks >= _DEAD_TICKS:
            self._unusable("the server fell silent, and did not answer a check", Failure.DEAD)
        else:
            self._suspect_at_ticks = 0.0

    def _note_gap(self) -> None:
        """Note that events came, the first or later ones."""
        if not self.relaying:
            self._began()
            return
        self._silent_ticks = 0
        now = self._plane.clock()
        gap = now - self._last_at
        self._last_at = now
        self._lane.gaps[bisect_left(GAP_BOUNDS_SECONDS, gap)] += 1
        self._lane.gap_seconds_total += gap

    def _began(self) -> None:
        self.relaying = True
        self._silent_ticks = 0
        self._last_at = self._plane.clock()
        self.first_token_seconds = self._last_at - self._sent_at
        if self._without_options:
            self._lane.refuses_stream_options = True  # it answers where these are left out
        self._lane.answered(self.first_token_seconds, self._last_at)

    @abstractmethod
    def _end_stream(self, relay: EventRelay) -> None:
        """The stream is whole."""

    @abstractmethod
    def _unusable(self, reason: str, failure: Failure = Failure.BROKEN) -> None:
        """The answer can't be used, or not any more."""
