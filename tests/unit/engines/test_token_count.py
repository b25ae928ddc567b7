"""What each engine is asked to count the tokens of a text, and how its answer is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.engines.identify import ENGINES, engine_named

TEXT = 'Hello "\u20ac" \U0001f600\n'


@pytest.mark.parametrize(
    ("engine", "members"),
    [
        ("vllm", {"model": "m", "prompt": TEXT, "add_special_tokens": False}),
        ("sglang", {"model": "m", "prompt": TEXT, "add_special_tokens": False}),
        ("llama.cpp", {"model": "m", "content": TEXT, "add_special": False, "parse_special": False}),
    ],
)
def test_engines_that_count(engine: str, members: dict[str, object]) -> None:
    request = engine_named(engine).count_request("m", TEXT)
    assert request is not None
    path, body = request
    assert path == "/tokenize"
    assert json.loads(body) == members


def test_the_others_do_not() -> None:
    counting = {engine.name for engine in ENGINES if engine.count_request("m", TEXT) is not None}
    assert counting == {"vllm", "sglang", "llama.cpp"}


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (b'{"count":3,"max_model_len":4096,"tokens":[1,2,3],"token_strs":null}', 3),
        (b'{"tokens":[19556,905]}', 2),
        (b'{"tokens":[]}', 0),
        (b'{"count":0,"tokens":[]}', 0),
        (b'{"count":true,"tokens":[1]}', 1),
        (b'{"count":-1,"tokens":[1]}', 1),
        (b'{"count":[1,2],"tokens":[[1],[2,3]]}', 2),
        (b'{"count":9999999999999}', None),
        (b'{"count":"3"}', None),
        (b'{"error":{"message":"no"}}', None),
        (b"[1,2,3]", None),
        (b"null", None),
        (b"<html>", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_answers(answer: bytes, count: int | None) -> None:
    for name in ("vllm", "sglang", "llama.cpp"):
        assert engine_named(name).count_in(answer) == count


@given(st.text(max_size=50), st.text(max_size=20))
def test_any_text_can_be_sent(text: str, model: str) -> None:
    for name, member in (("vllm", "prompt"), ("sglang", "prompt"), ("llama.cpp", "content")):
        request = engine_named(name).count_request(model, text)
        assert request is not None
        members = json.loads(request[1])
        assert (members["model"], members[member]) == (model, text)
