"""What looks like a known head, a whole request or a whole chunk, and is none: a part of something else.

Reads are cut so that such a part comes exactly by itself. It must be read as what it is, whatever was read before.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.fakes.http_shapes import CHAT, HOST, JSON, KEY, chat_body, chunked, length, post, raw
from tests.fakes.memory_wires import Caller, Memory, open_memory
from tests.fakes.read_answers import Answer

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
BODY = chat_body("the same")
GOOD = post(BODY)
LINE = b"POST %b HTTP/1.1" % CHAT
LAYOUTS = {
    "length last": GOOD,
    "length first": raw(LINE, length(BODY), HOST, KEY, JSON, body=BODY),
    "length in the middle": raw(LINE, HOST, length(BODY), KEY, b"X-Last: 1", body=BODY),
}


@pytest.fixture(params=["door", "asgi"])
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Memory]:
    async with open_memory(str(request.param)) as opened:
        yield opened


async def warm(memory: Memory, data: bytes = GOOD) -> Caller:
    """A connection that has served the same twice."""
    caller = memory.connect()
    for _again in range(2):
        assert [answer.status for answer in await caller.say(data)] == [200]
    return caller


def statuses(answers: Sequence[Answer]) -> list[int]:
    return [answer.status for answer in answers]


@pytest.mark.parametrize("new", [b"\0", b" ", b"\n", b":", b"~", b"1"])
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_every_byte_of_a_head_counts(memory: Memory, layout: str, new: bytes) -> None:
    """One byte of a known head is another one: it is answered as it is on a connection of its own, cut in two."""
    data = LAYOUTS[layout]
    for place in range(data.index(b"\r\n\r\n") + 4):
        if data[place : place + 1] == new:
            continue
        other = data[:place] + new + data[place + 1 :]
        found = []
        for caller, pieces in (
            (await warm(memory, data), [other]),
            (memory.connect(), [other[: place + 1], other[place + 1 :]]),
        ):
            before = len(memory.asked)
            answers = await caller.say(*pieces)
            bodies = [asked.body for asked in memory.asked[before:]]
            found.append((statuses(answers)[:1], bodies))
            caller.wire.abort()
        assert found[0] == found[1], other
    memory.assert_clean()


@pytest.mark.parametrize("name", [b"X-Content-Length", b"Not-Content-Length", b"X: Content-Length"])
@pytest.mark.parametrize("front", [True, False])
async def test_a_number_that_only_looks_like_the_length(memory: Memory, name: bytes, front: bool) -> None:
    """It is the same as the length once, and another one then: the length alone counts."""

    def made(number: int, body: bytes) -> bytes:
        fake = b"%b: %d" % (name, number)
        return raw(LINE, HOST, KEY, *((fake, length(BODY)) if front else (length(BODY), fake)), body=body)

    caller = await warm(memory, made(len(BODY), BODY))
    answers = await caller.say(made(len(BODY) + 7, BODY + b" " * 7))
    assert statuses(answers) in ([200, 400], [200], [400])  # the good one may be dropped by uvicorn's own parser
    assert {asked.body for asked in memory.asked} == {BODY}
    caller = await warm(memory, made(len(BODY), BODY))
    assert statuses(await caller.say(made(len(BODY) - 7, BODY))) == [200]
    assert memory.asked[-1].body == BODY


async def test_a_request_in_the_value_of_a_header(memory: Memory) -> None:
    caller = await warm(memory)
    before = len(memory.asked)
    begun = raw(b"POST %b HTTP/1.1" % CHAT, HOST, b"X-Value: ").removesuffix(b"\r\n\r\n")
    assert await caller.say(begun) == []
    assert statuses(await caller.say(GOOD)) == [400]  # two hosts
    assert len(memory.asked) == before


@pytest.mark.parametrize(
    ("line", "key", "status"),
    [(LINE, KEY, 400), (LINE, b"X: y", 401), (b"GET /v1/models HTTP/1.1", KEY, 200),
     (b"POST /v1/nowhere HTTP/1.1", KEY, 404), (b"POST /elsewhere HTTP/1.1", KEY, 200),
     (b"POST /early HTTP/1.1", KEY, 200)],
)  # fmt: skip
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_request_in_the_body_of_another(
    memory: Memory, line: bytes, key: bytes, status: int, in_chunks: bool
) -> None:
    """Whether that one is answered at once, at its end, or by an application that never reads its body."""
    caller = await warm(memory)
    before = len(memory.asked)
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: %d" % (2 * len(GOOD))
    start = b"%x\r\n" % (2 * len(GOOD)) if in_chunks else b""
    end = b"\r\n0\r\n\r\n" if in_chunks else b""
    answers = await caller.say(raw(line, HOST, key, framing), start, GOOD)
    answers += await caller.say(GOOD)
    answers += await caller.say(end)
    assert statuses(answers) == [status]
    assert len(memory.asked) == before
    if not caller.closed:
        assert statuses(await caller.say(GOOD)) == [200]


async def test_a_request_in_a_trailer(memory: Memory) -> None:
    caller = await warm(memory)
    before = len(memory.asked)
    begun = raw(LINE, HOST, KEY, b"Transfer-Encoding: chunked", body=chunked(BODY, end=b"0\r\nX-Value: "))
    assert await caller.say(begun) == []
    assert statuses(await caller.say(GOOD)) in ([200], [400])
    assert len(memory.asked) <= before + 1


UNIT = b"6\r\n,4444,\r\n"
"""A whole chunk, and, again and again, a part of a JSON array too: white space may be CRLF."""
DOCUMENT = b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],"x":[' + UNIT * 8 + b"1]}"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\r\n\r\n'
STREAM = EVENT + b"6\r\n: aaaa\r\n" * 8 + b"\r\n" + b"data: [DONE]\r\n\r\n"
FIRST = b"6\r\n: aaaa\r\n" * 3 + EVENT + b"data: [DONE]\r\n\r\n"
"""The same at the very front: lines of the first event that mean nothing to it."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n"


