"""How long may a server be silent? An errand that keeps time: first token, gaps, suspicion, and the limits of patience.

A server that fell silent is not given up at once, as many are only slow. Beside the stream it is asked whether it still
lives (``DataPlane.doubt``). One that answers may take its time, up to the limits; one that does not is dead.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from math import ceil, inf
from typing import TYPE_CHECKING

from app.services.core.answer.relay import EventRelay
from app.services.core.live.board import GAP_BOUNDS_SECONDS
from app.services.core.live.loading import loading_words, patience
from app.services.core.retry import Failure
from app.services.dataplane.errand import Errand

if TYPE_CHECKING:
    from app.services.core.live.loading import Loading

__all__ = ["Vigil"]

_DONE_TICKS = 10
"""How long the end of the body may lag behind ``[DONE]`` before the connection is given up."""
_DEAD_TICKS = 10
"""Whoever was silent while a check failed is as dead as the one that it was made for."""


class Vigil(Errand):
    """One server that owes an answer. ``relaying``: it has begun to give a good one. The attempt sets it up."""

    __slots__ = ("_last_at", "_missed", "_suspect_at_ticks", "first_token_seconds", "relaying")

    _last_at: float
    _missed: bool
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
        if self._exchange.wants_stream:
            longest = patience(limits.first_token_ticks, limits.model_load_ticks, needs_load=self._is_cold)
        else:
            longest = limits.request_ticks
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
        """Hear whether the server answered a check beside the stream. One that does is asked again after as long.

        So is one that loads a model, once: while it reads gigabytes it may be slow to answer anything.
        """
        if self._upstream is None:
            return
        if alive or (not self._missed and self._load() is not None):
            self._missed = not alive
            self._suspect_at_ticks = self._silent_ticks + self._suspicion_ticks()
        elif self._silent_ticks >= _DEAD_TICKS:
            self._unusable("the server fell silent, and did not answer a check", Failure.DEAD)
        else:
            self._suspect_at_ticks = 0.0

    @property
    def waited_for_load(self) -> bool:
        """Whether the model had to be loaded first, which says nothing of how fast the server is."""
        return self._is_cold

    def _load(self) -> Loading | None:
        """The load that this answer waits for; None where it waits for none."""
        residence = self._residence
        if residence is None or not self._is_cold or self.relaying:
            return None
        return residence.load_of(self.candidate.model.upstream_name)

    def words(self, now: float) -> bytes:
        """What a client hears while its model is being loaded; nothing where it is not."""
        load = self._load()
        return b"" if load is None else loading_words(load, now)

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
        lane, seconds, residence = self._lane, self.first_token_seconds, self._residence
        if residence is not None:
            usual = lane.first_token_ewma_seconds
            is_first_token = self._exchange.wants_stream
            name = self.candidate.model.upstream_name
            residence.began(name, self._last_at, is_first_token=is_first_token, usual_seconds=usual)
            if self._is_cold:
                seconds = min(seconds, usual)  # a load says nothing of how fast the server is
        lane.answered(seconds, self._last_at)

    @abstractmethod
    def _end_stream(self, relay: EventRelay) -> None:
        """The stream is whole."""

    @abstractmethod
    def _unusable(self, reason: str, failure: Failure = Failure.BROKEN) -> None:
        """The answer can't be used, or not any more."""
