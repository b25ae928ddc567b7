"""Events: where they end whatever the chunks, and which kind they are whatever a model writes into them."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.answer.sse import (
    DONE,
    PING,
    EventOverflowError,
    EventSplitter,
    choices_of,
    data_of,
    events_of,
    has_data,
    is_done,
    is_error,
    is_plain,
    is_usage_only,
    lacks_choices,
    says_more,
)

LIMIT = 1000


def event(payload: object, *, spaced: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    return b"data: " + json.dumps(payload, separators=separators).encode() + b"\n\n"


def chunk(content: str | None, finish_reason: str | None = None, **members: object) -> dict[str, object]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **members}


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]


PLACES = st.lists(st.integers(0, 10_000), max_size=12)
LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data: \xf0\x9f\xa6\x99\xe2\x82\xac", b": ping", b"event: message", b"id: 5", b"data"]
)
EVENTS = st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=6)


def framed(lines_of_events: list[list[bytes]], newline: bytes) -> list[bytes]:
    return [b"".join(line + newline for line in lines) + newline for lines in lines_of_events]


# -- framing


@given(EVENTS, st.sampled_from([b"\n", b"\r\n"]), st.sampled_from([b"", b"data: cut", b": ping\n"]), PLACES)
def test_events_come_out_whole_whatever_the_chunks(
    lines: list[list[bytes]], newline: bytes, rest: bytes, places: list[int]
) -> None:
    whole = framed(lines, newline)
    splitter = EventSplitter(LIMIT)
    blocks = [splitter.feed(piece) for piece in cut(b"".join(whole) + rest, places)]
    assert b"".join(blocks) == b"".join(whole)
    assert [single for block in blocks for single in events_of(block)] == whole
    assert splitter.pending == rest


@given(st.lists(st.sampled_from([b"\n", b"\r\n", b"data: x", b"\r"]), max_size=12).map(b"".join), PLACES)
@example(b"\n\ndata: x", [])
@example(b"data: x\n\n\n\n\ndata: y\n\n\r\n", [9, 10])
def test_no_byte_is_lost_in_empty_lines(stream: bytes, places: list[int]) -> None:
    splitter = EventSplitter(LIMIT)
    blocks = [splitter.feed(piece) for piece in cut(stream, places)]
    assert b"".join(blocks) + splitter.pending == stream
    assert all(block.endswith((b"\n\n", b"\n\r\n")) for block in blocks if block)
    assert b"\n\n" not in splitter.pending
    assert b"\n\r\n" not in splitter.pending
    for block in blocks:
        assert b"".join(events_of(block)) == block


def test_an_event_without_end_overflows() -> None:
    splitter = EventSplitter(10)
    assert splitter.feed(b"data: 7890") == b""
    with pytest.raises(EventOverflowError):
        splitter.feed(b"1")


def test_a_long_event_is_fine_once_it_is_whole() -> None:
    splitter = EventSplitter(10)
    assert splitter.feed(b"data: 7890") == b""
    assert splitter.feed(b"12345\n\n") == b"data: 789012345\n\n"
    assert splitter.pending == b""


def test_whole_events_are_not_lost_to_a_long_one_behind_them() -> None:
    splitter = EventSplitter(10)
    assert splitter.feed(b"data: x\n\ndata: 789012345") == b"data: x\n\n"
    with pytest.raises(EventOverflowError):
        splitter.feed(b"6")


def test_splits_a_block_into_events() -> None:
    assert events_of(b"") == []
    assert events_of(b"data: x\n\n: ping\ndata: y\r\n\r\ndata: z\n\r\nrest") == [
        b"data: x\n\n",
        b": ping\ndata: y\r\n\r\n",
        b"data: z\n\r\n",
        b"rest",
    ]


@pytest.mark.parametrize(
    ("single", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x \n\n", b" x "),
        (b"data: x\r\n\r\n", b"x"),
        (b"data: x\r\n\n", b"x"),
        (b"data: x", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data:\ndata:\n\n", b"\n"),
        (b"event: message\nid: 5\ndata: x\nretry: 1\n\n", b"x"),
        (b": ping\n\ndata: x\n\n", b"x"),
        (b": data: no\n\n", b""),
        (b"database: no\n\n", b""),
        (b" data: no\n\n", b""),
        (b"\n\n", b""),
        (b"", b""),
    ],
)
def test_takes_the_data_out_of_an_event(single: bytes, data: bytes) -> None:
    assert data_of(single) == data


@pytest.mark.parametrize(
    ("single", "carries"),
    [
        (b"data: x\n\n", True),
        (b"data:\n\n", True),
        (b"event: message\r\ndata: x\r\n\r\n", True),
        (b"\ndata: x\n\n", True),
        (PING, False),
        (b": data: x\n\n", False),
        (b"event: ping\n\n", False),
        (b"", False),
    ],
)
def test_tells_events_with_data_from_comments(single: bytes, carries: bool) -> None:
    assert has_data(single) is carries


# -- kinds


@pytest.mark.parametrize("single", [DONE, b"data:[DONE]\n\n", b"data: [DONE]\r\n\r\n", b"event: x\ndata: [DONE] \n\n"])
def test_recognizes_the_end(single: bytes) -> None:
    assert is_done(single)


ERRORS = {
    "vLLM": event({"error": {"message": "boom", "type": "InternalServerError", "param": None, "code": 500}}),
    "vLLM, spaced": event({"error": {"message": "boom", "code": 500}}, spaced=True),
    "SGLang, flat": event({"object": "error", "message": "boom", "type": "abort", "param": None, "code": 503}),
    "SGLang, spaced": event({"object": "error", "message": "boom"}, spaced=True),
    "llama.cpp": event({"error": {"code": 500, "message": "boom", "type": "server_error"}}),
    "TGI": event({"error": "Request failed during generation", "error_type": "generation"}),
    "Anthropic": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"boom"}}\n\n',
    "llama.cpp, Anthropic": b'event: error\ndata: {"message":"boom","type":"server_error"}\n\n',
    "no space": b'event:error\ndata:{"message":"boom"}\n\n',
    "data first": b'data: {"message":"boom"}\nevent: error\n\n',
    "CRLF": b'event: error\r\ndata: {"message":"boom"}\r\n\r\n',
    "after a comment": b': ping\ndata: {"error":{"message":"boom"}}\n\n',
    "just text": event({"error": "boom"}),
    "a number": event({"error": 1}),
    "invalid UTF-8 within": b'data: {"error":{"message":"\xff"}}\n\n',
    "beside choices": event(chunk("x", error={"message": "boom"})),
}


@pytest.mark.parametrize("single", ERRORS.values(), ids=ERRORS.keys())
def test_recognizes_errors(single: bytes) -> None:
    assert is_error(single)


@pytest.mark.parametrize(
    "single",
    [
        event(chunk("all is well")),
        *(event(chunk("x", error=empty)) for empty in (None, False, 0, "", [], {})),
        event(chunk("x", object="errors")),
        b'event: errors\ndata: {"x":1}\n\n',
        b": error\ndata: {}\n\n",
        b"data: error\n\n",
        b'data: [{"error":"in an array"}]\n\n',
        event({"choices": [{"error": "nested"}]}),
        DONE,
    ],
)
def test_takes_no_other_event_for_an_error(single: bytes) -> None:
    assert not is_error(single)


@pytest.mark.parametrize(
    ("single", "choices"),
    [
        (event(chunk(None, "stop")), [(0, True)]),
        (event(chunk(None, "length"), spaced=True), [(0, True)]),
        (event(chunk("last", "tool_calls")), [(0, True)]),
        (b'data: {"choices":[{"finish_reason" :\t"stop"}]}\n\n', [(0, True)]),
        (b'data: {"choices":[{"index":2},{"index":1,"finish_reason":"stop"}]}\r\n\r\n', [(2, False), (1, True)]),
        (b'data: {"choices":[{"index":"1"},{"index":-1},{"index":9999999},{"index":1.5}]}\n\n', [(0, False)] * 4),
        (event(chunk("x")), [(0, False)]),
        (event(chunk("x", "")), [(0, False)]),
        (event({"choices": [], "usage": {"prompt_tokens": 1}}), []),
        (event({"choices": None}), []),
        (event({"choices": [None]}), []),
        (event({"choices": {"index": 1}}), []),
        (event({}), []),
        (event([]), []),
        (b'data: {"choices":[{"index":1\n\n', []),
        (b'data: {"choices":' + b"[" * 100_000 + b"\n\n", []),
        (b": comment\n\n", []),
        (DONE, []),
    ],
)
def test_tells_which_choices_an_event_speaks_of(single: bytes, choices: list[tuple[int, bool]]) -> None:
    assert choices_of(single) == choices
    assert says_more(single) is not None or not any(ended for _index, ended in choices)


@pytest.mark.parametrize(
    ("single", "more"),
    [
        (event(chunk(None, "stop")), True),
        (event(chunk(None, "stop"), spaced=True), True),
        (b'data: {"choices":[{"finish_reason"\t: "stop"}]}\n\n', True),
        (event({"choices": [], "usage": {"prompt_tokens": 1}}), True),
        (event(chunk("x")), False),
        (event(chunk("x"), spaced=True), False),
        (event(chunk("x", usage=None)), False),
        (event(chunk('"finish_reason":"stop","prompt_tokens":')), False),
        (DONE, False),
    ],
)
def test_an_ordinary_event_is_told_without_decoding_it(single: bytes, more: bool) -> None:
    assert (says_more(single) is not None) == more


FIGURES = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
CLOSING = {"id": "c-1", "object": "chat.completion.chunk", "choices": [], "usage": FIGURES}


@pytest.mark.parametrize(
    ("single", "closing"),
    [
        (event(CLOSING), True),
        (event(CLOSING, spaced=True), True),
        (event({**CLOSING, "timings": {"prompt_n": 3}}), True),
        (b'data: {"choices" : [ ] , "usage":{"prompt_tokens":3}}\r\n\r\n', True),
        (event(chunk("x", usage=FIGURES)), False),
        (event(chunk("x", usage=None)), False),
        (event({**CLOSING, "usage": None}), False),
        (event({"choices": [], "prompt_filter_results": []}), False),
        (event({"usage": FIGURES}), False),
        (event({**chunk("x", usage=FIGURES), "deep": {"choices": []}}), False),
        (event({"choices": [], "usage": "nonsense"}), False),
        (b'data: {"choices":[],"usage":{\n\n', False),
        (DONE, False),
    ],
)
def test_recognizes_the_closing_usage_event(single: bytes, closing: bool) -> None:
    assert is_usage_only(single) is closing
    assert lacks_choices(single) or not closing


SNEAKY = [
    '{"error": {"message": "boom"}}',
    '"error": {',
    'data: {"error": {"message": "boom"}}\n\n',
    "event: error\ndata: {}\n\n",
    "\nevent: error\n",
    '{"object": "error"}',
    "[DONE]",
    "data: [DONE]\n\n",
    '"finish_reason": "stop"',
    '{"choices":[{"finish_reason":"stop"}]}',
    '"stop_reason":"end_turn"',
    '{"choices": [], "usage": {"prompt_tokens": 1}}',
    '\\"finish_reason\\": \\"stop\\"',
    '\\","finish_reason":"stop","x":"',
]


@given(st.sampled_from(SNEAKY) | st.lists(st.sampled_from(SNEAKY), max_size=3).map("\\".join), st.booleans())
@example("\\" + SNEAKY[8], True)
def test_nothing_that_a_model_writes_is_taken_for_framing(content: str, spaced: bool) -> None:
    payloads = [
        chunk(content, usage=None),
        chunk(None, tool_calls=[{"function": {"name": content, "arguments": content}}]),
        {"choices": [{"text": content, "finish_reason": None}], "usage": None},
    ]
    for payload in payloads:
        single = event(payload, spaced=spaced)
        assert events_of(single) == [single]
        assert json.loads(data_of(single)) == payload
        assert not is_error(single)
        assert not is_done(single)
        assert says_more(single) is None
        assert not any(ended for _index, ended in choices_of(single))
        assert not is_usage_only(single)


@given(st.binary(max_size=80), st.sampled_from([b"", b"data: ", b'data: {"error":', b'data: {"usage":1,"choices":[]']))
def test_garbage_is_judged_without_raising(garbage: bytes, front: bytes) -> None:
    single = front + garbage + b"\n\n"
    for judge in (is_error, is_done, is_usage_only, has_data):
        assert judge(single) in (True, False)
    assert isinstance(data_of(single), bytes)
    assert isinstance(choices_of(single), list)


def test_deep_nesting_in_an_event_is_no_error_of_ours() -> None:
    deep = b"[" * 100_000
    assert not is_error(b'data: {"error":' + deep + b"\n\n")
    assert not is_usage_only(b'data: {"choices":[],"usage":' + deep + b"\n\n")


PLAIN = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize(
    "block",
    [PLAIN, PLAIN.replace(b":null", b": null"), b'data:{"a":1}\n\n', PLAIN.replace(b'"x"', rb'"\"error\" _reason\""')],
)
def test_an_event_that_only_goes_on_is_plain(block: bytes) -> None:
    assert is_plain(block)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        PLAIN + PLAIN,
        PLAIN[:-1],
        PLAIN.replace(b"\n", b"\r\n"),
        b": a comment\n\n",
        b"data: [DONE]\n\n",
        b"event: error\n" + PLAIN,
        PLAIN[:-1] + b"id: 1\n\n",
        PLAIN.replace(b"null", b'"stop"'),
        PLAIN.replace(b"null", b'  "stop"'),
        PLAIN.replace(b'"index":0', b'"stop_reason":null,"index":0').replace(b":null}", b':"stop"}'),
        PLAIN[:-4] + b',"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
        b'data: {"a":\ndata: 1}\n\n',
    ],
)
def test_an_event_that_may_say_more_is_not(block: bytes) -> None:
    assert not is_plain(block)
