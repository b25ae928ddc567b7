"""A lane: how failures, answers and refusals show on a server."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.breaker import Phase
from app.services.core.live.gaps import FADE_SECONDS
from app.services.core.live.lanes import GAP_BOUNDS_SECONDS, RAMP_LEAST, RAMP_SECONDS, Lane
from app.services.core.retry import Failure, blames_server

NOW = 1000.0


def fail(lane: Lane, now: float, failure: Failure = Failure.FAILED, *, begun: bool = False) -> None:
    """One request that fails at once."""
    lane.take(now)
    lane.failed(failure, now, lambda: 0.0, now, begun=begun)
    lane.give_back(now, now)


def eject(lane: Lane, now: float) -> None:
    for _failure in range(5):
        fail(lane, now)
    assert lane.is_shut(now)


def is_plain(lane: Lane, now: float) -> bool:
    """Whether the choice needs no closer look."""
    return lane.closer_look_until <= now


def test_a_new_lane_has_nothing_against_it() -> None:
    lane = Lane()
    assert (lane.in_flight, lane.failures_in_a_row) == (0, 0)
    assert lane.suspect_until <= NOW
    assert lane.cooling_until <= NOW
    assert not lane.refuses_stream_options
    assert not lane.is_shut(NOW)
    assert lane.share(NOW) == 1.0
    assert lane.cap(None) is None
    assert is_plain(lane, NOW)


# -- suspicion


def test_suspicion_doubles_with_each_failure_in_a_row() -> None:
    lane = Lane()
    lasting = []
    for _failure in range(4):
        now = max(NOW, lane.suspect_until)
        fail(lane, now)
        lasting.append(lane.suspect_until - now)
    assert lasting == [1.0, 2.0, 4.0, 8.0]


def test_suspicion_stays_bounded_after_ten_thousand_failures() -> None:
    lane = Lane()
    for _failure in range(10_000):
        now = max(NOW, lane.suspect_until)
        fail(lane, now, Failure.CREDENTIALS)
    assert lane.suspect_until == now + 10.0


def test_requests_lost_to_one_crash_are_one_failure() -> None:
    lane = Lane()
    for _request in range(40):
        lane.take(NOW)
    for _request in range(40):
        lane.failed(Failure.RESET, NOW + 1, lambda: 0.0, NOW, begun=True)
        lane.give_back(NOW + 1, NOW)
    assert (lane.failures_in_a_row, lane.suspect_until, lane.ejections, lane.in_flight) == (1, NOW + 2.0, 1, 0)
    assert lane.breaker.phase is Phase.CLOSED


def test_each_time_that_it_begins_to_be_avoided_is_counted() -> None:
    lane = Lane()
    for now in (NOW, NOW + 0.5, NOW + 1.0, NOW + 2.9):
        fail(lane, now)
    assert lane.ejections == 2
    fail(lane, NOW + 2.95)
    assert lane.is_shut(NOW + 2.95)
    assert lane.ejections == 3
    lane.returned(NOW + 3)
    assert lane.ejections == 3


def test_there_is_a_bucket_for_every_gap() -> None:
    assert list(GAP_BOUNDS_SECONDS) == sorted(set(GAP_BOUNDS_SECONDS))
    assert Lane().gaps == [0] * (len(GAP_BOUNDS_SECONDS) + 1)
    assert Lane().gaps is not Lane().gaps


def test_a_good_answer_clears_suspicion() -> None:
    lane = Lane()
    fail(lane, NOW)
    fail(lane, NOW)
    lane.answered(0.5, NOW)
    assert lane.suspect_until <= NOW
    assert is_plain(lane, NOW)
    fail(lane, NOW)
    assert lane.suspect_until == NOW + 1.0


def test_checks_that_found_a_server_well_clear_it_too() -> None:
    lane = Lane()
    fail(lane, NOW)
    fail(lane, NOW)
    lane.cool(NOW, 5)
    lane.returned(NOW)
    assert lane.suspect_until <= NOW
    assert lane.cooling_until == NOW + 5, "what the server asked for itself stays"
    fail(lane, NOW)
    assert lane.suspect_until == NOW + 1.0


# -- ejection


@pytest.mark.parametrize("failure", [failure for failure in Failure if blames_server(failure)])
def test_every_failure_that_is_the_servers_ejects_it_in_the_end_but_for_rejected_keys(failure: Failure) -> None:
    lane = Lane()
    for place in range(5):
        fail(lane, NOW + place / 100, failure)
    assert lane.is_shut(NOW + 1) is (failure is not Failure.CREDENTIALS)


@pytest.mark.parametrize("failure", [Failure.RESET, Failure.DEAD, Failure.BROKEN, Failure.SILENT])
def test_a_server_that_begins_each_answer_and_ends_none_is_ejected(failure: Failure) -> None:
    lane = Lane()
    for place in range(5):
        assert not lane.is_shut(NOW + place)
        lane.take(NOW + place)
        lane.answered(0.1, NOW + place)
        lane.failed(failure, NOW + place, lambda: 0.0, NOW + place, begun=True)
        lane.give_back(NOW + place, NOW + place)
    assert lane.is_shut(NOW + 4)


def test_one_answer_that_comes_whole_ends_a_run_of_cut_ones() -> None:
    lane = Lane()
    for place in range(50):
        lane.answered(0.1, NOW + place)
        if place % 5 == 4:
            lane.completed(NOW + place)
        else:
            fail(lane, NOW + place, Failure.RESET, begun=True)
    assert not lane.is_shut(NOW + 50)


def test_an_ejected_server_has_one_trial_and_then_ramps() -> None:
    lane = Lane()
    eject(lane, NOW)
    assert not is_plain(lane, NOW + 100), "a trial takes a closer look"
    assert lane.suspect_until <= NOW, "the breaker alone decides"
    due = NOW + 5
    assert not lane.is_shut(due)
    lane.take(due)
    assert lane.is_shut(due)
    lane.answered(0.3, due + 0.3)
    assert not lane.is_shut(due + 0.3)
    assert lane.share(due + 0.3) == RAMP_LEAST
    assert not is_plain(lane, due + 30.2)
    assert is_plain(lane, due + 30.3)


def test_an_undecided_trial_is_freed_with_its_place_and_no_other_frees_it() -> None:
    lane = Lane()
    lane.take(NOW - 1)
    eject(lane, NOW)
    due = NOW + 5
    lane.take(due)
    lane.give_back(due + 1, NOW - 1)
    assert lane.is_shut(due + 1), "that was a request from before"
    lane.give_back(due + 2, due)
    assert not lane.is_shut(due + 2)
    assert lane.in_flight == 0


def test_a_failed_trial_is_out_for_twice_as_long() -> None:
    lane = Lane()
    eject(lane, NOW)
    fail(lane, NOW + 5)
    assert lane.is_shut(NOW + 14.9)
    assert not lane.is_shut(NOW + 15)


def test_stragglers_cast_no_suspicion_on_one_that_is_to_be_tried() -> None:
    lane = Lane()
    lane.take(NOW - 1)
    eject(lane, NOW)
    lane.failed(Failure.SILENT, NOW + 5.1, lambda: 0.0, NOW - 1)
    assert lane.suspect_until <= NOW
    assert not lane.is_shut(NOW + 5.1)


def test_checks_close_the_breaker() -> None:
    lane = Lane()
    eject(lane, NOW)
    lane.returned(NOW + 1)
    assert not lane.is_shut(NOW + 1)
    assert lane.share(NOW + 1) == RAMP_LEAST


def test_the_share_of_a_server_that_came_back_grows_in_a_line() -> None:
    lane = Lane()
    lane.returned(NOW)
    shares = [lane.share(NOW + seconds) for seconds in (0, 1, 3, 6, 15, 27, 30, 1000)]
    assert shares == pytest.approx([0.1, 0.1, 0.1, 0.2, 0.5, 0.9, 1.0, 1.0])
    assert is_plain(lane, NOW + RAMP_SECONDS)


# -- the time to the first token


def test_the_first_answer_counts_whole_and_later_ones_by_the_time_between() -> None:
    lane = Lane()
    lane.answered(1.0, NOW)
    assert lane.first_token_ewma_seconds == 1.0
    lane.answered(2.0, NOW + 60)
    assert lane.first_token_ewma_seconds == pytest.approx(2 - 1 / math.e)
    lane.answered(9.0, NOW + 100_000)
    assert lane.first_token_ewma_seconds == pytest.approx(9.0)


@pytest.mark.parametrize("rate", [1, 10, 100])
def test_a_minute_forgets_as_much_at_any_rate(rate: int) -> None:
    lane = Lane()
    lane.answered(1.0, NOW)
    for place in range(1, 60 * rate + 1):
        lane.answered(11.0, NOW + place / rate)
    assert lane.first_token_ewma_seconds == pytest.approx(11 - 10 / math.e, rel=1e-6)


@given(st.lists(st.tuples(st.floats(0.001, 600), st.floats(0, 1000)), min_size=1, max_size=30))
def test_the_average_stays_within_what_was_seen(answers: list[tuple[float, float]]) -> None:
    lane, now = Lane(), NOW
    for value, later in answers:
        now += later
        lane.answered(value, now)
    seconds = [value for value, _later in answers]
    assert min(seconds) * 0.999 <= lane.first_token_ewma_seconds <= max(seconds) * 1.001


# -- the cap


def refuse(lane: Lane, now: float, taken_at: float) -> None:
    lane.overloaded(now, taken_at)
    lane.give_back(now, taken_at)


def busy(in_flight: int, now: float = NOW) -> Lane:
    lane = Lane()
    for _request in range(in_flight):
        lane.take(now)
    return lane


def test_a_refusal_halves_what_is_in_flight_and_each_good_answer_adds_one() -> None:
    lane = busy(40)
    refuse(lane, NOW + 1, NOW)
    assert lane.cap(None) == 20
    assert not lane.has_room(None)
    assert not is_plain(lane, NOW + 1e6)
    lane.answered(0.1, NOW + 1)
    assert lane.cap(None) == 21
    lane.take(NOW + 2)
    refuse(lane, NOW + 3, NOW + 2)
    assert lane.cap(None) == 10


def test_a_burst_that_is_refused_halves_once() -> None:
    lane = busy(40)
    for _request in range(30):
        refuse(lane, NOW + 1, NOW)
    assert lane.cap(None) == 20
    assert lane.has_room(None)


def test_the_cap_is_never_below_one() -> None:
    lane = Lane()
    for place in range(5):
        lane.take(NOW + place)
        refuse(lane, NOW + place, NOW + place)
    assert lane.cap(None) == 1
    assert lane.has_room(None)


def test_the_owners_bound_and_the_cap_both_hold() -> None:
    lane = busy(8)
    assert (lane.cap(3), lane.has_room(9), lane.has_room(8)) == (3, True, False)
    refuse(lane, NOW + 1, NOW)
    assert (lane.cap(3), lane.cap(100), lane.cap(None)) == (3, 4, 4)


def test_a_cap_that_holds_nothing_back_is_forgotten() -> None:
    lane = busy(1)
    refuse(lane, NOW + 1, NOW)
    for answer in range(20):
        lane.take(NOW + 2)
        lane.answered(0.1, NOW + 2 + answer)
        lane.give_back(NOW + 2, NOW + 2)
    assert lane.cap(None) is None
    assert is_plain(lane, NOW + 2)


def test_a_cap_that_is_full_stays() -> None:
    lane = busy(40)
    refuse(lane, NOW + 1, NOW)
    for answer in range(19):
        lane.answered(0.1, NOW + 2 + answer)
    assert lane.cap(None) == 39


# -- silence


def test_a_stream_is_suspicious_after_twenty_gaps_of_its_server_or_the_stall_if_that_is_longer() -> None:
    lane = Lane()
    assert lane.suspicion_seconds(5.0, NOW) == 5.0
    lane.gaps[GAP_BOUNDS_SECONDS.index(0.02)] = 1000
    assert lane.gap_p99_seconds(NOW) == 0.02
    assert lane.suspicion_seconds(5.0, NOW) == 5.0
    assert lane.suspicion_seconds(0.3, NOW) == pytest.approx(0.4)
    lane.gaps[GAP_BOUNDS_SECONDS.index(0.5)] = 1000
    assert lane.suspicion_seconds(5.0, NOW) == pytest.approx(10.0)


def test_answers_let_old_gaps_fade() -> None:
    lane = Lane()
    lane.answered(0.1, NOW)
    lane.gaps[GAP_BOUNDS_SECONDS.index(2.5)] = 1000
    lane.answered(0.1, NOW + FADE_SECONDS)
    lane.answered(0.1, NOW + 20 * FADE_SECONDS)
    assert lane.gap_p99_seconds(NOW + 20 * FADE_SECONDS) == 0.0
    assert sum(lane.gaps) == 1000


# -- wishes


@pytest.mark.parametrize(("seconds", "lasting"), [(0.0, 0.0), (-5.0, 0.0), (7.0, 7.0), (300.0, 300.0), (1e9, 300.0)])
def test_a_server_is_left_alone_as_long_as_it_asks_within_reason(seconds: float, lasting: float) -> None:
    lane = Lane()
    lane.cool(NOW, seconds)
    assert lane.cooling_until == NOW + lasting


def test_a_shorter_wish_does_not_cut_a_longer_one() -> None:
    lane = Lane()
    lane.cool(NOW, 60)
    lane.cool(NOW + 1, 5)
    assert lane.cooling_until == NOW + 60


def test_all_that_speaks_against_a_server_is_folded_into_one_figure() -> None:
    lane = Lane()
    lane.cool(NOW, 7)
    assert lane.closer_look_until == NOW + 7
    fail(lane, NOW)
    assert lane.closer_look_until == NOW + 7
    lane.returned(NOW)
    assert lane.closer_look_until == NOW + RAMP_SECONDS
    eject(lane, NOW)
    assert lane.closer_look_until == math.inf


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["take", "answer", "fail", "cool", "overload", "return", "wait"]),
        st.sampled_from([failure for failure in Failure if blames_server(failure)]),
        st.booleans(),
        st.floats(0, 20),
    ),
    max_size=60,
)


@given(EVENTS)
def test_where_no_closer_look_is_due_nothing_speaks_against_it(events: list[tuple[str, Failure, bool, float]]) -> None:
    lane, now, taken = Lane(), NOW, []
    for event, failure, begun, seconds in events:
        match event:
            case "take":
                lane.take(now)
                taken.append(now)
            case "answer" if taken:
                lane.answered(seconds, now)
                lane.completed(now)
                lane.give_back(now, taken.pop())
            case "fail" if taken:
                lane.failed(failure, now, lambda: 0.5, taken[0], begun=begun)
                lane.give_back(now, taken.pop(0))
            case "overload" if taken:
                lane.overloaded(now, taken[0])
                lane.give_back(now, taken.pop(0))
            case "cool":
                lane.cool(now, seconds)
            case "return":
                lane.returned(now)
            case _:
                now += seconds
        assert lane.in_flight == len(taken)
        assert (lane.cap(None) or 1) >= 1
        assert RAMP_LEAST <= lane.share(now) <= 1.0
        if lane.closer_look_until <= now:
            assert not lane.is_shut(now)
            assert lane.suspect_until <= now >= lane.cooling_until
            assert lane.share(now) == 1.0
            assert lane.cap(None) is None
