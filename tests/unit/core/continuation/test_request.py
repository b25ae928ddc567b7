"""The continued body is the client's own but for what is documented, whatever else stands in it and however."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.splice import MAX_TOKENS
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.continuation.delivered import Delivered
from app.services.core.continuation.reading import read_asked
from app.services.core.continuation.request import CHATS, NotContinuable, continued_body, text_sent
from app.services.core.http.surfaces import COMPLETIONS

FLAGS, TRAILING = Ability(chat=Rung.FLAGS), Ability(chat=Rung.TRAILING)
TEXT = Ability(text=Rung.TEXT)
USER = {"role": "user", "content": "Say hello."}
HELLO = Delivered(role=True, content="Hello,", text_events=2)


def continued(
    members: dict[str, Any] | bytes, delivered: Delivered, ability: Ability, *, first_engine: str = ""
) -> dict[str, Any]:
    path = CHATS if ability.chat is not Rung.UNJUDGED else COMPLETIONS
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    asked = read_asked(body, path)
    assert asked.obstacle == ""
    where, made = continued_body(body, asked, delivered, ability, None, first_engine=first_engine)
    assert where == path
    found: dict[str, Any] = json.loads(made)
    return found


# -- any object, spelt in any way

TRICKY = st.text(alphabet='[]{}"\\\n:,/ model\u00e9\u20ac\U0001f600\u2028\0', max_size=10)
OTHERS = st.sampled_from(["model", "Messages", "tokens", "max_token", '"messages":', "temperature", "x"]) | TRICKY
FLAG = st.sampled_from([True, False, None, "content"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | OTHERS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(OTHERS | st.sampled_from(["messages", "content"]), inner, max_size=3)
    ),
    max_leaves=8,
)
LIMIT = st.integers(0, 40) | st.none() | st.sampled_from(["12", 9.0, -1])
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TRICKY}), min_size=1, max_size=3)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "tool"]), "content": TRICKY | PARTS}, optional={"name": TRICKY}
)
OWN = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": TRICKY | PARTS},
    optional={"name": TRICKY, "tool_calls": st.just([]), "text": TRICKY},
)
DELIVERED = st.builds(
    Delivered,
    content=TRICKY.filter(str.strip),
    reasoning=TRICKY,
    reasoning_member=st.sampled_from(["", "reasoning", "reasoning_content"]),
    text_events=st.integers(0, 50),
)
SHARED = {"max_tokens": LIMIT, "min_tokens": LIMIT, "n_predict": LIMIT, "stop": TRICKY, "n": st.just(1)}
KWARGS = st.none() | st.dictionaries(OTHERS | st.just("enable_thinking"), SCALARS, max_size=3) | st.just([1])


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    own = draw(st.lists(OWN, max_size=1))
    members = draw(st.dictionaries(OTHERS, VALUES, max_size=4))
    members["messages"] = draw(st.lists(MESSAGE, max_size=3)) + own
    optional = {**SHARED, "max_completion_tokens": LIMIT, "chat_template_kwargs": KWARGS}
    if own:
        optional |= {"continue_final_message": FLAG, "add_generation_prompt": FLAG}
    members |= draw(st.fixed_dictionaries({}, optional=optional))
    return dict(draw(st.permutations(list(members.items()))))


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    members = draw(st.dictionaries(OTHERS, VALUES, max_size=4))
    members["prompt"] = draw(TRICKY | st.lists(TRICKY, min_size=1, max_size=1))
    members |= draw(st.fixed_dictionaries({}, optional=SHARED))
    return dict(draw(st.permutations(list(members.items()))))


def spelt(value: object, dice: random.Random) -> str:
    """Write JSON with white space and escapes at random."""
    white = dice.choice(["", "", " ", "\n\t "])
    if isinstance(value, dict):
        inner = ",".join(
            f"{white}{spelt(name, dice)}{white}:{white}{spelt(item, dice)}{white}" for name, item in value.items()
        )
        return "{" + (inner or white) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{white}{spelt(item, dice)}{white}" for item in value) or white) + "]"
    text = json.dumps(value, ensure_ascii=dice.random() < 0.5)
    return text.replace("m", r"\u006d") if isinstance(value, str) and dice.random() < 0.1 else text


def lowered(members: dict[str, Any], names: list[str], spent: int) -> dict[str, Any]:
    changed = {}
    for name in names:
        value = members.get(name)
        number = int(value) if isinstance(value, str) and value.isdigit() else value
        if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
            continue
        changed[name] = max(0 if name == "min_tokens" else 1, int(number) - spent)
    return changed


@given(chats(), DELIVERED, st.booleans(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_a_continued_chat_is_the_clients_own_with_the_documented_changes(
    members: dict[str, Any], delivered: Delivered, flags: bool, thinking_off: bool, trims: bool, dice: random.Random
) -> None:
    ability = Ability(chat=Rung.FLAGS if flags else Rung.TRAILING, thinking_off=thinking_off, trims=trims)
    text = delivered.content.rstrip() if trims else delivered.content
    spent = delivered.text_events + len(delivered.reasoning.encode()) // 4
    spent -= 1 if text != delivered.content and spent else 0
    expected = members | lowered(members, ["max_tokens", "max_completion_tokens", "n_predict", "min_tokens"], spent)
    messages = json.loads(json.dumps(members["messages"]))
    if messages and messages[-1]["role"] == "assistant":
        if isinstance(messages[-1]["content"], str):
            messages[-1]["content"] += text
        else:
            messages[-1]["content"][-1]["text"] += text
    else:
        message = {"role": "assistant", "content": text}
        if delivered.reasoning:
            message[delivered.reasoning_member or "reasoning_content"] = delivered.reasoning
        messages.append(message)
    expected["messages"] = messages
    if flags:
        expected |= {"continue_final_message": True, "add_generation_prompt": False}
    if thinking_off:
        kwargs = members.get("chat_template_kwargs")
        expected["chat_template_kwargs"] = (kwargs if isinstance(kwargs, dict) else {}) | {"enable_thinking": False}
    assert continued(spelt(members, dice).encode(), delivered, ability) == expected


@given(completions(), DELIVERED, st.sampled_from(["", "vllm", "llama.cpp"]), st.randoms(use_true_random=False))
def test_a_continued_completion_is_the_clients_own_with_the_documented_changes(
    members: dict[str, Any], delivered: Delivered, first_engine: str, dice: random.Random
) -> None:
    spent = delivered.text_events + len(delivered.reasoning.encode()) // 4
    expected = members | lowered(members, ["max_tokens", "n_predict", "min_tokens"], spent)
    prompt = members["prompt"]
    expected["prompt"] = prompt + delivered.content if isinstance(prompt, str) else [prompt[0] + delivered.content]
    if "max_tokens" not in members and first_engine == "vllm" and spent < 16:
        expected["max_tokens"] = 16 - spent
    assert continued(spelt(members, dice).encode(), delivered, TEXT, first_engine=first_engine) == expected


# -- examples


def test_other_bytes_stay_as_they_are() -> None:
    body = (
        b' {"model" : "m\\u00e9",\n "messages":[ {"role":"user","content":"\\/ \\ud83d\\ude00"} ] ,'
        b'"temperature":1.50e0,"max_tokens": 9 }\n'
    )
    _path, made = continued_body(body, read_asked(body, CHATS), HELLO, FLAGS, None)
    assert made == (
        b' {"add_generation_prompt":false,"continue_final_message":true,"model" : "m\\u00e9",\n '
        b'"messages":[ {"role":"user","content":"\\/ \\ud83d\\ude00"} ,{"role":"assistant","content":"Hello,"}] ,'
        b'"temperature":1.50e0,"max_tokens": 7 }\n'
    )


def test_the_trailing_rung_adds_the_message_and_nothing_else() -> None:
    assert continued({"messages": [USER]}, HELLO, TRAILING) == {
        "messages": [USER, {"role": "assistant", "content": "Hello,"}]
    }


@pytest.mark.parametrize("first_engine", ["vllm", "sglang"])
def test_a_beginning_that_its_engine_took_for_said_stays_whole(first_engine: str) -> None:
    members: dict[str, Any] = {"messages": [USER, {"role": "assistant", "content": "Well."}]}
    made = continued(members, HELLO, FLAGS, first_engine=first_engine)
    assert made["messages"] == [*members["messages"], {"role": "assistant", "content": "Hello,"}]
    for engine in ("llama.cpp", "ollama", "unknown", ""):
        made = continued(members, HELLO, FLAGS, first_engine=engine)
        assert made["messages"] == [USER, {"role": "assistant", "content": "Well.Hello,"}]
    members["continue_final_message"] = True
    made = continued(members, HELLO, FLAGS, first_engine=first_engine)
    assert made["messages"] == [USER, {"role": "assistant", "content": "Well.Hello,"}]


def test_a_counted_text_is_taken_off_the_limits() -> None:
    body = b'{"messages":[],"max_tokens":100,"min_tokens":20}'
    asked = read_asked(body, CHATS)
    _path, made = continued_body(body, asked, HELLO, TRAILING, 30)
    assert (json.loads(made)["max_tokens"], json.loads(made)["min_tokens"]) == (70, 0)


def test_where_it_trims_the_white_space_stays_behind_and_is_not_paid_twice() -> None:
    trims = Ability(chat=Rung.TRAILING, trims=True)
    delivered = Delivered(content="Hello, \n\u3000", text_events=4)
    made = continued({"messages": [USER], "max_tokens": 10}, delivered, trims)
    assert made == {"messages": [USER, {"role": "assistant", "content": "Hello,"}], "max_tokens": 7}
    asked = read_asked(b'{"messages":[]}', CHATS)
    assert text_sent(asked, delivered, trims) == "Hello,"
    assert text_sent(asked, delivered, TRAILING) == delivered.content
    assert text_sent(read_asked(b'{"prompt":"x"}', COMPLETIONS), delivered, trims) == delivered.content


@pytest.mark.parametrize("options", ['{"enable_thinking":true,"x":1}', '{"x":1,"enable_thinking" : "yes"}', '{"x":1}'])
def test_thoughts_are_turned_off_among_the_other_options(options: str) -> None:
    body = b'{"messages":[],"chat_template_kwargs":%b}' % options.encode()
    made = continued(body, HELLO, Ability(chat=Rung.TRAILING, thinking_off=True))
    assert made["chat_template_kwargs"] == {"x": 1, "enable_thinking": False}


def test_nothing_but_white_space_is_asked_for_again() -> None:
    trims = Ability(chat=Rung.FLAGS, trims=True, thinking_off=True)
    delivered = Delivered(content="\n\n", text_events=1, reasoning="hm")
    members = {"messages": [USER], "max_tokens": 10}
    assert continued(members, delivered, trims) == members


def test_a_text_is_escaped() -> None:
    text = '"quoted" \\ \x00\x1f\x7f\u2028 \U0001f600 }]'
    delivered = Delivered(content=text, text_events=1)
    assert continued({"messages": [USER]}, delivered, FLAGS)["messages"][1]["content"] == text
    assert continued({"prompt": '"'}, delivered, TEXT)["prompt"] == '"' + text


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[],"messages":[]}',
        b'{"messages":[],"max_tokens":5,"max_tokens":6}',
        b'{"messages":[],"continue_final_message":false,"continue_final_message":false}',
        b'{"messages":[{"role":"assistant","content":"a","content":"b"}]}',
        b'{"messages":[],"chat_template_kwargs":{"enable_thinking":true,"enable_thinking":true}}',
        b'{"messages":[' + b",".join([b'{"role":"user","content":"a"}'] * (MAX_TOKENS // 5)) + b"]}",
    ],
)
def test_bodies_that_no_splice_is_sure_of(body: bytes) -> None:
    asked = read_asked(body, CHATS)
    ability = Ability(chat=Rung.FLAGS, thinking_off=True)
    with pytest.raises(NotContinuable, match=r"twice|more than"):
        continued_body(body, asked, HELLO, ability, None)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"model":"m"}', CHATS),
        (b'{"messages":"hello"}', CHATS),
        (b'{"messages":[{"role":"assistant","content":5}]}', CHATS),
        (b'{"messages":[{"role":"assistant"}]}', CHATS),
        (b'{"messages":[{"role":"assistant","content":[]}]}', CHATS),
        (b'{"messages":[{"role":"assistant","content":[5]}]}', CHATS),
        (b'{"model":"m"}', COMPLETIONS),
        (b'{"prompt":[1,2]}', COMPLETIONS),
        (b'{"prompt":null}', COMPLETIONS),
        (b"[]", COMPLETIONS),
        (b"", CHATS),
    ],
)
def test_bodies_that_have_no_place_for_the_text(body: bytes, path: str) -> None:
    ability = Ability(chat=Rung.FLAGS, text=Rung.TEXT)
    with pytest.raises(NotContinuable):
        continued_body(body, read_asked(body, path), HELLO, ability, None)


@pytest.mark.parametrize("rung", [Rung.TEXT, Rung.TOKENS, Rung.NONE, Rung.UNJUDGED])
def test_only_rungs_that_it_knows(rung: Rung) -> None:
    body = b'{"messages":[],"prompt":"a"}'
    with pytest.raises(NotContinuable, match="not found"):
        continued_body(body, read_asked(body, CHATS), HELLO, Ability(chat=rung, text=Rung.TEXT), None)
    with pytest.raises(NotContinuable, match="not found"):
        continued_body(body, read_asked(body, COMPLETIONS), HELLO, Ability(chat=Rung.FLAGS, text=Rung.NONE), None)


def test_half_a_character_cannot_be_sent() -> None:
    body = b'{"messages":[]}'
    with pytest.raises(NotContinuable, match="surrogates"):
        continued_body(body, read_asked(body, CHATS), Delivered(content="a\ud800"), FLAGS, None)


@pytest.mark.parametrize(("split", "sent"), [(True, "x = 1"), (False, "x = 1\n\t")])
def test_white_space_in_several_tokens_is_not_sent_but_comes_again(split: bool, sent: str) -> None:
    delivered = Delivered(content="x = 1\n\t", text_events=6, white_events=2, split_white=split)
    body = json.dumps({"model": "m", "prompt": "p:", "max_tokens": 20}).encode()
    made = continued(body, delivered, TEXT)
    assert made["prompt"] == "p:" + sent
    assert made["max_tokens"] == (16 if split else 14)
