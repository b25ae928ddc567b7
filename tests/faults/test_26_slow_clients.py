"""Clients drip bytes of heads and bodies, or come by the thousand and say nothing: closed in time, others served."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.gateway_process import ADMIN_KEY as PROCESS_KEY
from tests.fakes.gateway_process import open_gateway, until
from tests.fakes.raw_http import RawConnection, exchange, request
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker
from tests.faults.reading import post
from tests.faults.remains import figures_of, nothing_left_of
from tests.faults.world import KEY, open_world, talking

IDLE_CLIENTS = 10_000
SPARE_DESCRIPTORS = 1000
DRIP = request("POST", "/v1/chat/completions", [KEY], b"{}").partition(b"Content-Length")[0]


async def drip(connection: RawConnection, closed: asyncio.Future[bytes], data: bytes) -> None:
    """Send a byte now and then until the other side has had enough."""
    for place in range(len(data)):
        if closed.done():
            return
        await connection.send(data[place : place + 1])
        await asyncio.wait([closed], timeout=0.02)


async def test_a_head_that_drips_is_closed_in_time(tmp_path: Path) -> None:
    """Behind plain ASGI the server has the connection until a head is whole."""
    async with open_world(tmp_path, "door", header_timeout_seconds=0.4) as world:
        server_id = await world.add(Talker())
        slow = await RawConnection.open(world.port)
        closed = asyncio.ensure_future(slow.rest())
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        dripping = asyncio.ensure_future(drip(slow, closed, DRIP + b"X-Long: " + b"a" * 1000))
        await world.served()  # others wait for nobody
        said = await closed
        assert loop.time() - began_at < 2
        assert said.startswith(b"HTTP/1.1 408 ")
        await dripping
        slow.abort()
        assert await world.is_well(server_id)


async def test_a_body_that_drips_is_closed_in_time(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, body_timeout_seconds=0.4) as world:
        server_id = await world.add(Talker())
        slow = await RawConnection.open(world.port)
        head, _, body = post(ask_body(content="x" * 2000)).partition(b"\r\n\r\n")
        await slow.send(head + b"\r\n\r\n")
        closed = asyncio.ensure_future(slow.rest())
        dripping = asyncio.ensure_future(drip(slow, closed, body))
        answer = await world.served()
        assert answer.status == 200
        said = await asyncio.wait_for(closed, 5)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        await dripping
        slow.abort()
        assert len(world.talkers[0].asked) == 1  # the slow one's request never came out
        assert await world.is_well(server_id)


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have fewer descriptors")
async def test_ten_thousand_idle_connections_are_closed_in_time(tmp_path: Path) -> None:
    talker = Talker()
    settings = {"header_timeout_seconds": 2.5, "health_check_interval_seconds": 600, "upstream_keepalive_seconds": 0.2}
    async with talking(talker), open_gateway(tmp_path / "gateway", "door", **settings) as gateway:
        async with gateway.client() as client:
            assert (await client.post("/admin/register", json={"endpoint_url": talker.url})).status_code == 201
        with ExitStack() as stack:
            plugs = await asyncio.to_thread(crowd, gateway.port, stack)
            assert len(plugs) > IDLE_CLIENTS // 10
            figures = await figures_of(gateway)
            assert figures["multiverse_client_connections"] > len(plugs) // 4  # others come or went
            answer = await exchange(gateway.port, post(ask_body(stream=False), key=PROCESS_KEY))
            assert answer.status == 200
            waiting = select.poll()
            for plug in plugs:
                waiting.register(plug, select.POLLIN)
            await until(lambda: len(waiting.poll(0)) == len(plugs), "all are closed", seconds=15)
        await nothing_left_of(gateway)
        async with gateway.client() as client:
            (server,) = (await client.get("/admin/servers")).json()["servers"]
        assert (server["health_status"], server["in_flight"]) == ("healthy", 0)


def crowd(port: int, stack: ExitStack) -> list[socket.socket]:
    """Connect as many clients as this machine allows, up to ten thousand."""
    import resource  # noqa: PLC0415 - not on every system

    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
    return [
        stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _client in range(min(IDLE_CLIENTS, room))
    ]
