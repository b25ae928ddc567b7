"""What can a model server do to the gateway by the framing of its answers? Nothing: not to this client, nor to another.

Over real sockets, by both ways in: what could be read in two ways is a 502 in the envelope, its connection is closed
and never used again, and what it said unasked is nobody's answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import product

import pytest
import pytest_asyncio

from tests.fakes.hostile_answers import BROKEN, EXCESSIVE
from tests.fakes.house import House, open_house, server, until
from tests.fakes.http_shapes import chat_body, post
from tests.fakes.raw_http import RawAnswer, RawConnection, connected
from tests.fakes.wiretap import Asked, TappedServer, answer_echo, tapped

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHOLE = (b"application/json", b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}')
EVENTS = (
    b"text/event-stream",
    b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
)
BOTH = (False, True)
by_form = pytest.mark.parametrize("stream", BOTH, ids=["whole", "stream"])
by_age = pytest.mark.parametrize("warm", BOTH, ids=["fresh", "warm"])


class Hostile:
    """A server that says ``next_words`` once, and then turns good again."""

    def __init__(self, house: House, upstream: TappedServer) -> None:
        self.house = house
        self.upstream = upstream
        self._rounds = 0
        upstream.answering = self._answering
        self.next_words: Sequence[bytes] = ()

    def _answering(self, asked: Asked) -> Sequence[bytes]:
        words, self.next_words = self.next_words, ()
        return words or answer_echo(asked)

    def register(self) -> None:
        """Forget what happened: under a new name the server has no past and no connection."""
        self._rounds += 1
        self.house.install(server(f"s{self._rounds}", self.upstream.url))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["door", "asgi"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Hostile]:
    async with open_house(str(request.param)) as house, tapped() as upstream:
        yield Hostile(house, upstream)


@pytest_asyncio.fixture(loop_scope="module")
async def hostile(opened: Hostile) -> AsyncIterator[Hostile]:
    opened.register()
    yield opened
    assert not opened.house.plane.open_exchanges
    opened.upstream.assert_clean()


async def ask(connection: RawConnection, mark: str, *, stream: bool = False) -> RawAnswer:
    await connection.send(post(chat_body(mark, stream=stream)))
    return await connection.answer()


async def others_are_served(hostile: Hostile, client: RawConnection) -> None:
    """The client itself, if it may go on, and another one get their own answers, over connections without a past."""
    async with connected(hostile.house.port) as other:
        for connection, mark in ((client, "the same client"), (other, "another client")):
            answer = await ask(connection, mark)
            assert (answer.status, mark in answer.body.decode()) == (200, True), answer
            assert b"FORGED" not in answer.body


async def said(
    hostile: Hostile, words: Sequence[bytes], *, stream: bool, warm: bool, judge: Callable[[RawAnswer], None]
) -> None:
    """Ask, let the server say these words, judge what the client heard, and see that all goes on."""
    async with connected(hostile.house.port) as client:
        if warm:
            assert (await ask(client, "before", stream=stream)).status == 200
        dialled = len(hostile.upstream.taps) + (not warm)
        hostile.next_words = words
        judge(await ask(client, "attack", stream=stream))
        assert len(hostile.upstream.taps) == dialled
        await until(lambda: not hostile.upstream.open)  # it is closed,
        await others_are_served(hostile, client)
        assert len(hostile.upstream.taps) == dialled + 1  # and another one serves


def is_502(answer: RawAnswer) -> None:
    assert (answer.status, answer.error["code"]) == (502, "server_misbehaved"), answer
    assert not answer.closes


@pytest.mark.parametrize("name", BROKEN)
async def test_what_could_be_read_in_two_ways_is_no_answer(hostile: Hostile, name: str) -> None:
    for stream, warm in product(BOTH, BOTH):
        hostile.register()
        words = BROKEN[name](*(EVENTS if stream else WHOLE))
        await said(hostile, [words], stream=stream, warm=warm, judge=is_502)


@by_form
@pytest.mark.parametrize("name", EXCESSIVE)
async def test_what_comes_behind_an_answer_is_nobodys(hostile: Hostile, name: str, stream: bool) -> None:
    def is_the_answer(answer: RawAnswer) -> None:
        assert (answer.status, answer.body) == (200, (EVENTS if stream else WHOLE)[1])

    words = EXCESSIVE[name](*(EVENTS if stream else WHOLE))
    for warm in BOTH:
        hostile.register()
        await said(hostile, [words], stream=stream, warm=warm, judge=is_the_answer)


@by_age
@pytest.mark.parametrize(
    "fault",
    [b"zz\r\n", b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5 \r\n", b"5\nhello\r\n", b"5\r\nhelloX\r\n", b"\r\n",
     b"-1\r\n", b"1" + b"0" * 17 + b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"5;a\nb\r\nhello\r\n", b"\xb2\r\nab\r\n"],
)  # fmt: skip
async def test_a_stream_that_loses_its_framing_ends_in_an_error_event(
    hostile: Hostile, warm: bool, fault: bytes
) -> None:
    """The good events before the fault are the client's; nothing of what comes behind it is."""
    kind, _body = EVENTS
    event = b'data: {"choices":[{"index":0,"delta":{"content":"good"},"finish_reason":null}]}\n\n'
    begin = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind
    words = [begin + b"%x\r\n%b\r\n" % (len(event), event) + fault + b'data: {"FORGED":1}\n\n\r\n0\r\n\r\n']

    def ends_in_an_error(answer: RawAnswer) -> None:
        """In one read with the fault, the first event may have been held back yet: then it is a 502."""
        if answer.status != 200:
            is_502(answer)
            return
        *events, last, rest = answer.body.split(b"\n\n")
        assert rest == b""
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "server_misbehaved"
        assert [one + b"\n\n" for one in events] in ([event], [])

    await said(hostile, words, stream=True, warm=warm, judge=ends_in_an_error)


