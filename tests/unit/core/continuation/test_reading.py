"""Each member that stands in the way is named, those that ask for nothing are not, and no JSON makes it raise."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.continuation.asked import Asked
from app.services.core.continuation.reading import elements, read_asked, whole_number

CHATS, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
USER = {"role": "user", "content": "Say hello."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


def chat(**members: object) -> Asked:
    return read_asked(json.dumps({"model": "m", "messages": [USER], **members}).encode(), CHATS)


def completion(**members: object) -> Asked:
    return read_asked(json.dumps({"model": "m", "prompt": "Once", **members}).encode(), COMPLETIONS)


# -- what stands in the way


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("response_format", SCHEMA),
        ("response_format", {"type": "structural_tag"}),
        ("response_format", {}),
        ("response_format", "json"),
        ("grammar", "root ::= x"),
        ("grammar", {"type": "regex", "value": "a"}),
        ("json_schema", {}),
        ("json_schema", {"type": "object"}),
        ("guided_json", {"type": "object"}),
        ("guided_regex", "[0-9]"),
        ("guided_choice", ["yes", "no"]),
        ("guided_grammar", "x"),
        ("structured_outputs", {"choice": ["a"]}),
        ("structural_tag", "{}"),
        ("regex", "a+"),
        ("ebnf", "root ::= x"),
        ("n", 2),
        ("n", "many"),
        ("best_of", 3),
        ("best_of", 1.5),
        ("use_beam_search", True),
        ("echo", True),
        ("suffix", "the end"),
        ("top_logprobs", 3),
        ("n_probs", 1),
        ("logprobs", 5),
        ("logprobs", True),
        ("return_token_ids", True),
        ("audio", {"voice": "alloy"}),
        ("modalities", ["text", "audio"]),
        ("modalities", "audio"),
        ("stop_regex", "a+"),
        ("logits_processors", ["x"]),
        ("custom_logit_processor", "x"),
    ],
)
def test_a_member_stands_in_the_way_and_is_named(name: str, value: object) -> None:
    for asked in (chat(**{name: value}), completion(**{name: value})):
        assert f"'{name}'" in asked.obstacle


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", None),
        ("response_format", {"type": "text"}),
        ("response_format", {"type": "text", "more": 1}),
        ("grammar", ""),
        ("grammar", None),
        ("guided_choice", []),
        ("guided_json", None),
        ("n", 1),
        ("n", None),
        ("best_of", 1),
        ("best_of", 1.0),
        ("use_beam_search", False),
        ("echo", False),
        ("suffix", ""),
        ("suffix", None),
        ("top_logprobs", 0),
        ("logprobs", False),
        ("logprobs", None),
        ("modalities", ["text"]),
        ("modalities", None),
        ("audio", None),
        ("temperature", 0),
        ("seed", 7),
        ("logit_bias", {"50256": -100}),
        ("unheard_of", {"grammar": "x", "n": 5}),
    ],
)
def test_a_member_that_asks_for_nothing_does_not(name: str, value: object) -> None:
    assert chat(**{name: value}).obstacle == ""
    assert completion(**{name: value}).obstacle == ""


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tool_choice": ["f"]}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"messages": None}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": {"0": USER}}, "messages"),
        ({"messages": [USER, "hello"]}, "messages"),
        ({"messages": [USER, None]}, "messages"),
        ({"messages": [USER, {"role": "assistant", "content": "x", "tool_calls": [{}]}]}, "tool call"),
        ({"messages": [USER, {"role": "assistant", "content": "x", "function_call": {"name": "f"}}]}, "tool call"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "more than text"),
        ({"messages": [USER, {"role": "assistant"}]}, "more than text"),
        ({"messages": [USER, {"role": "assistant", "content": []}]}, "more than text"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]}]}, "more than"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": 5}]}]}, "more than text"),
        ({"messages": [USER, {"role": "assistant", "content": ["x"]}]}, "more than text"),
        ({"continue_final_message": True}, "not the assistant's"),
        ({"continue_final_message": "content"}, "not the assistant's"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
    ],
)
def test_what_stands_in_the_way_of_a_chat(members: dict[str, object], word: str) -> None:
    assert word in chat(**members).obstacle


@pytest.mark.parametrize(
    "members",
    [
        {"tool_choice": "auto", "tools": [TOOL]},
        {"tool_choice": "none"},
        {"tool_choice": None, "function_call": "auto"},
        {"messages": []},
        {"messages": [USER, {"role": "assistant", "content": "x", "tool_calls": []}]},
        {"messages": [USER, {"role": "assistant", "content": ""}], "add_generation_prompt": False},
        {"messages": [USER, {"role": "assistant", "content": "x"}], "continue_final_message": True},
        {"messages": [USER, {"role": "tool", "content": "4", "tool_call_id": "1"}]},
        {"add_generation_prompt": True, "continue_final_message": False},
        {"add_generation_prompt": None, "continue_final_message": None},
    ],
)
def test_chats_that_can_go_on(members: dict[str, object]) -> None:
    assert chat(**members).obstacle == ""


@pytest.mark.parametrize("prompt", [["a", "b"], [], [1, 2], [[1, 2]], [[]], 5, None, {"text": "a"}, ["a", 1], [None]])
def test_prompts_that_cannot_be_lengthened(prompt: object) -> None:
    assert "prompt" in completion(prompt=prompt).obstacle


@pytest.mark.parametrize("prompt", ["", "a", ["a"], [""], "\u20ac\u0000\ud83d\ude00"])
def test_prompts_that_can(prompt: object) -> None:
    assert completion(prompt=prompt).obstacle == ""


def test_completions_count_a_log_probability_of_zero_places_too() -> None:
    assert "logprobs" in completion(logprobs=0).obstacle
    assert chat(logprobs=0).obstacle == ""
    assert "prompt_embeds" in completion(prompt_embeds="AAAA").obstacle


def test_a_completion_has_no_messages_and_a_chat_no_prompt() -> None:
    assert read_asked(b'{"model":"m"}', CHATS).obstacle
    assert read_asked(b'{"model":"m"}', COMPLETIONS).obstacle
    assert completion(messages="hello", tool_choice="required").obstacle == ""
    assert chat(prompt=[1, 2]).obstacle == ""


# -- what it asks for


def test_what_is_asked_for() -> None:
    asked = chat(
        stop=["a", "", 5, "b"],
        include_stop_str_in_output=True,
        max_tokens=10,
        max_completion_tokens=7,
        min_tokens=3,
        stream_options={"include_usage": True},
        tools=[TOOL],
    )
    assert asked == Asked(
        chat=True,
        stops=("a", "b"),
        keeps_stop=True,
        limits=(("max_tokens", 10), ("max_completion_tokens", 7)),
        min_tokens=3,
        wants_usage=True,
        has_tools=True,
        prompt_bytes=len(json.dumps([USER])) + len(json.dumps([TOOL])),
    )
    assert asked.most_tokens == 7


def test_what_is_not_asked_for() -> None:
    asked = completion(stop=None, max_tokens=None, stream_options=None, min_tokens=0, tools=[], functions=None)
    assert asked == Asked(chat=False, min_tokens=0, prompt_bytes=len('"Once"'))
    assert asked.most_tokens is None


def test_the_functions_of_old_are_tools() -> None:
    assert chat(functions=[{"name": "f"}]).has_tools
    assert not chat(tools=[]).has_tools
    assert chat(no_stop_trim=True).keeps_stop


@pytest.mark.parametrize(
    ("stop", "stops"), [("x", ("x",)), ("", ()), (["\U0001f600"], ("\U0001f600",)), (5, ()), ({"a": 1}, ()), ([[]], ())]
)
def test_stop_strings(stop: object, stops: tuple[str, ...]) -> None:
    assert chat(stop=stop).stops == stops


@pytest.mark.parametrize(
    ("limit", "limits"),
    [
        (5, 5), (5.0, 5), ("5", 5), (1, 1), (0, None), (-1, None), (2.5, None), (True, None), ([5], None),
        ("five", None), ("\u0665", None), (None, None), (10**40, None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_limits_are_read_as_engines_take_them(limit: object, limits: int | None) -> None:
    assert chat(max_tokens=limit).most_tokens == limits
    assert completion(max_tokens=limit).most_tokens == limits


def test_a_completion_has_only_the_older_limit() -> None:
    assert completion(max_completion_tokens=5).limits == ()


@pytest.mark.parametrize("options", [5, "x", [], {}, {"include_usage": "true"}, {"include_usage": 1}])
def test_only_true_asks_for_usage(options: object) -> None:
    assert not chat(stream_options=options).wants_usage


@pytest.mark.parametrize(
    ("message", "prefilled"),
    [
        ({"role": "assistant", "content": "He"}, True),
        ({"role": "Assistant", "content": "He"}, True),
        ({"role": "assistant", "content": [{"type": "text", "text": "He"}]}, True),
        ({"role": "user", "content": "He"}, False),
        ({"role": ["assistant"], "content": "He"}, False),
        ({"content": "He"}, False),
        ("assistant", False),
    ],
)
def test_a_trailing_assistant_message_is_a_beginning(message: object, prefilled: bool) -> None:
    assert chat(messages=[USER, message]).prefilled is prefilled
    assert not chat(messages=[message, USER]).prefilled


def test_pictures_and_sound_are_not_counted_as_text() -> None:
    picture = "data:image/png;base64," + "iVBOR/w0KGgo" * 10_000
    sound = "UklGRiQ+AAB" * 10_000
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
    ]
    assert 0 < chat(messages=[{"role": "user", "content": parts}]).prompt_bytes < 400
    escaped = json.dumps({"messages": [{"role": "user", "content": parts}]}).replace("/", r"\/").encode()
    assert 0 < read_asked(escaped, CHATS).prompt_bytes < 400
    prose = "It was a dark and stormy night, and so on. " * 1000
    assert chat(messages=[{"role": "user", "content": prose}]).prompt_bytes > len(prose)


# -- JSON of any kind

NAMES = st.sampled_from(
    [
        "messages", "prompt", "n", "best_of", "max_tokens", "max_completion_tokens", "min_tokens", "stop",
        "include_stop_str_in_output", "stream_options", "tools", "functions", "tool_choice", "function_call",
        "continue_final_message", "add_generation_prompt", "response_format", "modalities", "logprobs", "grammar",
    ]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = NAMES | st.sampled_from(["role", "content", "type", "text", "tool_calls", "include_usage"]) | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["assistant", "text", "required"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=8), st.sampled_from([CHATS, COMPLETIONS]))
def test_no_json_makes_it_raise(members: dict[str, object], path: str) -> None:
    asked = read_asked(json.dumps(members).encode(), path)
    assert asked.chat is (path == CHATS)
    assert asked.prompt_bytes >= 0
    assert all(asked.stops)
    assert all(limit > 0 for _name, limit in asked.limits)
    if "prompt" not in members and path == COMPLETIONS:
        assert asked.obstacle


@given(st.binary(max_size=40))
@example(b"[]")
@example(b"{")
@example(b'{"messages":[' + b"[" * 5000)
@example(b'{"max_tokens":1e999,"stop":1e999,"response_format":1e999,"messages":[1e999]}')
@example(b'{"messages":[{"role":"assistant","content":"' + rb"\ud800" + b' and more text"}]}')
@example(b'{"messages":[{"role":"assistant","content":"\xff"}]}')
def test_what_is_no_json_is_an_obstacle(body: bytes) -> None:
    assert read_asked(body, CHATS).obstacle


def test_of_a_member_that_stands_twice_the_last_counts_here() -> None:
    asked = read_asked(b'{"messages":[],"max_tokens":5,"max_tokens":9}', CHATS)
    assert asked.limits == (("max_tokens", 9),)


def test_names_may_be_spelt_with_escapes() -> None:
    asked = read_asked(rb'{"messages":[],"gramm\u0061r":"root ::= x"}', CHATS)
    assert "'grammar'" in asked.obstacle


def test_lists_are_taken_apart_up_to_a_bound() -> None:
    listed = elements(b'[ {"a" : 1} ,\n"b", [2,3] ]')
    assert listed is not None
    assert [bytes(element) for element in listed] == [b'{"a" : 1}', b'"b"', b"[2,3]"]
    assert elements(b"[" + b"0," * 400_001 + b"0]") is None
    assert elements(b'"text"') is None
    assert elements(b"[1,") is None


@given(st.integers(min_value=0, max_value=10**12))
def test_whole_numbers(number: int) -> None:
    assert whole_number(str(number).encode()) == number
    assert whole_number(f'"{number}"'.encode()) == number
    assert whole_number(f"{number}.0".encode()) == number
    assert whole_number(f"-{number + 1}".encode()) is None
