"""The gaps of late: the percentile is that of a histogram, and what is old fades."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.gaps import FADE_SECONDS, GAP_BOUNDS_SECONDS, GapEvidence

NOW = 1000.0


class Histogram:
    def __init__(self) -> None:
        self.gaps = [0] * (len(GAP_BOUNDS_SECONDS) + 1)
        self.evidence = GapEvidence(self.gaps)

    def count(self, seconds: float, times: int = 1) -> None:
        self.gaps[bisect_left(GAP_BOUNDS_SECONDS, seconds)] += times


def test_without_gaps_there_is_no_percentile() -> None:
    assert Histogram().evidence.p99_seconds(NOW) == 0.0


def test_it_is_the_bound_of_the_bucket() -> None:
    histogram = Histogram()
    histogram.count(0.018, 990)
    histogram.count(0.4, 10)
    assert histogram.evidence.p99_seconds(NOW) == 0.02
    histogram.count(0.4)
    assert histogram.evidence.p99_seconds(NOW) == 0.5


def test_beyond_the_last_bound_it_is_the_last_bound() -> None:
    histogram = Histogram()
    histogram.count(50.0)
    assert histogram.evidence.p99_seconds(NOW) == 10.0


@given(st.lists(st.floats(0.0001, 9.9), min_size=1, max_size=200))
def test_it_is_never_below_the_true_one_nor_past_its_bucket(seconds: list[float]) -> None:
    histogram = Histogram()
    for gap in seconds:
        histogram.count(gap)
    ordered = sorted(seconds)
    rank = next(place for place in range(1, len(ordered) + 1) if place >= 0.99 * len(ordered))
    true = ordered[rank - 1]
    told = histogram.evidence.p99_seconds(NOW)
    assert told >= true
    assert told == GAP_BOUNDS_SECONDS[bisect_left(GAP_BOUNDS_SECONDS, true)]


def test_what_is_old_fades_and_the_operators_counts_stay() -> None:
    histogram = Histogram()
    histogram.evidence.fade(NOW)
    histogram.count(2.0, 100)
    now, slow_until = NOW, 0.0
    for turn in range(1, 40):
        now += FADE_SECONDS
        histogram.count(0.02, 100)
        if histogram.evidence.p99_seconds(now) > 0.02:
            slow_until = turn
    assert 3 <= slow_until <= 8, "as old as it is it counted for less than one in a hundred"
    assert sum(histogram.gaps) == 4000


def test_after_a_long_time_nothing_is_left_of_it() -> None:
    histogram = Histogram()
    histogram.evidence.fade(NOW)
    histogram.count(2.0, 10**6)
    histogram.evidence.fade(NOW + FADE_SECONDS)
    assert histogram.evidence.p99_seconds(NOW + FADE_SECONDS) == 2.5
    assert histogram.evidence.p99_seconds(NOW + 30 * FADE_SECONDS) == 0.0
    histogram.count(0.05)
    assert histogram.evidence.p99_seconds(NOW + 1e9) == 0.0
    histogram.count(0.05)
    assert histogram.evidence.p99_seconds(NOW + 1e9) == 0.05


@pytest.mark.parametrize("looks", [1, 7])
def test_it_fades_with_time_and_not_with_looks(looks: int) -> None:
    histogram = Histogram()
    histogram.evidence.fade(NOW)
    histogram.count(2.0, 64)
    histogram.evidence.fade(NOW + FADE_SECONDS)
    for look in range(looks):
        histogram.evidence.fade(NOW + 2 * FADE_SECONDS + look)
    histogram.count(0.02, 1583)
    assert histogram.evidence.p99_seconds(NOW + 2 * FADE_SECONDS + looks) == 2.5
    histogram.count(0.02, 2)
    assert histogram.evidence.p99_seconds(NOW + 2 * FADE_SECONDS + looks) == 0.02