@by_form
@by_age
@pytest.mark.parametrize("keep", [1, 20, 60, -1], ids=["a byte", "half a head", "a head", "all but a byte"])
async def test_an_answer_that_breaks_off_is_no_answer(hostile: Hostile, warm: bool, stream: bool, keep: int) -> None:
    kind, body = EVENTS if stream else WHOLE
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body) + 9, body)
    async with connected(hostile.house.port) as client:
        if warm:
            assert (await ask(client, "before", stream=stream)).status == 200
        hostile.next_words = [whole[:keep]]
        await client.send(post(chat_body("attack", stream=stream)))
        await until(lambda: not hostile.next_words)
        hostile.upstream.transports[-1].close()
        answer = await client.answer()
        if stream and keep == -1:  # all its events had come
            assert (answer.status, b"error" in answer.body) == (200, False)
        else:
            is_502(answer)
        await others_are_served(hostile, client)


@by_form
async def test_an_answer_that_nobody_asked_for_is_nobodys(hostile: Hostile, stream: bool) -> None:
    """Said into an idle connection, before the next request is written to it."""
    forged = EXCESSIVE["another answer"](*(EVENTS if stream else WHOLE)).replace(b'"x"', b'"FORGED"')
    async with connected(hostile.house.port) as client:
        assert (await ask(client, "before", stream=stream)).status == 200
        hostile.upstream.transports[-1].write(forged)
        await until(lambda: not hostile.upstream.open)
        await others_are_served(hostile, client)


async def test_a_broken_server_is_left_for_a_good_one(hostile: Hostile) -> None:
    """Nothing of the broken answer was sent, so another server may make it anew, unseen."""
    async with tapped() as good, connected(hostile.house.port) as client:
        hostile.house.plane.random = iter([0.0, 0.0] * 50).__next__
        for name in ("CL.TE", "two lengths", "a chunk size with 0x", "HTTP/0.9"):
            hostile.house.install(server("bad", hostile.upstream.url), server("good", good.url))
            hostile.next_words = [BROKEN[name](*WHOLE)]
            answer = await ask(client, name)
            assert (answer.status, name in answer.body.decode()) == (200, True), answer
            hostile.next_words = ()
            hostile.house.install()
        good.assert_clean()
