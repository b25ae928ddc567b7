"""What does a check or a failed request make of a server's state, and when is the next check due?

Three states and nine signals, and the table in ``core.checks.health_table`` says what follows. Its rules:

* **A server that nobody knows is believed at its first word**, good or bad: nothing else speaks for it yet.
* **A healthy server is given the benefit of the doubt.** It leaves the rotation after ``Thresholds.unhealthy`` misses
  in a row. Missed checks, dials that traffic lost and "overloaded" count alike, so three refused requests are enough
  to mark a dead server, long before the next periodic check.
* **A server that loads its model is not ill, only not ready.** By its engine's own word it leaves at once, nothing is
  counted against it, it is looked at every ``changing_seconds`` for as long as that takes, and its first pass opens it.
* **Some failures need no second look.** A server that rejects our key, or whose address may not be dialled, answers
  the same until somebody changes something: it leaves at once. So does one that stopped in mid-answer and is silent.
* **A server that came back proves itself** by ``Thresholds.healthy`` passes in a row, so that one that flaps every
  second does not flap in and out of the rotation. While requests wait for it, one pass is enough.
* **A server that answers requests with 401 or 403 is misconfigured**, whatever its checks say: its list of models may
  be public. Passes do not open it until it is given a chance (``core.checks.rejections``); then the first one does.
* **Models are delisted apart from the state.** ``missing_models`` always mirrors the last list that the server gave:
  a model that vanished takes no traffic after the first check that lacks it, whatever the state is.

``consecutive_failures`` and ``consecutive_successes`` count evidence in a row; at most one of them is not zero. A dial
lost to a server that is already unhealthy is a straggler: it breaks a run of passes but does not count further, or a
burst of them would make a fresh outage look like an old one.

Checks come every interval, +-20 % so that they spread out. While the evidence in hand speaks against the state (a
healthy server with a miss, an unhealthy one with a pass, one never seen) the next comes within ``changing_seconds``.
With the defaults a server that refuses connections is marked two seconds after the first check or request that
notices, half a second after it where somebody looks at the server's page (``services.knocks``), and one that returned
is back after two checks. An unhealthy server is checked less and less often, from
``changing_seconds`` doubling up to the interval; a misconfigured one every interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, assert_never

from app.services.core.checks.health_events import Event, Missed, Passed, Refused, Rejected, WentSilent, event_from
from app.services.core.checks.health_table import TRANSITIONS, Signal, When
from app.services.core.types import CheckFailure, HealthStatus

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "TRANSITIONS",
    "Cadence",
    "CheckRecord",
    "Event",
    "HealthState",
    "Missed",
    "Passed",
    "Refused",
    "Rejected",
    "Signal",
    "Thresholds",
    "WentSilent",
    "advance",
    "event_from",
    "next_check_in_seconds",
    "signal_of",
]

JITTER: Final = 0.2
"""Share of the interval by which a check comes earlier or later."""
MAX_DOUBLINGS: Final = 20
"""Bounds the back-off's exponent; 2^20 s is past every interval that can be set."""

_BY_FAILURE: Final = {
    CheckFailure.NOT_READY: Signal.NOT_READY,
    CheckFailure.LOADING: Signal.LOADING,
    CheckFailure.CREDENTIALS: Signal.SHUT_OUT,
    CheckFailure.REFUSED_ADDRESS: Signal.SHUT_OUT,
}
_PASSES: Final = frozenset({Signal.PASS, Signal.WANTED_PASS})
_FROM_TRAFFIC: Final = frozenset({Signal.LOST_DIAL, Signal.REJECTED, Signal.SILENT})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many misses in a row make a server unhealthy, how many passes make it healthy again. Both at least 1."""

    unhealthy: int = 3
    healthy: int = 2


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often servers are checked: every ``interval_seconds``, sooner while a state is changing.

    ``hurried_seconds``: between the checks of a healthy server that could not be reached, while somebody looks at it.
    """

    interval_seconds: float = 10.0
    changing_seconds: float = 1.0
    hurried_seconds: float = 0.25
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True, slots=True)
class HealthState:
    """What is known of one server's health. Times are timezone-aware UTC.

    ``reason`` says in an owner's words what is wrong, and is empty while nothing is. ``missing_models`` holds the
    upstream names that the last list lacked. ``misconfigured``: it refuses our key, in a check or in traffic;
    ``rejection`` says what it answered to a request, and keeps it out although its checks pass; else it is empty.
    ``loading``: the last that was seen of it is that it loads its model, so one pass is enough.

    These three are not stored, so a restart is one more chance: it costs at most one request that is refused again.
    """

    status: HealthStatus = HealthStatus.UNKNOWN
    reason: str = ""
    consecutive_failures: int = 0
    consecutive_successes: int = 0
    last_checked_at: datetime | None = None
    last_transition_at: datetime | None = None
    missing_models: frozenset[str] = frozenset()
    misconfigured: bool = False
    rejection: str = ""
    loading: bool = False


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One line of a server's history. ``source`` is ``check``, or ``traffic`` for a request that failed."""

    checked_at: datetime
    ok: bool
    reason: str = ""
    latency_ms: float = 0.0
    source: str = "check"


