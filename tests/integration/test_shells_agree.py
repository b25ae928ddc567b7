"""Do the door and the plain ASGI way in answer the same requests with the same answers, headers and errors?

One gateway stands behind both, so nothing but the way in can make a difference. What may differ is named here: the
date, ids that were made up, figures that run, the order of headers, and what only the connection is about.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import RawAnswer, connected, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = ("Authorization", f"Bearer {ADMIN_KEY}")
ORIGIN, ELSEWHERE = ("Origin", "https://a.test"), ("Origin", "https://b.test")
ASKED = ("Access-Control-Request-Method", "POST")
CHAT, REGISTER = "/v1/chat/completions", "/admin/register"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"m","messages":[],"stream":true}'
CHUNKED = ("Transfer-Encoding", "chunked")
RUNNING = {"uptime_seconds", "latency_ms", "last_checked_at", "history"}
"""Members whose values are other ones at each request."""
ENDED_BY_THE_DOOR = {413, 431}
"""The door ends a connection rather than read what it will not keep; an ASGI server reads it and drops it."""


def chat(*headers: tuple[str, str], body: bytes = BODY, **line: Any) -> bytes:
    return request("POST", CHAT, (KEY, *headers), body, **line)


def in_chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def get(path: str, *headers: tuple[str, str], method: str = "GET") -> bytes:
    return request(method, path, (KEY, *headers))


SAME: Mapping[str, tuple[bytes, int]] = {
    "a chat": (chat(), 200),
    "a stream": (chat(body=STREAM), 200),
    "a stream with usage": (chat(body=STREAM[:-1] + b',"stream_options":{"include_usage":true}}'), 200),
    "a completion": (request("POST", "/v1/completions", [KEY], b'{"model":"m","prompt":"x"}'), 200),
    "a chat in chunks": (request("POST", CHAT, (KEY, CHUNKED)) + in_chunks(BODY), 200),
    "a chat with a query": (chat().replace(CHAT.encode(), CHAT.encode() + b"?a=b&c"), 200),
    "a chat by an absolute target": (chat().replace(CHAT.encode(), b"http://x" + CHAT.encode()), 200),
    "a chat with the other header": (request("POST", CHAT, [("X-API-Key", ADMIN_KEY)], BODY), 200),
    "a chat with both headers": (chat(("X-API-Key", ADMIN_KEY)), 200),
    "a chat with an id": (chat(("X-Request-ID", "mine-1")), 200),
    "a chat with an id that is none": (chat(("X-Request-ID", "not an id")), 200),
    "a chat with an origin": (chat(ORIGIN), 200),
    "a chat with another origin": (chat(ELSEWHERE), 200),
    "a chat of another type": (chat(("Content-Type", "text/plain")), 200),
    "a chat that was elsewhere": (chat(("Via", "1.1 other")), 200),
    "a chat in HTTP/1.0": (chat(version="HTTP/1.0"), 200),
    "a chat in HTTP/1.0 without host": (chat(version="HTTP/1.0", host=None), 200),
    "a chat that is the last": (chat(("Connection", "close")), 200),
    "a chat with an upgrade for others": (chat(("Upgrade", "h2c")), 200),
    "the models": (get("/v1/models"), 200),
    "the models, head": (get("/v1/models", method="HEAD"), 200),
    "a model": (get("/v1/models/m"), 200),
    "a model that is escaped": (get("/v1/models/%6D"), 200),
    "a model that is not there": (get("/v1/models/none"), 404),
    "a model with an origin": (get("/v1/models/none", ORIGIN), 404),
    "no key": (request("POST", CHAT, (), BODY), 401),
    "no key, with an origin": (request("POST", CHAT, [ORIGIN], BODY), 401),
    "a wrong key": (request("POST", CHAT, [("X-API-Key", "wrong")], BODY), 401),
    "a key that looks mistyped": (request("POST", CHAT, [("X-API-Key", "mvk_" + "a" * 36)], BODY), 401),
    "another scheme": (request("POST", CHAT, [("Authorization", "Basic YQ==")], BODY), 401),
    "two keys that differ": (chat(("X-API-Key", "other")), 401),
    "a key twice": (chat(KEY), 401),
    "a preflight": (request("OPTIONS", CHAT, (ORIGIN, ASKED)), 204),
    "a preflight of the models": (request("OPTIONS", "/v1/models", (ORIGIN, ASKED)), 204),
    "a preflight from elsewhere": (request("OPTIONS", CHAT, (ELSEWHERE, ASKED)), 204),
    "options without an origin": (request("OPTIONS", CHAT), 204),
    "another method": (get(CHAT), 405),
    "another method, head": (get(CHAT, method="HEAD"), 405),
    "another method of the models": (get("/v1/models", method="DELETE"), 405),
    "no such path": (request("POST", "/v1/nowhere", [KEY], BODY), 404),
    "no such path that is long": (request("POST", "/v1/" + "n" * 500, [KEY], BODY), 404),
    "no such path with signs": (request("POST", "/v1/%00%ff<script>", [KEY], BODY), 404),
    "no such model": (chat(body=b'{"model":"none"}'), 404),
    "an empty body": (chat(body=b""), 400),
    "no JSON": (chat(body=b"{"), 400),
    "no object": (chat(body=b"[]"), 400),
    "no model": (chat(body=b"{}"), 400),
    "a model that is no name": (chat(body=b'{"model":5}'), 400),
    "too many choices": (chat(body=b'{"model":"m","n":1000}'), 400),
    "too deep": (chat(body=b'{"model":"m","x":' + b"[" * 80 + b"]" * 80 + b"}"), 400),
    "no UTF-8": (chat(body=b'{"model":"m","x":"\xff"}'), 400),
    "a loop that is none yet": (chat(("Via", "1.1 mvg-0123456789abcdef")), 200),
    "too much": (request("POST", CHAT, (KEY, ("Content-Length", "99999999"))), 413),
    "too much that was asked for": (
        request("POST", CHAT, (KEY, ("Content-Length", "99999999"), ("Expect", "100-continue"))), 413),
    "too many headers": (chat(*[(f"X-{number}", "y") for number in range(120)]), 431),
    "too long a header": (chat(("X-Long", "a" * 20_000)), 431),
    "two hosts": (chat(("Host", "other")), 400),
    "no host": (chat(host=None), 400),
    "a host that is none": (chat(host="a/b"), 400),
    "gzip, chunked": (request("POST", CHAT, (KEY, ("Transfer-Encoding", "gzip, chunked"))) + in_chunks(BODY), 400),
    "chunks in HTTP/1.0": (request("POST", CHAT, (KEY, CHUNKED), version="HTTP/1.0") + in_chunks(BODY), 400),
    "HTTP/2.0": (chat(version="HTTP/2.0"), 400),
    "an upgrade to HTTP/2": (chat(("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")), 400),
    "asked first without a key": (
        request("POST", CHAT, (("Expect", "100-continue"), ("Content-Length", "5"))), 401),
    "health": (get("/health"), 200),
    "readiness": (get("/ready"), 200),
    "the root": (get("/"), 200),
    "the documentation": (get("/docs"), 200),
    "the description": (get("/openapi.json"), 200),
    "the servers": (get("/admin/servers"), 200),
    "the servers, head": (get("/admin/servers", method="HEAD"), 200),
    "the servers without a key": (request("GET", "/admin/servers"), 401),
    "a server that is not there": (get("/admin/servers/00000000-0000-0000-0000-000000000000"), 404),
    "a registration of nothing": (request("POST", REGISTER, [KEY], b"{}"), 422),
    "a registration that is no JSON": (request("POST", REGISTER, [KEY], b"{"), 400),
    "a registration of a bad URL": (request("POST", REGISTER, [KEY], b'{"endpoint_url":"ftp://a"}'), 400),
    "another method of a route": (get("/health", method="DELETE"), 405),
    "nothing at all": (get("/nothing"), 404),
    "a page that asks first": (request("OPTIONS", REGISTER, (ORIGIN, ASKED)), 200),
}  # fmt: skip
"""Requests and the status that both answer with."""

BY_THE_SERVER = {
    "a negative length": request("POST", CHAT, (KEY, ("Content-Length", "-5"))) + BODY,
    "two lengths": chat(("Content-Length", "3")),
    "a length and chunks": chat(CHUNKED),
    "a chunk size with 0x": request("POST", CHAT, (KEY, CHUNKED)) + b"0x" + in_chunks(BODY),
    "bare line feeds": chat().replace(b"\r\n", b"\n"),
    "a folded header": chat(("X-Folded", "one\r\n two")),
    "HTTP/1.2": chat(version="HTTP/1.2"),
    "noise": b"\0\1\2\r\n\r\n",
}
"""What uvicorn's own parser refuses before the gateway hears of it, in its own words; the door has the envelope."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    folder = tmp_path_factory.mktemp("shells")
    async with (
        serving(FakeModelServer()) as (server,),
        open_in_process(
            folder, cors_origins="https://a.test", continuation_enabled=False, verification_enabled=False
        ) as opened,
    ):
        assert (await opened.register(server.url)).status_code == 201
        yield opened


