"""How many connections and streams does one process carry, and what does each of them cost?

``python -m bench.capacity`` does the same with ten times as many; here are enough to see a cost that grows.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from app.services.dataplane.door import Door
from bench.capacity import Figures, Scale, run
from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY, open_gateway, until
from tests.fakes.house import ADMIN_KEY as HOUSE_KEY
from tests.fakes.house import open_house, server
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import RawConnection, connected, request

if sys.platform == "linux":
    import resource
else:
    pytest.skip("the kernel tells of memory on Linux only", allow_module_level=True)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SCALE = Scale(idle=2000, streams=500)
FILES = 6000
KILOBYTES_PER_STREAM = {"door": 30.0, "asgi": 60.0}
KILOBYTES_PER_IDLE_CONNECTION = 16.0
PROMPT_BYTES = 1024 * 1024
PROMPTS = 60


def ask(key: str, prompt: str = "hi") -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}]}).encode()
    return request("POST", "/v1/chat/completions", [("X-API-Key", key), ("Content-Type", "application/json")], body)


@pytest.fixture
def many_files() -> Iterator[None]:
    """The clients stand in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} open files, and the hard limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_idle_connections_and_open_streams_cost_little(shell: str) -> None:
    """Every byte of every stream is compared on the way."""
    figures: Figures = await asyncio.to_thread(run, SCALE, shell)
    assert figures.lost == 0
    assert figures.kilobytes_per_idle_connection < KILOBYTES_PER_IDLE_CONNECTION
    assert figures.kilobytes_per_open_stream < KILOBYTES_PER_STREAM[shell]
    assert figures.kilobytes_after_pulses_per_stream < KILOBYTES_PER_STREAM[shell]
    assert figures.cores_busy_at_rest < 0.25
    assert figures.again_kilobytes < 4096  # a second crowd finds the first one's memory
    assert figures.descriptors_kept == 0


async def test_an_idle_connection_keeps_nothing_of_what_was_asked(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer()) as (fake,),
        open_gateway(tmp_path / "gateway", shell, health_check_interval_seconds=600) as gateway,
        AsyncExitStack() as clients,
    ):
        async with gateway.client() as client:
            assert (await client.post("/admin/register", json={"endpoint_url": fake.url})).status_code == 201
        process, asked = Process(gateway.pid), ask(ADMIN_KEY, "x" * PROMPT_BYTES)

        async def one() -> None:
            connection = await clients.enter_async_context(connected(gateway.port))
            await connection.send(asked)
            assert (await connection.answer()).status == 200

        for _warm_up in range(3):
            await one()
        rss_before = process.rss_bytes()
        for _number in range(PROMPTS):
            await one()
        assert process.sockets()["ESTABLISHED"] >= PROMPTS
        assert process.rss_bytes() - rss_before < PROMPTS * PROMPT_BYTES // 3


async def test_a_connection_that_was_reset_is_forgotten() -> None:
    def doors() -> int:
        gc.collect()
        return sum(isinstance(one, Door) for one in gc.get_objects())

    async with serving(FakeModelServer()) as (fake,), open_house("door") as house:
        house.install(server("s1", fake.url))
        there = doors()
        connection = await RawConnection.open(house.port)
        await connection.send(ask(HOUSE_KEY))
        assert (await connection.answer()).status == 200
        assert doors() == there + 1
        plug = connection._writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.abort()
        await until(lambda: doors() == there, "the connection is forgotten", seconds=2)
