"""The gateway is killed while an admin writes: each write that was acknowledged is there, and the database is sound."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker
from tests.faults.remains import nothing_left_of
from tests.faults.world import talking

pytestmark = pytest.mark.e2e

ENOUGH = 25
"""How many writes are acknowledged when it is killed."""
SETTINGS = {"health_check_interval_seconds": 600, "upstream_keepalive_seconds": 0.2}


class Writer:
    """Changes a server's record again and again; ``acknowledged`` is the last change that the gateway said yes to."""

    def __init__(self, server_id: str) -> None:
        self._server_id = server_id
        self.acknowledged = 0
        self.enough = asyncio.Event()

    async def go_on(self, gateway: GatewayProcess) -> None:
        async with gateway.client() as client:
            while True:
                body = {"max_concurrency": self.acknowledged + 1}
                answer = await client.patch(f"/admin/register/{self._server_id}", json=body)
                assert answer.status_code == 200, answer.text
                self.acknowledged += 1
                if self.acknowledged % ENOUGH == 0:
                    self.enough.set()


@pytest.mark.parametrize("shell", ["door"])
async def test_each_acknowledged_write_is_there(tmp_path: Path, shell: str) -> None:
    talker = Talker()
    async with talking(talker), open_gateway(tmp_path / "gateway", shell, **SETTINGS) as gateway:
        async with gateway.client() as client:
            made = await client.post("/admin/register", json={"endpoint_url": talker.url})
            assert made.status_code == 201, made.text
        writer = Writer(made.json()["registration_id"])
        writing = asyncio.create_task(writer.go_on(gateway))
        await asyncio.wait([writing, asyncio.ensure_future(writer.enough.wait())], return_when="FIRST_COMPLETED")
        await asyncio.to_thread(gateway.kill)
        with pytest.raises(httpx2.TransportError):
            await writing
        assert integrity(gateway.folder) == "ok"
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            (server,) = (await client.get("/admin/servers")).json()["servers"]
            assert server["registration_id"] == made.json()["registration_id"]
            assert server["max_concurrency"] in (writer.acknowledged, writer.acknowledged + 1)  # one was under way
            assert server["in_flight"] == 0
            answer = await client.post("/v1/chat/completions", json=ask_body(stream=False))
            assert answer.status_code == 200, answer.text
        await nothing_left_of(gateway)


def integrity(folder: Path) -> str:
    """Look at a copy: opening the database itself would tidy up what the gateway has to cope with."""
    copy = folder / "copy"
    copy.mkdir(exist_ok=True)
    for path in folder.glob("gateway.db*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, copy)
    with closing(sqlite3.connect(copy / "gateway.db")) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
