"""Refusals: those for length are known by what engines really say, and no other is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.prompt.refusals import CODE, in_our_words, is_too_long, refused_length


def error(message: str, **members: object) -> bytes:
    return json.dumps({"error": {"message": message, **members}}).encode()


def flat(message: str) -> bytes:
    return json.dumps({"object": "error", "message": message, "type": "BadRequestError", "code": 400}).encode()


LLAMA_CPP = "request (351 tokens) exceeds the available context size (256 tokens), try increasing it"
TOO_LONG = [
    (
        "vllm",
        400,
        error("This model's maximum context length is 4096 tokens. However, you requested 0 ..."),
    ),
    ("vllm", 400, error("The decoder prompt (length 8357) is longer than the maximum model length of 8192.", code=400)),
    ("vllm", 400, error("'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens ...")),
    ("vllm", 400, error("Input prompt (9762 tokens) is too long and exceeds limit of 8192")),
    (
        "sglang",
        400,
        flat("The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    ),
    (
        "sglang",
        400,
        flat("Requested token count exceeds the model's maximum context length of 4096 tokens."),
    ),
    ("llama.cpp", 400, error(LLAMA_CPP, code=400, type="exceed_context_size_error", n_prompt_tokens=351, n_ctx=256)),
    ("llama.cpp", 400, error("nothing that is known", type="exceed_context_size_error")),
    ("ollama", 400, error("the prompt is longer than the context length currently available to the model")),
    ("ollama", 400, error("the input length exceeds the context length")),
    ("ollama", 400, json.dumps({"error": error(LLAMA_CPP).decode()}).encode()),
    (
        "tgi",
        422,
        b'{"error":"Input validation error: `inputs` must have less than 1024 tokens. Given: 1887"}',
    ),
    (
        "tgi",
        422,
        b'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1887"}',
    ),
    (
        "lmstudio",
        400,
        b'{"error":"Trying to keep the first 9000 tokens when context the overflows."}',
    ),
    (
        "lmstudio",
        400,
        b'{"error":"The number of tokens to keep from the initial prompt is greater than the context length"}',
    ),
    ("tabbyapi", 400, error("whatever", type="invalid_request_error", param=None, code=CODE)),
    ("tabbyapi", 400, error("Request length 71599 + 2048 is greater than max_seq_len 65536")),
    ("llama-cpp-python", 400, error("This model's maximum context length is 512 tokens. However, ...", code=CODE)),
    ("unknown", 413, b"Requested tokens (516) exceed context window of 512"),
]
OTHERS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"error":{}}',
    b'{"error":null,"message":7}',
    b"[" * 3000,
    b"\xff\xfe",
    error("temperature must be at most 2"),
    error("The model `llama` does not exist", code="model_not_found"),
    error("max_tokens must be at least 1, got 0"),
    error("Too many images: at most 4 may be provided in one prompt"),
    error("the file is too large"),
    error("stop is too long"),
    b"<html><h1>413 Request Entity Too Large</h1></html>",
]


@pytest.mark.parametrize(("engine", "status", "body"), TOO_LONG)
def test_what_engines_say_is_known(engine: str, status: int, body: bytes) -> None:
    assert is_too_long(engine, status, body)
    assert is_too_long("unknown", status, body)
    for other in (200, 401, 404, 429, 500, 503):
        assert not is_too_long(engine, other, body)


@pytest.mark.parametrize("body", OTHERS)
@pytest.mark.parametrize("engine", ["vllm", "tgi", "unknown", "never heard of"])
def test_other_refusals_are_not(engine: str, body: bytes) -> None:
    for status in (400, 413, 422):
        assert not is_too_long(engine, status, body)


def test_what_quotes_the_request_is_not_read() -> None:
    assert not is_too_long("vllm", 400, error("bad value: " + "a" * 2000 + " maximum context length is 1 token"))
    assert not is_too_long("vllm", 400, error("maximum context length is 1 token", quoted="a" * 70_000))


@given(st.binary(max_size=300))
def test_nothing_raises(body: bytes) -> None:
    assert is_too_long("unknown", 400, body) in {True, False}


def test_a_refusal_counts_for_no_more_than_is_known_of_its_server() -> None:
    names = error("This model's maximum context length is 4096 tokens.")
    assert refused_length(names, 131_072) == 4096
    assert refused_length(names, 2048) == 2048
    assert refused_length(names, None) is None
    assert refused_length(error("no"), 2048) == 2048


def test_the_code_is_ours_and_the_words_are_the_servers() -> None:
    told = {"error": {"message": "too long", "type": "BadRequestError", "param": None, "code": "400"}}
    assert json.loads(in_our_words(json.dumps(told).encode()))["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": None,
        "code": CODE,
    }
