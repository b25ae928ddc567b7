"""The bound: nobody at home above 1.25 times the mean, but for the two that small numbers need."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.affinity.bound import may_go_home

COUNTS = st.lists(st.integers(0, 500), max_size=20)


@given(st.integers(0, 2000), COUNTS)
def test_the_rule(in_flight: int, others: list[int]) -> None:
    share = (in_flight + 1 + sum(others)) / (len(others) + 1)
    assert may_go_home(in_flight, others, None) == (in_flight + 1 <= 2 + math.ceil(1.25 * share))


@given(st.integers(0, 2000), COUNTS, st.integers(1, 2000))
def test_never_above_the_cap(in_flight: int, others: list[int], cap: int) -> None:
    assert may_go_home(in_flight, others, cap) == (in_flight < cap and may_go_home(in_flight, others, None))


@given(COUNTS)
def test_somebody_may_always_be_taken(counts: list[int]) -> None:
    counts = [*counts, 0]
    least = counts.index(min(counts))
    assert may_go_home(counts[least], counts[:least] + counts[least + 1 :], None)


@given(st.integers(1, 19), st.integers(1, 3000))
def test_a_server_that_everybody_calls_home_gets_its_share_and_little_more(others: int, requests: int) -> None:
    home, elsewhere = 0, 0
    for _request in range(requests):
        spread = [elsewhere // others + (place < elsewhere % others) for place in range(others)]
        if may_go_home(home, spread, None):
            home += 1
        else:
            elsewhere += 1
    assert home <= 1.25 * requests / (others + 1) + 3


@pytest.mark.parametrize("servers", [2, 4, 100])
def test_two_conversations_on_an_idle_pool_stay(servers: int) -> None:
    assert may_go_home(1, [0] * (servers - 1), None)
    assert may_go_home(0, [0] * (servers - 1), 1)
    assert not may_go_home(1, [0] * (servers - 1), 1)


def test_alone_it_takes_all_that_it_has_room_for() -> None:
    assert may_go_home(999, [], None)
    assert not may_go_home(999, [], 999)


def test_others_may_be_any_iterable() -> None:
    assert not may_go_home(5, (count for count in (0, 0, 0)), None)
