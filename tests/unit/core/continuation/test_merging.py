"""Figures of an answer that several servers made: what one was sent of it counts as answer, and not as prompt."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.usage import MOST_TOKENS, Usage
from app.services.core.continuation.merging import merged_figures, merged_usage

NUMBERS = st.integers(0, 10_000)


def merged(usage: object, tokens: int) -> object:
    raw = msgspec.Raw(json.dumps(usage).encode())
    return json.loads(bytes(merged_figures(raw, tokens)))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_tokens_change_sides_and_the_sum_stays(prompt: int, answer: int, tokens: int) -> None:
    told = {"prompt_tokens": prompt + tokens, "completion_tokens": answer, "total_tokens": prompt + tokens + answer}
    assert merged(told, tokens) == {
        "prompt_tokens": prompt,
        "completion_tokens": answer + tokens,
        "total_tokens": prompt + answer + tokens,
    }
    assert merged_usage(Usage(prompt + tokens, answer), tokens) == Usage(prompt, answer + tokens)


def test_a_prompt_is_never_below_nothing_and_the_total_is_the_sum() -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert merged(told, 5) == {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9}
    assert merged_usage(Usage(3, 4), 5) == Usage(0, 9)


def test_other_figures_stay_as_they_stand() -> None:
    raw = msgspec.Raw(
        b'{"prompt_tokens": 9,"x": 1.50e3, "prompt_tokens_details":{"cached_tokens": 4 },"completion_tokens":1}'
    )
    assert bytes(merged_figures(raw, 2)) == (
        b'{"prompt_tokens":7,"x":1.50e3,"prompt_tokens_details":{"cached_tokens": 4 },"completion_tokens":3}'
    )
    assert merged_figures(raw, 0) is raw


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ({}, {}),
        ([1], [1]),
        ({"completion_tokens": 1}, {"completion_tokens": 3}),
        ({"prompt_tokens": 5, "total_tokens": 5}, {"prompt_tokens": 3, "total_tokens": 5}),
        (
            {"prompt_tokens": "5", "completion_tokens": None, "total_tokens": 5},
            {"prompt_tokens": "5", "completion_tokens": None, "total_tokens": 5},
        ),
        ({"prompt_tokens": -1, "completion_tokens": True}, {"prompt_tokens": -1, "completion_tokens": True}),
        ({"prompt_tokens": MOST_TOKENS + 1}, {"prompt_tokens": MOST_TOKENS + 1}),
    ],
)
def test_what_is_absent_or_nonsense_stays(told: object, expected: object) -> None:
    assert merged(told, 2) == expected


def test_what_is_no_json_stays() -> None:
    raw = msgspec.Raw(b'{"prompt_tokens": 3')
    assert merged_figures(raw, 2) is raw


def test_says_when_nobody_counted() -> None:
    assert merged_usage(None, 3) is None
    assert merged_usage(Usage(9, 1), 3, estimated=True) == Usage(6, 4, estimated=True)
    assert merged_usage(Usage(9, 1, estimated=True), 3) == Usage(6, 4, estimated=True)
    assert merged_usage(Usage(9, 1), 0, estimated=True) == Usage(9, 1)
