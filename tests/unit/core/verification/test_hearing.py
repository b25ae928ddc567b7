"""Is an answer read for what it is, whatever it is?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.verification.hearing import listen, says_error
from tests.fakes.claimant import stream


def arrivals(body: bytes, *seconds: float) -> list[tuple[int, float]]:
    ends, end = [], 0
    for block in body.split(b"\n\n")[:-1]:
        end += len(block) + 2
        ends.append(end)
    return list(zip(ends, seconds, strict=False))


def test_a_streamed_chat():
    body = stream({"delta": {"role": "assistant"}}, {"delta": {"content": "a"}}, {"delta": {"content": "b"}}, usage=5)
    said = listen(body, arrivals(body, 0.1, 0.25, 0.75, 0.8, 0.9))
    assert (said.model, said.text, said.thinks, said.tokens) == ("m", "ab", False, 5)
    assert said.pace is not None
    assert said.pace.first_ms == pytest.approx(250)
    assert said.pace.rate == pytest.approx(4 / 0.5)
    assert said.pace.counted


def test_events_stand_for_tokens_that_nobody_counts():
    body = stream({"text": "a"}, {"text": "b"}, {"text": "c"})
    pace = listen(body, arrivals(body, 1, 2, 3)).pace
    assert pace is not None
    assert (pace.rate, pace.counted) == (pytest.approx(1.0), False)


def test_thoughts_are_words_too():
    body = stream({"delta": {"reasoning_content": "hm "}}, {"delta": {"content": "yes"}})
    said = listen(body, ())
    assert (said.text, said.thinks, said.pace) == ("hm yes", True, None)


def test_what_comes_all_at_once_has_no_rate():
    body = stream({"delta": {"content": "a"}}, {"delta": {"content": "b"}}, usage=2)
    pace = listen(body, [(len(body), 0.4)]).pace
    assert pace is not None
    assert (pace.first_ms, pace.rate) == (pytest.approx(400), None)


def test_a_whole_answer():
    answer = {
        "model": "m",
        "choices": [{"message": {"content": "yes", "reasoning": "hm "}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 9},
    }
    body = json.dumps(answer, indent=1).encode()
    said = listen(body, [(len(body), 2.0)])
    assert (said.model, said.text, said.thinks, said.tokens) == ("m", "hm yes", True, 9)
    assert listen(b'{"model":"e","data":[]}', ()).model == "e"


@pytest.mark.parametrize("model", [3, None, {"a": 1}, ["m"]])
def test_a_name_that_is_none(model):
    body = json.dumps({"model": model, "choices": [{"text": "x"}]}).encode()
    assert listen(body, ()).model == ""
    assert listen(b"data: " + body + b"\n\n", ()).model == ""


@given(st.binary(max_size=500), st.lists(st.tuples(st.integers(0, 600), st.floats(0, 100)), max_size=5))
def test_any_bytes_are_read_without_an_error(body, times):
    for bytes_read in (body, b"{" + body, b"data: " + body + b"\n\n"):
        said = listen(bytes_read, times)
        assert len(said.text) <= 4096
        assert len(said.model) <= 256
        says_error(bytes_read)


def test_errors_under_a_status_of_success():
    assert says_error(b'{\n "error": {"message": "no"}\n}')
    assert says_error(b'data: {"object":"error","message":"busy"}\n\n')
    assert not says_error(b'data: {"choices":[{"delta":{"content":"error"}}]}\n\n')
    assert not says_error(b'{"choices":[]}')
