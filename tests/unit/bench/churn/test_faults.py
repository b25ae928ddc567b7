"""Do timetables keep their promises: the same for the same seed, one engine always standing, none hit while down?"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.churn.ceiling import ceiling
from bench.churn.delivery import Behaviour
from bench.churn.faults import FAULTS, Deed, Fault, Hit, timetable

BY_NAME = {fault.name: fault for fault in FAULTS}


@given(st.sampled_from(FAULTS), st.integers(0, 100), st.floats(1, 120), st.integers(2, 6))
def test_one_engine_always_stands(fault: Fault, seed: int, seconds: float, slots: int) -> None:
    hits = timetable(fault, seconds, slots, Random(seed))
    assert hits == timetable(fault, seconds, slots, Random(seed))
    for hit in hits:
        assert hit.begins_seconds < seconds
        down = [other.slot for other in hits if other.begins_seconds <= hit.begins_seconds < other.ends_seconds]
        assert len(set(down)) == len(down) < slots


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_strikes_as_often_as_it_says(fault: Fault) -> None:
    hits = timetable(fault, 31, 4, Random(1))
    assert len(hits) == (0 if fault.name == "calm" else fault.victims * -(-30 // int(fault.every_seconds)))


def test_every_deed_is_one_that_a_pool_or_an_engine_knows() -> None:
    known = {behaviour.value for behaviour in Behaviour}
    done_by_pools = {Deed.KILL, Deed.START, Deed.STOP, Deed.GO_ON, Deed.REPLACE, Deed.DROP, Deed.RELEASE}
    assert {deed.value for deed in Deed} - {deed.value for deed in done_by_pools} <= known


def test_the_ceiling_is_what_is_not_under_way_on_a_dying_engine() -> None:
    kill = BY_NAME["kill"]
    hits = [Hit(0, 10, 14), Hit(1, 12, 16)]
    for arrival, lost in [(5, 0), (8.5, 0), (9, 1 / 4), (9.9, 1 / 4), (10.1, 0), (11, 1 / 3), (12.5, 0), (17, 0)]:
        assert ceiling(kill, hits, [(arrival, 1.2)], 4) == pytest.approx(1 - lost), arrival
    assert ceiling(kill, hits, [(9.5, 3.0)], 4) == pytest.approx(1 - 2 / 4)
    assert ceiling(kill, hits, [(9, 1.2), (17, 1.2)], 4) == pytest.approx(1 - 1 / 8)
    assert ceiling(kill, hits, [], 4) == 1


def test_what_breaks_answers_one_by_one_costs_less_and_what_breaks_none_nothing() -> None:
    hits = [Hit(0, 10, 10.5)]
    assert ceiling(BY_NAME["reset"], hits, [(9.5, 2.0)], 4) == pytest.approx(1 - 0.5 / 4)
    assert ceiling(BY_NAME["drip"], hits, [(9.5, 2.0)], 4) == 1
