"""Usage: the engines' figures, in whole answers and in closing events, and what stands in for them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.sse import DONE
from app.services.core.answer.usage import MOST_TOKENS, Usage, estimate, read_answer, usage_of_events


def answer(**members: object) -> bytes:
    return json.dumps({"object": "chat.completion", "choices": [], **members}).encode()


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("figures", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}, Usage(3, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}, Usage(3, 5)),
        ({"prompt_tokens": 7, "total_tokens": 7}, Usage(7, 0)),
        ({"completion_tokens": 7}, Usage(0, 7)),
        ({"input_tokens": 3, "output_tokens": 5}, Usage(3, 5)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 9}, Usage(0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": 5}, Usage(0, 5)),
        ({"prompt_tokens": MOST_TOKENS, "completion_tokens": 0}, Usage(MOST_TOKENS, 0)),
        ({"prompt_tokens": MOST_TOKENS + 1, "completion_tokens": 0}, None),
        ({"prompt_tokens": 3, "completion_tokens": 10**30}, None),
        ({"prompt_tokens": "three"}, None),
        ({"prompt_tokens": 3.5}, None),
        ({"total_tokens": 8}, None),
        ({}, None),
        (None, None),
        ([], None),
        ("none", None),
        (7, None),
    ],
)
def test_reads_the_figures_of_every_shape(figures: object, usage: Usage | None) -> None:
    assert read_answer(answer(usage=figures)) == (usage, False)
    assert usage_of_events([event({"choices": [], "usage": figures})]) == usage


def test_an_answer_without_figures_is_good() -> None:
    assert read_answer(answer()) == (None, False)


@pytest.mark.parametrize("error", [{"message": "boom"}, "boom", 1, True, ["boom"]])
@pytest.mark.parametrize("more", [{}, {"usage": {"prompt_tokens": 3}}, {"usage": "of an unknown shape"}])
def test_an_error_shows_whatever_stands_beside_it(error: object, more: dict[str, object]) -> None:
    assert read_answer(answer(**more, error=error))[1] is True


@pytest.mark.parametrize("error", [None, False, 0, "", [], {}])
def test_an_empty_error_is_none(error: object) -> None:
    assert read_answer(answer(error=error)) == (None, False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html><title>502</title>", "the server answered with HTML"),
        (b"\n <html>", "the server answered with HTML"),
        (b"Ollama is running", "the server answered with something that is not JSON"),
        (b"", "the server answered with something that is not JSON"),
        (b"\xff\xfe\x00", "the server answered with something that is not JSON"),
        (b'{"usage":{"prompt_tokens":1}', "the server answered with something that is not JSON"),
        (
            b'{"usage":"of an unknown shape","choices":[{"text":"cut',
            "the server answered with something that is not JSON",
        ),
        (b'{"choices":' + b"[" * 100_000, "the server answered with something that is not JSON"),
        (b"[]", "the answer is not a JSON object"),
        (b'"text"', "the answer is not a JSON object"),
        (b"null", "the answer is not a JSON object"),
    ],
)
def test_what_is_no_answer_is_named(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        read_answer(body)


@given(st.binary(max_size=100))
def test_garbage_raises_nothing_but_value_errors(body: bytes) -> None:
    try:
        judged = read_answer(body)
    except ValueError:
        return
    assert judged == (None, False)
    assert isinstance(json.loads(body.decode("utf-8", "replace")), dict)


def test_the_newest_figures_of_a_stream_count() -> None:
    events = [
        event({"choices": [{}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}),
        event({"choices": [{}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        event({"choices": [{}], "usage": None}),
        b'data: {"usage": cut\n\n',
        DONE,
    ]
    assert usage_of_events(events) == Usage(3, 2)
    assert usage_of_events(iter(events)) == Usage(3, 2)


def test_a_stream_without_figures_has_none() -> None:
    assert usage_of_events([]) is None
    assert usage_of_events([event({"choices": []}), event({"choices": [{"text": '"usage"'}]}), DONE]) is None


def test_an_estimate_says_that_it_is_one() -> None:
    assert estimate(4000, 12) == Usage(1000, 12, estimated=True)
    assert estimate(0, 0) == Usage(1, 0, estimated=True)
