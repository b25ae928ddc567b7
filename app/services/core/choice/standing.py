"""What speaks against a server right now? One word and the figures behind it, the same wherever a route is explained.

The words stand in two groups. Those that *bar*: whatever else happens, the next request does not go there. And those
that only put others first: a server with such a word is taken when none is left before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from app.services.core.choice.load import has_model
from app.services.core.live.breaker import Phase
from app.services.core.prompt.contexts import Room, context_of, room_at
from app.services.core.types import HealthStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.services.core.choice.snapshot import Candidate
    from app.services.core.live.board import Lane
    from app.services.core.prompt.demand import Demand

__all__ = ["FREE", "Standing", "Word", "barred", "behind", "entering"]


class Word(StrEnum):
    """Why a server is passed over."""

    NONE = ""
    BLOCKED = "blocked"
    QUARANTINED = "quarantined"
    PAUSED = "paused"
    DRAINING = "draining"
    KEY = "refuses our key"
    NOT_LISTED = "model not listed"
    TRIED = "tried already"
    LOADING = "loading the model"
    DOWN = "not answering"
    EJECTED = "ejected"
    COOLING = "cooling"
    FULL = "full"
    CONTEXT = "context"
    TURN = "memory in use"
    UNKNOWN = "state unknown"
    PRIORITY = "lower priority"
    FAILED = "just failed"
    TIGHT = "tight context"
    ENTERING = "on its way into memory"
    COLD = "not in memory"
    ELSEWHERE = "better elsewhere"
    BUSIER = "busier"


@dataclass(frozen=True, slots=True)
class Standing:
    """What speaks against a server; ``words`` are for people and hold the figures. Neither names a URL."""

    word: Word
    words: str

    @property
    def is_left_out(self) -> bool:
        """Whether others are surely taken before it, so that the next request does not go there."""
        return self.word not in _STILL_DRAWN


FREE: Final = Standing(Word.NONE, "")
_STILL_DRAWN: Final = frozenset((Word.NONE, Word.ENTERING, Word.COLD, Word.BUSIER))
_LOADING: Final = Standing(Word.LOADING, "loading the model")


def barred(
    candidate: Candidate, lane: Lane, now: float, demand: Demand | None = None, tried: Collection[str] = ()
) -> Standing:
    """Say what keeps every request away from a server; ``FREE`` if nothing does.

    Args:
        candidate: the server, and what it calls the model.
        lane: its live figures.
        now: monotonic seconds.
        demand: what the request asks for.
        tried: where it was already.
    """
    held = _held(candidate)
    if held is not None:
        return held
    server = candidate.server
    if server.id in tried:
        return Standing(Word.TRIED, "this request was there already")
    if server.health is HealthStatus.UNHEALTHY:
        return _LOADING if server.loading else Standing(Word.DOWN, "not answering its checks")
    return _busy(candidate, lane, now) or _too_small(candidate, demand) or FREE


def behind(candidate: Candidate, best: Candidate, lane: Lane, now: float, demand: Demand | None, why: str) -> Standing:
    """Say what puts another server before one that nothing bars.

    Args:
        candidate: the server that is not taken, or seldom.
        best: the one that is taken most.
        lane: the live figures of ``candidate``.
        now: monotonic seconds.
        demand: what the request asks for.
        why: why ``best`` is taken, as ``plan.Forward`` tells.
    """
    server = candidate.server
    is_known_less = server.health is HealthStatus.UNKNOWN and best.server.health is HealthStatus.HEALTHY
    is_tighter = demand is not None and room_at(candidate, demand) > room_at(best, demand)
    if is_known_less and server.loading:
        return _LOADING
    suspect_seconds = lane.suspect_until - now
    found = (
        (is_known_less, Word.UNKNOWN, "state unknown, others are known to be well"),
        (why in _HOMELY, Word.ELSEWHERE, "another has the beginning of this request, or is to keep it"),
        (is_tighter, Word.TIGHT, f"context {_figure(context_of(candidate))} may be too short"),
        (
            server.priority < best.server.priority,
            Word.PRIORITY,
            f"priority {server.priority} is lower than {best.server.priority}",
        ),
        (suspect_seconds > 0, Word.FAILED, f"just failed, others first for {_seconds(suspect_seconds)}"),
        (not has_model(candidate, lane, now), Word.COLD, "model not in memory"),
    )
    return next(
        (Standing(word, words) for holds, word, words in found if holds), entering(candidate, lane, now) or _BUSIER
    )


def entering(candidate: Candidate, lane: Lane, now: float) -> Standing | None:
    """Say that its model is on its way into memory, if it is: who goes there waits for that."""
    residence = lane.residence
    since = None if residence is None else residence.loading_since(candidate.model.upstream_name)
    return None if since is None else Standing(Word.ENTERING, f"loading the model, {_seconds(now - since)} so far")


_BUSIER: Final = Standing(Word.BUSIER, "busier than others, or of less weight")
_HOMELY: Final = frozenset(("session", "prefix", "placed"))


def _held(candidate: Candidate) -> Standing | None:
    """What somebody's doing alone takes away."""
    server = candidate.server
    is_missing = candidate.model.upstream_name in server.missing_models
    found = (
        (server.blocked, Word.BLOCKED, "blocked by the operator"),
        (server.quarantined, Word.QUARANTINED, "quarantined by the gateway"),
        (server.paused, Word.PAUSED, "paused by its owner"),
        (server.draining, Word.DRAINING, "draining"),
        (server.misconfigured, Word.KEY, "refuses our key"),
        (is_missing, Word.NOT_LISTED, "model not listed there"),
    )
    return next((Standing(word, words) for holds, word, words in found if holds), None)


def _busy(candidate: Candidate, lane: Lane, now: float) -> Standing | None:
    """What time takes away."""
    most = candidate.server.max_concurrency
    if lane.is_shut(now):
        if lane.breaker.phase is Phase.HALF_OPEN:
            return Standing(Word.EJECTED, "ejected after failures, its trial is under way")
        return Standing(Word.EJECTED, f"ejected after failures, next trial in {_seconds(lane.breaker.until - now)}")
    if lane.cooling_until > now:
        return Standing(Word.COOLING, f"asked to be left alone, for {_seconds(lane.cooling_until - now)} yet")
    if not lane.has_room(most):
        return Standing(Word.FULL, f"full, {lane.in_flight} of {lane.cap(most)}")
    residence = lane.residence
    if residence is not None and not residence.is_open(candidate.model.upstream_name, now):
        return Standing(Word.TURN, "its memory is in use by another model")
    return None


def _too_small(candidate: Candidate, demand: Demand | None) -> Standing | None:
    if demand is None or room_at(candidate, demand) < Room.UNLIKELY:
        return None
    asked = max(demand.prompt_tokens, demand.least_tokens)
    return Standing(Word.CONTEXT, f"context {_figure(context_of(candidate))} < about {asked:,}")


def _figure(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"


def _seconds(seconds: float) -> str:
    return f"{max(math.ceil(seconds), 1)} s"
