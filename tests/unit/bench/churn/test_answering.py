"""Does an engine go on as its kind does: from any place, to the same end, and never with a text that is not its own?"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.churn.answering import MODEL, Make, Refusal, Script, error_event, listing, script_for
from bench.churn.words import LENGTH, Form, key_of_messages, pieces
from tests.unit.bench.churn.examples import SIGNATURE, ask_of, events_of, script_of

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "[churn 1] Tell"}]
WORDS = pieces(Form.TEXT, key_of_messages(MESSAGES))
WHOLE = "".join(WORDS)
FLAGS = {"continue_final_message": True, "add_generation_prompt": False}


def answer(make: Make, fields: dict[str, object], path: str = CHAT) -> Script | Refusal:
    return script_for(path, json.dumps({"model": MODEL, **fields}).encode(), replace(SIGNATURE, make=make))


def said(script: Script | Refusal) -> dict:
    assert isinstance(script, Script), script
    return json.loads(script.body)


def text_of(script: Script | Refusal) -> str:
    return said(script)["choices"][0]["message"]["content"]


def begun(text: str) -> list[dict[str, str]]:
    return [*MESSAGES, {"role": "assistant", "content": text}]


@given(st.integers(min_value=0, max_value=len(WHOLE)), st.sampled_from(Make))
@settings(max_examples=60)
def test_a_chat_goes_on_at_any_character(place: int, make: Make) -> None:
    script = answer(make, {"messages": begun(WHOLE[:place]), **FLAGS})
    assert text_of(script) == WHOLE[place:]
    assert said(script)["choices"][0]["finish_reason"] == "stop"


@given(st.integers(min_value=3, max_value=len(WHOLE)))
@settings(max_examples=40)
def test_a_completion_goes_on_at_any_character(place: int) -> None:
    text = "".join(pieces(Form.TEXT, "Once"))
    script = answer(Make.SGLANG, {"prompt": "Once" + text[:place]}, TEXT)
    assert said(script)["choices"][0]["text"] == text[place:]


@pytest.mark.parametrize("count", [1, 30, LENGTH - 1, LENGTH])
def test_two_legs_end_as_one_would(count: int) -> None:
    for limit in (None, LENGTH, LENGTH - 1):
        if limit is not None and limit <= count:
            continue
        limits = {} if limit is None else {"max_tokens": limit - count}
        rest = answer(Make.VLLM, {"messages": begun("".join(WORDS[:count])), **FLAGS, **limits})
        whole = answer(Make.VLLM, {"messages": MESSAGES, **({} if limit is None else {"max_tokens": limit})})
        assert "".join(WORDS[:count]) + text_of(rest) == text_of(whole)
        assert said(rest)["choices"][0]["finish_reason"] == said(whole)["choices"][0]["finish_reason"]
        used, all_used = said(rest)["usage"], said(whole)["usage"]
        assert used["completion_tokens"] + count == all_used["completion_tokens"]
        assert used["prompt_tokens"] - count == all_used["prompt_tokens"]


def test_llama_cpp_goes_on_without_being_told_and_others_begin_a_new_turn() -> None:
    messages = begun("".join(WORDS[:5]))
    assert text_of(answer(Make.LLAMACPP, {"messages": messages})) == "".join(WORDS[5:])
    for make in (Make.VLLM, Make.SGLANG):
        assert text_of(answer(make, {"messages": messages})) == "".join(pieces(Form.TEXT, key_of_messages(messages)))


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": begun("another text"), **FLAGS},
        {"messages": begun(WHOLE + "!"), **FLAGS},
        {"messages": begun(WHOLE[:9]), "continue_final_message": True},
        {"messages": MESSAGES, **FLAGS},
        {"messages": begun('{"words": "'), "response_format": {"type": "json_object"}, **FLAGS},
        {"messages": []},
        {"messages": MESSAGES, "max_tokens": 0},
        {"messages": MESSAGES, "n": 9},
        {"prompt": "a chat without messages"},
    ],
)
def test_what_it_can_not_answer_is_refused(fields: dict[str, object]) -> None:
    refusal = answer(Make.VLLM, fields)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


def test_no_json_and_no_prompt_are_refused() -> None:
    assert isinstance(script_for(CHAT, b"{", SIGNATURE), Refusal)
    assert isinstance(script_for(CHAT, b"[" * 5000, SIGNATURE), Refusal)
    assert isinstance(answer(Make.VLLM, {"prompt": [1, 2]}, TEXT), Refusal)


def test_makes_write_their_events_in_their_own_way() -> None:
    ask = ask_of("stream")
    firsts = {make: events_of(ask, make)[1] for make in Make}
    assert firsts[Make.LLAMACPP].startswith(b'data: {"choices"')
    assert firsts[Make.VLLM].startswith(b'data: {"id"')
    assert all(event.isascii() for event in events_of(ask, Make.SGLANG))
    assert not all(event.isascii() for event in events_of(ask, Make.VLLM))


def test_a_stream_is_a_role_its_tokens_and_an_end() -> None:
    script = script_of(ask_of("stream", 2))
    assert len(script.steps) == ask_of("stream", 2).expected.steps + 1
    assert script.tail.endswith(b"data: [DONE]\n\n")


def test_a_list_of_models_names_the_make() -> None:
    assert [json.loads(listing(make))["data"][0]["owned_by"] for make in Make] == ["vllm", "llamacpp", "sglang"]
    assert json.loads(error_event().removeprefix(b"data: "))["error"]["code"] == 500
