"""What people read of numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.routers.dashboard.wording import (
    NOTHING,
    absolute,
    ago,
    byte_size,
    compact,
    count,
    duration,
    milliseconds,
    moment,
    per_second,
)

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)
SPACE = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("write", "number", "text"),
    [
        (count, 1234567, "1 234 567"),
        (count, 0, "0"),
        (compact, 950, "950"),
        (compact, 9_999, "9 999"),
        (compact, 12_340, "12.3 k"),
        (compact, 200_000, "200 k"),
        (compact, 4_500_000, "4.5 M"),
        (compact, 2.5e9, "2.5 G"),
        (per_second, 0, "0"),
        (per_second, 0.25, "0.25"),
        (per_second, 3.14, "3.1"),
        (per_second, 120.4, "120"),
        (milliseconds, 0, "0 ms"),
        (milliseconds, 0.4, "0.4 ms"),
        (milliseconds, 12.4, "12 ms"),
        (milliseconds, 1300, "1.3 s"),
        (duration, 0.85, "850 ms"),
        (duration, 12, "12 s"),
        (duration, 200, "3 min"),
        (duration, 7_300, "2 h"),
        (duration, 450_000, "5 d"),
        (byte_size, 512, "512 B"),
        (byte_size, 1_572_864, "1.5 MiB"),
        (byte_size, 5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_a_figure_is_short_and_has_its_unit(write, number, text):
    assert write(number) == text.replace(" ", SPACE)


@pytest.mark.parametrize("write", [count, compact, per_second, milliseconds, duration, byte_size, absolute])
def test_what_is_not_known_is_a_dash(write):
    assert write(None) == NOTHING


@pytest.mark.parametrize("write", [per_second, milliseconds, duration])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(write, number):
    assert write(number) == NOTHING


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (timedelta(seconds=1), "just now"),
        (timedelta(seconds=-1), "just now"),
        (timedelta(seconds=12), "12 s ago"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=-5), "in 5 h"),
        (timedelta(days=40), "40 d ago"),
    ],
)
def test_a_moment_is_told_as_seen_from_now(gap, text):
    assert ago(NOW - gap, NOW).replace(SPACE, " ") == text


def test_a_moment_says_when_exactly_on_hover():
    written = str(moment(NOW))
    assert 'datetime="2030-01-31T12:00:00.000+00:00"' in written
    assert 'title="2030-01-31 12:00:00 UTC"' in written
    assert str(moment(None)) == "<span>never</span>"


def test_other_time_zones_are_told_in_utc():
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert absolute(there) == "2030-01-31 12:00:00 UTC"
