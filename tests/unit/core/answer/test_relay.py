"""Relays: what of an answer goes on whatever the chunks, and which answers are no answers."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.relay import MAX_EVENT_BYTES, EventRelay
from app.services.core.answer.sse import DONE, PING
from app.services.core.answer.usage import Usage
from app.services.core.answer.whole_answer import AnswerUnusableError, WholeAnswer

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


# -- every choice must end


def of_choice(index: int, content: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": index, "text": content, "logprobs": None, "finish_reason": finish_reason}
    return event({"id": "c-1", "object": "text_completion", "choices": [choice]})


def test_a_choice_that_is_cut_is_not_hidden_by_one_that_ended() -> None:
    stream = of_choice(0, "a") + of_choice(1, "b") + of_choice(0, None, "stop") + of_choice(1, "b")
    for ending in (b"", CLOSING, DONE, CLOSING + DONE):
        for choices in (1, 2):
            relay = EventRelay(None, hide_usage=False, choices=choices)
            sent, fault = play(relay, [of_choice(0, "a"), stream + ending])
            assert fault is not None
            assert "finish_reason for every choice" in fault.reason
            assert b"[DONE]" not in sent + fault.rest
            assert not relay.finished
            assert not relay.done


def test_a_choice_that_never_began_is_missed() -> None:
    relay = EventRelay(None, hide_usage=False, choices=2)
    relay.feed(of_choice(0, "a") + of_choice(0, None, "stop"))
    assert not relay.finished
    with pytest.raises(AnswerUnusableError, match="without a finish_reason"):
        relay.end()


def test_an_engine_that_knows_no_n_may_make_one_choice_and_say_that_it_is_done() -> None:
    relay = EventRelay(None, hide_usage=False, choices=2)
    stream = of_choice(0, "a") + of_choice(0, None, "stop") + DONE
    assert run(relay, [stream]) == stream
    assert relay.finished


def test_several_prompts_make_more_choices_than_n_says() -> None:
    for words in (1, 100):
        begin = b"".join(of_choice(count % 3, "a") for count in range(3 * words))
        ends = [of_choice(index, None, "length") for index in (1, 0, 2)]
        for ended in range(3):
            relay = plain()
            relay.feed(begin)
            relay.feed(b"".join(ends[:ended]))
            assert not relay.finished
            with pytest.raises(AnswerUnusableError):
                relay.end()
        assert run(plain(), [begin, *ends]) == begin + b"".join(ends) + DONE


def test_several_prompts_may_be_answered_in_turn() -> None:
    first = of_choice(0, "a") * 100 + of_choice(0, None, "stop")
    relay = plain()
    for part in sse_events(first):
        relay.feed(part)
    assert relay.finished
    relay.feed(of_choice(1, "b"))
    assert not relay.finished
    relay.feed(of_choice(1, None, "stop"))
    assert relay.finished
    assert relay.end() == DONE


def sse_events(stream: bytes) -> list[bytes]:
    return [single + b"\n\n" for single in stream.split(b"\n\n")[:-1]]


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), PLACES)
def test_finished_is_when_all_that_were_asked_for_and_all_that_were_seen_have_ended(
    choices: int, steps: list[tuple[int, bool]], places: list[int]
) -> None:
    relay = EventRelay(None, hide_usage=False, choices=choices)
    stream = b"".join(of_choice(index, "x", "stop" if ends else None) for index, ends in steps)
    for piece in cut(stream, places):
        relay.feed(piece)
    seen, ended = {index for index, _ends in steps[:16]}, {index for index, ends in steps if ends}
    if choices > 1 or ended:
        first_end = next((count for count, (_index, ends) in enumerate(steps) if ends), len(steps))
        seen |= {index for index, _ends in (steps if choices > 1 else steps[first_end:])}
    if len(steps) <= 16 or choices > 1:  # with one choice, more may be seen of a block that came as one
        assert relay.finished == (bool(ended) and seen <= ended and len(ended) >= choices)
    assert not relay.done


@pytest.mark.parametrize(
    ("choice", "finished"),
    [
        (b'{"index":0,"finish_reason":"stop"}', True),
        (b'{"finish_reason" :\t\t"stop"}', True),
        (b'{"finish_reason": \t "length" , "index":null}', True),
        (b'{"index":[1],"finish_reason":"stop"}', True),
        (b'{"index":0,"finish_reason":null,"stop_reason":"x"}', False),
        (b'{"index":0,"finish_reason":""}', False),
        (b'{"index":0,"delta":{"finish_reason":"stop"},"finish_reason":null}', False),
        (b'{"index":0,"finish_reason":null},{"index":1,"finish_reason":"stop"}', False),
        (b'{"index":0,"finish_reason":"length"},{"index":1,"finish_reason":"stop"}', True),
    ],
)
def test_reads_the_finish_of_a_choice_however_it_is_written(choice: bytes, finished: bool) -> None:
    relay = opened()
    for _word in range(20):
        relay.feed(WORD)
    relay.feed(b'data: {"choices":[' + choice + b"]}\n\n")
    assert relay.finished == finished


@pytest.mark.parametrize("model", [None, PUBLIC])
def test_a_long_tail_does_not_make_finish_and_figures_forgotten(model: bytes | None) -> None:
    relay = opened(EventRelay(model, hide_usage=False))
    relay.feed(STOP)
    relay.feed(CLOSING)
    tail = event({**chunk(None), "choices": [], "usage": None, "timings": {"predicted_ms": 1.5}})
    for _event in range(50):
        relay.feed(tail)
    assert relay.finished
    relay.feed(DONE)
    assert relay.end() == b""
    assert relay.usage() == Usage(3, 5)


def test_the_latest_figures_count() -> None:
    relay = opened()
    for count in range(30):
        relay.feed(event(chunk("x", usage={**FIGURES, "completion_tokens": count})))
    relay.feed(WORD)
    assert relay.usage() == Usage(3, 29)


def test_tells_when_all_was_said() -> None:
    relay = opened()
    states = []
    for piece in (WORD, STOP[:-1], STOP[-1:], CLOSING, DONE, PING):
        relay.feed(piece)
        states.append((relay.finished, relay.done))
    assert states == [(False, False), (False, False), (True, False), (True, False), (True, True), (True, True)]
    assert relay.end() == b""


def test_keeps_little_of_choices_that_make_no_sense() -> None:
    relay = EventRelay(None, hide_usage=False, choices=2)
    for index in range(65_530, 65_630):
        relay.feed(of_choice(index, "x", "stop") + of_choice(-index, "x"))
    assert len(relay._seen) == 7


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
    for name in relay.__slots__:
        kept = getattr(relay, name)
        assert not isinstance(kept, bytes | list) or len(kept) < 50
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
