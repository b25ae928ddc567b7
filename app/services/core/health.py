"""What does a check or a refused dial make of a server's state, and when is the next check due?

Three states and five signals, and the table below says what follows. Its rules:

* **A server that nobody knows is believed at its first word**, good or bad: nothing else speaks for it yet.
* **A healthy server is given the benefit of the doubt.** It leaves the rotation after ``Thresholds.unhealthy`` misses
  in a row. Missed checks, dials that traffic lost and "still loading" count alike, so three refused requests are
  enough to mark a dead server, long before the next periodic check.
* **Some failures need no second look.** A server that rejects our key, or whose address may not be dialled, answers
  the same until somebody changes something: it leaves at once.
* **A server that came back proves itself** by ``Thresholds.healthy`` passes in a row, so that one that flaps every
  second does not flap in and out of the rotation.
* **Models are delisted apart from the state.** ``missing_models`` always mirrors the last list that the server gave:
  a model that vanished takes no traffic after the first check that lacks it, whatever the state is.

``consecutive_failures`` and ``consecutive_successes`` count evidence in a row; at most one of them is not zero. A dial
lost to a server that is already unhealthy is a straggler: it breaks a run of passes but does not count further, or a
burst of them would make a fresh outage look like an old one.

Checks come every interval, +-20 % so that they spread out. While the evidence in hand speaks against the state (a
healthy server with a miss, an unhealthy one with a pass, one never seen) the next comes within ``changing_seconds``.
With the defaults a server that refuses connections is marked two seconds after the first check or request that
notices, and one that returned is back after two checks. An unhealthy server is checked less and less often, from
``changing_seconds`` doubling up to the interval: one that only restarts is back soon, one that is gone costs little.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, assert_never

from app.services.core.types import CheckFailure, HealthStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from app.services.core.types import Inspection

__all__ = [
    "TRANSITIONS",
    "Cadence",
    "CheckRecord",
    "Event",
    "HealthState",
    "Missed",
    "Move",
    "Passed",
    "Refused",
    "Signal",
    "Thresholds",
    "When",
    "advance",
    "event_from",
    "next_check_in_seconds",
    "signal_of",
]

JITTER: Final = 0.2
"""Share of the interval by which a check comes earlier or later."""
MAX_DOUBLINGS: Final = 20
"""Bounds the back-off's exponent; 2^20 s is past every interval that can be set."""


class Signal(StrEnum):
    """What an event says of a server, as far as the table tells events apart."""

    PASS = "pass"  # noqa: S105 - the word for a good check, not a password
    MISS = "miss"
    """No connection, no answer in time, not a list of models, or none of its models in it."""
    LOST_DIAL = "lost_dial"
    """A request that could not connect."""
    NOT_READY = "not_ready"
    """The server answers that it is still loading or overloaded."""
    SHUT_OUT = "shut_out"
    """Our key is rejected, or the address may not be dialled: the same until somebody changes something."""


class When(Enum):
    """How much evidence a move takes."""

    AT_ONCE = "at once"
    AFTER_MISSES = "after `Thresholds.unhealthy` failures in a row"
    AFTER_PASSES = "after `Thresholds.healthy` passes in a row"


@dataclass(frozen=True, slots=True)
class Move:
    """Where a signal leads, and after how many like it."""

    to: HealthStatus
    when: When


_HEALTHY, _UNHEALTHY, _UNKNOWN = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN

TRANSITIONS: Final[Mapping[tuple[HealthStatus, Signal], Move]] = {
    # An unknown server is believed at its first word.
    (_UNKNOWN, Signal.PASS): Move(_HEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.MISS): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.NOT_READY): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNKNOWN, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
    # A healthy server has the benefit of the doubt.
    (_HEALTHY, Signal.PASS): Move(_HEALTHY, When.AT_ONCE),
    (_HEALTHY, Signal.MISS): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.NOT_READY): Move(_UNHEALTHY, When.AFTER_MISSES),
    (_HEALTHY, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
    # An unhealthy one proves itself.
    (_UNHEALTHY, Signal.PASS): Move(_HEALTHY, When.AFTER_PASSES),
    (_UNHEALTHY, Signal.MISS): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.LOST_DIAL): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.NOT_READY): Move(_UNHEALTHY, When.AT_ONCE),
    (_UNHEALTHY, Signal.SHUT_OUT): Move(_UNHEALTHY, When.AT_ONCE),
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many misses in a row make a server unhealthy, how many passes make it healthy again. Both at least 1."""

    unhealthy: int = 3
    healthy: int = 2


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often servers are checked: every ``interval_seconds``, sooner while a state is changing."""

    interval_seconds: float = 10.0
    changing_seconds: float = 1.0
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class HealthState:
    """What is known of one server's health. Times are timezone-aware UTC.

    ``reason`` says in an owner's words what is wrong, and is empty while nothing is. ``missing_models`` holds the
    upstream names that the last list lacked.
    """

    status: HealthStatus = HealthStatus.UNKNOWN
    reason: str = ""
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    last_checked_at: datetime | None = None
    last_transition_at: datetime | None = None
    missing_models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One line of a server's history. ``source`` is ``check``, or ``traffic`` for a request that could not connect."""

    checked_at: datetime
    ok: bool
    reason: str = ""
    latency_ms: float = 0.0
    source: str = "check"


