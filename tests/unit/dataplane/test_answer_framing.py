"""However a server cuts its answer into chunks and reads, the client gets the same bytes.

The first answers on a connection and the later ones are held against each other: what was learned from the head of one
must not let in, or shift by a byte, what another one says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.http_shapes import chat_body, post
from tests.fakes.memory_wires import Memory, open_memory
from tests.fakes.read_answers import Answer
from tests.fakes.wiretap import answer_echo

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FRAMINGS = ("chunks", "chunks in capitals", "chunks with zeros", "chunks with extensions", "trailers", "length", "end")
cuts = st.lists(st.integers(0, 100_000), max_size=14)
sizes = st.lists(st.integers(1, 90), min_size=1, max_size=14)
both_shells = pytest.mark.parametrize("shell", ["door", "asgi"])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def chunks(body: bytes, widths: Sequence[int], kind: str) -> bytes:
    """A body in chunks of these sizes, again and again."""
    written, place, turn = b"", 0, 0
    while place < len(body):
        piece = body[place : place + widths[turn % len(widths)]]
        size = b"%X" % len(piece) if kind == "chunks in capitals" else b"%x" % len(piece)
        size = b"00" + size if kind == "chunks with zeros" else size
        size = size + b";a=b" if kind == "chunks with extensions" else size
        written += b"%b\r\n%b\r\n" % (size, piece)
        place, turn = place + len(piece), turn + 1
    return written + (b"0\r\nX-Trailer: 1\r\n\r\n" if kind == "trailers" else b"0\r\n\r\n")


def framed(head: bytes, body: bytes, framing: str, widths: Sequence[int]) -> bytes:
    if framing == "length":
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    if framing == "end":
        return b"%b\r\n%b" % (head, body)
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b" % (head, chunks(body, widths, framing))


texts = st.text(st.sampled_from('ab"\\\n\r:{}[] é\U0001f600'), max_size=12)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Events as engines write them: lines end in LF or CRLF, with comments and names between."""
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    written = b""
    for content in draw(st.lists(texts, min_size=1, max_size=6)):
        written += draw(st.sampled_from([b"", b"", b": a comment" + end + end, b"id: 1" + end]))
        choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
        text = json.dumps({"id": "c", "model": "m", "choices": [choice]}, ensure_ascii=False).encode()
        written += b"data: " + text + end + end
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    written += b"data: " + json.dumps(last).encode() + end + end
    written += b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}' + end + end
    return written + b"data: [DONE]" + end + end


ASKING = post(chat_body("ask", stream=True, stream_options={"include_usage": True}))


async def answered(memory: Memory, pieces: Sequence[bytes], asking: bytes, *, ends: bool) -> Answer:
    """Ask, let the server say these pieces, each read by itself, and return what the client heard."""
    memory.link.answering = lambda _asked: list(pieces)
    caller = memory.connect()
    heard = await caller.say(asking)
    if ends:
        memory.link.wires[-1].close()
        heard += await caller.say()
    (answer,) = heard
    return answer


@both_shells
@given(stream=streams(), framing=st.sampled_from(FRAMINGS), widths=sizes, places=cuts)
@settings(max_examples=120)
async def test_any_split_of_a_stream_is_the_same_stream(
    shell: str, stream: bytes, framing: str, widths: list[int], places: list[int]
) -> None:
    """On a fresh connection, on one that has just brought the same answer, and on one that brought another."""
    data = framed(EVENTS_HEAD, stream, framing, widths)
    async with open_memory(shell) as memory:
        plain = post(chat_body("plain"))
        for pieces in ([data], cut(data, places), [data], cut(data, places[:3])):
            answer = await answered(memory, pieces, ASKING, ends=framing == "end")
            assert (answer.status, answer.whole) == (200, True)
            assert answer.body[answer.body.index(b"data:") :] == stream[stream.index(b"data:") :]
            assert answer.body in stream  # comments before the first event may be left out
            memory.link.answering = answer_echo
            (other,) = await memory.connect().say(plain)
            assert b'"plain' in other.body.replace(b"\\", b"")
        assert len(memory.link.wires) == (5 if framing == "end" else 1)
        memory.assert_clean()


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    choice = {"index": 0, "message": {"content": draw(texts)}, "finish_reason": "stop"}
    value = {"choices": [choice], "pad": "x" * draw(st.integers(0, 300))}
    return json.dumps(value, indent=draw(st.sampled_from([None, 1]))).encode()


