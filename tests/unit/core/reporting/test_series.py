"""Rates and quantiles over time: gaps are gaps, sums are sums, and nothing grows for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.reporting.series import (
    POOL,
    SPANS,
    Bucket,
    History,
    first_token_seconds,
    rate,
    share,
)
from app.services.core.reporting.tallies import TIME_BOUNDS_SECONDS

NOW = 1_900_000_000.0
"""A beginning of ten seconds, a minute and no half hour."""
counts = st.lists(st.integers(0, 1000), min_size=17, max_size=17)


def bucket(requests: int = 0, seconds: float = 10.0, **fields: int) -> Bucket:
    made = Bucket(seconds)
    made.requests = requests
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_rate_is_what_came_in_the_time_that_was_watched() -> None:
    history = History()
    history.add(POOL, NOW - 15, bucket(20, 10.0, prompt_tokens=100, completion_tokens=50, errors=5, queued_most=3))
    history.add(POOL, NOW - 5, bucket(2, 4.0))
    told = history.series(SPANS["15m"], {POOL}, NOW)
    assert len(told.times) == 90
    assert told.times[-1] == NOW - 10
    assert told.times[1] - told.times[0] == 10
    assert told.requests_per_second[-2:] == (2.0, 0.5)
    assert told.prompt_tokens_per_second[-2:] == (10.0, 0.0)
    assert told.completion_tokens_per_second[-2] == 5.0
    assert told.errors_share[-2:] == (0.25, 0.0)
    assert told.queued_most[-2] == 3


def test_where_the_gateway_did_not_run_there_is_no_figure() -> None:
    history = History()
    history.add(POOL, NOW - 5, bucket(1))
    told = history.series(SPANS["6h"], {POOL}, NOW)
    assert told.requests_per_second[:-1] == (None,) * 359
    assert told.continuations[:-1] == told.queued_most[:-1] == (None,) * 359
    assert told.requests_per_second[-1] == 0.1


def test_an_owner_without_requests_has_zeros_where_the_gateway_ran() -> None:
    history = History()
    history.add(POOL, NOW - 25, bucket(4))
    history.add(POOL, NOW - 15, bucket(4))
    history.add("ann", NOW - 15, bucket(3, 0.0))
    told = history.series(SPANS["15m"], {"ann"}, NOW)
    assert told.requests_per_second[-4:] == (None, 0.0, 0.3, None)
    assert told.errors_share[-4:] == (None, None, 0.0, None)
    assert told.queued_most == (None,) * 90


def test_owners_are_told_together() -> None:
    history = History()
    history.add(POOL, NOW - 5, bucket(9))
    for owner, requests in (("ann", 3), ("ben", 2), ("cyd", 4)):
        history.add(owner, NOW - 5, bucket(requests, 0.0))
    assert history.series(SPANS["15m"], {"ann", "ben", "nobody"}, NOW).requests_per_second[-1] == 0.5
    assert history.owners() == {"ann", "ben", "cyd"}
    assert history.lately({"ann", "cyd"}, NOW, 300).requests == 7
    assert history.lately({POOL}, NOW, 300).seconds == 10.0


def test_the_present_step_is_told_once_it_has_been_watched() -> None:
    history = History()
    history.add(POOL, NOW - 5, bucket(10))
    history.add(POOL, NOW + 2, bucket(6, 0.5))
    assert history.series(SPANS["15m"], {POOL}, NOW + 2.5).times[-1] == NOW - 10
    history.add(POOL, NOW + 3, bucket(0, 1.5))
    told = history.series(SPANS["15m"], {POOL}, NOW + 4)
    assert (told.times[-1], told.requests_per_second[-1]) == (NOW, 3.0)


def test_what_no_span_tells_is_forgotten() -> None:
    history = History()
    for back in range(0, 8 * 86_400, 600):
        history.add(POOL, NOW - back, bucket(1))
        history.add("ann", NOW - back - 7 * 86_400, bucket(1))
    history.forget(NOW)
    assert sum(len(buckets) for ring in history._rings.values() for buckets in ring.values()) <= 2 * (90 + 360 + 336)
    history.forget(NOW + 30 * 86_400)
    assert history.owners() == set()
    assert set(history.series(SPANS["7d"], {POOL}, NOW).requests_per_second) == {None}


def test_a_clock_that_jumps_leaves_gaps_and_honest_rates() -> None:
    history = History()
    history.add(POOL, NOW, bucket(10))
    history.add(POOL, NOW + 3600, bucket(10))
    history.add(POOL, NOW, bucket(10))  # set back again: the same ten seconds were lived twice
    history.forget(NOW)
    told = history.series(SPANS["15m"], {POOL}, NOW + 9)
    assert [each for each in told.requests_per_second if each is not None] == [1.0]


@pytest.mark.parametrize(
    ("place", "quantile", "seconds"),
    [(0, 0.5, 0.0025), (5, 0.5, 0.175), (5, 0.95, 0.2425), (16, 0.5, 600.0), (15, 1.0, 600.0)],
)
def test_a_quantile_lies_inside_its_bucket(place: int, quantile: float, seconds: float) -> None:
    first_tokens = [0] * 17
    first_tokens[place] = 10
    assert first_token_seconds(first_tokens, quantile) == pytest.approx(seconds)


def test_nothing_has_no_quantile_rate_or_share() -> None:
    assert first_token_seconds(None, 0.5) is None
    assert first_token_seconds([0] * 17, 0.5) is None
    assert rate(5, 0.2) is None
    assert share(0, 0) is None


@given(counts, counts, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_quantiles_rise_and_lie_within_the_bounds(one: list[int], two: list[int], low: float, high: float) -> None:
    total = Bucket()
    for each in (one, two):
        part = Bucket()
        part.began(each)
        total.add(part)
    assert total.first_tokens == [first + second for first, second in zip(one, two, strict=True)]
    low, high = sorted((low, high))
    found = [first_token_seconds(total.first_tokens, quantile) for quantile in (low, high)]
    if not sum(one) + sum(two):
        assert found == [None, None]
    else:
        assert 0 <= (found[0] or 0) <= (found[1] or 0) <= TIME_BOUNDS_SECONDS[-1]
