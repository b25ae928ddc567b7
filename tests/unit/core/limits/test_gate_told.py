"""Does whoever asks hear how the limits stand: in an answer, in a refusal, and when asking for it?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.services.core.limits.gate import Gate, Need
from app.services.core.people.principal import LimitRule, Limits
from tests.unit.core.limits.asking import DAY, NOW, WALL, headers, let_through, refused, rule, used


def test_what_an_answer_says_of_the_limits():
    gate, both = Gate(), rule(requests_per_minute=60, tokens_per_minute=1000)
    assert headers(let_through(gate, both, need=Need(100, 50)).lines) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "850",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert set(headers(let_through(gate, rule("key:b", requests_per_minute=60)).lines)) == {
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    }
    assert let_through(gate, rule("key:c", concurrency=6)).lines == b""
    assert let_through(gate).lines == b""


def test_what_a_refusal_says_of_the_limits():
    gate, both = Gate(), rule(requests_per_minute=1, tokens_per_day=1000)
    let_through(gate, both, need=Need(100, 50))
    verdict = refused(gate, both, after=20.5)
    assert verdict.error.retry_after_seconds == 40
    assert headers(verdict.lines) == {
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "39.5s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "850",
        "x-ratelimit-reset-tokens": "11h59m40s",
    }


LIMITS = st.builds(
    Limits,
    st.none() | st.integers(1, 50),
    st.none() | st.integers(300, 5000),
    st.none() | st.integers(300, 5000),
    st.none() | st.integers(300, 5000),
)


@given(st.lists(LIMITS, min_size=1, max_size=4), st.integers(0, 300), st.integers(1, 400))
def test_of_each_kind_the_tightest_limit_is_told(all_limits, prompt, answer):
    gate = Gate()
    rules = [LimitRule(f"key:{number}", limits, "your key") for number, limits in enumerate(all_limits)]
    admitted = let_through(gate, *rules, need=Need(prompt, answer))
    told, left = headers(admitted.lines), gate.left(rules, NOW, WALL)
    for noun, standings in {
        "requests": [standing for standing in left if standing.kind == "requests_per_minute"],
        "tokens": [standing for standing in left if "tokens" in standing.kind],
    }.items():
        if not standings:
            assert f"x-ratelimit-limit-{noun}" not in told
            continue
        least = min(standing.remaining for standing in standings)
        assert told[f"x-ratelimit-remaining-{noun}"] == str(least)
        assert told[f"x-ratelimit-limit-{noun}"] in {
            str(standing.limit) for standing in standings if standing.remaining == least
        }


def test_what_is_left_is_told_by_limit():
    gate = Gate()
    rules = [
        rule(requests_per_minute=60, concurrency=4),
        rule("person:ada", words="this user", model="llama", tokens_per_day=1000, tokens_per_month=900),
    ]
    let_through(gate, *rules, need=Need(100, 50))
    told = [
        (one.subject_kind, one.model, one.kind.value, one.limit, one.used, one.remaining, one.resets_in_seconds)
        for one in gate.left(rules, NOW + 12, WALL + 12)
    ]
    assert told == [
        ("key", None, "requests_per_minute", 60, 1, 59, 48.0),
        ("key", None, "concurrency", 4, 1, 3, 0.0),
        ("person", "llama", "tokens_per_day", 1000, 150, 850, DAY / 2 - 12),
        ("person", "llama", "tokens_per_month", 900, 150, 750, 21 * DAY + DAY / 2 - 12),
    ]


def test_to_ask_what_is_left_leaves_no_trace():
    gate = Gate()
    assert used(gate, rule("person:x", requests_per_minute=3, tokens_per_day=5)) == {
        "requests_per_minute": 0,
        "tokens_per_day": 0,
    }
    assert len(gate) == 0
    assert gate.changed(NOW, WALL) == []
