"""Is a server lent when a clock on the wall of its owner says so, and is the next change told to the second?"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.core.people.hours import (
    Day,
    Hours,
    Opening,
    Window,
    is_open,
    next_change,
    opening,
    opens_in_words,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # the clock was put forward at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",  # three quarters of an hour
    "Pacific/Apia",  # left out a whole day in 2011
    "Africa/Casablanca",
    "UTC",
]
ALL_DAYS = frozenset(Day)


def window(opens: str, closes: str, *days: Day) -> Window:
    return Window(frozenset(days) or ALL_DAYS, time.fromisoformat(opens), time.fromisoformat(closes))


def hours(*windows: Window, zone: str = "Europe/Berlin") -> Hours:
    return Hours(zone, windows, ZoneInfo(zone))


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


NIGHTS = hours(window("18:00", "08:00", Day.MON, Day.TUE, Day.WED, Day.THU, Day.FRI))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-01-05T17:59:59", False),  # a Monday
        ("2026-01-05T18:00:00", True),
        ("2026-01-06T07:59:59", True),
        ("2026-01-06T08:00:00", False),
        ("2026-01-05T07:00:00", False),  # Sunday's evening is not lent, so its morning after is not either
        ("2026-01-10T07:59:00", True),  # Friday's night ends on Saturday
        ("2026-01-10T18:00:00", False),
    ],
)
def test_a_window_that_passes_midnight_belongs_to_the_day_that_it_begins_on(at: str, expected: bool) -> None:
    assert is_open(NIGHTS, berlin(at)) is expected


def test_it_is_told_when_it_changes() -> None:
    assert opening(NIGHTS, berlin("2026-01-05T12:00")) == Opening(False, berlin("2026-01-05T18:00"))
    assert opening(NIGHTS, berlin("2026-01-05T18:00")) == Opening(True, berlin("2026-01-06T08:00"))
    assert opening(NIGHTS, berlin("2026-01-10T09:00")) == Opening(False, berlin("2026-01-12T18:00"))


def test_windows_that_meet_are_one() -> None:
    whole = hours(window("08:00", "20:00"), window("20:00", "23:00"), window("10:00", "12:00"))
    assert next_change(whole, berlin("2026-01-05T09:00")) == berlin("2026-01-05T23:00")


def test_what_is_always_or_never_open_does_not_change() -> None:
    always = hours(window("00:00", "00:00"))
    assert opening(always, berlin("2026-03-28T12:00")) == Opening(True, None)
    assert opening(hours(window("06:00", "06:00")), berlin("2026-01-05T05:00")) == Opening(True, None)
    assert opening(hours(), berlin("2026-01-05T05:00")) == Opening(False, None)


def test_a_whole_day_is_from_a_time_to_the_same_time() -> None:
    mondays = hours(window("06:00", "06:00", Day.MON))
    assert opening(mondays, berlin("2026-01-06T05:59")) == Opening(True, berlin("2026-01-06T06:00"))
    assert next_change(mondays, berlin("2026-01-06T06:00")) == berlin("2026-01-12T06:00")


def test_a_night_in_which_the_clock_is_put_forward_is_an_hour_shorter() -> None:
    evening, morning = berlin("2026-03-28T18:00"), berlin("2026-03-29T08:00")
    nights = hours(window("18:00", "08:00"))
    assert opening(nights, evening) == Opening(True, morning)
    assert morning - evening == timedelta(hours=13)


def test_a_night_in_which_the_clock_is_put_back_is_an_hour_longer() -> None:
    evening, morning = berlin("2026-10-24T18:00"), berlin("2026-10-25T08:00")
    nights = hours(window("18:00", "08:00"))
    assert opening(nights, evening) == Opening(True, morning)
    assert morning - evening == timedelta(hours=15)


def test_times_that_the_clock_skips_come_when_it_has_skipped_them() -> None:
    skipped = datetime(2026, 3, 29, 1, tzinfo=UTC)  # 02:00 becomes 03:00
    begins, ends = hours(window("02:30", "05:00")), hours(window("01:00", "02:30"))
    before = berlin("2026-03-29T01:30")
    assert opening(begins, before) == Opening(False, skipped)
    assert opening(begins, skipped) == Opening(True, berlin("2026-03-29T05:00"))
    assert opening(ends, before) == Opening(True, skipped)
    inside = hours(window("02:10", "02:40", Day.SUN))
    assert opening(inside, before) == Opening(False, berlin("2026-04-05T02:10"))


def test_times_that_the_clock_shows_twice_count_twice() -> None:
    back = datetime(2026, 10, 25, 1, tzinfo=UTC)  # 03:00 becomes 02:00
    part = hours(window("02:15", "02:45", Day.SUN))
    moment = berlin("2026-10-25T01:00")
    changes = []
    for _number in range(4):
        found = next_change(part, moment)
        assert found is not None
        moment = found
        changes.append(moment)
    assert changes == [
        berlin("2026-10-25T02:15"),
        berlin("2026-10-25T02:45"),
        berlin("2026-10-25T02:15", fold=1),
        berlin("2026-10-25T02:45", fold=1),
    ]
    until_half_past = hours(window("22:00", "02:30"))
    assert opening(until_half_past, berlin("2026-10-25T02:30")) == Opening(False, back)
    assert opening(until_half_past, back) == Opening(True, berlin("2026-10-25T02:30", fold=1))


def test_a_zone_that_is_not_known_here_lends_nothing() -> None:
    unknown = Hours("Mars/Olympus", (window("00:00", "00:00"),))
    now = berlin("2026-01-05T12:00")
    assert opening(unknown, now) == Opening(False, None)
    assert "Mars/Olympus" in opens_in_words(unknown, now, None)
    assert "tzdata" in opens_in_words(unknown, now, None)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-01-05T12:00", "opens 18:00 Europe/Berlin"),
        ("2026-01-10T09:00", "opens Mon 18:00 Europe/Berlin"),
    ],
)
def test_an_owner_reads_when_it_opens(at: str, words: str) -> None:
    now = berlin(at)
    assert opens_in_words(NIGHTS, now, next_change(NIGHTS, now)) == words


def test_windows_that_never_open_say_so() -> None:
    assert opens_in_words(hours(), berlin("2026-01-05T12:00"), None) == "its windows never open"


def by_the_minute(asked: Hours, start: datetime, days: int) -> datetime | None:
    """The next change, found by looking at the clock every minute."""
    state, moment = is_open(asked, start), start.replace(second=0, microsecond=0)
    for _minute in range(days * 24 * 60):
        moment += timedelta(minutes=1)
        if is_open(asked, moment) is not state:
            return moment
    return None


minutes = st.integers(0, 24 * 60 - 1).map(lambda number: time(number // 60, number % 60))
windows = st.builds(Window, st.frozensets(st.sampled_from(Day), min_size=1), minutes, minutes)
turns = st.sampled_from(
    [
        datetime.fromisoformat(f"{text}+00:00")
        for text in (
            "2011-12-30T10:00",
            "2018-11-04T03:00",
            "2019-02-17T02:00",
            "2026-03-29T01:00",
            "2026-04-04T15:00",
            "2026-06-10T12:00",
            "2026-10-25T01:00",
            "2026-11-01T06:00",
        )
    ]
)
moments = st.builds(lambda turn, off: turn + timedelta(minutes=off), turns, st.integers(-2000, 2000))


@settings(max_examples=60, deadline=None)
@given(st.lists(windows, min_size=1, max_size=3), st.sampled_from(ZONES), moments)
def test_the_next_change_is_the_first_one_and_no_other(chosen: list[Window], zone: str, now: datetime) -> None:
    asked = Hours(zone, tuple(chosen), ZoneInfo(zone))
    expected, told = by_the_minute(asked, now, 4), next_change(asked, now)
    if expected is None:
        assert told is None or told > now + timedelta(days=3)
    else:
        assert told == expected


@given(windows, st.sampled_from(ZONES), moments)
def test_open_is_what_the_wall_shows(chosen: Window, zone: str, now: datetime) -> None:
    there = now.astimezone(ZoneInfo(zone))
    begins_on = {there.weekday()} if there.time() >= chosen.opens else set()
    if chosen.closes <= chosen.opens:
        begins_on |= {(there.weekday() - 1) % 7} if there.time() < chosen.closes else set()
    elif there.time() >= chosen.closes:
        begins_on = set()
    assert is_open(Hours(zone, (chosen,), ZoneInfo(zone)), now) is bool(begins_on & chosen.days)
