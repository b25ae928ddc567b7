"""The board: how failures, answers and refusals show on a server's lane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.board import GAP_BOUNDS_SECONDS, Board, Lane

NOW = 1000.0


def test_a_new_lane_has_nothing_against_it() -> None:
    lane = Lane()
    assert (lane.in_flight, lane.failures_in_a_row) == (0, 0)
    assert lane.suspect_until <= NOW
    assert lane.cooling_until <= NOW
    assert not lane.refuses_stream_options


def test_suspicion_doubles_with_each_failure_in_a_row_up_to_a_bound() -> None:
    lane = Lane()
    lasting = []
    for _failure in range(7):
        now = max(NOW, lane.suspect_until)
        lane.failed(now)
        lasting.append(lane.suspect_until - now)
    assert lasting == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_suspicion_stays_bounded_after_ten_thousand_failures() -> None:
    lane = Lane()
    for _failure in range(10_000):
        now = max(NOW, lane.suspect_until)
        lane.failed(now)
    assert lane.suspect_until == now + 10.0


def test_requests_lost_to_one_crash_are_one_failure() -> None:
    lane = Lane()
    for _request in range(5):
        lane.failed(NOW)
    assert (lane.failures_in_a_row, lane.suspect_until) == (1, NOW + 1.0)


def test_each_time_that_it_becomes_suspect_is_counted() -> None:
    lane = Lane()
    for now in (NOW, NOW + 0.5, NOW + 1.0, NOW + 2.9, NOW + 3.0):
        lane.failed(now)
    assert lane.ejections == 3
    lane.cleared()
    assert lane.ejections == 3


def test_there_is_a_bucket_for_every_gap() -> None:
    assert list(GAP_BOUNDS_SECONDS) == sorted(set(GAP_BOUNDS_SECONDS))
    assert Lane().gaps == [0] * (len(GAP_BOUNDS_SECONDS) + 1)
    assert Lane().gaps is not Lane().gaps


def test_a_good_answer_clears_suspicion() -> None:
    lane = Lane()
    lane.failed(NOW)
    lane.failed(NOW)
    lane.answered(0.5)
    assert lane.suspect_until <= NOW
    lane.failed(NOW)
    assert lane.suspect_until == NOW + 1.0


def test_checks_that_found_a_server_well_clear_it_too() -> None:
    lane = Lane()
    lane.failed(NOW)
    lane.failed(NOW)
    lane.cool(NOW, 5)
    lane.cleared()
    assert lane.suspect_until <= NOW
    assert lane.cooling_until == NOW + 5, "what the server asked for itself stays"
    lane.failed(NOW)
    assert lane.suspect_until == NOW + 1.0


def test_the_first_answer_counts_whole_and_later_ones_by_a_tenth() -> None:
    lane = Lane()
    lane.answered(1.0)
    assert lane.first_token_ewma_seconds == 1.0
    lane.answered(2.0)
    assert lane.first_token_ewma_seconds == pytest.approx(1.1)


@given(st.lists(st.floats(0.001, 600), min_size=1, max_size=30))
def test_the_average_stays_within_what_was_seen(seconds: list[float]) -> None:
    lane = Lane()
    for value in seconds:
        lane.answered(value)
    assert min(seconds) * 0.999 <= lane.first_token_ewma_seconds <= max(seconds) * 1.001


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


def test_a_lane_is_made_once() -> None:
    board = Board()
    assert board.in_flight("one") == 0
    assert board.lanes == {}
    board.lane("one").in_flight = 3
    assert board.lane("one").in_flight == board.in_flight("one") == 3


def test_servers_that_are_gone_are_forgotten_once_nothing_runs_on_them() -> None:
    board = Board()
    for name in ("stays", "idle", "busy"):
        board.lane(name)
    board.lane("busy").in_flight = 1
    board.keep({"stays"})
    assert set(board.lanes) == {"stays", "busy"}
    board.lane("busy").in_flight = 0
    board.keep({"stays"})
    assert set(board.lanes) == {"stays"}
