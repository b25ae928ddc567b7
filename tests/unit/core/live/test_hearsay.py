"""What an engine says of itself: what of it counts, how much, and for how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.lanes import Lane
from app.services.core.signals import Signals

NOW = 1000.0


def is_plain(lane: Lane, now: float) -> bool:
    """Whether the choice needs no closer look."""
    return lane.closer_look_until <= now


def test_what_an_engine_has_beyond_ours_counts_whole_and_then_fades() -> None:
    lane = Lane()
    lane.take(NOW)
    lane.told(Signals(running=5, waiting=3), NOW)
    assert [lane.foreign(NOW + later) for later in (0, 10, 15, 20, 25, 30, 99)] == [7, 7, 5.25, 3.5, 1.75, 0, 0]
    assert not is_plain(lane, NOW + 29)
    assert is_plain(lane, NOW + 30)


@pytest.mark.parametrize("interval_seconds", [10.0, 60.0, 600.0])
def test_it_counts_whole_for_one_interval_and_fades_over_two_more(interval_seconds: float) -> None:
    lane = Lane()
    lane.told(Signals(running=10, waiting=6, cache_used=0.99), NOW, interval_seconds)
    ages = [interval_seconds * age for age in (0, 0.5, 1, 1.5, 2, 2.5, 3, 9)]
    assert [lane.foreign(NOW + age) for age in ages] == pytest.approx([16, 16, 16, 12, 8, 4, 0, 0])
    assert lane.is_strained(NOW + 1.9 * interval_seconds)
    assert not lane.is_strained(NOW + 2.1 * interval_seconds)
    assert not is_plain(lane, NOW + 2.9 * interval_seconds)
    assert is_plain(lane, NOW + 3 * interval_seconds)


@pytest.mark.parametrize("signals", [Signals(), Signals(running=2), Signals(running=2, waiting=0), Signals(running=0)])
def test_one_that_has_ours_alone_takes_no_closer_look(signals: Signals) -> None:
    lane = Lane()
    lane.take(NOW)
    lane.take(NOW)
    lane.told(Signals(running=9), NOW)
    lane.told(signals, NOW + 1)
    assert lane.foreign(NOW + 1) == 0
    assert is_plain(lane, NOW + 1)


def test_a_queue_of_ours_alone_takes_a_closer_look() -> None:
    lane = Lane()
    lane.in_flight = 6
    lane.told(Signals(running=4, waiting=2), NOW)
    assert lane.foreign(NOW) == 0
    assert not is_plain(lane, NOW)


@pytest.mark.parametrize(
    ("waiting", "cache_used", "strained"),
    [(1, 0.96, True), (0, 0.99, False), (None, 0.99, False), (1, 0.95, False), (1, None, False), (1, math.nan, False)],
)
def test_a_full_cache_with_a_queue_is_strain(waiting: int | None, cache_used: float | None, strained: bool) -> None:
    lane = Lane()
    lane.told(Signals(running=3, waiting=waiting, cache_used=cache_used), NOW)
    assert lane.is_strained(NOW) is strained
    assert not lane.is_strained(NOW + 21)


def test_nonsense_that_an_engine_says_is_bounded() -> None:
    lane = Lane()
    lane.told(Signals(running=10**400, waiting=10**400, cache_used=math.inf), NOW)
    assert lane.foreign(NOW + 5) <= 200_000
    lane.told(Signals(running=10**400, waiting=0), NOW)
    assert lane.held <= 100_000
    lane.told(Signals(running=-5, waiting=-5, cache_used=-1.0), NOW)
    assert lane.foreign(NOW) == 0
    assert is_plain(lane, NOW)


def test_the_most_that_it_computed_with_nothing_waiting_is_kept() -> None:
    lane = Lane()
    for running, waiting, held in ((5, 0, 5), (9, 1, 5), (3, 0, 5), (8, 0, 8), (20, None, 8)):
        lane.told(Signals(running=running, waiting=waiting), NOW)
        assert lane.held == held


@given(
    st.integers(0, 50),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
    st.lists(st.floats(0, 60), min_size=2, max_size=2),
)
def test_foreign_load_never_grows_by_itself(
    in_flight: int, running: int | None, waiting: int | None, ages: list[float]
) -> None:
    lane = Lane()
    lane.in_flight = in_flight
    lane.told(Signals(running=running, waiting=waiting), NOW)
    earlier, later = sorted(ages)
    whole = max((running or 0) + (waiting or 0) - in_flight, 0)
    assert whole >= lane.foreign(NOW + earlier) >= lane.foreign(NOW + later) >= 0
    if is_plain(lane, NOW + later):
        assert lane.foreign(NOW + later) == 0
        assert not lane.is_strained(NOW + later)
