"""Is a leak told from noise, and from what was there before?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak_verdict import Held, Limits, Sample, floors, gauges, judge_leaks, slope_per_minute

HELD = Held(rss_kilobytes=100_000, descriptors=20, sockets={"LISTEN": 1}, in_flight=0, gauges={"open_requests": 0.0})
LIMITS = Limits(slope_kilobytes_per_minute=100.0, growth_kilobytes=1000.0)
FLAT = [Sample(float(second), 100_000.0) for second in range(60)]
METRICS = """\
# HELP multiverse_in_flight Requests running on a server.
# TYPE multiverse_in_flight gauge
multiverse_in_flight{server="a"} 2.0
multiverse_in_flight{server="b"} 0.0
# TYPE multiverse_server_healthy gauge
multiverse_server_healthy{server="a"} 1.0
# TYPE multiverse_requests_total counter
multiverse_requests_total{model="open"} 7.0
# TYPE multiverse_tasks gauge
multiverse_tasks 5.0
"""


@given(slope=st.floats(-1e5, 1e5), start=st.floats(0, 1e6), count=st.integers(8, 200))
def test_the_slope_of_a_line_is_found(slope: float, start: float, count: int) -> None:
    line = [Sample(float(second), start + slope * second / 60) for second in range(count)]
    assert slope_per_minute(line) == pytest.approx(slope, abs=0.01)


def test_only_the_second_half_counts() -> None:
    warming = [Sample(float(second), 1000.0 * min(second, 30)) for second in range(60)]
    assert slope_per_minute(warming) == pytest.approx(0)
    leaking = [Sample(float(second), max(0.0, second - 30.0)) for second in range(60)]
    assert slope_per_minute(leaking) == pytest.approx(60)


@pytest.mark.parametrize("samples", [[], FLAT[:1], FLAT[:2], [Sample(1.0, 5.0)] * 9])
def test_too_few_samples_have_no_slope(samples: list[Sample]) -> None:
    assert slope_per_minute(samples) == 0


def test_what_returns_is_no_leak() -> None:
    smaller = replace(HELD, rss_kilobytes=90_000, descriptors=19, gauges={"open_requests": 0.0, "new_tasks": 0.0})
    for after in (HELD, smaller, replace(HELD, rss_kilobytes=100_900)):
        assert judge_leaks(HELD, after, FLAT, LIMITS).leaks == ()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (replace(HELD, rss_kilobytes=101_001), "memory at rest has grown by 1001 KB; 1000 are allowed"),
        (replace(HELD, descriptors=21), "21 descriptors are open, 20 were"),
        (replace(HELD, sockets={"LISTEN": 1, "CLOSE_WAIT": 1}), "CLOSE_WAIT"),
        (replace(HELD, in_flight=1), "the admin API shows 1 requests in flight, it showed 0"),
        (replace(HELD, gauges={"open_requests": 1.0}), "open_requests is 1, it was 0"),
        (replace(HELD, gauges={"queue": 2.0}), "queue is 2, it was 0"),
    ],
)
def test_each_leak_is_named(after: Held, words: str) -> None:
    (leak,) = judge_leaks(HELD, after, FLAT, LIMITS).leaks
    assert words in leak


def test_what_is_held_for_a_moment_is_no_growth() -> None:
    tall = [
        Sample(float(second), 100_000.0 + (second if second % 10 in {3, 4, 5} else 0) * 500) for second in range(600)
    ]
    assert slope_per_minute(tall) > LIMITS.slope_kilobytes_per_minute
    assert judge_leaks(HELD, HELD, tall, LIMITS).leaks == ()
    assert len(floors(tall)) == 24
    assert floors(tall[:5]) == tall[:5]


def test_growth_is_a_leak_though_all_was_given_back() -> None:
    growing = [Sample(float(second), 100_000 + 2.0 * second) for second in range(60)]
    verdict = judge_leaks(HELD, HELD, growing, LIMITS)
    assert verdict.slope_kilobytes_per_minute == pytest.approx(120)
    assert verdict.leaks == ("memory grows by 120 KB/min in the second half; 100 are allowed",)


def test_gauges_that_count_what_is_open_are_read() -> None:
    assert gauges(METRICS) == {
        'multiverse_in_flight{server="a"}': 2.0,
        'multiverse_in_flight{server="b"}': 0.0,
        "multiverse_tasks": 5.0,
    }
    assert gauges("") == {}
