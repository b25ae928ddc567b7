"""What becomes of HTTP that is spoken badly, ambiguously, slowly or not at all?

Every shape is sent as bytes to both ways in. Where a request's end could be read in two ways the connection ends with
the answer; nothing behind it is ever taken for a request. Behind the plain ASGI way in stands uvicorn's own parser:
what it can't read it refuses in its own words, before the gateway hears of it. The door refuses in the envelope.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS, GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import RawAnswer, connected, exchange, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT, REGISTER = "/v1/chat/completions", "/admin/register"
KEY = ("Authorization", f"Bearer {ADMIN_KEY}")
JSON = ("Content-Type", "application/json")
GOOD = {CHAT: b'{"model":"m","messages":[]}', REGISTER: b'{"endpoint_url":"http://127.0.0.1:1"}'}
STATUS = {CHAT: 200, REGISTER: 503}
"""What the good request at each path is answered with: nobody listens on port 1."""
CODING = "Transfer-Encoding"
SMUGGLED = b"GET /admin/servers HTTP/1.1\r\nHost: smuggled\r\nX-API-Key: " + ADMIN_KEY.encode() + b"\r\n\r\n"


def post(path: str, *headers: tuple[str, str], version: str = "HTTP/1.1", host: str | None = "gateway.test") -> bytes:
    """The good request for a path."""
    return request("POST", path, (KEY, JSON, *headers), GOOD[path], version=version, host=host)


def head(path: str, *headers: tuple[str, str], version: str = "HTTP/1.1") -> bytes:
    """The head of a request whose framing is up to ``headers``."""
    return request("POST", path, (KEY, JSON, *headers), version=version)


def chunks(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"%x\r\n%b\r\n%b" % (len(body), body, end)


def shapes(path: str) -> dict[str, bytes]:
    """Requests that parsers could read in different ways, or that are none; each with another one in its wake."""
    body, coded = GOOD[path], chunks(GOOD[path])
    size = str(len(body))
    chunked = (CODING, "chunked")
    upgrade = (
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
    )
    found = {
        "length, then chunks": head(path, ("Content-Length", "4"), chunked) + coded,
        "chunks, then length": head(path, chunked, ("Content-Length", "4")) + coded,
        "chunks that hide a request": head(path, chunked, ("Content-Length", "5")) + b"0\r\n\r\n",
        "two lengths": post(path, ("Content-Length", "3")),
        "one length twice": post(path, ("Content-Length", size)),
        "a list of lengths": head(path, ("Content-Length", f"{size}, {size}")) + body,
        "a negative length": head(path, ("Content-Length", "-5")) + body,
        "a signed length": head(path, ("Content-Length", f"+{size}")) + body,
        "a hexadecimal length": head(path, ("Content-Length", hex(len(body)))) + body,
        "a length with an underscore": head(path, ("Content-Length", "2_8")) + body,
        "an empty length": head(path, ("Content-Length", "")) + body,
        "a length beyond 64 bits": head(path, ("Content-Length", str(2**64 + len(body)))) + body,
        "a length without end": head(path, ("Content-Length", "9" * 60)) + body,
        "two hosts": post(path, ("Host", "gateway.test")),
        "no host": post(path, host=None),
        "a host that is none": post(path, host="gateway.test/admin?"),
        "a host with userinfo": post(path, host="admin@gateway.test"),
        "a host with a space": post(path, host="gateway.test other"),
        "gzip, chunked": head(path, (CODING, "gzip, chunked")) + coded,
        "chunked, gzip": head(path, (CODING, "chunked, gzip")) + coded,
        "identity": head(path, (CODING, "identity")) + coded,
        "an unknown coding": head(path, (CODING, "xchunked")) + coded,
        "chunked twice": head(path, chunked, chunked) + coded,
        "chunked in a list twice": head(path, (CODING, "chunked, chunked")) + coded,
        "a vertical tab before chunked": head(path, (CODING, "\x0bchunked")) + coded,
        "a space before the colon": head(path)[:-2] + b"Transfer-Encoding : chunked\r\n\r\n" + coded,
        "chunks in HTTP/1.0": head(path, chunked, version="HTTP/1.0") + coded,
        "a chunk size with 0x": head(path, chunked) + b"0x" + coded,
        "a negative chunk size": head(path, chunked) + b"-" + coded,
        "a signed chunk size": head(path, chunked) + b"+" + coded,
        "a chunk size with a space": head(path, chunked) + b" " + coded,
        "a chunk size beyond 64 bits": head(path, chunked) + b"f" * 20 + b"\r\n" + body,
        "no chunk size": head(path, chunked) + b"\r\n" + body + b"\r\n0\r\n\r\n",
        "a chunk longer than said": head(path, chunked) + b"%x\r\n%bX\r\n0\r\n\r\n" % (len(body), body),
        "chunks with bare line feeds": head(path, chunked) + coded.replace(b"\r\n", b"\n"),
        "bare line feeds": post(path).replace(b"\r\n", b"\n"),
        "bare carriage returns": post(path).replace(b"\r\n", b"\r"),
        "a folded header": post(path, ("X-Folded", "one\r\n two")),
        "a header that begins with a space": head(path)[:-2] + b" X-Spaced: 1\r\n\r\n",
        "a header without a colon": head(path)[:-2] + b"X-Nothing\r\n\r\n",
        "a header without a name": post(path, ("", "nameless")),
        "a name with a space": post(path, ("X Spaced", "1")),
        "a name with NUL": post(path, ("X\0Nul", "1")),
        "a value with NUL": post(path, ("X-Nul", "a\0b")),
        "a value with a bare carriage return": post(path, ("X-Return", "a\rb")),
        "HTTP/0.9": b"GET /v1/models\r\n\r\n",
        "HTTP/1.2": post(path, version="HTTP/1.2"),
        "HTTP/2.0": post(path, version="HTTP/2.0"),
        "HTTP/9.9": post(path, version="HTTP/9.9"),
        "HTTP in small letters": post(path, version="http/1.1"),
        "no version": post(path, version=""),
        "HTTP/2 from the start": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        "an upgrade to HTTP/2 with a body": post(path, *upgrade),
        "an upgrade to a socket with a body": post(path, ("Connection", "Upgrade"), ("Upgrade", "websocket")),
        "an upgrade to anything": post(path, ("Connection", "keep-alive, upgrade"), ("Upgrade", "TLS/1.0")),
        "CONNECT": request("CONNECT", "metadata.test:80", [KEY]),
        "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(100),
        "a method nobody has": request("GIVE", path, [KEY]),
        "a method in small letters": request("get", "/health"),
        "a method with NUL": b"GE\0" + request("T", "/health"),
        "a target with NUL": request("GET", "/health\0", [KEY]),
        "a target with a space": request("GET", "/health /x", [KEY]),
        "a target of eight bits": request("GET", "/health\xff", [KEY]),
        "a target of nothing": request("GET", "", [KEY]),
        "a target without a path": request("GET", "http://gateway.test", [KEY]),
        "a target without a host": request("GET", "http:///health", [KEY]),
        "a target with a port beyond ports": request("GET", "http://gateway.test:99999/health", [KEY]),
        "a target that is no path": request("GET", "health", [KEY]),
        "a space before it all": b" " + post(path),
        "nothing but noise": bytes(range(128, 256)),
    }
    return {name: shape + SMUGGLED for name, shape in found.items()}


OURS_TO_REFUSE = {
    "two hosts", "no host", "a host that is none", "a host with userinfo", "a host with a space", "gzip, chunked",
    "chunks in HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "an upgrade to HTTP/2 with a body",
    "an upgrade to a socket with a body", "an upgrade to anything",
}  # fmt: skip
"""Shapes that uvicorn's parser lets through: the gateway refuses them behind plain ASGI too."""