@both_shells
@given(
    told=st.lists(st.tuples(documents(), st.sampled_from(FRAMINGS), cuts), min_size=1, max_size=5),
    widths=sizes,
    interim=st.integers(0, 2),
)
@settings(max_examples=120)
async def test_any_split_of_whole_answers_is_the_same_answers(
    shell: str, told: list[tuple[bytes, str, list[int]]], widths: list[int], interim: int
) -> None:
    """One after the other on as few connections as can be, with heads that differ and heads that do not."""
    asking = post(chat_body("ask"))
    async with open_memory(shell) as memory:
        for body, framing, places in told:
            data = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * interim + framed(JSON_HEAD, body, framing, widths)
            for pieces in ([data], cut(data, places)):
                answer = await answered(memory, pieces, asking, ends=framing == "end")
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers["content-length"] == str(len(body))
        memory.assert_clean()


DOCUMENT = b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'
SIZE = len(DOCUMENT)


def lengthy(written: bytes) -> bytes:
    return JSON_HEAD + written.replace(b"N", b"%d" % SIZE) + b"\r\n\r\n" + DOCUMENT


NEAR_MISSES = {
    "the same": lengthy(b"Content-Length: N"),
    "another case": lengthy(b"content-length: N"),
    "capitals": lengthy(b"CONTENT-LENGTH:N"),
    "zeros in front": lengthy(b"Content-Length: 000N"),
    "spaces around": lengthy(b"Content-Length:   N  "),
    "a plus": lengthy(b"Content-Length: +N"),
    "a minus": lengthy(b"Content-Length: -N"),
    "an underscore": lengthy(b"Content-Length: 0_N"),
    "hexadecimal": lengthy(b"Content-Length: 0xN"),
    "a comma": lengthy(b"Content-Length: N,"),
    "a list": lengthy(b"Content-Length: N, N"),
    "empty": lengthy(b"Content-Length:"),
    "other digits": lengthy(b"Content-Length: \xb2\xb3"),
    "beyond 64 bits": lengthy(b"Content-Length: 18446744073709551616"),
    "without end": lengthy(b"Content-Length: " + b"9" * 60),
    "twice": lengthy(b"Content-Length: N\r\nContent-Length: N"),
    "two that differ": lengthy(b"Content-Length: 2\r\nContent-Length: N"),
    "nothing": lengthy(b"Content-Length: 0"),
    "one too short": lengthy(b"Content-Length: %d" % (SIZE - 1)),
    "one too long": lengthy(b"Content-Length: %d" % (SIZE + 1)),
    "another header's": lengthy(b"X-Content-Length: 3\r\nContent-Length: N"),
    "inside another header": lengthy(b"X-Note: content-length: 3\r\nContent-Length: N"),
    "behind another header's": lengthy(b"Content-Length: N\r\nX-Content-Length: 3"),
    "a name that ends so": lengthy(b"X-Content-Length: N"),
    "chunks as well": lengthy(b"Content-Length: N\r\nTransfer-Encoding: chunked"),
    "chunks before it": lengthy(b"Transfer-Encoding: chunked\r\nContent-Length: N"),
    "chunks that are none": lengthy(b"Transfer-Encoding: chunked"),
    "gzip, chunked": lengthy(b"Transfer-Encoding: gzip, chunked"),
    "the end of the connection": lengthy(b"Content-Length: N\r\nConnection: close"),
    "HTTP/1.0": lengthy(b"Content-Length: N").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": lengthy(b"Content-Length: N").replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/2.0": lengthy(b"Content-Length: N").replace(b"HTTP/1.1", b"HTTP/2.0"),
    "201": lengthy(b"Content-Length: N").replace(b"200 OK", b"201 Created"),
    "204": lengthy(b"Content-Length: N").replace(b"200 OK", b"204 No Content"),
    "304": lengthy(b"Content-Length: N").replace(b"200 OK", b"304 Not Modified"),
    "400": lengthy(b"Content-Length: N").replace(b"200 OK", b"400 Bad Request"),
    "429": lengthy(b"Content-Length: N").replace(b"200 OK", b"429 Too Many"),
    "500": lengthy(b"Content-Length: N").replace(b"200 OK", b"500 No"),
    "a status of four digits": lengthy(b"Content-Length: N").replace(b"200 OK", b"2000 OK"),
    "a status of two digits": lengthy(b"Content-Length: N").replace(b"200 OK", b"20 OK"),
    "no phrase": lengthy(b"Content-Length: N").replace(b"200 OK", b"200"),
    "another type": lengthy(b"Content-Length: N").replace(b"application/json", b"text/html"),
    "events": lengthy(b"Content-Length: N").replace(b"application/json", b"text/event-stream"),
    "gzip": lengthy(b"Content-Length: N\r\nContent-Encoding: gzip"),
    "a folded header": lengthy(b"X: y\r\n z\r\nContent-Length: N"),
    "a bare line feed": lengthy(b"X: y\nZ: z\r\nContent-Length: N"),
    "a bare carriage return": lengthy(b"X: y\rZ: z\r\nContent-Length: N"),
    "a NUL": lengthy(b"X: a\0b\r\nContent-Length: N"),
    "a space before the colon": lengthy(b"Content-Length : N"),
    "no JSON": JSON_HEAD + b"Content-Length: 5\r\n\r\n<html",
    "an error under 200": JSON_HEAD + b'Content-Length: 27\r\n\r\n{"error":{"message":"bad"}}',
    "more than one answer": lengthy(b"Content-Length: N") * 2,
    "line ends before it": b"\r\n\r\n" + lengthy(b"Content-Length: N"),
    "line ends behind it": lengthy(b"Content-Length: N") + b"\r\n",
    "noise behind it": lengthy(b"Content-Length: N") + b"\0\1",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "a head of 64 KiB": lengthy(b"X-Long: " + b"a" * 70_000 + b"\r\nContent-Length: N"),
}
FORGED = lengthy(b"Content-Length: N").replace(b'"x"', b'"F"')


