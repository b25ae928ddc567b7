"""Does an event that fits differ from the learned one in its text alone, and does it reach the client right?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.relay import EventRelay
from app.services.core.answer.template import MOST_TEXT_BYTES, Template

PUBLIC = b'"public/name"'
TEXTS = st.text(max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', '","finish_reason":"stop', '"model":"m"', "[DONE]", '"error"', "\n\ndata: ", "é\U0001f600"]
)


MEMBERS = ["content", "text", "reasoning_content", "reasoning", "arguments"]


def event(text: str, *, front: bool = True, reason: str | None = None, created: int = 1, key: str = "content") -> bytes:
    choices = {"choices": [{"index": 0, "delta": {key: text}, "logprobs": None, "finish_reason": reason}]}
    named = {"id": "chatcmpl-1", "created": created, "model": "m", "object": "chat.completion.chunk"}
    whole = {**named, **choices} if front else {**choices, **named}
    return b"data: %b\n\n" % json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()


def learned(one: bytes, model: bytes | None = None) -> Template:
    template = Template.of(one, model)
    assert template is not None
    return template


def renamed(one: bytes) -> dict[str, Any]:
    return {**json.loads(one[6:]), "model": "public/name"}


def escaped(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()[1:-1]


@given(TEXTS, TEXTS, st.booleans(), st.sampled_from(MEMBERS))
def test_another_text_fits_and_nothing_of_it_changes(first: str, second: str, front: bool, member: str) -> None:
    one, other = event(first, front=front, key=member), event(second, front=front, key=member)
    template = learned(one)
    assert template.member == member
    assert template.text_of(other, 0, len(other)) == escaped(second)
    assert template.filled_with(escaped(second)) == other
    assert not template.renames


@given(TEXTS, TEXTS, st.booleans(), st.binary(max_size=5))
def test_the_models_name_is_exchanged_on_either_side_of_the_text(
    first: str, second: str, front: bool, before: bytes
) -> None:
    template = learned(event(first, front=front), PUBLIC)
    other = event(second, front=front)
    framed = before + other + b"\r\n"
    text = template.text_of(framed, len(before), len(framed) - 2)
    assert text == escaped(second)
    assert json.loads(template.filled_with(text)[6:]) == renamed(other)
    assert template.renames


@given(TEXTS, st.binary(max_size=30))
def test_what_fits_is_an_event_that_says_the_same(first: str, inserted: bytes) -> None:
    template = learned(event(first))
    other = template.front + inserted + template.back
    text = template.text_of(other, 0, len(other))
    if text is not None:
        assert text == inserted
        assert other.count(b"\n") == 2
        assert other.endswith(b"\n\n")
        try:
            said = json.loads(other[6:].decode("utf-8", "replace"), strict=False)
        except json.JSONDecodeError as error:
            assert "escape" in str(error), "an escape that is none stays inside the string"  # noqa: PT017
        else:
            said["choices"][0]["delta"] = {"content": first}
            assert said == json.loads(event(first)[6:])


def of_delta(delta: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps({"model": "m", "choices": [{"index": 0, "delta": delta}]}).encode()


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("is_first", [True, False])
def test_the_text_is_the_one_that_is_not_empty(name: str, is_first: bool) -> None:
    def thought(text: str) -> bytes:
        return of_delta({name: text, "content": ""} if is_first else {"content": "", name: text})

    template = learned(thought("hm"))
    assert template.member == name
    assert template.text_of(thought("so"), 0, len(thought("so"))) == b"so"
    answer = thought("").replace(b'"content": ""', b'"content": "so"')
    assert template.text_of(answer, 0, len(answer)) is None


def test_an_event_with_two_texts_teaches_nothing() -> None:
    assert Template.of(of_delta({"reasoning": "hm", "reasoning_content": "hm"}), None) is None
    assert Template.of(of_delta({"content": "a", "reasoning": "b"}), PUBLIC) is None


def test_an_event_of_empty_texts_stands_for_events_whose_other_texts_are_empty() -> None:
    template = learned(of_delta({"content": "", "reasoning": ""}))
    assert template.member == "content"
    for delta, text in (({"content": "a", "reasoning": ""}, b"a"), ({"content": "", "reasoning": "a"}, None)):
        assert template.text_of(of_delta(delta), 0, len(of_delta(delta))) == text


@pytest.mark.parametrize(("size", "fits"), [(MOST_TEXT_BYTES, True), (MOST_TEXT_BYTES + 1, False)])
def test_a_text_that_fits_has_a_bound(size: int, fits: bool) -> None:
    other = event("b" * size)
    assert (learned(event("a")).text_of(other, 0, len(other)) is not None) is fits


@pytest.mark.parametrize(
    "other",
    [
        event("b", reason="stop"),
        event("b", created=2),
        event("b", key="refusal"),
        event("b").replace(b'"b"', b'"'),
        event("b").replace(b'"b"', b'"b\\"'),
        event("b").replace(b'"b"', b'"b","x":"y"'),
        event("b").replace(b'"b"', b'"b\n\n"'),
        event("b")[:-1],
        event("b") + event("b"),
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_what_says_more_does_not_fit(other: bytes) -> None:
    assert learned(event("a")).text_of(other, 0, len(other)) is None


@pytest.mark.parametrize("other", [b'data: {"a":1}\n\n', b"data: [DONE]\n\n", b'data: {"content":5}\n\n', b""])
def test_events_without_text_teach_nothing(other: bytes) -> None:
    assert Template.of(other, None) is None
    assert Template.of(other, PUBLIC) is None


def test_a_name_that_stands_there_twice_teaches_nothing() -> None:
    assert Template.of(b'data: {"model":"a","text":"x","model":"b"}\n\n', PUBLIC) is None


def test_a_name_around_the_text_teaches_nothing() -> None:
    assert Template.of(b'data: {"model":{"text":"x"}}\n\n', PUBLIC) is None


def pass_on(relay: EventRelay, one: bytes) -> bytes:
    """As an attempt does it."""
    template = relay.template
    text = None if template is None else template.text_of(one, 0, len(one))
    if template is None or text is None:
        return relay.feed(one)
    relay.events += 1
    relay.misses = 0
    return template.filled_with(text)


@given(
    st.lists(st.tuples(TEXTS, st.integers(1, 2), st.sampled_from(["content", "arguments", "role"])), min_size=2),
    st.booleans(), st.booleans(), st.sampled_from([None, PUBLIC]),
)  # fmt: skip
def test_a_stream_reads_the_same_with_and_without_templates(
    parts: list[tuple[str, int, str]], front: bool, may_be_more: bool, model: bytes | None
) -> None:
    events = [event(text, created=created, key=key, front=front) for text, created, key in parts]
    events += [event("", reason="stop", front=front), b"data: [DONE]\n\n"]
    relays = [EventRelay(model, hide_usage=True, may_be_more=may_be_more) for _each in range(2)]
    quick, slow = ([step(relay, one) for one in events] for relay, step in
                   ((relays[0], pass_on), (relays[1], EventRelay.feed)))  # fmt: skip
    if model is None:
        assert quick == slow == events
    else:
        assert [json.loads(one[6:]) for one in quick[:-1]] == [renamed(one) for one in events[:-1]]
        assert quick == slow
    assert relays[0].done
    assert relays[1].done
    assert relays[0].events == relays[1].events == len(events)