def apart(data: bytes, sign: bytes) -> list[bytes]:
    """Reads that each begin where the sign stands."""
    first, *rest = data.split(sign)
    return [first, *[sign + piece for piece in rest]]


async def heard(memory: Memory, pieces: Sequence[bytes], *, stream: bool) -> bytes:
    memory.link.answering = lambda _asked: list(pieces)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    (answer,) = await memory.connect().say(post(chat_body("ask", stream=stream, **options)))
    assert (answer.status, answer.whole) == (200, True)
    return answer.body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("before", [0, 1, 2, 11, 40])
async def test_a_chunk_inside_a_chunk(memory: Memory, stream: bool, before: int) -> None:
    """After so many bytes in a chunk of their own, all else is one chunk whose data looks like many."""
    body, kind = (STREAM, b"text/event-stream") if stream else (DOCUMENT, b"application/json")
    head = HEAD % (kind, b"Transfer-Encoding: chunked")
    first = b"%x\r\n%b\r\n" % (before, body[:before]) if before else b""
    rest = b"%x\r\n%b\r\n" % (len(body) - before, body[before:])
    for joined in ([head + first], [head, first], [head + first + rest[:20]]):
        left = rest[20:] if joined[-1].endswith(rest[:20]) else rest
        for sign in (b"6\r\n", b"6\r", b"\r\n", b"\n"):
            pieces = [*joined, *apart(left, sign), b"0\r\n\r\n"]
            assert await heard(memory, pieces, stream=stream) == body, pieces


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("sign", [b"6\r\n", b"6\r", b"\r\n", b"\n"])
async def test_a_chunk_where_there_are_none(memory: Memory, stream: bool, sign: bytes) -> None:
    """What is framed by its length, or by the end of the connection, has no chunks whatever it looks like."""
    body, kind = (STREAM, b"text/event-stream") if stream else (DOCUMENT, b"application/json")
    head = HEAD % (kind, b"Content-Length: %d" % len(body))
    for pieces in ([head, *apart(body, sign)], [head + body[:1], *apart(body[1:], sign)]):
        for _again in range(2):
            assert await heard(memory, pieces, stream=stream) == body
    memory.link.answering = lambda _asked: [HEAD % (kind, b"Connection: close"), *apart(body, sign)]
    caller = memory.connect()
    await caller.say(post(chat_body("ask", stream=stream, stream_options={"include_usage": True})))
    memory.link.wires[-1].close()
    await caller.say()
    assert body in caller.wire.sent or stream  # a stream is passed on piece by piece
    assert not stream or caller.wire.sent.count(b": aaaa") == 8


async def test_a_body_that_begins_like_chunks(memory: Memory) -> None:
    for framing in (b"Content-Length: %d" % len(FIRST), b"Transfer-Encoding: chunked"):
        in_chunks = framing.startswith(b"T")
        start, end = (b"%x\r\n" % len(FIRST), [b"\r\n0\r\n\r\n"]) if in_chunks else (b"", [])
        head = HEAD % (b"text/event-stream", framing)
        for begun in ([head, start], [head + start]):
            pieces = [*begun, *apart(FIRST, b"6\r\n"), *end]
            for _again in range(2):
                assert await heard(memory, pieces, stream=True) == FIRST


async def test_a_whole_answer_inside_an_answer(memory: Memory) -> None:
    """A body that holds what the server said before, head and all, and comes exactly so in one read."""
    inner = b'{"choices":[{"index":0,"message":{"content":"inner"},"finish_reason":"stop"}]}'
    known = HEAD % (b"application/json", b"Content-Length: %d" % len(inner)) + inner
    for _again in range(2):
        assert await heard(memory, [known], stream=False) == inner
    memory.link.answering = lambda _asked: []
    outer = json.dumps({"choices": [], "x": "y"}).encode()[:-1] + b',"z":"'
    caller = memory.connect()
    await caller.say(post(chat_body("ask")))
    whole = HEAD % (b"application/json", b"Content-Length: %d" % (len(outer) + len(known) + 2)) + outer
    memory.link.wires[-1].deliver(whole, known, b'"}')
    (answer,) = await caller.say()
    assert answer.status == 502  # no JSON: its strings hold line ends
    assert b"inner" not in answer.body


async def test_an_answer_in_two_reads_of_which_one_looks_like_all_of_it(memory: Memory) -> None:
    """After the head alone, a read that begins with a known head is the body."""
    known = HEAD % (b"application/json", b"Content-Length: %d" % len(DOCUMENT)) + DOCUMENT
    for _again in range(2):
        assert await heard(memory, [known], stream=False) == DOCUMENT
    head = HEAD % (b"application/json", b"Content-Length: %d" % len(known))
    memory.link.answering = lambda _asked: [head, known]
    (answer,) = await memory.connect().say(post(chat_body("ask")))
    assert answer.status == 502
