"""Does the reader take right answers however they are cut, and find one wrong byte?"""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.answers import PLAIN, STREAM, Answer, chunk
from bench.reader import AnswerReader
from bench.wrong import AnswerWrong

ANSWERS = (PLAIN, STREAM)
by_answer = pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.model)


def sent(answer: Answer, pieces: list[bytes] | None = None) -> bytes:
    """An answer as an upstream sends it, or in other chunks."""
    if not answer.streams and pieces is None:
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer.body), answer.body)
    chunks = b"".join(map(chunk, answer.events if pieces is None else pieces))
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def fed(reader: AnswerReader, data: bytes, size: int) -> list[bool]:
    return [reader.feed(data[start : start + size]) for start in range(0, len(data), size)]


@by_answer
@pytest.mark.parametrize("size", [1, 7, 200, 100_000])
def test_right_answers_are_taken_however_they_are_cut(answer: Answer, size: int) -> None:
    reader = AnswerReader(answer)
    for time in (1, 2):
        ends = fed(reader, sent(answer), size)
        assert ends == [False] * (len(ends) - 1) + [True]
        assert reader.events == time * len(answer.events)
        assert not reader.begun


@by_answer
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20), size=st.integers(1, 500))
def test_a_gateway_may_cut_chunks_anew(answer: Answer, cuts: list[int], size: int) -> None:
    pieces, place = [], 0
    while place < len(answer.body):
        step = cuts[len(pieces) % len(cuts)]
        pieces.append(answer.body[place : place + step])
        place += step
    reader = AnswerReader(answer)
    assert fed(reader, sent(answer, pieces), size)[-1]
    assert reader.events == len(answer.events)


def test_events_that_come_one_by_one_are_counted_as_they_come() -> None:
    reader = AnswerReader(STREAM)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number, event in enumerate(STREAM.framed, start=1):
        assert not reader.feed(event)
        assert reader.events == number
    assert reader.feed(b"0\r\n\r\n")


@by_answer
@given(place=st.integers(0), change=st.integers(1, 255), size=st.sampled_from([50, 210, 10_000]))
def test_one_wrong_byte_of_a_body_is_found(answer: Answer, place: int, change: int, size: int) -> None:
    body = bytearray(answer.body)
    body[place % len(body)] ^= change
    with pytest.raises(AnswerWrong):
        fed(AnswerReader(answer), sent(answer, [bytes(body)]), size)


def test_a_wrong_event_among_right_ones_is_found() -> None:
    reader = AnswerReader(STREAM)
    reader.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in STREAM.framed[:50]:
        reader.feed(event)
    for wrong in (STREAM.framed[49], STREAM.framed[51], STREAM.framed[50].replace(b"word50", b"word05")):
        with pytest.raises(AnswerWrong, match="differs"):
            reader.feed(wrong)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}",
        sent(PLAIN) + b"x",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +471\r\n\r\n" + PLAIN.body,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+1\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{xx",
        sent(PLAIN, [PLAIN.body[:-1]]),
        sent(PLAIN).replace(b"content-length: %d" % len(PLAIN.body), b"content-length: %d" % (len(PLAIN.body) + 1))
        + b"x",
    ],
)
def test_other_answers_are_wrong(answer: bytes) -> None:
    with pytest.raises(AnswerWrong):
        AnswerReader(PLAIN).feed(answer)


def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(PLAIN.body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert AnswerReader(PLAIN).feed(head + packed)
    with pytest.raises(AnswerWrong, match="gzip"):
        AnswerReader(PLAIN).feed(head + b"x" * len(packed))


@by_answer
def test_an_answer_written_anew_must_say_the_same(answer: Answer) -> None:
    anew = [event.replace(b'":', b'": ').replace(b'"created": 1764000000,', b"") for event in answer.events]
    other = [event.replace(b"word7", b"word8") for event in anew]
    cut = anew[:-1] if answer.streams else [event.replace(b'"stop"', b'"length"') for event in anew]
    reader = AnswerReader(answer, rewritten=True)
    assert reader.feed(sent(answer, anew))
    assert reader.events >= 1
    with pytest.raises(AnswerWrong):
        AnswerReader(answer).feed(sent(answer, anew))
    for wrong in (other, cut):
        with pytest.raises(AnswerWrong):
            AnswerReader(answer, rewritten=True).feed(sent(answer, wrong))


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"choices":[7]}', b'{"choices":[{"message":{"content":"no"}}]}']
)
def test_what_is_no_completion_is_wrong(body: bytes) -> None:
    with pytest.raises(AnswerWrong):
        AnswerReader(PLAIN, rewritten=True).feed(sent(PLAIN, [body]))
