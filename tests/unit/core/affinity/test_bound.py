"""The bound: nobody at home above 1.25 times the mean, but for the two that small numbers need."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.affinity.bound import ALWAYS_LET_IN, is_within

COUNTS = st.lists(st.integers(0, 500), max_size=20)


@given(st.integers(0, 2000), COUNTS)
def test_the_rule(in_flight: int, others: list[int]) -> None:
    share = (in_flight + 1 + sum(others)) / (len(others) + 1)
    assert is_within(in_flight, sum(others), len(others)) == (in_flight + 1 <= 2 + math.ceil(1.25 * share))


@given(COUNTS)
def test_somebody_may_always_be_taken(counts: list[int]) -> None:
    counts = [*counts, 0]
    least = min(counts)
    assert is_within(least, sum(counts) - least, len(counts) - 1)


@given(st.integers(1, 19), st.integers(1, 3000))
def test_a_server_that_everybody_calls_home_gets_its_share_and_little_more(others: int, requests: int) -> None:
    home, elsewhere = 0, 0
    for _request in range(requests):
        if is_within(home, elsewhere, others):
            home += 1
        else:
            elsewhere += 1
    assert home <= 1.25 * requests / (others + 1) + 3


@pytest.mark.parametrize("servers", [2, 4, 100])
def test_a_few_are_let_in_wherever_nothing_else_runs(servers: int) -> None:
    assert all(is_within(in_flight, 0, servers - 1) for in_flight in range(ALWAYS_LET_IN))
    assert not is_within(99, 0, servers - 1)


def test_alone_it_takes_all() -> None:
    assert is_within(999, 0, 0)
