"""A request is too large, too deep, or wants a million answers: 413, 431 or 400, and no server hears of it."""

from __future__ import annotations

import json

import pytest

from tests.fakes.raw_http import RawAnswer, connected, request
from tests.fakes.talk import CHAT, ask_body
from tests.fakes.talker import Talker
from tests.faults.reading import post
from tests.faults.world import KEY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BYTES = 65_536
SETTINGS = {"max_request_bytes": MOST_BYTES}
DEEP = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ANNOUNCED = request("POST", CHAT, [KEY, ("Content-Length", str(10**12))])
CHUNKED = request("POST", CHAT, [KEY, ("Transfer-Encoding", "chunked")])
TOO_MUCH: dict[str, tuple[bytes, int, str]] = {
    "a body that is announced": (ANNOUNCED, 413, "request_too_large"),
    "a body in chunks": (CHUNKED + b"20000\r\n" + b"x" * 0x20000 + b"\r\n", 413, "request_too_large"),
    "a body that is sent": (post(ask_body(more="x" * MOST_BYTES)), 413, "request_too_large"),
    "one header": (
        request("GET", "/v1/models", [KEY, ("X-Long", "a" * 40_000)]),
        431,
        "headers_too_large",
    ),
    "many headers": (
        request("GET", "/v1/models", [KEY, *[(f"X-{number}", "a") for number in range(500)]]),
        431,
        "headers_too_large",
    ),
    "depth": (post(DEEP[:200] + DEEP[-200:]), 400, ""),
    "great depth": (post(b'{"model":"m","messages":' + b"[" * 9000 + b"]" * 9000 + b"}"), 400, ""),
    "a million answers": (post(ask_body(n=1_000_000)), 400, "invalid_request"),
}


async def ask(world: World, data: bytes) -> RawAnswer:
    async with connected(world.port) as connection:
        await connection.send(data)
        return await connection.answer()


@pytest.mark.parametrize("name", TOO_MUCH)
async def test_it_is_refused_before_it_is_read(world: World, name: str) -> None:
    data, status, code = TOO_MUCH[name]
    talker = Talker()
    server_id = await world.add(talker)
    answer = await ask(world, data)
    assert answer.status == status, answer
    if answer.headers.get("content-type") == "application/json":
        assert answer.error["type"] == "invalid_request_error"
        assert code in ("", answer.error["code"])
    assert len(answer.body) < 1000
    assert talker.asked == []
    assert await world.is_well(server_id)
    await world.served()


async def test_what_just_fits_is_served(world: World) -> None:
    server_id = await world.add(Talker())
    body = json.dumps(ask_body(more="", stream=False)).encode()
    filled = body.replace(b'"more": ""', b'"more": "%b"' % (b"x" * (MOST_BYTES - len(body))))
    assert len(filled) == MOST_BYTES
    answer = await ask(world, post(filled))
    assert answer.status == 200, answer
    assert await world.is_well(server_id)
