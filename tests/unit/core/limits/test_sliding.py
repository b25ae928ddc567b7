"""Does a sliding window let exactly so much through in any minute, however it comes?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.limits.sliding import MINUTE_SECONDS, SlidingLog

MERGED_SECONDS = MINUTE_SECONDS / 6000
TOLERANCE = 1e-6

gaps = st.one_of(st.floats(0, 0.02), st.floats(0, 3), st.floats(0, 90))
arrivals = st.lists(st.tuples(gaps, st.integers(0, 3), st.integers(0, 1000)), max_size=80)


def moments(found: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    now, placed = 1000.0, []
    for gap, requests, tokens in found:
        now += gap
        placed.append((now, requests, tokens))
    return placed


def within(came: list[tuple[float, int, int]], now: float, seconds: float) -> tuple[int, int]:
    """Count by hand what came after ``now - seconds``."""
    counted = [(requests, tokens) for at, requests, tokens in came if at > now - seconds]
    return sum(requests for requests, _ in counted), sum(tokens for _, tokens in counted)


def covers(many: tuple[int, int], few: tuple[int, int]) -> bool:
    """Whether there are as many requests and as many tokens, or more."""
    return many[0] >= few[0] and many[1] >= few[1]


def used(log: SlidingLog, now: float) -> tuple[int, int]:
    log.sweep(now)
    return log.requests, log.tokens


def test_what_came_at_once_is_out_at_once_a_minute_later():
    log = SlidingLog()
    for _ in range(60):
        log.add(1, 10, 5.0)
    assert used(log, 64.999) == (60, 600)
    assert used(log, 65.0) == (0, 0)


def test_what_lies_close_together_is_one_mark_that_counts_until_the_latest_is_out():
    log = SlidingLog()
    log.add(1, 0, 0.0)
    log.add(1, 0, 0.009)
    log.add(1, 0, 0.011)
    assert len(log) == 2
    assert used(log, 60.005) == (3, 0)
    assert used(log, 60.0095) == (1, 0)
    assert used(log, 60.0115) == (0, 0)


@given(arrivals, gaps)
def test_it_counts_what_a_sum_by_hand_counts_and_at_most_ten_milliseconds_longer(found, later):
    came = moments(found)
    log = SlidingLog()
    for at, requests, tokens in came:
        log.sweep(at)
        log.add(requests, tokens, at)
    now = (came[-1][0] if came else 1000.0) + later
    counted = used(log, now)
    assert covers(counted, within(came, now, MINUTE_SECONDS - TOLERANCE))
    assert covers(within(came, now, MINUTE_SECONDS + MERGED_SECONDS + TOLERANCE), counted)


@given(arrivals, st.data())
def test_what_is_taken_back_is_missing_where_it_came_and_nowhere_else(found, data):
    log = SlidingLog()
    came = moments(found)
    kept = []
    for at, requests, tokens in came:
        log.sweep(at)
        mark = log.add(requests, tokens, at)
        less = data.draw(st.integers(0, tokens))
        log.take_back(mark, less)
        kept.append((at, requests, tokens - less))
    now = came[-1][0] if came else 1000.0
    counted = used(log, now)
    assert covers(counted, within(kept, now, MINUTE_SECONDS - TOLERANCE))
    assert covers(within(kept, now, MINUTE_SECONDS + MERGED_SECONDS + TOLERANCE), counted)
    assert used(log, now + MINUTE_SECONDS + TOLERANCE) == (0, 0)


def test_what_is_out_can_be_taken_back_without_harm():
    log = SlidingLog()
    mark = log.add(1, 100, 0.0)
    log.add(1, 7, 30.0)
    log.sweep(61.0)
    log.take_back(mark, 100)
    assert used(log, 61.0) == (1, 7)
    assert used(log, 90.0) == (0, 0)


def test_a_clock_that_goes_back_a_little_loses_nothing():
    log = SlidingLog()
    log.add(1, 10, 100.0)
    log.add(1, 10, 99.5)
    log.add(1, 10, 100.2)
    assert used(log, 101.0) == (3, 30)
    assert used(log, 160.3) == (0, 0)


@pytest.mark.parametrize("amount", ["requests", "tokens"])
def test_room_comes_when_enough_is_out(amount):
    log = SlidingLog()
    for second in range(10):
        log.add(10, 10, float(second))
    assert log.room_in(amount, 10, 110, 20.0) == 0.0
    assert log.room_in(amount, 10, 100, 20.0) == pytest.approx(40.0)
    assert log.room_in(amount, 11, 100, 20.0) == pytest.approx(41.0)
    assert log.room_in(amount, 100, 100, 20.0) == pytest.approx(49.0)
    assert log.room_in(amount, 101, 100, 20.0) == math.inf


@given(arrivals, st.integers(1, 5000), st.integers(1, 1000))
def test_the_room_that_is_promised_is_there_then_and_not_before(found, limit, wanted):
    log = SlidingLog()
    now = 1000.0
    for at, requests, tokens in moments(found):
        now = at
        log.sweep(at)
        log.add(requests, tokens, at)
    seconds = log.room_in("tokens", wanted, limit, now)
    if wanted > limit:
        assert seconds == math.inf
        return
    if seconds:
        assert used(log, now + seconds * (1 - 1e-9) - TOLERANCE)[1] + wanted > limit
    assert used(log, now + seconds + TOLERANCE)[1] + wanted <= limit


def test_room_comes_with_the_latest_of_what_is_one_mark():
    log = SlidingLog()
    log.add(1, 10, 0.0)
    log.add(1, 10, 0.009)
    assert log.room_in("tokens", 10, 20, 60.005) == pytest.approx(0.004)
    assert log.room_in("requests", 1, 2, 60.005) == pytest.approx(0.004)


@pytest.mark.parametrize("wanted", [1, 5, 10, 55, 119, 120])
def test_the_room_that_is_promised_is_there_also_after_much_came_and_went(wanted):
    log = SlidingLog()
    for step in range(1000):
        now = step / 2
        log.sweep(now)
        log.add(1, 1, now)
    assert log.room_in("tokens", wanted, 120, now) == pytest.approx(wanted / 2)


def test_it_stays_small_however_much_comes():
    log = SlidingLog()
    for step in range(60_000):
        now = step * 0.0025
        log.sweep(now)
        log.add(1, 3, now)
        assert len(log) <= 6001
    assert len(log.saved(now)) <= 61
    assert log.requests >= 60 / 0.0025


def test_a_window_is_saved_as_sums_of_a_second():
    log = SlidingLog()
    for step in range(120):
        log.add(1, 5, 1000.0 + step / 4)
    saved = log.saved(1030.0)
    assert len(saved) <= 31
    assert [sum(column) for column in zip(*saved, strict=True)][1:] == [120, 600]


@given(arrivals, gaps, gaps)
def test_what_is_restored_counts_at_least_as_long_and_at_most_a_second_longer(found, before, after):
    log, came = SlidingLog(), moments(found)
    for at, requests, tokens in came:
        log.sweep(at)
        log.add(requests, tokens, at)
    now = (came[-1][0] if came else 1000.0) + before
    restored = SlidingLog()
    restored.restore(log.saved(now), now)
    assert used(restored, now) == used(log, now)
    later = now + after
    assert covers(used(restored, later), used(log, later))
    assert covers(within(came, later, MINUTE_SECONDS + 2 * MERGED_SECONDS), used(restored, later + 1.002))


def test_it_says_when_all_is_out_of_each_kind():
    log = SlidingLog()
    assert log.empty_in("requests", 0.0) == 0.0
    log.add(1, 50, 0.0)
    log.add(0, 20, 30.0)
    assert log.empty_in("requests", 40.0) == pytest.approx(20.0)
    assert log.empty_in("tokens", 40.0) == pytest.approx(50.0)
    assert log.empty_in("tokens", 90.0) == 0.0
