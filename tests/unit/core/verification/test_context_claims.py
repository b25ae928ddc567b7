"""Is a context length read from what engines say, and compared with what is claimed?"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.verification.contexts import (
    judge_length,
    judge_taken,
    named_length,
    probe_body,
    probe_length,
)
from app.services.core.verification.findings import Verdict


@pytest.mark.parametrize(
    ("words", "length"),
    [
        (
            "'max_tokens' is too large: 8193. This model's maximum context length is 8192 tokens (8193 > 8192 - 5).",
            8192,
        ),
        (
            "max_tokens=4097 cannot be greater than max_model_len=4096. Please request fewer output tokens.",
            4096,
        ),
        (
            "Requested token count exceeds the model's maximum context length of 4096 tokens. You asked for 4108.",
            4096,
        ),
        ("This model's maximum context length is 16,384 tokens. However, you requested 122946 tokens", 16384),
        ("`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3 `inputs` tokens", 2048),
        ("the request exceeds the available context size (512 tokens), try increasing it", 512),
        ("max_tokens must be at most 4096", 4096),
    ],
)
def test_a_refusal_that_names_the_length(words, length):
    assert named_length(json.dumps({"error": {"message": words}}).encode()) == length


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"error":{"message":"bad request","code":400}}',
        b"maximum context length is -3 tokens",
        b"maximum context length is 0 tokens",
        b"maximum context length is 99999999999999999999 tokens",
    ],
)
def test_a_refusal_that_names_none(body):
    assert named_length(body) is None


@given(st.binary(max_size=6000))
def test_any_bytes_name_a_sane_length_or_none(body):
    length = named_length(body)
    assert length is None or 0 < length <= 1_000_000_000


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", [b"context ", b"maximum_", b"max context length ", b"1,", b"must be <= "])
def test_a_body_made_to_take_long_does_not(piece):
    named_length(piece * 100_000)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_less_than_claimed_is_a_mismatch_and_nothing_else_is(claimed, found):
    judged = judge_length(claimed, found)
    assert (judged.verdict is Verdict.MISMATCH) == (found < claimed)
    assert judged.measured == found


def test_a_mismatch_names_both_lengths_and_the_fix():
    judged = judge_length(8192, 4096)
    assert "8192" in judged.detail
    assert "context_length 4096" in judged.detail


def test_what_nobody_tells_or_claims():
    assert judge_length(8192, None).verdict is Verdict.UNCLEAR
    assert judge_length(None, 4096).verdict is Verdict.OK
    assert judge_length(None, None).verdict is Verdict.UNCLEAR


@pytest.mark.parametrize(
    ("engine", "named", "verdict"),
    [("vllm", None, Verdict.OK), ("unknown", None, Verdict.UNCLEAR), ("vllm", 3, Verdict.UNCLEAR)],
)
def test_a_server_that_takes_more_than_claimed(engine, named, verdict):
    assert judge_taken(8192, engine, named).verdict is verdict


@given(st.integers(1, 10**9))
def test_a_probe_is_short_streamed_and_stops_at_the_first_word(claimed):
    body = json.loads(probe_body("m", probe_length(claimed)))
    assert body["max_tokens"] == claimed + 1
    assert len(body["messages"][0]["content"]) <= 2
    assert body["stream"] is True
    assert " " in body["stop"]
    assert 0 < probe_length(claimed, again=True) <= claimed
