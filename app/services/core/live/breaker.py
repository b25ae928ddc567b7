"""May a server be sent requests, after what became of the last ones? Ejection as a table: phase x signal -> phase.

A server is *closed* as long as all is well (the term is the circuit breaker's: current flows), *open* while it is
ejected, *half open* while one real request tries it. The rules:

* **Three connect errors in a row, or five failures in a row, eject it.** A failure is a bad answer (5xx, nonsense, no
  first token in time) or a lost one (reset, cut, silent and dead). A server that could be dialled breaks a run of
  connect errors; one whose answer begins, a run of failures. A run of answers that *broke off* is broken only by one
  that came whole: a server that begins each answer and ends none would never be found else.
* **One crash is one failure.** A process that is killed with forty streams in flight loses forty: only those of
  requests that were sent after the last loss was counted are new evidence. Refused dials, statuses and time-outs count
  each, for each is the server's own answer, or lack of one, to one request. A killed server is found by its refused
  dials: those count here and for its health, which takes it out of the rotation too.
* **Old news does not count.** What becomes of requests that were sent before the phase began changes nothing: neither
  stragglers of the crash that ejected it, nor any that were on their way when it came back.
* **It is out for five seconds, doubling to five minutes**, up to a fifth less by chance, so that many gateways do not
  come at once. Then exactly one request is its trial. A good answer that begins meanwhile closes it; the trial's
  failure opens it anew for twice as long; a trial without a verdict (the client left, 4xx, 429) leaves the next request
  to be one.
* **Checks that find it well close it at once.** How often it was ejected is remembered, so one that flaps is out ever
  longer; after five good minutes that is forgotten.

400, 413, 422, other refusals that are the client's own, 429, 503 and a client's leaving are no signals at all. Nor is a
rejected key (401, 403): that is for health to judge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, assert_never

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NEW", "TRANSITIONS", "Breaker", "Move", "Phase", "Signal", "When", "advance"]

MOST_CONNECT_ERRORS: Final = 3
MOST_FAILURES: Final = 5
OPEN_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 300.0
FORGET_SECONDS: Final = 300.0
"""Closed for so long, it is as good as one that was never open."""
JITTER: Final = 0.2
"""The share by which an opening may be shorter."""
_MAX_DOUBLINGS: Final = 10  # 5 s doubled so often is past every bound


class Phase(StrEnum):
    """Whether requests may be sent."""

    CLOSED = "closed"
    """They may."""
    OPEN = "open"
    """They may not, until its time is over; then the next one is the trial."""
    HALF_OPEN = "half_open"
    """They may not: one is the trial."""


class Signal(StrEnum):
    """What is told of a server, as far as the table tells it apart."""

    CONNECT_ERROR = "connect_error"
    BAD_ANSWER = "bad_answer"
    """5xx, nonsense, or no first token in time."""
    LOST = "lost"
    """Reset or dead before its answer began."""
    CUT = "cut"
    """Reset, dead or silent after its answer had begun."""
    BEGAN = "began"
    """A good answer began."""
    WHOLE = "whole"
    """A good answer is whole."""
    TAKEN = "taken"
    """A request is sent there."""
    FREED = "freed"
    """A request is over. Of a trial: without a verdict, or there had been one."""
    FOUND_WELL = "found_well"
    """Checks found it well."""


_FAILURES: Final = frozenset((Signal.CONNECT_ERROR, Signal.BAD_ANSWER, Signal.LOST, Signal.CUT))
_LOSSES: Final = frozenset((Signal.LOST, Signal.CUT))
_OF_ONE_REQUEST: Final = _FAILURES | {Signal.FREED}


class When(Enum):
    """How much evidence a move takes."""

    AT_ONCE = "at once"
    AFTER_CONNECT_ERRORS = "after three connect errors in a row, or five failures"
    AFTER_FAILURES = "after five failures in a row"
    ONCE_DUE = "when the time that it is out is over"


@dataclass(frozen=True, slots=True)
class Move:
    """Where a signal leads, and after how much evidence."""

    to: Phase
    when: When = When.AT_ONCE


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one server. Times are monotonic seconds.

    Attributes:
        phase: whether requests may be sent.
        since: when the phase began.
        until: when the trial is due, while it is open.
        times: how often it was opened and that was not forgotten: the next opening is doubled so often.
        connect_errors: in a row.
        failures: bad and lost answers in a row.
        cuts: answers that broke off, none whole between them.
        lost_at: when the last loss was counted.
    """

    phase: Phase = Phase.CLOSED
    since: float = -math.inf
    until: float = 0.0
    times: int = 0
    connect_errors: int = 0
    failures: int = 0
    cuts: int = 0
    lost_at: float = -math.inf

    def is_shut(self, now: float) -> bool:
        """Whether no request may be sent: it is out, or its trial is under way."""
        return self.phase is Phase.HALF_OPEN or (self.phase is Phase.OPEN and now < self.until)


NEW: Final = Breaker()
"""A server that nothing is known of."""

_CLOSED, _OPEN, _HALF_OPEN = Phase.CLOSED, Phase.OPEN, Phase.HALF_OPEN