def signal_of(event: Event) -> Signal:
    """Tell which column of the table an event belongs to."""
    match event:
        case Passed(wanted=wanted):
            return Signal.WANTED_PASS if wanted else Signal.PASS
        case Refused():
            return Signal.LOST_DIAL
        case Rejected():
            return Signal.REJECTED
        case WentSilent():
            return Signal.SILENT
        case Missed(failure=failure):
            return _BY_FAILURE.get(failure, Signal.MISS)
        case _:
            assert_never(event)


def advance(state: HealthState, event: Event, now: datetime, thresholds: Thresholds) -> HealthState:
    """Return the state after ``event``.

    Args:
        state: what was known before.
        event: what a check found, or a request that failed.
        now: timezone-aware UTC; becomes ``last_checked_at`` for checks, ``last_transition_at`` if the status changes.
            Times are for people alone: nothing is decided by them.
        thresholds: how much evidence a change takes.
    """
    signal = signal_of(event)
    counted = _counted(state, signal)
    is_barred = bool(state.rejection) and signal is Signal.PASS
    is_awaited = state.loading and signal is Signal.PASS
    move = TRANSITIONS[state.status, Signal.WANTED_PASS if is_awaited else signal]
    status = move.to if _is_due(move.when, counted, thresholds) and not is_barred else state.status
    rejection = _rejection(state, event)
    return replace(
        counted,
        status=status,
        reason=_reason(status, event, replace(counted, rejection=rejection), thresholds),
        last_checked_at=state.last_checked_at if isinstance(event, Refused | Rejected) else now,
        last_transition_at=state.last_transition_at if status is state.status else now,
        missing_models=_missing(state, event),
        misconfigured=bool(rejection) or _is_shut_out(state, event),
        rejection=rejection,
        loading=signal is Signal.LOADING,
    )


def next_check_in_seconds(state: HealthState, cadence: Cadence, random: float, *, is_urgent: bool = False) -> float:
    """Return the seconds until the next check.

    Args:
        state: what is known of the server now.
        cadence: how often servers are checked.
        random: drawn evenly from [0, 1): it spreads the checks of many servers.
        is_urgent: the check before could not reach the server, and somebody looks at it: a healthy one is looked at
            again in a moment. One that is known to be down may wait as ever.
    """
    interval = cadence.interval_seconds
    soon = min(interval, cadence.changing_seconds)
    if _is_changing(state):
        is_hurried = is_urgent and state.status is HealthStatus.HEALTHY
        return (min(soon, cadence.hurried_seconds) if is_hurried else soon) * (1 - JITTER * random)
    if state.status is HealthStatus.UNHEALTHY and not state.rejection:
        doublings = min(max(state.consecutive_failures - cadence.thresholds.unhealthy, 0), MAX_DOUBLINGS)
        interval = min(interval, soon * 2.0**doublings)
    return interval * (1 - JITTER + 2 * JITTER * random)


def _counted(state: HealthState, signal: Signal) -> HealthState:
    """Count the signal: a pass ends a run of failures, a failure ends a run of passes, and loading is neither."""
    if signal in _PASSES:
        return replace(state, consecutive_failures=0, consecutive_successes=state.consecutive_successes + 1)
    if signal is Signal.LOADING:
        return replace(state, consecutive_failures=0, consecutive_successes=0)
    is_straggler = signal in _FROM_TRAFFIC and state.status is HealthStatus.UNHEALTHY
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
            return (state.consecutive_successes > 0 or state.loading) and not state.rejection
        case HealthStatus.UNKNOWN:
            return True
        case _:
            assert_never(state.status)


def _rejection(state: HealthState, event: Event) -> str:
    """Say what it answered to a request, until a pass that counts, or until checks see the same and can judge."""
    match event:
        case Rejected():
            return event.reason
        case Passed(wanted=True) | Missed(failure=CheckFailure.CREDENTIALS):
            return ""
        case _:
            return state.rejection


def _is_shut_out(state: HealthState, event: Event) -> bool:
    """Whether checks find that the server refuses our key; what gives no answer to that changes nothing."""
    refused = isinstance(event, Missed) and event.failure is CheckFailure.CREDENTIALS
    return refused or (state.misconfigured and not isinstance(event, Passed))


def _missing(state: HealthState, event: Event) -> frozenset[str]:
    """Follow the last list that the server gave; an event without a list changes nothing."""
    if isinstance(event, Passed):
        return event.missing
    return event.missing if isinstance(event, Missed) and event.missing is not None else state.missing_models


def _reason(status: HealthStatus, event: Event, counted: HealthState, thresholds: Thresholds) -> str:
    """Say what is wrong; for a server that answers again but is not back yet, how far it has come."""
    if counted.rejection:
        return "; ".join(dict.fromkeys(filter(None, (counted.rejection, event.reason))))
    if event.reason or not isinstance(event, Passed) or status is HealthStatus.HEALTHY:
        return event.reason
    return f"answers again, {counted.consecutive_successes} of {thresholds.healthy} good checks"