@dataclass(frozen=True, slots=True)
class Passed:
    """A check that got a list of models. ``reason`` is not empty when the list lacks some (``missing``)."""

    missing: frozenset[str] = frozenset()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Missed:
    """A check that failed. ``missing`` is None when the server gave no list."""

    reason: str
    failure: CheckFailure = CheckFailure.UNREACHABLE
    missing: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that could not connect to the server."""

    reason: str


Event = Passed | Missed | Refused


def event_from(inspection: Inspection) -> Passed | Missed:
    """Read what a check found as an event."""
    if inspection.failure is None:
        return Passed(inspection.missing_models, inspection.reason)
    listed = inspection.failure is CheckFailure.MODEL_MISSING
    return Missed(inspection.reason, inspection.failure, inspection.missing_models if listed else None)


def signal_of(event: Event) -> Signal:
    """Tell which column of the table an event belongs to."""
    match event:
        case Passed():
            return Signal.PASS
        case Refused():
            return Signal.LOST_DIAL
        case Missed(failure=CheckFailure.NOT_READY):
            return Signal.NOT_READY
        case Missed(failure=CheckFailure.CREDENTIALS | CheckFailure.REFUSED_ADDRESS):
            return Signal.SHUT_OUT
        case Missed():
            return Signal.MISS
        case _:
            assert_never(event)


def advance(state: HealthState, event: Event, now: datetime, thresholds: Thresholds) -> HealthState:
    """Return the state after ``event``.

    Args:
        state: what was known before.
        event: what a check found, or a request that could not connect.
        now: timezone-aware UTC; becomes ``last_checked_at`` for checks, ``last_transition_at`` if the status changes.
        thresholds: how much evidence a change takes.
    """
    signal = signal_of(event)
    counted = _counted(state, signal)
    move = TRANSITIONS[state.status, signal]
    status = move.to if _is_due(move.when, counted, thresholds) else state.status
    return replace(
        counted,
        status=status,
        reason=_reason(status, event, counted, thresholds),
        last_checked_at=state.last_checked_at if isinstance(event, Refused) else now,
        last_transition_at=state.last_transition_at if status is state.status else now,
        missing_models=_missing(state, event),
    )


def next_check_in_seconds(state: HealthState, cadence: Cadence, random: float) -> float:
    """Return the seconds until the next check. ``random``, drawn evenly from [0, 1), spreads checks of many servers."""
    interval = cadence.interval_seconds
    soon = min(interval, cadence.changing_seconds)
    if _is_changing(state):
        return soon * (1 - JITTER * random)
    if state.status is HealthStatus.UNHEALTHY:
        doublings = min(max(state.consecutive_failures - cadence.thresholds.unhealthy, 0), MAX_DOUBLINGS)
        interval = min(interval, soon * 2.0**doublings)
    return interval * (1 - JITTER + 2 * JITTER * random)


def _counted(state: HealthState, signal: Signal) -> HealthState:
    """Count the signal: a pass ends a run of failures, a failure ends a run of passes."""
    if signal is Signal.PASS:
        return replace(state, consecutive_failures=0, consecutive_successes=state.consecutive_successes + 1)
    is_straggler = signal is Signal.LOST_DIAL and state.status is HealthStatus.UNHEALTHY
    failures = max(state.consecutive_failures, 1) if is_straggler else state.consecutive_failures + 1
    return replace(state, consecutive_failures=failures, consecutive_successes=0)


def _is_due(when: When, counted: HealthState, thresholds: Thresholds) -> bool:
    """Whether there is evidence enough for a move."""
    match when:
        case When.AT_ONCE:
            return True
        case When.AFTER_MISSES:
            return counted.consecutive_failures >= thresholds.unhealthy
        case When.AFTER_PASSES:
            return counted.consecutive_successes >= thresholds.healthy
        case _:
            assert_never(when)


def _is_changing(state: HealthState) -> bool:
    """Whether the evidence in hand speaks against the status."""
    match state.status:
        case HealthStatus.HEALTHY:
            return state.consecutive_failures > 0
        case HealthStatus.UNHEALTHY:
            return state.consecutive_successes > 0
        case HealthStatus.UNKNOWN:
            return True
        case _:
            assert_never(state.status)


def _missing(state: HealthState, event: Event) -> frozenset[str]:
    """Follow the last list that the server gave; an event without a list changes nothing."""
    if isinstance(event, Refused) or event.missing is None:
        return state.missing_models
    return event.missing


def _reason(status: HealthStatus, event: Event, counted: HealthState, thresholds: Thresholds) -> str:
    """Say what is wrong; for a server that answers again but is not back yet, how far it has come."""
    if event.reason or not isinstance(event, Passed) or status is HealthStatus.HEALTHY:
        return event.reason
    return f"answers again, {counted.consecutive_successes} of {thresholds.healthy} good checks"
