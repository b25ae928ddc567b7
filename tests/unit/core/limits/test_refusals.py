"""Do refusals name the subject, the limit, the time to wait and whom to ask?"""

from __future__ import annotations

import math

import pytest

from app.services.core.limits.refusals import MOST_WAIT_SECONDS, refusal
from app.services.core.limits.standing import Kind, Shortfall, Standing
from app.services.core.people.principal import LimitRule, Limits

KEY = LimitRule("key:a", Limits(), "your key")
ASK = "or ask the operator for a larger limit."
TAKES = "and this request takes about"


def short(kind: Kind, limit: int, wait: float, *, used: int = 0, wanted: int = 1, rule: LimitRule = KEY) -> Shortfall:
    return Shortfall(Standing(rule, kind, limit, used, wait), wanted, wait)


@pytest.mark.parametrize(
    ("shortfall", "message", "code"),
    [
        (
            short(Kind.REQUESTS_PER_MINUTE, 60, 11.2, used=60),
            f"Your key may make 60 requests a minute: wait 12 s, {ASK}",
            "rate_limit_exceeded",
        ),
        (
            short(Kind.CONCURRENCY, 1, 0.0, rule=LimitRule("person:p", Limits(), "this user", "llama")),
            f"This user may have 1 request running at once with model 'llama': send it again when one has ended, {ASK}",
            "concurrency_limit_exceeded",
        ),
        (
            short(Kind.TOKENS_PER_MINUTE, 10_000, 30.0, used=9_000, wanted=1_256),
            f"Your key may use 10,000 tokens a minute. 1,000 of them are left, {TAKES} 1,256: wait 30 s, {ASK}",
            "tokens_limit_exceeded",
        ),
        (
            short(
                Kind.TOKENS_PER_DAY,
                500,
                20_000.0,
                used=700,
                wanted=30,
                rule=LimitRule("group:g", Limits(), "your group"),
            ),
            f"Your group may use 500 tokens a day (UTC). None of them is left, {TAKES} 30: wait 6 h, {ASK}",
            "tokens_limit_exceeded",
        ),
        (
            short(Kind.REQUESTS_PER_MINUTE, 5, 3.0, used=5, rule=LimitRule("model:m", Limits(), "model m", "m")),
            f"All people together may make 5 requests a minute with model 'm': wait 3 s, {ASK}",
            "rate_limit_exceeded",
        ),
    ],
)
def test_what_is_said(shortfall, message, code):
    error = refusal([shortfall])
    assert (error.status, error.type) == (429, "rate_limit_error")
    assert (error.message, error.code) == (message, code)


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (0.0, 1),
        (0.2, 1),
        (1.0, 1),
        (1.001, 2),
        (59.9, 60),
        (86_399.5, 86_400),
        (2_000_000.0, 86_400),
        (math.inf, 86_400),
    ],
)
def test_the_wait_is_whole_seconds_rounded_up_one_at_least_a_day_at_most(wait, told):
    assert refusal([short(Kind.REQUESTS_PER_MINUTE, 5, wait)]).retry_after_seconds == told
    assert told <= MOST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (0.0, "1 s"),
        (119.5, "2 min"),
        (119 * 60.0, "119 min"),
        (119 * 60 + 1.0, "2 h"),
        (86_400.0, "24 h"),
        (48 * 3600.0, "48 h"),
        (48 * 3600 + 1.0, "2 days and 1 h"),
        (9 * 86_400.0, "9 days"),
        (30 * 86_400 - 3600.5, "29 days and 23 h"),
        (math.inf, "24 h"),
    ],
)
def test_people_are_told_the_whole_wait_where_clients_are_told_a_day_of_it(wait, told):
    error = refusal([short(Kind.TOKENS_PER_MONTH, 5000, wait, used=5000)])
    assert f": wait {told}, {ASK}" in error.message
    assert error.retry_after_seconds <= MOST_WAIT_SECONDS


LEFT = f"20 of them are left, {TAKES}"
SHORTER = "send a shorter prompt"
MODEL = LimitRule("model:m", Limits(), "model m", "m")


@pytest.mark.parametrize(
    ("shortfall", "message"),
    [
        (
            short(Kind.CONCURRENCY, 2, 0.0, used=2, rule=MODEL),
            "All people together may have 2 requests running at once with model 'm': send it again when one has ended",
        ),
        (
            short(Kind.TOKENS_PER_DAY, 50, 7200.0, used=30, wanted=30, rule=MODEL),
            f"All people together may use 50 tokens a day (UTC) with model 'm'. {LEFT} 30: wait 2 h",
        ),
        (
            short(Kind.TOKENS_PER_MINUTE, 50, math.inf, wanted=60, rule=MODEL),
            f"This prompt has about 60 tokens, but everybody's limit is 50 a minute with model 'm': {SHORTER}",
        ),
    ],
)
def test_a_limit_of_a_model_is_said_to_be_everybodys_and_names_the_model_once(shortfall, message):
    assert refusal([shortfall]).message == f"{message}, {ASK}"


def test_a_prompt_over_a_limit_is_told_before_any_wait():
    error = refusal(
        [
            short(Kind.TOKENS_PER_MONTH, 10, 10**6),
            short(
                Kind.TOKENS_PER_DAY, 1000, math.inf, wanted=12_000, rule=LimitRule("group:g", Limits(), "your friends")
            ),
        ]
    )
    assert error.status == 413
    assert error.retry_after_seconds is None
    assert error.message.startswith(
        "This prompt has about 12,000 tokens, but your friends' limit is 1,000 a day (UTC):"
    )