SOUND = {
    "chunks": lambda path: head(path, (CODING, "chunked")) + chunks(GOOD[path]),
    "chunks in other case": lambda path: head(path, (CODING, "CHUNKED")) + chunks(GOOD[path]),
    "a tab before chunked": lambda path: head(path, (CODING, "\tchunked")) + chunks(GOOD[path]),
    "chunks with extensions": lambda path: (
        head(path, (CODING, "chunked")) + chunks(GOOD[path]).replace(b"\r\n", b';a="b"\r\n', 1)
    ),
    "chunks with trailers": lambda path: (
        head(path, (CODING, "chunked")) + chunks(GOOD[path], b"0\r\nX-Trailer: 1\r\n\r\n")
    ),
    "line breaks before it": lambda path: b"\r\n\r\n" + post(path),
    "a line break after it": lambda path: post(path) + b"\r\n",
    "an absolute target": lambda path: request("POST", f"http://gateway.test{path}", (KEY, JSON), GOOD[path]),
    "a query": lambda path: request("POST", f"{path}?a=b&c", (KEY, JSON), GOOD[path]),
    "an empty host": lambda path: post(path, host=""),
    "a host with a port": lambda path: post(path, host="[::1]:8000"),
    "an upgrade that is not meant for us": lambda path: post(path, ("Upgrade", "h2c")),
    "an expectation nobody has": lambda path: post(path, ("Expect", "miracles")),
    "eight bits in a header": lambda path: post(path, ("X-Name", "\xe9\xff")),
}
"""Unusual, and right."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[FakeModelServer]:
    async with serving(FakeModelServer()) as (started,):
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("bad-http")) as opened:
        assert (await opened.register(server.url)).status_code == 201
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(server: FakeModelServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    """A gateway that gives nobody much time."""
    hurry = {"header_timeout_seconds": 0.3, "body_timeout_seconds": 0.3}
    async with open_in_process(tmp_path_factory.mktemp("hasty"), **hurry) as opened:
        assert (await opened.register(server.url)).status_code == 201
        yield opened


async def well(gateway: GatewayInProcess) -> None:
    """The gateway serves on both ways in, and nothing is left of what was."""
    for shell in SHELLS:
        assert (await exchange(gateway.ports[shell], request("GET", "/health"))).status == 200
        assert (await exchange(gateway.ports[shell], post(CHAT))).status == 200
    assert not gateway.app.state.plane.open_exchanges


@pytest_asyncio.fixture(loop_scope="module")
async def port(gateway: GatewayInProcess, shell: str) -> AsyncIterator[int]:
    logged = len(gateway.log)
    yield gateway.ports[shell]
    await well(gateway)
    assert "ERROR" not in gateway.log[logged:]


@pytest.mark.parametrize("path", [CHAT, REGISTER])
@pytest.mark.parametrize("name", shapes(CHAT))
async def test_what_could_be_read_in_two_ways_is_refused(
    port: int, shell: str, server: FakeModelServer, path: str, name: str
) -> None:
    served = len(server.inference)
    async with connected(port) as connection:
        await connection.send(shapes(path)[name])
        answer = await connection.answer()
        assert answer.status == 400
        assert answer.closes
        if shell == "door" or name in OURS_TO_REFUSE:
            assert answer.error["code"] == "invalid_http"
        else:
            assert answer.body == b"Invalid HTTP request received."
        assert await connection.rest() == b""  # what followed was no request
    assert len(server.inference) == served


@pytest.mark.parametrize("path", [CHAT, REGISTER])
@pytest.mark.parametrize("name", SOUND)
async def test_what_is_unusual_and_right_is_served(port: int, path: str, name: str) -> None:
    async with connected(port) as connection:
        for _again in range(2):
            await connection.send(SOUND[name](path))
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (STATUS[path], False), answer.body


@pytest.mark.parametrize("path", [CHAT, REGISTER])
async def test_h2c_is_told_what_is_spoken(port: int, path: str) -> None:
    """Java's client asks for HTTP/2 so by default, with a body behind it."""
    answer = await exchange(port, shapes(path)["an upgrade to HTTP/2 with a body"])
    assert "HTTP/1.1" in answer.error["message"]


