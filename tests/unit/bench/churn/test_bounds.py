"""Are the bounds those of Clopper and Pearson?"""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.churn.bounds import bounds


def at_least(good: int, total: int, share: float) -> float:
    return sum(comb(total, count) * share**count * (1 - share) ** (total - count) for count in range(good, total + 1))


@given(st.integers(2, 60), st.data())
@settings(max_examples=60)
def test_at_each_bound_what_was_seen_is_just_likely_enough(total: int, data: st.DataObject) -> None:
    good = data.draw(st.integers(1, total - 1))
    low, high = bounds(good, total)
    assert at_least(good, total, low) == pytest.approx(0.025, rel=1e-6)
    assert 1 - at_least(good + 1, total, high) == pytest.approx(0.025, rel=1e-6)
    assert low < good / total < high


@pytest.mark.parametrize(
    ("good", "total", "low", "high"),
    [(9_990, 10_000, 0.99816, 0.99952), (19_999, 20_000, 0.99972, 0.9999988)],
)
def test_bounds_that_are_known(good: int, total: int, low: float, high: float) -> None:
    assert bounds(good, total) == pytest.approx((low, high), abs=6e-5)


def test_all_and_none_have_one_side() -> None:
    low, high = bounds(20_000, 20_000)
    assert 1 - low == pytest.approx(3 / 20_000, rel=0.01)
    assert high == 1.0
    assert bounds(0, 20_000) == pytest.approx((0.0, 1 - low))
    assert bounds(0, 0) == (0.0, 1.0)
