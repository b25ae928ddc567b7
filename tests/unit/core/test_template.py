"""Does an event that fits differ from the learned one in its text alone, and does it reach the client right?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.relay import EventRelay
from app.services.core.template import Template

PUBLIC = b'"public/name"'
TEXTS = st.text(max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', '","finish_reason":"stop', '"model":"m"', "[DONE]", '"error"', "\n\ndata: ", "é\U0001f600"]
)


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


@given(TEXTS, TEXTS, st.booleans())
def test_another_text_fits_and_nothing_of_it_changes(first: str, second: str, front: bool) -> None:
    one, other = event(first, front=front), event(second, front=front)
    template = learned(one)
    assert template.fits(other, 0, len(other))
    assert template.filled(other, 0, len(other)) == other
    assert not template.renames


@given(TEXTS, TEXTS, st.booleans(), st.binary(max_size=5))
def test_the_models_name_is_exchanged_on_either_side_of_the_text(
    first: str, second: str, front: bool, before: bytes
) -> None:
    template = learned(event(first, front=front), PUBLIC)
    other = event(second, front=front)
    framed = before + other + b"\r\n"
    assert template.fits(framed, len(before), len(framed) - 2)
    assert json.loads(template.filled(framed, len(before), len(framed) - 2)[6:]) == renamed(other)
    assert template.renames


@given(TEXTS, st.binary(max_size=30))
def test_what_fits_is_an_event_that_says_the_same(first: str, inserted: bytes) -> None:
    template = learned(event(first))
    other = template.front + inserted + template.back
    if template.fits(other, 0, len(other)):
        assert other.count(b"\n") == 2
        assert other.endswith(b"\n\n")
        try:
            said = json.loads(other[6:].decode("utf-8", "replace"), strict=False)
        except json.JSONDecodeError as error:
            assert "escape" in str(error), "an escape that is none stays inside the string"  # noqa: PT017
        else:
            said["choices"][0]["delta"] = {"content": first}
            assert said == json.loads(event(first)[6:])


@pytest.mark.parametrize(
    "other",
    [
        event("b", reason="stop"),
        event("b", created=2),
        event("b", key="refusal"),
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
    assert not learned(event("a")).fits(other, 0, len(other))


@pytest.mark.parametrize("other", [b'data: {"a":1}\n\n', b"data: [DONE]\n\n", b'data: {"content":5}\n\n', b""])
def test_events_without_text_teach_nothing(other: bytes) -> None:
    assert Template.of(other, None) is None
    assert Template.of(other, PUBLIC) is None


def test_a_name_that_stands_there_twice_teaches_nothing() -> None:
    assert Template.of(b'data: {"model":"a","text":"x","model":"b"}\n\n', PUBLIC) is None


def pass_on(relay: EventRelay, one: bytes) -> bytes:
    """As an attempt does it."""
    template = relay.template
    if template is not None and template.fits(one, 0, len(one)):
        relay.events += 1
        relay.misses = 0
        return template.filled(one, 0, len(one))
    return relay.feed(one)


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