async def test_a_trailer_is_no_header(gateway: GatewayInProcess) -> None:
    """The door judges who is asking, and what, by the head alone; uvicorn's own parser adds what comes after."""
    for path in (CHAT, REGISTER):
        trailer = b"0\r\nX-API-Key: %b\r\nHost: other\r\n\r\n" % ADMIN_KEY.encode()
        for key, status in ((), 401), ((KEY,), STATUS[path]):
            sent = request("POST", path, (*key, JSON, (CODING, "chunked"))) + chunks(GOOD[path], trailer)
            assert (await exchange(gateway.ports["door"], sent)).status == status


async def test_a_body_in_tiny_chunks_is_one_body(port: int, server: FakeModelServer) -> None:
    body = b'{"model":"m","messages":[' + b",".join(b"%d" % number for number in range(20_000)) + b"]}"
    tiny = b"".join(b"2\r\n%b\r\n" % body[place : place + 2] for place in range(0, len(body) - 1, 2))
    tiny += b"1\r\n%b\r\n" % body[-1:] if len(body) % 2 else b""
    answer = await exchange(port, head(CHAT, (CODING, "chunked")) + tiny + b"0\r\n\r\n")
    assert answer.status == 200
    assert server.inference[-1].body == body


class TestOldAndOther:
    @pytest.mark.parametrize("path", [CHAT, REGISTER])
    @pytest.mark.parametrize("headers", [(), (("Connection", "keep-alive"),)])
    async def test_http_1_0_is_served_once(self, port: int, path: str, headers: tuple[tuple[str, str], ...]) -> None:
        async with connected(port) as connection:
            await connection.send(post(path, *headers, version="HTTP/1.0", host=None))
            answer = await connection.answer()
            assert (answer.status, answer.closes) == (STATUS[path], True)
            assert await connection.rest() == b""

    async def test_a_stream_in_http_1_0_ends_with_the_connection(self, port: int) -> None:
        body = b'{"model":"m","stream":true}'
        async with connected(port) as connection:
            await connection.send(request("POST", CHAT, (KEY, JSON), body, version="HTTP/1.0"))
            answer = await connection.answer()
        assert answer.headers.get("content-length") is None
        assert answer.body.endswith(b"data: [DONE]\n\n")

    @pytest.mark.parametrize(
        ("target", "status"),
        [("/health", 200), ("/v1/models", 200), ("/admin/servers", 200), ("/nothing", 404), (CHAT, 405)],
    )
    async def test_head_has_the_headers_and_no_body(self, port: int, target: str, status: int) -> None:
        async with connected(port) as connection:
            await connection.send(request("HEAD", target, [KEY]) + request("GET", "/health"))
            answer = await connection.answer(head_only=True)
            assert answer.status == status
            assert int(answer.headers["content-length"]) > 0
            assert (await connection.answer()).json["status"] == "healthy"

    @pytest.mark.parametrize("target", ["*", CHAT, REGISTER, "/", "/nothing"])
    async def test_options_without_cors_allow_no_origin(self, port: int, target: str) -> None:
        asked = (KEY, ("Origin", "https://elsewhere.test"), ("Access-Control-Request-Method", "POST"))
        answer = await exchange(port, request("OPTIONS", target, asked))
        assert answer.status in {204, 404, 405}
        assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "PATCH", "DELETE", "SEARCH"])
    @pytest.mark.parametrize("target", [CHAT, "/v1/models", "/health"])
    async def test_another_method_is_told_which_there_are(self, port: int, method: str, target: str) -> None:
        answer = await exchange(port, request(method, target, [KEY]))
        assert answer.status == 405
        assert answer.error["code"] == "method_not_allowed"
        assert set(answer.headers["allow"].split(", ")) & {"GET", "POST"}

    async def test_a_socket_is_not_offered(self, port: int) -> None:
        wish = (KEY, ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))  # fmt: skip
        for target in ("/health", "/v1/models", "/admin/servers"):
            answer = await exchange(port, request("GET", target, wish))
            assert answer.status in {200, 400}
            assert "upgrade" not in answer.headers


