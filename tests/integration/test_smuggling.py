"""Does a request that two parsers would read differently ever become two, or reach a model server unparsed?

Each shape is sent to both ways in over real sockets, on a fresh connection and on one that has served before, with a
good request behind it that must never be served. The model server keeps every byte that it gets.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.fakes.house import BOUNDS, House, open_house, server
from tests.fakes.http_shapes import CHAT, H2C, JSON, KEY, SMUGGLED, chat_body, chunked, length, post, raw
from tests.fakes.raw_http import RawConnection, connected
from tests.fakes.smuggling_shapes import REFUSED, SERVED
from tests.fakes.wiretap import TappedServer, tapped

pytestmark = pytest.mark.asyncio(loop_scope="module")

UVICORNS_OWN = b"Invalid HTTP request received."


@dataclass(frozen=True)
class Attacked:
    """A gateway behind one of its ways in."""

    shell: str
    house: House


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[TappedServer]:
    async with tapped() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["door", "asgi"])
async def opened(request: pytest.FixtureRequest, upstream: TappedServer) -> AsyncIterator[Attacked]:
    async with open_house(str(request.param), origins=["https://a.test"]) as house:
        house.install(server("s1", upstream.url))
        yield Attacked(str(request.param), house)


@pytest_asyncio.fixture(loop_scope="module")
async def attacked(opened: Attacked, upstream: TappedServer) -> AsyncIterator[Attacked]:
    """A gateway that serves others, before and after, and leaves nothing behind."""
    async with connected(opened.house.port) as other:
        await served(other, "other, before")
        yield opened
        await served(other, "other, after")
    async with connected(opened.house.port) as fresh:
        await served(fresh, "fresh")
    assert not opened.house.plane.open_exchanges
    assert not [asked for asked in upstream.asked if b"SMUGGLED" in asked.body]
    upstream.assert_clean()


async def served(connection: RawConnection, mark: str) -> None:
    await connection.send(post(chat_body(mark)))
    answer = await connection.answer()
    assert (answer.status, mark in answer.body.decode()) == (200, True), answer


@pytest.mark.parametrize("name", REFUSED)
async def test_what_could_be_two_requests_is_none(attacked: Attacked, upstream: TappedServer, name: str) -> None:
    for warm in (False, True):
        before = len(upstream.asked) + warm
        async with connected(attacked.house.port) as connection:
            if warm:
                await served(connection, "first")
            await connection.send(REFUSED[name] + SMUGGLED)
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (400, True), answer
            if answer.body == UVICORNS_OWN:
                assert attacked.shell == "asgi"
            else:
                assert answer.error["code"] == "invalid_http"
            assert await connection.rest() == b""
        assert len(upstream.asked) == before


@pytest.mark.parametrize("name", SERVED)
async def test_what_is_odd_and_right_is_exactly_one_request(
    attacked: Attacked, upstream: TappedServer, name: str
) -> None:
    before = len(upstream.asked)
    async with connected(attacked.house.port) as connection:
        for _again in range(2):
            await connection.send(SERVED[name])
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (200, False), answer
        await served(connection, "behind")
    assert len(upstream.asked) == before + 3


@pytest.mark.parametrize(
    "trailer",
    [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: other", b"Authorization: Bearer x", b"Expect: y",
     b"Connection: close", b"Upgrade: h2c", b"X-Request-ID: from-a-trailer", b"Via: 1.1 mvg-0123456789abcdef"],
)  # fmt: skip
async def test_a_trailer_changes_nothing_upstream(attacked: Attacked, upstream: TappedServer, trailer: bytes) -> None:
    """The door drops it; uvicorn's own parser may add it to the head, which then is refused if it is ambiguous."""
    before = len(upstream.asked)
    body = chat_body("with a trailer")
    sent = raw(b"POST %b HTTP/1.1" % CHAT, b"Host: a", KEY, b"Transfer-Encoding: chunked",
               body=chunked(body, end=b"0\r\n%b\r\n\r\n" % trailer))  # fmt: skip
    async with connected(attacked.house.port) as connection:
        await connection.send(sent)
        answer = await connection.answer()
        if attacked.shell == "door":
            framing = trailer.startswith((b"Content-Length", b"Transfer-Encoding"))
            assert answer.status == (400 if framing else 200), answer
            assert answer.headers["x-request-id"] != "from-a-trailer"
            if answer.closes:
                assert await connection.rest() == b""
            else:
                await served(connection, "behind")
        else:
            assert answer.status in {200, 400, 401}, answer
    asked = upstream.asked[before:]
    assert all(one.headers["content-length"] == str(len(one.body)) for one in asked)
    assert "transfer-encoding" not in {name for one in asked for name in one.headers}