def told(answer: RawAnswer, *, own_id: bool) -> tuple[Any, ...]:
    """What must be the same."""
    leave_out = {"date", *(() if own_id else ("x-request-id",))}
    if answer.status in ENDED_BY_THE_DOOR:
        leave_out.add("connection")
    if any(f'"{name}"'.encode() in answer.body for name in RUNNING):
        leave_out.add("content-length")
    headers = {name: value for name, value in answer.headers.items() if name not in leave_out}
    return answer.status, headers, _steady(answer)


def _steady(answer: RawAnswer) -> object:
    if answer.headers.get("content-type") != "application/json" or not answer.body:
        return answer.body
    return _without_running(answer.json)


def _without_running(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: name if name in RUNNING else _without_running(member) for name, member in value.items()}
    return [_without_running(member) for member in value] if isinstance(value, list) else value


async def ask(gateway: GatewayInProcess, shell: str, data: bytes) -> RawAnswer:
    async with connected(gateway.ports[shell]) as connection:
        await connection.send(data)
        answer = await connection.answer(head_only=data.startswith(b"HEAD"))
        if answer.closes:
            assert await connection.rest() == b""
        return answer


@pytest.mark.parametrize("name", SAME)
async def test_both_ways_in_answer_alike(gateway: GatewayInProcess, name: str) -> None:
    data, status = SAME[name]
    door, asgi = [await ask(gateway, shell, data) for shell in SHELLS]
    assert (door.status, asgi.status) == (status, status), (door, asgi)
    assert told(door, own_id=b"mine-1" in data) == told(asgi, own_id=b"mine-1" in data)
    if status >= 400 and door.body:
        assert door.error == asgi.error
        assert json.loads(door.body)["error"]["message"]
    assert "date" in door.headers
    assert "x-request-id" in door.headers or name == "a page that asks first"  # Starlette answers it by itself


@pytest.mark.parametrize("name", BY_THE_SERVER)
async def test_what_the_server_refuses_by_itself_is_400_at_both(gateway: GatewayInProcess, name: str) -> None:
    door, asgi = [await ask(gateway, shell, BY_THE_SERVER[name]) for shell in SHELLS]
    assert (door.status, door.closes, door.error["code"]) == (400, True, "invalid_http")
    assert (asgi.status, asgi.closes, asgi.body) == (400, True, b"Invalid HTTP request received.")


async def test_both_ways_in_are_one_gateway(gateway: GatewayInProcess) -> None:
    """What is registered by one is served by the other."""
    async with serving(FakeModelServer(models=["fresh"])) as (server,):
        answer = await gateway.register(server.url)
        assert answer.status_code == 201
        for shell in SHELLS:
            served = await ask(gateway, shell, chat(body=b'{"model":"fresh"}'))
            assert (served.status, served.headers["x-gateway-server-id"]) == (200, answer.json()["registration_id"])
        removed = await gateway.client.delete(f"/admin/register/{answer.json()['registration_id']}")
        assert removed.status_code == 204
        for shell in SHELLS:
            assert (await ask(gateway, shell, chat(body=b'{"model":"fresh"}'))).status == 404
