"""Is a server that answers under another name told apart from one that merely writes the name otherwise?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.verification.findings import Verdict
from app.services.core.verification.naming import aliases_in, is_same_name, judge_name, lacks_model
from app.services.engines.identify import engine_named


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("llama3", "llama3:latest"),
        ("meta-llama/Llama-3.1-8B", "meta-llama/llama-3.1-8b"),
        ("/models/qwen.gguf", "qwen.gguf"),
        ("qwen", "C:\\models\\qwen.gguf"),
        ("gpt-5-mini", "gpt-5-mini-2026-08-07"),
        ("claude", "claude-20260807"),
        ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
    ],
)
def test_the_same_name_in_other_letters(asked, answered):
    assert is_same_name(asked, answered)
    assert is_same_name(answered, asked)
    assert judge_name(asked, answered, "vllm", ()).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("llama-3", "llama-3-70b"),
        ("llama3:8b", "llama3:70b"),
        ("one/model", "other/model"),
        ("gpt-5", "gpt-5-mini"),
        ("m", "n"),
    ],
)
def test_another_name_is_a_mismatch_that_names_both_and_the_fix(asked, answered):
    assert not is_same_name(asked, answered)
    judged = judge_name(asked, answered, "vllm", ())
    assert judged.verdict is Verdict.MISMATCH
    assert f"'{asked}'" in judged.detail
    assert f"'{answered}'" in judged.detail
    assert "register it under that name" in judged.detail


def test_an_alias_that_the_server_lists_is_the_model():
    assert judge_name("small", "org/Model-7B", "vllm", {"small", "org/Model-7B"}).verdict is Verdict.OK
    assert judge_name("small", "org/Model-8B", "vllm", {"small", "org/Model-7B"}).verdict is Verdict.MISMATCH


def test_an_answer_without_a_name_is_unclear():
    assert judge_name("m", "", "vllm", ()).verdict is Verdict.UNCLEAR


def test_an_engine_that_may_repeat_any_name_is_noted():
    assert "repeat" in judge_name("m", "m", "sglang", ()).detail
    assert "repeat" not in judge_name("m", "m", "ollama", ()).detail


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_two_names_are_judged_in_one_bounded_printable_line(asked, answered):
    judged = judge_name(asked, answered, "unknown", ())
    assert judged.detail.isprintable()
    assert len(judged.detail) < 400
    assert is_same_name(asked, answered) == is_same_name(answered, asked)


@given(st.text(min_size=1, max_size=50))
def test_every_name_is_its_own(name):
    assert is_same_name(name, name)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "The model `x` does not exist."),
        (404, 'model "x" not found, try pulling it first'),
        (400, "Unknown model: x"),
        (404, "model_not_found"),
    ],
)
def test_a_refusal_for_want_of_the_model(status, message):
    assert lacks_model(status, message)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "Not Found"),
        (400, "The model does not support Chat Completions API"),
        (500, "The model `x` does not exist."),
        (400, "max_tokens is too large"),
    ],
)
def test_a_refusal_for_another_reason(status, message):
    assert not lacks_model(status, message)


def test_aliases_are_those_of_the_entry_that_was_asked_for():
    entries = [
        {"id": "other", "root": "org/other"},
        {"id": "m", "root": "/weights/m", "aliases": ["n", 3]},
    ]
    assert aliases_in(entries, "m", engine_named("llama.cpp")) == {"m", "n", "/weights/m"}
    assert aliases_in(entries, "none", engine_named("llama.cpp")) == frozenset()
    assert aliases_in([{"id": "m:latest"}], "m", engine_named("ollama")) == {"m:latest"}
