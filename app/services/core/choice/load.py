"""May a server be taken, and how loaded is it? What every way of choosing one goes by.

Load is what a server would have with one request more, ours and foreign, for each of its places and each unit of its
weight (``core.choice.places``). Where its engine was seen to compute more than its places with nothing waiting, it has
so many. One that ramps has a part of its strength; one whose cache is full counts for twice what it has.

A model that is in no memory takes a load first. So servers that have it go first, until those have more than two
requests waiting for each place: from there on loading it once more is the shorter wait. Whoever is loading it now
counts as having it: requests gather behind one load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.choice.places import strength_of

if TYPE_CHECKING:
    from app.services.core.choice.snapshot import Candidate
    from app.services.core.live.lanes import Lane

    Drawn = tuple[Candidate, Lane]

__all__ = ["COLD_PENALTY", "Drawn", "backlog", "has_model", "is_crowded", "is_open", "less_loaded", "load"]

COLD_PENALTY: Final = 3.0
"""Loading a model is worth so many requests a place: one that is computed and two that wait."""
_STRAIN: Final = 2.0
_JUST_SECONDS: Final = 15.0


def is_open(candidate: Candidate, lane: Lane, now: float) -> bool:
    """Whether nothing stands against taking it while others are there."""
    most = candidate.server.max_concurrency
    if lane.troubled_until > now:
        is_barred = lane.suspect_until > now or lane.cooling_until > now
        if is_barred or lane.is_shut(now) or not lane.has_room(most):
            return False
    elif most is not None and lane.in_flight >= most:
        return False
    residence = lane.residence
    return residence is None or residence.is_open(candidate.model.upstream_name, now)


def has_model(candidate: Candidate, lane: Lane, now: float) -> bool:
    """Whether its model is in memory, or on the way into it.

    A server with one model that runs a request, or answered a moment ago, has it: its engine will tell with the next
    check.
    """
    residence = lane.residence
    if residence is not None:
        name = candidate.model.upstream_name
        return residence.is_warm(name) or residence.loading_since(name) is not None
    if candidate.warm:
        return True
    is_at_it = lane.in_flight > 0 or now - lane.answered_at < _JUST_SECONDS
    return is_at_it and len(candidate.server.models) == 1


def backlog(candidate: Candidate, lane: Lane, now: float) -> float:
    """How many requests it has for each of its places, weight apart."""
    foreign = lane.foreign(now) if lane.closer_look_until > now else 0.0
    return (lane.in_flight + foreign) / max(candidate.places, lane.held)


def is_crowded(candidate: Candidate, lane: Lane, now: float) -> bool:
    """Whether so many wait there that loading the model elsewhere is the shorter wait."""
    return backlog(candidate, lane, now) > COLD_PENALTY


def load(candidate: Candidate, lane: Lane, now: float, more: int = 0) -> float:
    """How loaded it is, or would be with so many requests ``more``."""
    strength = candidate.strength if lane.held <= candidate.places else strength_of(candidate.server, lane.held)
    if lane.closer_look_until <= now:
        return (lane.in_flight + more) / strength
    if lane.troubled_until > now:
        strength *= lane.share(now)
    requests = (lane.in_flight + lane.foreign(now) + more) / strength
    return requests * _STRAIN if lane.is_strained(now) else requests


def less_loaded(one: Drawn, two: Drawn, now: float) -> Candidate:
    """Return the first of two that were drawn, or the second if it is less loaded even with this request.

    So the draw decides between those that are about as busy, and traffic spreads by weight, at any load.
    The time to the first token breaks ties between busy ones.
    """
    first, lane = one
    second, other = two
    is_plain = lane.closer_look_until <= now >= other.closer_look_until
    if is_plain and lane.held <= first.places and other.held <= second.places:
        before, after = lane.in_flight / first.strength, (other.in_flight + 1) / second.strength
    else:
        before, after = load(first, lane, now), load(second, other, now, 1)
    if before >= after:
        return second
    is_slower = before > 0.0 and lane.first_token_ewma_seconds > other.first_token_ewma_seconds
    return second if is_slower and before == load(second, other, now) else first