@both_shells
@pytest.mark.parametrize("name", NEAR_MISSES)
async def test_an_answer_is_judged_by_itself_and_not_by_those_before_it(shell: str, name: str) -> None:
    """Whole and cut at every byte, on fresh connections and on warm ones that brought answers very much like it."""
    data, good = NEAR_MISSES[name], NEAR_MISSES["the same"]
    width = 1 if len(data) < 2000 else 1021
    found = []
    for warm in (0, 1, 3):
        for pieces in ([data], [data[place : place + width] for place in range(0, len(data), width)]):
            async with open_memory(shell) as memory:
                for _again in range(warm):
                    assert (await answered(memory, [good], post(chat_body("ask")), ends=False)).body == DOCUMENT
                found.append(await _judged(memory, pieces))
    for other in found[1:]:
        assert other[:-1] == found[0][:-1]
        assert other[-1] == found[0][-1] or name == "line ends behind it"  # in the same read they are nothing


async def _judged(memory: Memory, pieces: Sequence[bytes]) -> tuple[object, ...]:
    """What the client hears, and whether the server's connection may serve again."""
    memory.link.answering = lambda _asked: list(pieces)
    caller = memory.connect()
    heard = await caller.say(post(chat_body("ask")))
    if not heard:  # the server owes something, or the end of the connection
        memory.link.wires[-1].close()
        heard = await caller.say()
    (answer,) = heard
    assert answer.status in {200, 201, 204, 400, 429, 502, 503}, answer
    status, headers, body, whole = answer.told
    return status, headers, body, whole, memory.link.wires[-1].is_closing()


@both_shells
@pytest.mark.parametrize("name", NEAR_MISSES)
async def test_what_a_server_says_unasked_is_no_answer_to_the_next(shell: str, name: str) -> None:
    """A forged answer behind each one, in the same read and in its own: nobody ever gets it."""
    for pieces in ([NEAR_MISSES[name] + FORGED], [NEAR_MISSES[name], FORGED]):
        async with open_memory(shell) as memory:
            memory.link.answering = lambda _asked, pieces=pieces: list(pieces)
            caller = memory.connect()
            heard = await caller.say(post(chat_body("ask")))
            if not heard:
                memory.link.wires[-1].close()
                heard = await caller.say()
            assert b'"F"' not in heard[0].body or FORGED in heard[0].body  # but as a part of a body that has no end
            memory.plane.clock = lambda: 1e12  # a server that asked for time has had it
            memory.link.answering = answer_echo
            assert memory.plane.pool.idle_connections == 0
            (after,) = await memory.connect().say(post(chat_body("after")))
            assert b"after" in after.body, after
            assert b'"F"' not in after.body
            memory.assert_clean()
