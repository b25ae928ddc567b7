"""Are days and months counted by UTC, and never begun anew because the clock went back?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.limits.calendar import Calendar, day_of, month_of

BOUNDS = [day_of, month_of]
walls = st.integers(0, 4_000_000_000)


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def use(calendar: Calendar, at: float, amount: int) -> None:
    calendar.at(at).used += amount


@pytest.mark.parametrize(
    ("moment", "begins", "ends"),
    [
        ("2028-02-29T23:59:59", "2028-02-01", "2028-03-01"),
        ("2027-02-28T12:00:00", "2027-02-01", "2027-03-01"),
        ("2027-12-31T23:59:59.999", "2027-12-01", "2028-01-01"),
        ("2028-01-01T00:00:00", "2028-01-01", "2028-02-01"),
        ("1970-01-01T00:00:00", "1970-01-01", "1970-02-01"),
    ],
)
def test_a_month_begins_on_the_first_at_midnight_utc(moment, begins, ends):
    assert month_of(wall(moment)) == (wall(begins), wall(ends))


@given(walls)
def test_a_day_is_a_calendar_day_in_utc(moment):
    begins, ends = day_of(moment)
    assert begins <= moment < ends
    assert ends - begins == 86_400
    assert datetime.fromtimestamp(begins, UTC).time().isoformat() == "00:00:00"


@given(walls)
def test_months_follow_each_other_without_a_gap(moment):
    begins, ends = month_of(moment)
    assert begins <= moment < ends
    assert month_of(ends)[0] == ends
    assert month_of(begins) == (begins, ends)


def test_a_new_day_begins_with_nothing_used():
    calendar = Calendar(day_of, wall("2030-05-31T12:00:00"))
    use(calendar, wall("2030-05-31T23:59:59"), 100)
    assert calendar.at(wall("2030-05-31T23:59:59.9")).used == 100
    assert calendar.at(wall("2030-06-01T00:00:00")).used == 0
    assert calendar.at(wall("2030-06-01T00:00:00")).ends_at == wall("2030-06-02")


def test_a_clock_that_steps_back_over_midnight_finds_both_days_as_they_were():
    calendar = Calendar(day_of, wall("2030-05-31T12:00:00"))
    use(calendar, wall("2030-05-31T12:00:00"), 100)
    use(calendar, wall("2030-06-01T00:00:05"), 7)
    use(calendar, wall("2030-05-31T23:59:55"), 20)
    assert calendar.at(wall("2030-05-31T23:59:59")).used == 120
    assert calendar.at(wall("2030-06-01T00:00:10")).used == 7


def test_a_computer_that_starts_in_1970_goes_on_with_what_was_used():
    calendar = Calendar(month_of, wall("2030-05-10"))
    use(calendar, wall("2030-05-10"), 100)
    use(calendar, wall("1970-01-01T00:00:30"), 5)
    assert calendar.at(wall("1970-01-01T00:01:00")).used == 105
    assert calendar.at(wall("2030-05-10T00:10:00")).used == 105
    assert calendar.at(wall("2030-06-01T00:00:00")).used == 0


def test_days_that_pass_in_1970_do_not_wipe_out_the_day_that_lies_ahead():
    calendar = Calendar(day_of, wall("2030-05-10"))
    use(calendar, wall("2030-05-10"), 100)
    use(calendar, wall("1970-01-01T23:59:00"), 5)
    use(calendar, wall("1970-01-02T00:01:00"), 7)
    use(calendar, wall("1970-01-03T00:01:00"), 7)
    assert calendar.at(wall("1970-01-03T00:01:00")).used == 7
    assert calendar.at(wall("2030-05-10T08:00:00")).used >= 100


def test_a_clock_that_was_a_year_ahead_holds_nobody_up_for_a_year():
    calendar = Calendar(month_of, wall("2031-05-10"))
    use(calendar, wall("2031-05-10"), 100)
    assert calendar.at(wall("2030-05-10")).used == 100
    assert calendar.at(wall("2030-06-01")).used == 0


@given(st.sampled_from(BOUNDS), walls, st.integers(0, 10**9), st.integers(0, 1000), st.integers(0, 1000))
def test_no_way_back_and_forth_makes_it_less(bounds_of, moment, back, before, meanwhile):
    calendar = Calendar(bounds_of, moment)
    use(calendar, moment, before)
    assert calendar.at(moment - back).used >= before
    use(calendar, moment - back, meanwhile)
    assert calendar.at(moment).used >= before


@given(st.sampled_from(BOUNDS), st.lists(st.tuples(walls, st.integers(0, 1000)), min_size=1, max_size=8), walls)
def test_what_is_saved_comes_back(bounds_of, steps, moment):
    calendar = Calendar(bounds_of, steps[0][0])
    for at, amount in steps:
        use(calendar, at, amount)
    restored = Calendar.restored(calendar.saved(), bounds_of)
    assert restored.saved() == calendar.saved()
    assert restored.at(moment) == calendar.at(moment)


@pytest.mark.parametrize(
    "saved",
    [
        (1, 5, None, 0, False),
        (0, 5, 3, 0, False),
        (2**52, 5, None, 0, False),
    ],
)
def test_what_was_never_saved_is_not_restored(saved):
    with pytest.raises((ValueError, OverflowError)):
        Calendar.restored(saved, month_of)