TRANSITIONS: Final[Mapping[tuple[Phase, Signal], Move]] = {
    # Closed: failures are counted, good answers end their runs.
    (_CLOSED, Signal.CONNECT_ERROR): Move(_OPEN, When.AFTER_CONNECT_ERRORS),
    (_CLOSED, Signal.BAD_ANSWER): Move(_OPEN, When.AFTER_FAILURES),
    (_CLOSED, Signal.LOST): Move(_OPEN, When.AFTER_FAILURES),
    (_CLOSED, Signal.CUT): Move(_OPEN, When.AFTER_FAILURES),
    (_CLOSED, Signal.BEGAN): Move(_CLOSED),
    (_CLOSED, Signal.WHOLE): Move(_CLOSED),
    (_CLOSED, Signal.FOUND_WELL): Move(_CLOSED),
    # Open: whatever still comes in is of requests sent before.
    (_OPEN, Signal.TAKEN): Move(_HALF_OPEN, When.ONCE_DUE),
    (_OPEN, Signal.FOUND_WELL): Move(_CLOSED),
    # Half open: the trial decides.
    (_HALF_OPEN, Signal.CONNECT_ERROR): Move(_OPEN),
    (_HALF_OPEN, Signal.BAD_ANSWER): Move(_OPEN),
    (_HALF_OPEN, Signal.LOST): Move(_OPEN),
    (_HALF_OPEN, Signal.CUT): Move(_OPEN),
    (_HALF_OPEN, Signal.BEGAN): Move(_CLOSED),
    (_HALF_OPEN, Signal.FREED): Move(_OPEN),
    (_HALF_OPEN, Signal.FOUND_WELL): Move(_CLOSED),
}
"""What is not in it changes nothing."""


def advance(state: Breaker, signal: Signal, now: float, taken_at: float, random: Callable[[], float]) -> Breaker:
    """Return the state after ``signal``; the very same object if nothing changes.

    Args:
        state: what was known before.
        signal: what happened.
        now: monotonic seconds.
        taken_at: when the request that it happened to was sent; ``now`` where it is none's.
        random: uniform floats in [0, 1), drawn from only when the server is ejected.
    """
    move = TRANSITIONS.get((state.phase, signal))
    if move is None or _is_old(state, signal, taken_at):
        return state
    counted = _counted(state, signal, now)
    if not _is_due(move.when, counted, now) or move.to is state.phase:
        return counted
    if signal is Signal.FREED:
        return replace(counted, phase=_OPEN, since=now, until=now)  # the next request is the trial
    if move.to is _OPEN:
        return _opened(counted, now, random())
    return replace(counted, phase=move.to, since=now)


def _is_old(state: Breaker, signal: Signal, taken_at: float) -> bool:
    """Whether a signal is of a request that was sent before what is known already."""
    if signal in _LOSSES and taken_at < state.lost_at:
        return True
    return signal in _OF_ONE_REQUEST and taken_at < state.since


def _counted(state: Breaker, signal: Signal, now: float) -> Breaker:
    """Count the signal: each ends some runs and goes on with others."""
    connect_errors, failures, cuts = state.connect_errors, state.failures, state.cuts
    match signal:
        case Signal.CONNECT_ERROR:
            connect_errors, failures = connect_errors + 1, failures + 1
        case Signal.BAD_ANSWER | Signal.LOST:
            connect_errors, failures = 0, failures + 1
        case Signal.CUT:
            cuts += 1
        case Signal.BEGAN:
            connect_errors = failures = 0
        case Signal.WHOLE:
            cuts = 0
        case Signal.FOUND_WELL:
            connect_errors = failures = cuts = 0
        case Signal.TAKEN | Signal.FREED:
            pass
        case _:
            assert_never(signal)
    lost_at = now if signal in _LOSSES else state.lost_at
    if (connect_errors, failures, cuts, lost_at) == (state.connect_errors, state.failures, state.cuts, state.lost_at):
        return state
    return replace(state, connect_errors=connect_errors, failures=failures, cuts=cuts, lost_at=lost_at)


def _is_due(when: When, counted: Breaker, now: float) -> bool:
    """Whether there is evidence enough for a move."""
    match when:
        case When.AT_ONCE:
            return True
        case When.AFTER_CONNECT_ERRORS:
            return counted.connect_errors >= MOST_CONNECT_ERRORS or counted.failures + counted.cuts >= MOST_FAILURES
        case When.AFTER_FAILURES:
            return counted.failures + counted.cuts >= MOST_FAILURES
        case When.ONCE_DUE:
            return now >= counted.until
        case _:
            assert_never(when)


def _opened(counted: Breaker, now: float, random: float) -> Breaker:
    """Eject it: runs begin anew once it is back."""
    is_forgotten = counted.phase is _CLOSED and now - counted.since >= FORGET_SECONDS
    times = 0 if is_forgotten else counted.times
    seconds = min(OPEN_SECONDS * 2.0 ** min(times, _MAX_DOUBLINGS), LONGEST_SECONDS) * (1.0 - JITTER * random)
    return Breaker(_OPEN, since=now, until=now + seconds, times=times + 1, lost_at=counted.lost_at)