HEALTH = request("GET", "/health")
MODELS = request("GET", "/v1/models", [KEY])
LIST = request("GET", "/admin/servers", [KEY])
NOWHERE = request("GET", "/v1/nowhere", [KEY])
TWO_HOSTS = request("GET", "/health", [("Host", "other")])
CHATS = post(CHAT)
REGISTERS = post(REGISTER)


class TestPipelining:
    @pytest.mark.parametrize(
        "sent",
        [[HEALTH, HEALTH], [CHATS, CHATS], [CHATS, HEALTH], [HEALTH, CHATS], [MODELS, CHATS, HEALTH, LIST, REGISTERS],
         [NOWHERE, MODELS], [REGISTERS, CHATS, REGISTERS], [CHATS, HEALTH, MODELS] * 20],
        ids=["health", "chat", "chat first", "chat last", "all kinds", "a refusal first", "slow ones", "sixty"],
    )  # fmt: skip
    async def test_good_ones_are_answered_in_order(self, port: int, sent: list[bytes]) -> None:
        expected = {HEALTH: b'"healthy"', CHATS: b'"chat.completion"', MODELS: b'"list"', LIST: b'"servers"',
                    NOWHERE: b"unknown_path", REGISTERS: b"server_unreachable"}  # fmt: skip
        async with connected(port) as connection:
            await connection.send(b"".join(sent))
            for one in sent:
                answer = await connection.answer()
                assert expected[one] in answer.body

    @pytest.mark.parametrize("good", [HEALTH, CHATS, MODELS, REGISTERS, HEALTH + CHATS, CHATS + HEALTH])
    @pytest.mark.parametrize("bad", [TWO_HOSTS, head(REGISTER, ("Upgrade", "h2c"), ("Connection", "upgrade"))])
    async def test_a_bad_one_does_not_spoil_a_good_one(self, port: int, good: bytes, bad: bytes) -> None:
        """The good ones before it are answered first; the bad one is refused, or the connection ends. Nothing after."""
        async with connected(port) as connection:
            await connection.send(good + bad + SMUGGLED)
            answers = await connection.answers()
        count = good.count(b"HTTP/1.1\r\n")
        assert [answer.status for answer in answers[:count]] == [503 if good == REGISTERS else 200] * count
        assert [answer.status for answer in answers[count:]] in ([], [400])
        assert answers[-1].closes or len(answers) == count

    @pytest.mark.parametrize("good", [HEALTH, CHATS, MODELS, REGISTERS, HEALTH + CHATS, CHATS + HEALTH])
    @pytest.mark.parametrize("noise", [b"\0\1\2\r\n\r\n", head(CHAT, (CODING, "gzip, chunked"))])
    async def test_at_the_door_noise_does_not_spoil_a_good_one(
        self, gateway: GatewayInProcess, good: bytes, noise: bytes
    ) -> None:
        async with connected(gateway.ports["door"]) as connection:
            await connection.send(good + noise + SMUGGLED)
            answers = await connection.answers()
        count = good.count(b"HTTP/1.1\r\n")
        assert [answer.status for answer in answers[:count]] == [503 if good == REGISTERS else 200] * count
        assert [answer.status for answer in answers[count:]] in ([], [400])
        await well(gateway)

    async def test_a_stream_is_finished_before_the_connection_of_a_bad_one_ends(
        self, hasty: GatewayInProcess, server: FakeModelServer
    ) -> None:
        """However long it takes: the deadline of what came after it is none of its own."""
        server.gate = asyncio.Event()
        body = b'{"model":"m","stream":true}'
        async with connected(hasty.ports["door"]) as connection:
            await connection.send(request("POST", CHAT, (KEY, JSON), body) + TWO_HOSTS)
            plane = hasty.app.state.plane
            await until(lambda: plane.open_exchanges, "the stream runs")
            for _turn in range(100):
                plane.tick()
            server.gate.set()
            server.gate = None
            answer = await connection.answer()
            assert answer.status == 200
            assert answer.body.endswith(b"data: [DONE]\n\n")
            assert await connection.rest() == b""