BODY = SMUGGLED
HIDING = {
    "GET /v1/models": (b"GET /v1/models HTTP/1.1", KEY, 200),
    "HEAD /v1/models": (b"HEAD /v1/models HTTP/1.1", KEY, 200),
    "a model that is not there": (b"GET /v1/models/none HTTP/1.1", KEY, 404),
    "a path that is not there": (b"POST /v1/nowhere HTTP/1.1", KEY, 404),
    "a method that is not there": (b"PUT %b HTTP/1.1" % CHAT, KEY, 405),
    "a preflight": (b"OPTIONS %b HTTP/1.1" % CHAT, b"Origin: https://a.test", 204),
    "no key": (b"POST %b HTTP/1.1" % CHAT, b"X: y", 401),
    "a wrong key": (b"POST %b HTTP/1.1" % CHAT, b"X-API-Key: wrong", 401),
    "no JSON": (b"POST %b HTTP/1.1" % CHAT, KEY, 400),
}


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("apart", [False, True], ids=["in one read", "in two"])
@pytest.mark.parametrize("name", HIDING)
async def test_a_request_inside_a_body_that_nobody_wants_is_no_request(
    attacked: Attacked, upstream: TappedServer, name: str, apart: bool, framing: str
) -> None:
    """An answer that is given before the body was read must not leave the body to be read as a request."""
    before = len(upstream.asked)
    line, header, status = HIDING[name]
    framed = b"Content-Length: %d" % len(BODY) if framing == "length" else b"Transfer-Encoding: chunked"
    head, body = raw(line, b"Host: a", header, framed), BODY if framing == "length" else chunked(BODY)
    async with connected(attacked.house.port) as connection:
        for piece in (head, body) if apart else (head + body,):
            await connection.send(piece)
        answer = await connection.answer(head_only=line.startswith(b"HEAD"))
        assert answer.status == status, answer
        if answer.closes:
            assert await connection.rest() == b""
        else:
            await served(connection, "behind")
        assert len(upstream.asked) == before + (not answer.closes)


@pytest.mark.parametrize(
    "extra", [b"\0", b"x", b"GARBAGE\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 9]
)
async def test_bytes_after_the_end_end_the_connection(attacked: Attacked, upstream: TappedServer, extra: bytes) -> None:
    before = len(upstream.asked)
    async with connected(attacked.house.port) as connection:
        await connection.send(post(chat_body("good")) + extra + b"\r\n\r\n" + SMUGGLED)
        answers = await connection.answers()
    refused = answers[-1]
    assert refused.status == 400 or len(answers) == 1
    assert len(answers) <= 2
    if attacked.shell == "door":
        assert answers[0].status == 200  # behind plain ASGI uvicorn refuses at once, and drops what it had let in
        assert len(upstream.asked) == before + 1


class TestHttp2AsJavaAsksForIt:
    """``java.net.http.HttpClient`` sends its first request to a server so unless it was told ``HTTP_1_1``."""

    @pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
    async def test_with_a_body(self, attacked: Attacked, warm: bool) -> None:
        body = chat_body("java")
        headers = (H2C[0], length(body), b"Host: 127.0.0.1", H2C[2], H2C[1], b"User-Agent: Java-http-client/21", KEY)
        sent = raw(b"POST %b HTTP/1.1" % CHAT, *headers, JSON, body=body)
        async with connected(attacked.house.port) as connection:
            if warm:
                await served(connection, "first")
            await connection.send(sent)
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (400, True)
            assert "HTTP/1.1" in answer.error["message"]
            assert await connection.rest() == b""

    @pytest.mark.parametrize("path", [b"/v1/models", b"/elsewhere"])
    async def test_without_a_body(self, attacked: Attacked, path: bytes) -> None:
        sent = raw(b"GET %b HTTP/1.1" % path, H2C[0], b"Host: 127.0.0.1", H2C[2], H2C[1], KEY)
        async with connected(attacked.house.port) as connection:
            await connection.send(sent)
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (400, True)
            assert "HTTP/1.1" in answer.error["message"]


async def test_no_header_of_a_client_goes_upstream(attacked: Attacked, upstream: TappedServer) -> None:
    """Whatever it is called: what a server gets is written anew, the body alone is the client's."""
    names = (b"Cookie", b"X-Canary", b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"User-Agent", b"Accept",
             b"Accept-Encoding", b"Referer", b"Range", b"TE", b"Trailer", b"Keep-Alive", b"Proxy-Authorization",
             b"X-HTTP-Method-Override", b"X-Original-URL", b"Transfer_Encoding", b"Content_Length",
             b"Max-Forwards")  # fmt: skip
    before = len(upstream.asked)
    body = json.dumps({"model": "m", "messages": ["\r\n\r\nPOST / HTTP/1.1\r\n"]}).encode()
    async with connected(attacked.house.port) as connection:
        for _again in range(2):
            await connection.send(post(body, *[name + b": canary-header" for name in names]))
            assert (await connection.answer()).status == 200
    for asked in upstream.asked[before:]:
        assert b"canary" not in asked.raw
        assert asked.body == body
        assert not set(asked.headers) & {name.decode().lower() for name in names} - {"user-agent", "accept-encoding"}


async def test_the_longest_head_that_is_let_in_is_not_passed_on_either(
    attacked: Attacked, upstream: TappedServer
) -> None:
    before = len(upstream.asked)
    more = [b"X-%d: canary" % number for number in range(BOUNDS.header_count - 5)]
    async with connected(attacked.house.port) as connection:
        await connection.send(post(chat_body("long"), *more))
        assert (await connection.answer()).status == 200
    assert all(b"canary" not in asked.raw for asked in upstream.asked[before:])
