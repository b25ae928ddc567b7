"""The database is locked, read-only, or the disk is full: inference goes on from memory, and admin writes are a 503."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker
from tests.faults.remains import nothing_left_of
from tests.faults.world import open_world, talking

HURRY = {"database_timeout_seconds": 0.2}


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Another process writes, and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")  # the gateway may have to end a write of its own
        yield
        connection.execute("ROLLBACK")


@asynccontextmanager
async def read_only(path: Path) -> AsyncIterator[None]:
    """SQLite calls a database read-only whose file was moved away (SQLITE_READONLY_DBMOVED)."""
    moved = path.with_name("moved.db")
    path.rename(moved)
    yield
    moved.rename(path)


FAULTS = {"locked": locked, "read-only": read_only}


@pytest.mark.parametrize("fault", FAULTS)
async def test_inference_goes_on_and_admin_says_so(tmp_path: Path, shell: str, fault: str) -> None:
    async with open_world(tmp_path, shell, **HURRY) as world:
        talker = Talker()
        server_id = await world.add(talker)
        async with FAULTS[fault](tmp_path / "gateway.db"):
            for number in range(3):
                await world.served(number, stream=number % 2 == 0)
            paused = await world.gateway.client.post(f"/admin/servers/{server_id}/pause")
            assert (paused.status_code, paused.json()["error"]["code"]) == (503, "storage_unavailable")
            assert int(paused.headers["retry-after"]) >= 1
            health = await world.gateway.client.get("/health")
            assert health.status_code == 503
            assert health.json()["status"] == "unhealthy"
            state = await world.state(server_id)  # from memory; what was not written did not happen
            assert (state["paused"], state["health_status"]) == (False, "healthy")
            await world.served(9)

        async def is_back() -> bool:
            answer = await world.gateway.client.post(f"/admin/servers/{server_id}/pause")
            return answer.status_code == 200 and (await world.gateway.client.get("/health")).status_code == 200

        await until(is_back, "what fails no more is used again")
        assert (await world.state(server_id))["paused"]


@pytest.mark.parametrize("shell", ["asgi"])
@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit another process's files")
async def test_the_disk_is_full(tmp_path: Path, shell: str) -> None:
    """No file may grow: neither the database's nor the log's (RLIMIT_FSIZE, setrlimit(2))."""
    import resource  # noqa: PLC0415 - not on every system

    talker = Talker()
    settings = {**HURRY, "health_check_interval_seconds": 600, "upstream_keepalive_seconds": 0.2}
    async with talking(talker), open_gateway(tmp_path / "gateway", shell, **settings) as gateway:
        async with gateway.client() as client:
            made = await client.post("/admin/register", json={"endpoint_url": talker.url})
            server_id = made.json()["registration_id"]
            limit = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (1, limit[1]))
            assert await is_served(gateway)
            answer = await client.post(f"/admin/servers/{server_id}/pause")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
            assert not (await client.get(f"/admin/servers/{server_id}")).json()["paused"]
            assert await is_served(gateway)
            assert not gateway.ended
            resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, limit)
            answer = await client.post(f"/admin/servers/{server_id}/pause")
            assert answer.status_code == 200, answer.text
            server = (await client.get(f"/admin/servers/{server_id}")).json()
            assert (server["paused"], server["in_flight"], server["health_status"]) == (True, 0, "healthy")
        await nothing_left_of(gateway)


async def is_served(gateway: GatewayProcess) -> bool:
    async with gateway.client() as client:
        return (await client.post("/v1/chat/completions", json=ask_body(stream=False))).status_code == 200