PARTS = {
    "half a request line": b"POST /v1/chat",
    "half a head": CHATS[:60],
    "half a head of another route": REGISTERS[:60],
    "half a body": CHATS[:-5],
    "half a body of another route": REGISTERS[:-5],
    "half a chunk": head(CHAT, (CODING, "chunked")) + b"ff\r\n{",
    "half a chunk of another route": head(REGISTER, (CODING, "chunked")) + b"ff\r\n{",
    "a body for a refusal": request("POST", CHAT, [("Content-Length", "500")]) + b"{",
}


class TestSlowAndGone:
    @pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
    async def test_the_door_waits_so_long_and_no_longer(self, hasty: GatewayInProcess, part: bytes) -> None:
        async with connected(hasty.ports["door"]) as connection:
            await connection.send(part)
            answers = await connection.answers()
        assert [answer.status for answer in answers] == [401 if b"Content-Length: 500" in part else 408]
        assert b"Content-Length: 500" in part or answers[0].error["code"] == "request_timeout"
        await until(lambda: not hasty.app.state.plane.waiting, "the connection is gone")
        await well(hasty)

    @pytest.mark.parametrize("first", [HEALTH, CHATS])
    @pytest.mark.parametrize("part", [CHATS[:60], CHATS[:-5], REGISTERS[:-5]])
    async def test_the_second_request_of_a_connection_has_a_deadline_too(
        self, hasty: GatewayInProcess, first: bytes, part: bytes
    ) -> None:
        async with connected(hasty.ports["door"]) as connection:
            await connection.send(first + part)
            answers = await connection.answers()
        assert [answer.status for answer in answers] == [200, 408]

    @pytest.mark.parametrize("part", [CHATS[:-5], REGISTERS[:-5]])
    async def test_behind_plain_asgi_bodies_have_a_deadline(self, hasty: GatewayInProcess, part: bytes) -> None:
        async with connected(hasty.ports["asgi"]) as connection:
            await connection.send(part)
            answer = await connection.answer()
            assert (answer.status, answer.error["code"], answer.closes) == (408, "request_timeout", True)
            assert await connection.rest() == b""

    async def test_a_slow_but_steady_client_is_served(self, port: int) -> None:
        async with connected(port) as connection:
            for octet in CHATS:
                await connection.send(bytes([octet]))
            assert (await connection.answer()).status == 200

    @pytest.mark.parametrize("part", [b"", *PARTS.values()], ids=["nothing", *PARTS])
    @pytest.mark.parametrize("politely", [True, False])
    async def test_a_client_that_leaves_leaves_nothing_behind(
        self, gateway: GatewayInProcess, port: int, part: bytes, politely: bool
    ) -> None:
        async with connected(port) as connection:
            await connection.send(part)
            if politely:
                await connection.end_sending()
                await connection.rest()
        plane = gateway.app.state.plane
        await until(lambda: not plane.waiting and not plane.open_exchanges, "nothing is left of it")

    async def test_five_hundred_who_say_nothing_keep_nobody_out(self, hasty: GatewayInProcess) -> None:
        silent = [connected(hasty.ports["door"]) for _number in range(500)]
        connections = [await one.__aenter__() for one in silent]
        try:
            await well(hasty)
            assert await connections[0].rest() == b""
            await until(lambda: not hasty.app.state.plane.waiting, "the silent ones are let go")
            for connection in connections:
                assert await connection.rest() == b""
        finally:
            for connection in connections:
                connection.abort()
        await well(hasty)


TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b"0\r\n\r\n", b"5\r\n", b"ffffffff\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: other\r\n",
    b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"POST ", b"GET ", b"HEAD ", b"CONNECT ", b"OPTIONS ", b"/v1/",
    b"/admin/", b"%00", b"%", b"?", b"#", b"http://", b"\xff", b"{", b"}", b"[" * 70, b'"', b"\\u0000", b"true",
    b"1e999", b'"stream":true,', b'"n":0,', b"A" * 17_000, b"X: 1\r\n" * 120, HEALTH, CHATS, MODELS,
]  # fmt: skip
SEEDS = [HEALTH, CHATS, MODELS, LIST, REGISTERS, TWO_HOSTS, head(CHAT, (CODING, "chunked")) + chunks(GOOD[CHAT]),
         head(REGISTER, (CODING, "chunked")) + chunks(GOOD[REGISTER]), CHATS + HEALTH + MODELS,
         request("POST", CHAT, (KEY, JSON), b'{"model":"m","stream":true}') + CHATS]  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good request with a few things done to it; sometimes plain noise."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    text = draw(st.sampled_from(SEEDS))
    for _stroke in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 2, 5, 30]))
        text = text[:place] + draw(st.sampled_from([*TOKENS, b""])) + text[place + length :]
    return text


async def poke(port: int, data: bytes, cut: int) -> list[RawAnswer]:
    """Send a mutant in two pieces; read what is answered within a moment."""
    answers: list[RawAnswer] = []
    async with connected(port) as connection:
        await connection.send(data[:cut])
        await connection.send(data[cut:])
        try:
            async with asyncio.timeout(0.1):
                while True:
                    answers.append(await connection.answer(head_only=data.startswith(b"HEAD")))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return answers


@given(batch=st.lists(st.tuples(mutants(), st.integers(0, 300)), min_size=40, max_size=60))
@settings(max_examples=30, suppress_health_check=list(HealthCheck), print_blob=True)
async def test_no_bytes_at_all_bring_it_down(gateway: GatewayInProcess, batch: list[tuple[bytes, int]]) -> None:
    """Some thousands of mutated requests: never a hang, never a 500, and the next good request is served."""
    logged = len(gateway.log)
    for shell in SHELLS:
        found = await asyncio.gather(*(poke(gateway.ports[shell], data, cut) for data, cut in batch))
        for (data, _cut), answers in zip(batch, found, strict=True):
            for answer in answers:
                assert answer.status not in {500, 501, 502, 504}, (data, answer)
    await until(lambda: not gateway.app.state.plane.open_exchanges, "all of them are over")
    await well(gateway)
    assert "ERROR" not in gateway.log[logged:]
