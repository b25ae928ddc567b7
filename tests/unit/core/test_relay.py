"""Relays: what of an answer goes on whatever the chunks, and which answers are no answers."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.relay import MAX_EVENT_BYTES, AnswerUnusableError, EventRelay, WholeAnswer
from app.services.core.sse import DONE, PING
from app.services.core.usage import Usage

FIGURES = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
UPSTREAM = "meta-llama/Llama-3.1-8B-Instruct"
PUBLIC = b'"llama"'


def event(payload: object, newline: str = "\n", *, spaced: bool = False) -> bytes:
    separators = (" , ", " : ") if spaced else (",", ":")
    return f"data: {json.dumps(payload, separators=separators)}{newline}{newline}".encode()


def chunk(content: str | None, finish_reason: str | None = None, **members: object) -> dict[str, object]:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "model": UPSTREAM, "choices": [choice], **members}


WORD = event(chunk("word"))
STOP = event(chunk(None, "stop"))
CLOSING = event({**chunk(None), "choices": [], "usage": FIGURES})
ERROR = event({"error": {"message": "boom", "code": 500}})
STREAM = WORD + WORD + STOP + CLOSING + DONE


def plain() -> EventRelay:
    return EventRelay(None, hide_usage=False)


def opened(relay: EventRelay | None = None) -> EventRelay:
    """A relay that has passed on a first event."""
    relay = relay or plain()
    assert relay.feed(WORD)
    return relay


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]


def run(relay: EventRelay, pieces: list[bytes]) -> bytes:
    return b"".join([relay.feed(piece) for piece in pieces]) + relay.end()


def play(relay: EventRelay, pieces: list[bytes]) -> tuple[bytes, AnswerUnusableError | None]:
    """What came out, and the fault that ended it."""
    sent = b""
    try:
        for piece in pieces:
            sent += relay.feed(piece)
        sent += relay.end()
    except AnswerUnusableError as fault:
        return sent, fault
    return sent, None


CONTENTS = st.text(alphabet='model": \\{}[]\n\u20acx', max_size=8) | st.sampled_from(
    ['{"error": {"message": "x"}}', "data: [DONE]\n\n", '"finish_reason":"stop"', '"usage"', '"model": "x"']
)
PLACES = st.lists(st.integers(0, 10_000), max_size=15)
NEWLINES = st.sampled_from(["\n", "\r\n"])


# -- good streams


@given(st.lists(CONTENTS, max_size=6), NEWLINES, st.booleans(), PLACES)
def test_passes_the_same_bytes_whatever_the_chunks(
    contents: list[str], newline: str, spaced: bool, places: list[int]
) -> None:
    payloads = [*map(chunk, contents), chunk(None, "stop"), {"choices": [], "usage": FIGURES}]
    stream = b"".join(event(payload, newline, spaced=spaced) for payload in payloads) + DONE
    relay = plain()
    assert run(relay, cut(stream, places)) == stream
    assert relay.usage() == Usage(3, 5)


@given(st.lists(CONTENTS, max_size=6), NEWLINES, st.booleans(), st.booleans(), PLACES)
def test_puts_the_model_back_and_hides_usage_whatever_the_chunks(
    contents: list[str], newline: str, spaced: bool, hide_usage: bool, places: list[int]
) -> None:
    shown = [*map(chunk, contents), chunk(None, "stop", usage=None)]
    closing = {**chunk(None), "choices": [], "usage": FIGURES}

    def stream_of(model: str, payloads: list[dict[str, object]]) -> bytes:
        renamed = [{**payload, "model": model} for payload in payloads]
        return b"".join(event(payload, newline, spaced=spaced) for payload in renamed) + DONE

    relay = EventRelay(PUBLIC, hide_usage=hide_usage)
    sent = run(relay, cut(stream_of(UPSTREAM, [*shown, closing]), places))
    assert sent == stream_of("llama", shown if hide_usage else [*shown, closing])
    assert relay.usage() == Usage(3, 5)


def test_usage_is_hidden_only_when_only_the_gateway_asked() -> None:
    assert run(plain(), [STREAM]) == STREAM
    assert run(EventRelay(None, hide_usage=True), [STREAM]) == STREAM.replace(CLOSING, b"")


def test_figures_beside_choices_are_not_hidden() -> None:
    counted = event(chunk("x", usage=FIGURES)) + STOP + DONE
    assert run(EventRelay(None, hide_usage=True), [counted]) == counted


@pytest.mark.parametrize(
    ("single", "expected"),
    [
        (b'data: {"model":"up","x":1}\n\n', b'data: {"model":"llama","x":1}\n\n'),
        (b'data: {"x":1,"model" : "up" }\n\n', b'data: {"x":1,"model" : "llama" }\n\n'),
        (
            b'data:{"choices":[{"model":"in"}],"model":"up"}\n\n',
            b'data:{"choices":[{"model":"in"}],"model":"llama"}\n\n',
        ),
        (b'data: {"model":"up"}\r\n\r\n', b'data: {"model":"llama"}\r\n\r\n'),
        (b': ping\ndata: {"model":"up"}\n\n', b': ping\ndata: {"model":"llama"}\n\n'),
        (b'event: chunk\r\ndata: {"model":"up"}\r\n\r\n', b'event: chunk\r\ndata: {"model":"llama"}\r\n\r\n'),
        (b'\ndata: {"model":"up"}\nid: 5\n\n', b'\ndata: {"model":"llama"}\nid: 5\n\n'),
        (b'data: {"model":null}\n\n', b'data: {"model":"llama"}\n\n'),
        (b'data: {"text":"\\"model\\":\\"up\\""}\n\n', b'data: {"text":"\\"model\\":\\"up\\""}\n\n'),
        (b'data: {"model":"up","model":"up"}\n\n', b'data: {"model":"up","model":"up"}\n\n'),
        (b'data: [{"model":"up"}]\n\n', b'data: [{"model":"up"}]\n\n'),
        (b'data: {"model":"up\n\n', b'data: {"model":"up\n\n'),
        (b': {"model":"up"}\n\n', b': {"model":"up"}\n\n'),
        (b"data: \n\n", b"data: \n\n"),
    ],
)
def test_puts_the_model_back_in_events_of_every_form(single: bytes, expected: bytes) -> None:
    relay = EventRelay(PUBLIC, hide_usage=False)
    assert relay.feed(STOP) == _renamed(STOP)
    assert relay.feed(single) == expected
    assert relay.feed(WORD + single) == _renamed(WORD) + expected


def _renamed(single: bytes) -> bytes:
    return single.replace(b'"' + UPSTREAM.encode() + b'"', PUBLIC)


def test_counts_the_events_relayed() -> None:
    relay = opened()
    relay.feed(WORD + WORD)
    relay.feed(WORD[:9])
    assert relay.events == 3
    relay.feed(WORD[9:] + PING)
    assert relay.events == 4


# -- the gate


def test_comments_open_no_gate_and_are_not_passed_on_before_it() -> None:
    relay = plain()
    assert relay.feed(b": processing\n\n") == b""
    assert relay.feed(b"event: ping\n\n") == b""
    assert not relay.opened
    assert relay.feed(WORD) == WORD
    assert relay.opened
    assert relay.feed(b": processing\n\n") == b": processing\n\n"


@pytest.mark.parametrize(
    "stream",
    [ERROR, b": processing\n\n" + ERROR, WORD + ERROR, WORD + ERROR + STOP + DONE, b"event: error\ndata: {}\n\n"],
)
def test_an_error_in_the_first_block_lets_nothing_out(stream: bytes) -> None:
    relay = plain()
    with pytest.raises(AnswerUnusableError, match="reported an error") as caught:
        relay.feed(stream)
    assert caught.value.rest == b""
    assert not relay.opened


@given(PLACES)
def test_an_error_as_first_event_lets_nothing_out_whatever_the_chunks(places: list[int]) -> None:
    sent, fault = play(plain(), cut(b": processing\n\n" + ERROR + WORD + STOP + DONE, places))
    assert fault is not None
    assert "reported an error" in fault.reason
    assert sent == fault.rest == b""


@pytest.mark.parametrize("error", [ERROR, b'event: error\ndata: {"message":"boom"}\n\n', b"event:error\ndata: {}\n\n"])
@pytest.mark.parametrize("model", [None, PUBLIC])
def test_good_events_before_an_error_are_not_lost(error: bytes, model: bytes | None) -> None:
    relay = opened(EventRelay(model, hide_usage=True))
    with pytest.raises(AnswerUnusableError, match="reported an error") as caught:
        relay.feed(WORD + CLOSING + WORD + error + WORD)
    assert caught.value.rest == (WORD + WORD if model is None else _renamed(WORD + WORD))


@given(st.integers(1, 4), PLACES)
def test_all_good_events_come_out_whatever_the_chunks(count: int, places: list[int]) -> None:
    sent, fault = play(opened(), cut(WORD * count + ERROR, places))
    assert fault is not None
    assert sent + fault.rest == WORD * count


@pytest.mark.parametrize("first", [b"data: Internal Server Error\n\n", b'data: {"choices":[{"te\n\n'])
def test_a_first_event_that_is_no_json_lets_nothing_out(first: bytes) -> None:
    relay = plain()
    with pytest.raises(AnswerUnusableError, match="begins with something that is not JSON") as caught:
        relay.feed(first)
    assert caught.value.rest == b""
    assert not relay.opened


# -- ends


@pytest.mark.parametrize(
    ("stream", "sent"),
    [
        (STREAM, STREAM),
        (WORD + STOP + DONE, WORD + STOP + DONE),
        (WORD + STOP, WORD + STOP + DONE),
        (WORD + STOP + CLOSING, WORD + STOP + CLOSING + DONE),
        (WORD + STOP + DONE[:-1], WORD + STOP + DONE),
        (WORD + STOP + DONE[:-2], WORD + STOP + DONE),
        (WORD + STOP[:-1], WORD + STOP + DONE),
        (WORD + STOP[:-2], WORD + STOP + DONE),
        (STOP[:-2], STOP + DONE),
        (WORD + STOP + b'data: {"choices":[{"te', WORD + STOP + DONE),
        (WORD + STOP + b"data: [DO", WORD + STOP + DONE),
        (WORD + STOP + b": comment", WORD + STOP + DONE),
        (WORD + STOP + DONE + PING, WORD + STOP + DONE),
        (WORD + STOP + PING + b"\n" + PING * 9, WORD + STOP + PING + b"\n" + DONE),
    ],
)
def test_ends_with_one_done_and_no_half_event(stream: bytes, sent: bytes) -> None:
    relay = plain()
    assert run(relay, [stream]) == sent
    assert sent.count(b"[DONE]") == 1


@pytest.mark.parametrize("newline", [b"\r", b"\r\n", b"\r\n\r"])
def test_a_missing_empty_line_is_made_up_for_with_crlf_too(newline: bytes) -> None:
    last = STOP.rstrip() + newline
    assert run(plain(), [WORD + last]) == WORD + last + (b"\n\n" if newline == b"\r" else b"\n") + DONE


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b": processing\n\n",
        WORD,
        WORD * 9,
        WORD + event(chunk(None)),
        WORD[:-20],
        WORD + CLOSING,
        WORD + STOP[:-20],
        event(chunk('"finish_reason":"stop"')),
    ],
)
def test_a_stream_that_finished_no_choice_is_cut(stream: bytes) -> None:
    relay = plain()
    relay.feed(stream)
    with pytest.raises(AnswerUnusableError, match="without a finish_reason") as caught:
        relay.end()
    assert caught.value.rest == b""


def test_done_proves_nothing() -> None:
    relay = plain()
    with pytest.raises(AnswerUnusableError, match="without a finish_reason"):
        relay.feed(WORD + DONE)
    assert not relay.opened
    relay = opened()
    with pytest.raises(AnswerUnusableError, match="without a finish_reason") as caught:
        relay.feed(WORD + DONE)
    assert caught.value.rest == WORD


def test_what_the_end_still_finds_good_is_not_lost() -> None:
    relay = opened()
    relay.feed(WORD[:-2])
    with pytest.raises(AnswerUnusableError, match="without a finish_reason") as caught:
        relay.end()
    assert caught.value.rest == WORD
    relay = opened()
    relay.feed(ERROR[:-2])
    with pytest.raises(AnswerUnusableError, match="reported an error") as caught:
        relay.end()
    assert caught.value.rest == b""


def test_a_whole_event_at_the_end_of_a_stream_that_sent_nothing_lets_nothing_out() -> None:
    relay = plain()
    relay.feed(WORD[:-2])
    with pytest.raises(AnswerUnusableError) as caught:
        relay.end()
    assert caught.value.rest == b""


def test_pings_after_the_finish_do_not_make_it_forgotten() -> None:
    relay = opened()
    relay.feed(STOP)
    for _ping in range(50):
        relay.feed(b": ping\n\n")
    relay.feed(CLOSING)
    assert relay.end() == DONE
    assert relay.usage() == Usage(3, 5)


# -- bounds


def test_an_event_without_end_is_refused() -> None:
    relay = opened()
    assert relay.feed(b"data: " + b"x" * (MAX_EVENT_BYTES - 6)) == b""
    with pytest.raises(AnswerUnusableError, match="one event is larger than 256 KiB"):
        relay.feed(b"x")


@pytest.mark.parametrize("model", [None, PUBLIC])
def test_keeps_little_of_a_long_stream(model: bytes | None) -> None:
    relay = EventRelay(model, hide_usage=True)
    long_word = event(chunk("x" * 10_000))
    for _word in range(200):
        relay.feed(long_word)
    assert sum(map(len, relay._blocks)) < 50_000
    assert relay.feed(STOP)
    assert relay.end() == DONE


@given(st.lists(st.binary(max_size=30) | st.sampled_from([WORD, STOP, DONE, ERROR, b"\n\n", b"\r\n"]), max_size=8))
def test_garbage_raises_nothing_else(pieces: list[bytes]) -> None:
    for relay in (plain(), EventRelay(PUBLIC, hide_usage=True)):
        sent, fault = play(relay, pieces)
        if fault is None:
            assert b"[DONE]" in sent
        else:
            assert fault.reason
            assert relay.opened or not sent + fault.rest


# -- whole answers

ANSWER = {"id": "c-1", "object": "chat.completion", "model": UPSTREAM, "choices": [{"finish_reason": "stop"}]}


@given(PLACES, st.sampled_from([None, 1]))
def test_a_whole_answer_keeps_its_bytes_but_for_the_model(places: list[int], indent: int | None) -> None:
    body = json.dumps({**ANSWER, "usage": FIGURES}, indent=indent).encode()
    for model, expected in ((None, body), (PUBLIC, _renamed(body))):
        answer = WholeAnswer(model)
        held = [answer.feed(piece) for piece in cut(body, places)]
        assert held[-1] == len(body)
        assert answer.end() == (expected, Usage(3, 5))


def test_a_model_given_twice_is_left_alone() -> None:
    answer = WholeAnswer(PUBLIC)
    answer.feed(b'{"model":"a","model":"b"}')
    assert answer.end() == (b'{"model":"a","model":"b"}', None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "HTML"),
        (json.dumps(ANSWER).encode()[:-1], "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"error":{"message":"boom"}}', "error under a status of success"),
        (b'{"error":"Unexpected endpoint or method."}', "error under a status of success"),
    ],
)
def test_a_whole_answer_that_is_none_is_refused(body: bytes, reason: str) -> None:
    answer = WholeAnswer(PUBLIC)
    answer.feed(body)
    with pytest.raises(AnswerUnusableError, match=reason):
        answer.end()


def test_what_is_released_is_forgotten() -> None:
    answer = WholeAnswer(PUBLIC)
    assert (answer.feed(b"ab"), answer.feed(b"c")) == (2, 3)
    assert answer.release() == b"abc"
    assert answer.release() == b""
