"""Does a tool call go out whole, and everything else at once and in order?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.services.core.answer.sse import events_of
from app.services.core.continuation.call_hold import CallHold, is_call
from app.services.core.continuation.events import read_event

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


def framed(said: object, ending: bytes = b"\n\n", *, tight: bool = False) -> bytes:
    return b"data: %b%b" % (json.dumps(said, separators=(",", ":") if tight else None).encode(), ending)


def event(delta: dict[str, Any], reason: str | None = None, index: int = 0, **more: Any) -> bytes:
    return framed({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}, **more)


def call(arguments: str = "", **more: Any) -> bytes:
    return event({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}, **more)


TEXT = event({"content": 'say "tool_calls": [{"a'})
END = event({}, "tool_calls")


def passed(hold: CallHold, *blocks: bytes) -> list[bytes]:
    return [hold.pass_on(block) for block in blocks]


@pytest.mark.parametrize("tight", [True, False])
@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n"])
def test_a_call_waits_until_the_answer_says_why_it_ended(tight: bool, ending: bytes) -> None:
    text, part, end = (
        event(delta, reason, tight=tight, ending=ending)
        for delta, reason in (
            ({"content": "a"}, None), ({"tool_calls": [{"index": 0, "id": "x"}]}, None), ({}, "tool_calls"),
        )
    )  # fmt: skip
    hold = CallHold()
    assert passed(hold, text, part, text, PING) == [text, b"", b"", b""]
    assert hold.holding
    assert passed(hold, end, text, DONE) == [part + text + PING + end, text, DONE]
    assert not hold.holding
    assert not hold.gave_up


def test_the_events_before_a_call_go_out_at_once() -> None:
    hold = CallHold()
    assert hold.pass_on(TEXT + PING + call("{") + TEXT) == TEXT + PING
    assert hold.pass_on(call("}") + END + TEXT) == call("{") + TEXT + call("}") + END + TEXT


def test_a_call_in_one_event_does_not_wait() -> None:
    whole = call("{}", reason="tool_calls")
    assert passed(CallHold(), whole, DONE) == [whole, DONE]


def test_done_releases_what_never_said_why_it_ended() -> None:
    assert passed(CallHold(), call("{"), DONE) == [b"", call("{") + DONE]


def test_the_next_call_waits_again() -> None:
    hold = CallHold()
    assert passed(hold, call(), END, call(index=1), END) == [b"", call() + END, b"", b""]
    assert hold.pass_on(event({}, "stop", 1)) == call(index=1) + END + event({}, "stop", 1)


def test_the_end_of_one_choice_does_not_release_anothers_call() -> None:
    hold = CallHold()
    parts = [call("{", index=0), call("{", index=1), event({}, "tool_calls", 1), event({}, "tool_calls", 0)]
    assert passed(hold, *parts) == [b"", b"", b"", b"".join(parts)]


def test_more_than_may_be_held_goes_out_and_nothing_is_held_any_more() -> None:
    hold = CallHold(limit_bytes=2 * len(call("x")))
    assert passed(hold, call("x"), call("x")) == [b"", b""]
    assert hold.pass_on(call("x") + call("y") + TEXT) == call("x") * 3 + call("y") + TEXT
    assert hold.gave_up
    assert not hold.holding
    assert passed(hold, call("x"), END) == [call("x"), END]


def test_calls_that_were_released_are_not_counted() -> None:
    hold = CallHold(limit_bytes=2 * len(call()) + len(END))
    for _time in range(3):
        assert passed(hold, call() + call(), END) == [b"", call() * 2 + END]
    assert not hold.gave_up


def test_an_end_that_says_nothing_is_none() -> None:
    assert passed(CallHold(), call(), event({}, ""), event({}, None)) == [b"", b"", b""]


def test_an_event_that_cannot_be_read_waits_too() -> None:
    broken = call().replace(b'"index": 0}', b'"index"}').replace(b"]}", b"]")
    assert passed(CallHold(), broken, TEXT, DONE) == [b"", b"", broken + TEXT + DONE]


@pytest.mark.parametrize(
    "delta",
    [
        {"tool_calls": [{"index": 0}]},
        {"tool_calls": [{}]},
        {"function_call": {"name": "f"}},
        {"content": None, "function_call": {"arguments": ""}, "tool_calls": None},
        {"content": "", "tool_calls": []},
        {"tool_calls": None, "function_call": {}},
        {"content": '"tool_calls": [{"index": 0}]'},
        {"content": 'tool_calls": [{'},
        {"reasoning": '\\"function_call": {"name"'},
        {"role": "assistant", "content": "a"},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("tight", [True, False])
def test_a_quick_look_finds_what_a_reader_finds(delta: dict[str, Any], indent: int | None, tight: bool) -> None:
    said = {"choices": [{"delta": delta}]}
    text = json.dumps(said, indent=indent, separators=(",", ":") if tight else None)
    one = b"data: %b\n\n" % text.encode().replace(b"\n", b"\ndata: ")
    read = read_event(one)
    assert read is not None
    assert read.choice is not None
    assert read.choice.delta is not None
    assert is_call(one) == read.choice.delta.calls


EVENTS = st.lists(
    st.sampled_from([
        TEXT, PING, b": ping\n", call("{"), call('"'), call("}", ending=b"\r\n\r\n"), call(index=1), END,
        event({}, "stop", 1), event({"content": "b"}, ending=b"\r\n\r\n"), call("{}", reason="tool_calls"), DONE,
        event({"function_call": {"name": "f"}}), b"data: hello\n\n", framed({"choices": [], "usage": {"a_tokens": 1}}),
    ]),
    max_size=25,
)  # fmt: skip


@given(EVENTS, st.lists(st.integers(1, 5), min_size=25, max_size=25), st.integers(0, 2000))
def test_nothing_is_lost_or_moved_and_no_call_goes_out_in_parts(
    events: list[bytes], sizes: list[int], limit_bytes: int
) -> None:
    hold, out, rest = CallHold(limit_bytes), b"", events
    for size in sizes:
        block, rest = b"".join(rest[:size]), rest[size:]
        out += hold.pass_on(block)
        sent = b"".join(events[: len(events) - len(rest)])
        assert sent.startswith(out)
        if hold.gave_up or not hold.holding:
            assert out == sent
        else:
            assert is_call(events_of(sent.removeprefix(out))[0]), "what waits begins with a call"
            assert sent != out
    whole = b"".join(events)
    if not hold.holding:
        assert out == whole
    assert out + hold.pass_on(DONE) == whole + DONE


@given(EVENTS, st.lists(st.integers(1, 5), min_size=25, max_size=25))
def test_no_part_of_a_call_goes_out_before_its_end(events: list[bytes], sizes: list[int]) -> None:
    assume(not any(b'"index": 1' in one for one in events))
    hold, out, rest = CallHold(), b"", events
    for size in sizes:
        block, rest = b"".join(rest[:size]), rest[size:]
        out += hold.pass_on(block)
    is_open = False
    for one in events_of(out):
        is_open = is_open or is_call(one)
        if b'_reason": "' in one or b"[DONE]" in one:
            is_open = False
    assert not is_open
