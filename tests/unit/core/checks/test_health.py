"""The health table: what each signal makes of each state, and when the next check comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.checks.health import (
    TRANSITIONS,
    Cadence,
    Event,
    HealthState,
    Missed,
    Passed,
    Refused,
    Rejected,
    Signal,
    Thresholds,
    WentSilent,
    advance,
    event_from,
    next_check_in_seconds,
    signal_of,
)
from app.services.core.types import CheckFailure, HealthStatus, Inspection

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEFAULTS = Thresholds()

reasons = st.sampled_from(["connection refused", "no answer within 5 s", "answered 503: Loading model"])
names = st.frozensets(st.sampled_from(["llama", "qwen", "phi"]))
failures = st.sampled_from([failure for failure in CheckFailure if failure is not CheckFailure.MODEL_MISSING])
passes = st.builds(Passed, missing=names)
wanted_passes = st.builds(Passed, missing=names, wanted=st.just(True))
rejections = st.builds(Rejected, reason=st.just("answered 401 to a request: no, update the server's api_key"))
misses = st.builds(Missed, reason=reasons, failure=failures) | st.builds(
    Missed, reason=reasons, failure=st.just(CheckFailure.MODEL_MISSING), missing=names
)
checks_and_dials: st.SearchStrategy[Event] = passes | wanted_passes | misses | st.builds(Refused, reason=reasons)
events: st.SearchStrategy[Event] = checks_and_dials | rejections | st.just(WentSilent())
thresholds_given = st.builds(Thresholds, unhealthy=st.integers(1, 5), healthy=st.integers(1, 5))


def run(*script: Event, state: HealthState | None = None, thresholds: Thresholds = DEFAULTS) -> HealthState:
    """Play a script of events, one a second from noon on."""
    current = state or HealthState()
    for second, event in enumerate(script):
        current = advance(current, event, NOON + timedelta(seconds=second), thresholds)
    return current


MISS = Missed("connection refused")
REFUSED = Refused("connection refused")
BUSY = Missed("answered 503: Loading model", CheckFailure.NOT_READY)
LOADING = Missed("loading the model", CheckFailure.LOADING)
REJECTED = Missed("answered 401: no, update the server's api_key", CheckFailure.CREDENTIALS)


def test_table_answers_every_state_and_signal() -> None:
    assert set(TRANSITIONS) == {(status, signal) for status in HealthStatus for signal in Signal}


def test_first_pass_makes_an_unknown_server_healthy() -> None:
    state = run(Passed())
    assert state == HealthState(
        HealthStatus.HEALTHY, consecutive_successes=1, last_checked_at=NOON, last_transition_at=NOON
    )


@pytest.mark.parametrize("event", [MISS, REFUSED, BUSY, LOADING, REJECTED])
def test_first_failure_makes_an_unknown_server_unhealthy(event: Event) -> None:
    state = run(event)
    assert state.status is HealthStatus.UNHEALTHY
    assert state.reason == event.reason


@pytest.mark.parametrize("event", [MISS, REFUSED, BUSY, Missed("<html>", CheckFailure.BAD_ANSWER)])
def test_a_healthy_server_is_marked_at_the_third_failure_in_a_row(event: Event) -> None:
    once, twice, thrice = (run(Passed(), *[event] * count) for count in (1, 2, 3))
    assert [once.status, twice.status, thrice.status] == [
        HealthStatus.HEALTHY,
        HealthStatus.HEALTHY,
        HealthStatus.UNHEALTHY,
    ]
    assert once.reason == event.reason
    assert once.last_transition_at == NOON
    assert thrice.last_transition_at == NOON + timedelta(seconds=3)


def test_misses_and_refused_dials_add_up() -> None:
    assert run(Passed(), MISS, REFUSED, BUSY).status is HealthStatus.UNHEALTHY


def test_a_pass_between_failures_starts_the_count_anew() -> None:
    state = run(Passed(), MISS, MISS, Passed(), REFUSED, REFUSED)
    assert state.status is HealthStatus.HEALTHY
    assert state.consecutive_failures == 2


@pytest.mark.parametrize("failure", [CheckFailure.CREDENTIALS, CheckFailure.REFUSED_ADDRESS])
def test_what_cannot_mend_itself_is_marked_at_once(failure: CheckFailure) -> None:
    state = run(Passed(), Passed(), Missed("answered 401: no, update the server's api_key", failure))
    assert state.status is HealthStatus.UNHEALTHY
    assert state.reason == "answered 401: no, update the server's api_key"


def test_an_unhealthy_server_needs_two_passes_in_a_row() -> None:
    down = run(Passed(), MISS, MISS, MISS)
    one = run(Passed(), state=down)
    assert one.status is HealthStatus.UNHEALTHY
    assert one.reason == "answers again, 1 of 2 good checks"
    assert run(Passed(), MISS, Passed(), state=down).status is HealthStatus.UNHEALTHY
    back = run(Passed(), Passed(), state=down)
    assert back.status is HealthStatus.HEALTHY
    assert back.reason == ""


def test_stragglers_break_a_run_of_passes_but_do_not_pile_up() -> None:
    down = run(Passed(), *[REFUSED] * 100)
    assert down.consecutive_failures == 3
    state = run(Passed(), REFUSED, Passed(), state=down)
    assert state.status is HealthStatus.UNHEALTHY
    assert state.consecutive_successes == 1


def test_a_refused_dial_is_no_check() -> None:
    state = run(Passed(), REFUSED)
    assert state.last_checked_at == NOON


def test_missing_models_follow_each_list_and_survive_silence() -> None:
    partly = run(Passed(), Passed(frozenset({"c"}), "lists models a, b but not c"))
    assert partly.status is HealthStatus.HEALTHY
    assert partly.missing_models == {"c"}
    assert partly.reason == "lists models a, b but not c"
    assert run(MISS, state=partly).missing_models == {"c"}
    assert run(REFUSED, state=partly).missing_models == {"c"}
    assert run(Passed(), state=partly).missing_models == frozenset()


def test_a_list_without_any_expected_model_delists_at_once_and_counts_as_a_miss() -> None:
    gone = Missed("lists models a but not c", CheckFailure.MODEL_MISSING, frozenset({"c"}))
    first = run(Passed(), gone)
    assert first.status is HealthStatus.HEALTHY
    assert first.missing_models == {"c"}
    assert run(Passed(), gone, gone, gone).status is HealthStatus.UNHEALTHY


@pytest.mark.parametrize(
    ("inspection", "event"),
    [
        (Inspection(None, ""), Passed()),
        (
            Inspection(None, "lists models a but not b", missing_models=frozenset({"b"})),
            Passed(frozenset({"b"}), "lists models a but not b"),
        ),
        (Inspection(CheckFailure.UNREACHABLE, "connection refused"), MISS),
        (
            Inspection(CheckFailure.MODEL_MISSING, "lists no model at all", missing_models=frozenset({"b"})),
            Missed("lists no model at all", CheckFailure.MODEL_MISSING, frozenset({"b"})),
        ),
    ],
)
def test_inspections_are_read_as_events(inspection: Inspection, event: Event) -> None:
    assert event_from(inspection) == event


@given(st.lists(events, max_size=30), events, thresholds_given)
def test_every_step_keeps_the_rules(script: list[Event], event: Event, thresholds: Thresholds) -> None:
    before = run(*script, thresholds=thresholds)
    now = NOON + timedelta(hours=1)
    after = advance(before, event, now, thresholds)
    assert 0 in (after.consecutive_failures, after.consecutive_successes)
    assert after.status is not HealthStatus.UNKNOWN
    assert (after.last_transition_at == now) == (after.status is not before.status)
    assert (after.consecutive_successes > 0) == (signal_of(event) in {Signal.PASS, Signal.WANTED_PASS})
    assert after.status is HealthStatus.HEALTHY or after.reason
    assert not after.misconfigured or after.status is HealthStatus.UNHEALTHY
    assert not after.rejection or (after.misconfigured and after.reason.startswith(after.rejection))


@given(st.lists(checks_and_dials, max_size=30), thresholds_given)
def test_enough_misses_always_mark_and_enough_passes_always_return(script: list[Event], thresholds: Thresholds) -> None:
    state = run(*script, thresholds=thresholds)
    down = run(*[REFUSED] * thresholds.unhealthy, state=state, thresholds=thresholds)
    assert down.status is HealthStatus.UNHEALTHY
    back = run(*[Passed()] * thresholds.healthy, state=down, thresholds=thresholds)
    assert back.status is HealthStatus.HEALTHY


@given(st.lists(checks_and_dials, max_size=20), passes, thresholds_given)
def test_one_pass_never_brings_a_marked_server_back_early(
    script: list[Event], event: Passed, thresholds: Thresholds
) -> None:
    down = run(*script, *[MISS] * thresholds.unhealthy, thresholds=thresholds)
    after = run(event, state=down, thresholds=thresholds)
    assert (after.status is HealthStatus.HEALTHY) == (thresholds.healthy == 1)


@given(st.lists(events, max_size=20), wanted_passes, thresholds_given)
def test_one_pass_that_is_waited_for_opens_whatever_happened_before(
    script: list[Event], event: Passed, thresholds: Thresholds
) -> None:
    after = run(*script, event, thresholds=thresholds)
    assert after.status is HealthStatus.HEALTHY
    assert (after.misconfigured, after.rejection, after.reason) == (False, "", "")


TURNED_AWAY = Rejected("answered 403 to a request: Forbidden, update the server's api_key")


@given(st.lists(events, max_size=10), st.lists(passes, min_size=1, max_size=10), thresholds_given)
def test_checks_alone_never_open_a_server_that_refuses_requests(
    script: list[Event], later: list[Event], thresholds: Thresholds
) -> None:
    state = run(*script, TURNED_AWAY, *later, thresholds=thresholds)
    assert state.status is HealthStatus.UNHEALTHY
    assert state.misconfigured
    assert state.reason == "; ".join(filter(None, [TURNED_AWAY.reason, later[-1].reason]))


def test_a_refused_request_is_no_check_and_leaves_the_list_as_it_was() -> None:
    state = run(Passed(frozenset({"c"}), "lists models a but not c"), TURNED_AWAY)
    assert state.last_checked_at == NOON
    assert state.last_transition_at == NOON + timedelta(seconds=1)
    assert state.missing_models == {"c"}


def test_an_owner_reads_that_a_misconfigured_server_is_gone_as_well() -> None:
    assert run(Passed(), TURNED_AWAY, MISS).reason == f"{TURNED_AWAY.reason}; connection refused"
    assert run(Passed(), TURNED_AWAY, MISS, Passed()).reason == TURNED_AWAY.reason


def test_a_key_that_checks_see_refused_is_judged_by_checks() -> None:
    shut_out = run(Passed(), TURNED_AWAY, REJECTED)
    assert (shut_out.misconfigured, shut_out.rejection, shut_out.reason) == (True, "", REJECTED.reason)
    assert run(MISS, state=shut_out).misconfigured
    once = run(Passed(), state=shut_out)
    assert (once.misconfigured, once.status) == (False, HealthStatus.UNHEALTHY)
    assert run(Passed(), Passed(), state=shut_out).status is HealthStatus.HEALTHY


def test_a_server_that_went_silent_is_down_at_once_and_proves_itself_like_any_other() -> None:
    state = run(Passed(), Passed(), WentSilent())
    assert (state.status, state.reason) == (HealthStatus.UNHEALTHY, "stopped answering")
    assert state.last_checked_at == NOON + timedelta(seconds=2)
    assert run(Passed(), state=state).status is HealthStatus.UNHEALTHY
    assert run(Passed(), Passed(), state=state).status is HealthStatus.HEALTHY
    assert run(*[WentSilent()] * 50, state=state).consecutive_failures == 1


spread = st.floats(0, 1, exclude_max=True)


@given(st.lists(events, max_size=20), st.integers(1, 600), thresholds_given, spread)
def test_a_server_that_loads_its_model_is_out_at_once_and_nothing_is_counted_against_it(
    script: list[Event], checks: int, thresholds: Thresholds, random: float
) -> None:
    state = run(*script, *[LOADING] * checks, thresholds=thresholds)
    assert (state.status, state.consecutive_failures) == (HealthStatus.UNHEALTHY, 0)
    assert state.reason.endswith("loading the model")
    if not state.rejection:
        assert state.reason == "loading the model"
        assert 0.8 <= next_check_in_seconds(state, Cadence(), random) <= 1.0


@given(st.lists(checks_and_dials, max_size=20), passes, thresholds_given)
def test_the_first_good_check_opens_a_server_that_loaded_its_model(
    script: list[Event], event: Passed, thresholds: Thresholds
) -> None:
    state = run(*script, LOADING, event, thresholds=thresholds)
    assert (state.status, state.reason, state.loading) == (HealthStatus.HEALTHY, event.reason, False)


@pytest.mark.parametrize("after", [MISS, REFUSED, BUSY, WentSilent()])
def test_one_that_failed_after_it_loaded_proves_itself_like_any_other(after: Event) -> None:
    state = run(Passed(), LOADING, after)
    assert (state.loading, state.consecutive_failures) == (False, 1)
    assert run(Passed(), state=state).status is HealthStatus.UNHEALTHY
    assert run(Passed(), Passed(), state=state).status is HealthStatus.HEALTHY


def test_a_model_that_was_loaded_does_not_open_a_server_that_refuses_requests() -> None:
    state = run(Passed(), TURNED_AWAY, LOADING, *[Passed()] * 5)
    assert (state.status, state.misconfigured, state.loading) == (HealthStatus.UNHEALTHY, True, False)
    assert run(Passed(wanted=True), state=state).status is HealthStatus.HEALTHY


@given(st.lists(events, max_size=40), st.floats(0.1, 3600), spread)
def test_the_next_check_is_never_later_than_the_interval_and_its_jitter(
    script: list[Event], interval: float, random: float
) -> None:
    delay = next_check_in_seconds(run(*script), Cadence(interval), random)
    assert 0 < delay <= interval * 1.2 + 1e-9


@given(spread)
def test_a_settled_server_is_checked_every_interval(random: float) -> None:
    healthy = run(Passed(), Passed())
    long_down = run(Passed(), *[MISS] * 20)
    for state in (healthy, long_down):
        assert 8.0 <= next_check_in_seconds(state, Cadence(), random) <= 12.0


@given(st.sampled_from([(Passed(), MISS), (Passed(), REFUSED, REFUSED), (MISS, Passed()), ()]), spread)
def test_a_changing_server_is_checked_within_a_second(script: tuple[Event, ...], random: float) -> None:
    state = run(*script)
    assert 0.8 <= next_check_in_seconds(state, Cadence(), random) <= 1.0
    assert next_check_in_seconds(state, Cadence(interval_seconds=0.2), random) <= 0.2


def test_checks_of_a_dead_server_thin_out_to_the_interval() -> None:
    delays = [next_check_in_seconds(run(Passed(), *[MISS] * count), Cadence(), 0.5) for count in range(1, 9)]
    assert delays == [0.9, 0.9, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.integers(0, 2), spread)
def test_a_dead_server_is_marked_soon_after_the_first_sign(refused: int, random: float) -> None:
    """From the first refused dial or missed check on, the checks that are still needed take at most two seconds."""
    state, elapsed = run(Passed(), *[REFUSED] * refused, MISS), 0.0
    while state.status is HealthStatus.HEALTHY:
        elapsed += next_check_in_seconds(state, Cadence(), random)
        state = run(MISS, state=state)
    assert elapsed <= 2.0


@given(st.lists(events, max_size=20), st.floats(0.1, 60), spread)
def test_urgency_hurries_the_checks_of_a_healthy_server_that_can_not_be_reached_alone(
    script: list[Event], interval: float, random: float
) -> None:
    state, cadence = run(*script), Cadence(interval)
    usual = next_check_in_seconds(state, cadence, random)
    urgent = next_check_in_seconds(state, cadence, random, is_urgent=True)
    if state.status is HealthStatus.HEALTHY and state.consecutive_failures:
        assert urgent <= min(usual, 0.25)
    else:
        assert urgent == usual


@given(st.integers(0, 40), spread)
def test_a_misconfigured_server_is_checked_every_interval(checks: int, random: float) -> None:
    state = run(Passed(), TURNED_AWAY, *[Passed()] * checks)
    assert 8.0 <= next_check_in_seconds(state, Cadence(), random) <= 12.0


@given(st.lists(events, max_size=20), events, st.datetimes(), thresholds_given)
def test_a_wall_clock_that_jumps_changes_no_verdict(
    script: list[Event], event: Event, jumped: datetime, thresholds: Thresholds
) -> None:
    before = run(*script, thresholds=thresholds)
    there = advance(before, event, NOON + timedelta(minutes=1), thresholds)
    elsewhere = advance(before, event, jumped.replace(tzinfo=UTC), thresholds)
    times = {"last_checked_at": None, "last_transition_at": None}
    assert replace(there, **times) == replace(elsewhere, **times)
