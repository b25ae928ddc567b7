"""Does the gate let through what the limits allow, count what was used, and say honestly why and until when not?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.services.core.errors import BodyTooLarge, TooMany
from app.services.core.limits.counter import USUAL_ANSWER_TOKENS
from app.services.core.limits.gate import MOST_TOKENS, Admitted, Gate, Need, Refused
from tests.unit.core.limits.asking import (
    DAY,
    MODELS,
    NOW,
    WALL,
    ask,
    headers,
    let_through,
    refused,
    rule,
    settle,
    used,
)


def test_exactly_sixty_of_two_hundred_at_once_go():
    gate, sixty = Gate(), rule(requests_per_minute=60)
    verdicts = [ask(gate, sixty) for _ in range(200)]
    assert [isinstance(verdict, Admitted) for verdict in verdicts] == [True] * 60 + [False] * 140


def test_all_come_back_at_once_a_minute_later_and_not_before():
    gate, sixty = Gate(), rule(requests_per_minute=60)
    for _ in range(60):
        let_through(gate, sixty)
    assert refused(gate, sixty, after=59.999).error.retry_after_seconds == 1
    for _ in range(60):
        let_through(gate, sixty, after=60.0)
    refused(gate, sixty, after=60.0)


def test_a_refused_request_counts_for_nothing():
    gate, one, wide = Gate(), rule(requests_per_minute=1), rule("group:g", requests_per_minute=100)
    let_through(gate, wide, one)
    for _ in range(50):
        refused(gate, wide, one)
    assert used(gate, wide) == {"requests_per_minute": 1}


def test_one_rule_that_refuses_leaves_all_others_undrawn():
    gate = Gate()
    rules = [rule("group:g", tokens_per_day=1000), rule("person:p", concurrency=5), rule(requests_per_minute=0)]
    refused(gate, *rules)
    assert used(gate, *rules) == {"tokens_per_day": 0, "concurrency": 0, "requests_per_minute": 0}
    assert len(gate) == 0


def test_a_rule_for_a_model_counts_for_that_model_alone():
    gate, one = Gate(), rule(model="llama", requests_per_minute=1)
    let_through(gate, one)
    refused(gate, one)
    for _ in range(3):
        let_through(gate, one, models=frozenset({"qwen"}))
    refused(gate, one, models=frozenset({"fast", "llama"}))


def test_the_same_subject_counts_apart_for_a_model_and_for_all():
    gate, every, some = Gate(), rule(requests_per_minute=3), rule(model="llama", requests_per_minute=1)
    let_through(gate, every, some)
    refused(gate, every, some)
    let_through(gate, every, some, models=frozenset({"qwen"}))
    assert used(gate, every) == {"requests_per_minute": 2}


@pytest.mark.parametrize("is_known", [False, True])
def test_a_subject_that_comes_twice_is_counted_once_by_the_tighter_limits(is_known):
    gate = Gate()
    rules = rule("person:p", requests_per_minute=3, concurrency=9), rule("person:p", requests_per_minute=2)
    if is_known:
        settle(let_through(gate, rules[0]), 1, after=-100)
    first = let_through(gate, *rules, after=100)
    assert used(gate, rules[0], after=100) == {"requests_per_minute": 1, "concurrency": 1}
    let_through(gate, *reversed(rules), after=100)
    refused(gate, *rules, after=100)
    settle(first, 5, after=101)
    assert used(gate, rules[0], after=101) == {"requests_per_minute": 2, "concurrency": 1}
    assert headers(first.lines)["x-ratelimit-limit-requests"] == "2"


def test_places_are_given_back_once():
    gate, two = Gate(), rule(concurrency=2)
    first, second = let_through(gate, two), let_through(gate, two)
    verdict = refused(gate, two)
    assert isinstance(verdict.error, TooMany)
    assert (verdict.error.code, verdict.error.retry_after_seconds) == ("concurrency_limit_exceeded", 1)
    settle(first, 10)
    settle(first, 10)
    settle(first, 10)
    let_through(gate, two)
    refused(gate, two)
    settle(second, 0)
    assert used(gate, two) == {"concurrency": 1}


def test_what_was_drawn_is_the_prompt_and_the_usual_answer_until_it_is_settled():
    gate, many = Gate(), rule(tokens_per_minute=10_000)
    admitted = let_through(gate, many, need=Need(100, 0))
    assert used(gate, many) == {"tokens_per_minute": 100 + USUAL_ANSWER_TOKENS}
    settle(admitted, 130, after=5)
    assert used(gate, many, after=5) == {"tokens_per_minute": 130}
    let_through(gate, many, need=Need(100, 0), after=5)
    assert used(gate, many, after=5) == {"tokens_per_minute": 130 + 100 + 30}  # the answer of 30 is what is usual now


def test_the_most_that_a_client_asks_for_is_drawn_where_it_is_less_than_usual():
    gate, many = Gate(), rule(tokens_per_minute=10_000)
    let_through(gate, many, need=Need(100, 5))
    assert used(gate, many) == {"tokens_per_minute": 105}
    let_through(gate, many, need=Need(100, 10**12))
    assert used(gate, many) == {"tokens_per_minute": 105 + 100 + USUAL_ANSWER_TOKENS}


def test_an_answer_longer_than_usual_counts_from_its_end_on():
    gate, many = Gate(), rule(tokens_per_minute=10_000, tokens_per_day=10**6)
    admitted = let_through(gate, many, need=Need(44, 0))
    settle(admitted, 5000, after=50)
    assert used(gate, many, after=50) == {"tokens_per_minute": 5000, "tokens_per_day": 5000}
    assert used(gate, many, after=60.1)["tokens_per_minute"] == 4700
    assert used(gate, many, after=110.1)["tokens_per_minute"] == 0


def test_an_answer_that_lasts_for_longer_than_a_minute_is_settled_whole():
    gate, many = Gate(), rule(tokens_per_minute=10_000, tokens_per_day=10**6)
    long, short = let_through(gate, many, need=Need(44, 0)), let_through(gate, many, need=Need(44, 0))
    settle(long, 5000, after=300)
    settle(short, 50, after=300)
    assert used(gate, many, after=300) == {"tokens_per_minute": 4700, "tokens_per_day": 5050}


def test_a_request_that_no_server_took_keeps_no_tokens_but_counts_as_one():
    gate, both = Gate(), rule(requests_per_minute=5, tokens_per_minute=1000, tokens_per_month=1000)
    settle(let_through(gate, both), 0, after=1)
    assert used(gate, both, after=1) == {"requests_per_minute": 1, "tokens_per_minute": 0, "tokens_per_month": 0}
    let_through(gate, both, need=Need(10, 0), after=1)
    assert used(gate, both, after=1)["tokens_per_minute"] == 10 + USUAL_ANSWER_TOKENS  # and nothing was learnt from it


@pytest.mark.parametrize(("told", "believed"), [(-5, 0), (10**30, MOST_TOKENS)])
def test_what_a_server_says_is_believed_within_reason(told, believed):
    gate, day = Gate(), rule(tokens_per_day=10**12)
    settle(let_through(gate, day), told)
    assert used(gate, day) == {"tokens_per_day": believed}


def test_what_is_used_after_midnight_counts_for_the_new_day():
    gate, day = Gate(), rule(tokens_per_day=10_000)
    evening = let_through(gate, day, need=Need(100, 50), after=DAY / 2 - 1)
    other = let_through(gate, day, need=Need(100, 50), after=DAY / 2 - 1)
    settle(evening, 1150, after=DAY / 2 + 1)
    settle(other, 20, after=DAY / 2 + 1)
    assert used(gate, day, after=DAY / 2 + 1) == {"tokens_per_day": 1000}


def test_a_prompt_that_fits_is_always_let_through_where_nothing_was_used():
    gate, small = Gate(), rule(tokens_per_minute=100, tokens_per_day=100, tokens_per_month=100)
    admitted = let_through(gate, small, need=Need(100, 0))
    assert headers(admitted.lines)["x-ratelimit-remaining-tokens"] == "0"
    settle(admitted, 40)
    assert used(gate, small) == {"tokens_per_minute": 40, "tokens_per_day": 40, "tokens_per_month": 40}


def test_a_prompt_larger_than_the_whole_limit_is_told_so():
    gate = Gate()
    error = refused(gate, rule(tokens_per_minute=1000, requests_per_minute=5), need=Need(12_000, 0)).error
    assert isinstance(error, BodyTooLarge)
    assert error.status == 413
    assert error.retry_after_seconds is None
    assert error.code == "tokens_limit_exceeded"
    assert error.message == (
        "This prompt has about 12,000 tokens, but your key's limit is 1,000 a minute: send a shorter prompt, or ask "
        "the operator for a larger limit."
    )


def test_who_is_refused_hears_of_the_limit_that_takes_longest():
    gate = Gate()
    rules = [
        rule(requests_per_minute=1),
        rule("person:p", words="this user", tokens_per_day=500),
        rule("group:g", words="your group physics", concurrency=1),
    ]
    let_through(gate, *rules, need=Need(300, 0))
    error = refused(gate, *rules, after=10).error
    assert (error.status, error.code, error.type) == (429, "tokens_limit_exceeded", "rate_limit_error")
    assert error.retry_after_seconds == DAY // 2 - 10
    assert error.message.startswith("This user may use 500 tokens a day (UTC). None of them is left")


@pytest.mark.parametrize(
    ("at", "kind", "seconds"),
    [
        ("2030-05-10T12:00:00", "tokens_per_day", DAY // 2),
        ("2030-05-10T23:59:59.5", "tokens_per_day", 1),
        ("2030-12-31T20:00:00", "tokens_per_month", 4 * 3600),
        ("2030-02-01T00:00:00", "tokens_per_month", DAY),
    ],
)
def test_a_day_and_a_month_end_at_midnight_utc(at, kind, seconds):
    gate, limited = Gate(), rule(**{kind: 100})
    wall = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    gate.admit([limited], MODELS, Need(100, 0), NOW, wall)
    verdict = gate.admit([limited], MODELS, Need(100, 0), NOW, wall)
    assert isinstance(verdict, Refused)
    assert verdict.error.retry_after_seconds == seconds


def test_a_limit_that_is_raised_or_lowered_keeps_what_was_counted():
    gate = Gate()
    for _ in range(5):
        let_through(gate, rule(requests_per_minute=5))
    refused(gate, rule(requests_per_minute=5))
    let_through(gate, rule(requests_per_minute=7))
    refused(gate, rule(requests_per_minute=2))
    assert gate.left([rule(requests_per_minute=2)], NOW, WALL)[0].remaining == 0
    let_through(gate, rule(requests_per_minute=7))
    refused(gate, rule(requests_per_minute=7))


def test_a_limit_that_came_meanwhile_is_not_settled_for_what_it_did_not_count():
    gate = Gate()
    before = let_through(gate, rule(concurrency=3))
    after = let_through(gate, rule(concurrency=3, tokens_per_day=1000))
    settle(before, 700)
    settle(after, 50)
    assert used(gate, rule(concurrency=3, tokens_per_day=1000)) == {"concurrency": 0, "tokens_per_day": 50}


@pytest.mark.parametrize("limit", [0, -3])
@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        ("requests_per_minute", 429, DAY),
        ("concurrency", 429, 1),
        ("tokens_per_minute", 413, None),
        ("tokens_per_day", 413, None),
        ("tokens_per_month", 413, None),
    ],
)
def test_a_limit_of_nothing_lets_nothing_through(kind, status, retry_after, limit):
    error = refused(Gate(), rule(**{kind: limit}), need=Need()).error
    assert (error.status, error.retry_after_seconds) == (status, retry_after)


def test_a_request_of_which_nothing_is_expected_is_settled_all_the_same():
    gate, day = Gate(), rule(tokens_per_day=10_000)
    settle(let_through(gate, day, need=Need(50, 0)), 40)  # no answer, as with embeddings: that is usual now
    admitted = let_through(gate, day, need=Need(0, 0))
    settle(admitted, 500)
    assert used(gate, day) == {"tokens_per_day": 540}
