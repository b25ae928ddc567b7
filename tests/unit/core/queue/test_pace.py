"""How long one waits is told by how fast the queue moved of late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.queue.pace import LONGEST_WAIT_SECONDS, Pace
from app.services.core.queue.prospects import Prospects


def moving(per_second: float, seconds: float) -> Pace:
    """The pace of a line in which so many found a place each second."""
    pace, owed = Pace(0.0), 0.0
    for tick in range(1, round(seconds * 10) + 1):
        pace.turn(tick / 10, somebody_waits=True)
        owed += per_second / 10
        while owed >= 1:
            owed -= 1
            pace.found()
    return pace


@pytest.mark.parametrize(
    ("per_second", "position", "wait"), [(2.0, 10, 5), (2.0, 1, 1), (0.5, 10, 20), (10.0, 100, 10), (1.0, 500, 60)]
)
def test_it_is_the_position_by_the_places_of_a_second(per_second: float, position: int, wait: int) -> None:
    assert moving(per_second, 60.0).wait_seconds(position) == pytest.approx(wait, abs=1)


def test_a_line_that_just_began_has_nothing_to_tell() -> None:
    pace = Pace(100.0)
    assert pace.wait_seconds(1) is None
    pace.turn(100.5, somebody_waits=True)
    assert pace.wait_seconds(1) is None
    pace.found()
    assert pace.wait_seconds(4) == 2


def test_where_nothing_came_free_it_is_as_long_again() -> None:
    pace = moving(0.0, 12.0)
    assert pace.wait_seconds(1) == pytest.approx(11, abs=1)
    assert pace.wait_seconds(100) == LONGEST_WAIT_SECONDS


def test_time_in_which_nobody_waits_does_not_count() -> None:
    pace = moving(1.0, 30.0)
    before = pace.wait_seconds(20)
    for tick in range(301, 401):
        pace.turn(tick / 10, somebody_waits=False)
    assert before is not None
    assert pace.wait_seconds(20) == pytest.approx(before, abs=1)


def test_what_was_long_ago_is_forgotten() -> None:
    pace = moving(10.0, 30.0)
    assert not pace.is_forgotten
    pace.turn(3000.0, somebody_waits=False)
    assert pace.is_forgotten
    assert pace.wait_seconds(1) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans(), st.integers(0, 50))), st.integers(-5, 10**9))
def test_whatever_happens_it_is_a_minute_at_most(steps: list[tuple[float, bool, int]], position: int) -> None:
    pace, now = Pace(0.0), 0.0
    for seconds, somebody_waits, found in steps:
        now += seconds
        pace.turn(now, somebody_waits=somebody_waits)
        for _place in range(found):
            pace.found()
        wait = pace.wait_seconds(position)
        assert wait is None or 1 <= wait <= LONGEST_WAIT_SECONDS


def test_a_line_may_begin_before_anybody_told_the_time() -> None:
    prospects: Prospects[str] = Prospects()
    prospects.waits("m")
    prospects.turn(5000.0, lambda _line: 1)
    prospects.turn(5003.0, lambda _line: 1)
    assert prospects.wait_seconds("m", 1) == 3


def test_positions_are_worked_out_once_a_second_for_a_whole_line() -> None:
    prospects: Prospects[str] = Prospects()
    asked = []

    def in_order() -> list[str]:
        asked.append(1)
        return ["ann", "ben", "cid"]

    for _again in range(5):
        assert [prospects.place(item, "m", in_order) for item in ("ann", "cid", "new")] == [(1, 3), (3, 3), None]
    assert len(asked) == 1
    for turn in range(10):
        prospects.turn(turn / 10, lambda _line: 3)
    assert prospects.place("ben", "m", in_order) == (2, 3)
    assert len(asked) == 2


def test_each_line_has_a_pace_of_its_own_that_is_dropped_in_the_end() -> None:
    prospects: Prospects[str] = Prospects()
    assert prospects.wait_seconds("fast", 10) is None
    prospects.waits("fast")
    prospects.waits("slow")
    prospects.found("unknown")
    for tick in range(1, 101):
        prospects.turn(tick / 10, lambda _line: 10)
        prospects.found("fast")
    assert prospects.wait_seconds("fast", 10) == 1
    assert prospects.wait_seconds("slow", 10) == LONGEST_WAIT_SECONDS
    prospects.turn(4000.0, lambda _line: 0)
    assert prospects.wait_seconds("fast", 10) is None
