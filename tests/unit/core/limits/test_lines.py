"""Do the header lines on limits say what OpenAI's clients read?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.limits.lines import duration, limit_lines, lines_just_drawn
from app.services.core.limits.standing import Kind, Standing
from app.services.core.people.principal import LimitRule, Limits

RULE = LimitRule("key:a", Limits(), "your key")
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds_of(text: str) -> float:
    """Read a duration as Go's ``time.ParseDuration`` does."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s)", text)
    assert "".join(number + unit for number, unit in parts) == text
    return sum(float(number) * UNITS[unit] for number, unit in parts)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.02, "20ms"),
        (0.0001, "1ms"),
        (0.9999, "1s"),
        (1.0, "1s"),
        (8.64, "8.64s"),
        (59.9994, "1m0s"),
        (60.0, "1m0s"),
        (60.2, "1m1s"),
        (360.0, "6m0s"),
        (3599.5, "1h0m0s"),
        (86_400.0, "24h0m0s"),
        (-3.0, "0s"),
    ],
)
def test_times_are_written_as_go_writes_them(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 3_000_000))
def test_times_are_rounded_up_and_not_by_much(seconds):
    told = seconds_of(duration(seconds))
    assert seconds - 1e-5 <= told <= seconds + (1.0 if seconds > 59.9 else 0.001) + 1e-5


def test_the_tightest_of_each_kind_is_told():
    standings = [
        Standing(RULE, Kind.REQUESTS_PER_MINUTE, 60, 10, 12.0),
        Standing(RULE, Kind.REQUESTS_PER_MINUTE, 100, 70, 30.0),
        Standing(RULE, Kind.CONCURRENCY, 1, 1, 0.0),
        Standing(RULE, Kind.TOKENS_PER_MINUTE, 1000, 1500, 20.0),
        Standing(RULE, Kind.TOKENS_PER_DAY, 5000, 5000, 3600.0),
        Standing(RULE, Kind.TOKENS_PER_MONTH, 9000, 100, 99_999.0),
    ]
    assert limit_lines(standings) == (
        b"x-ratelimit-limit-requests: 100\r\nx-ratelimit-remaining-requests: 30\r\nx-ratelimit-reset-requests: 30s\r\n"
        b"x-ratelimit-limit-tokens: 5000\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1h0m0s\r\n"
    )


def test_what_is_not_limited_is_not_told():
    assert limit_lines([]) == b""
    assert limit_lines([Standing(RULE, Kind.CONCURRENCY, 1, 1, 0.0)]) == b""
    assert lines_just_drawn(None, None, 60.0) == b""


@given(
    st.none() | st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)),
    st.none() | st.tuples(st.integers(1, 10**9), st.integers(-(10**9), 10**9)),
    st.just(60.0) | st.floats(1, 10**6),
)
def test_both_ways_of_writing_say_the_same(requests, tokens, resets_in):
    standings = []
    if requests is not None:
        standings.append(Standing(RULE, Kind.REQUESTS_PER_MINUTE, requests[0], requests[0] - requests[1], 60.0))
    if tokens is not None:
        standings.append(Standing(RULE, Kind.TOKENS_PER_DAY, tokens[0], tokens[0] - tokens[1], resets_in))
    assert lines_just_drawn(requests, tokens, resets_in) == limit_lines(standings)
