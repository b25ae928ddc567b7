"""Is everything that was acknowledged still there after ``kill -9``, and is one endpoint registered once?"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

REGISTRATIONS = 1000
KILL_AFTER = {180: "asgi", 450: "door", 730: "asgi"}
"""How many are acknowledged when the next kill falls, and the way in that the gateway comes back with."""

QUIET = {"health_check_interval_seconds": 600}


class OneByOne:
    """Registers endpoints one after another, until the gateway is gone; remembers what was acknowledged."""

    def __init__(self, fake: FakeModelServer) -> None:
        self._fake = fake
        self.acknowledged: dict[str, str] = {}
        self.in_doubt: str | None = None
        self.grown = asyncio.Event()

    async def go_on(self, gateway: GatewayProcess) -> None:
        async with gateway.client() as client:
            while len(self.acknowledged) < REGISTRATIONS:
                url = f"{self._fake.url}/s{len(self.acknowledged)}"
                known, self.in_doubt = self.in_doubt == url, url
                answer = await client.post("/admin/register", json={"endpoint_url": url, "api_key": "EMPTY"})
                if known and answer.status_code == 409:  # written, but killed before it could say so
                    answer = await client.get("/admin/servers")
                    found = {one["endpoint_url"]: one["registration_id"] for one in answer.json()["servers"]}
                    self.acknowledged[url] = found[url]
                else:
                    assert answer.status_code == 201, answer.text
                    self.acknowledged[url] = answer.json()["registration_id"]
                self.in_doubt = None
                self.grown.set()

    async def reached(self, count: int) -> None:
        while len(self.acknowledged) < count:
            self.grown.clear()
            await self.grown.wait()


@pytest.mark.timeout(300)
async def test_no_acknowledged_registration_is_lost_by_kill_9(tmp_path: Path) -> None:
    async with serving(FakeModelServer()) as (fake,), open_gateway(tmp_path / "gateway", "door", **QUIET) as gateway:
        registering = OneByOne(fake)
        for count, next_shell in KILL_AFTER.items():
            going_on = asyncio.create_task(registering.go_on(gateway))
            await registering.reached(count)
            await asyncio.to_thread(gateway.kill)  # the next registration is under way
            with pytest.raises(httpx2.TransportError):
                await going_on
            assert registering.in_doubt is not None
            assert check_integrity(gateway.folder / "gateway.db") == "ok"
            gateway.shell = next_shell
            await asyncio.to_thread(gateway.start)
            await expect_all(gateway, registering)
        await registering.go_on(gateway)
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start)
        await expect_all(gateway, registering)
    assert len(registering.acknowledged) == REGISTRATIONS
    assert check_integrity(tmp_path / "gateway" / "gateway.db") == "ok"


async def expect_all(gateway: GatewayProcess, registering: OneByOne) -> None:
    """All that were acknowledged are there, whole; beside them at most the one that was under way."""
    async with gateway.client() as client:
        listed = (await client.get("/admin/servers")).json()["servers"]
    found = {server["endpoint_url"]: server for server in listed}
    assert len(found) == len(listed)
    missing = [url for url, known in registering.acknowledged.items() if found.pop(url)["registration_id"] != known]
    assert missing == []
    assert set(found) <= {registering.in_doubt}
    assert all(server["models"] == ["m"] and server["has_api_key"] for server in listed)


def check_integrity(path: Path) -> str:
    """Look at a copy: opening the database itself would tidy up what the gateway has to cope with."""
    copy = path.with_name("copy.db")
    for side in ("", "-wal"):
        if path.with_name(path.name + side).exists():
            shutil.copy(path.with_name(path.name + side), copy.with_name(copy.name + side))
    connection = sqlite3.connect(copy)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


async def test_twenty_at_once_for_one_endpoint_make_one_server(tmp_path: Path, shell: str) -> None:
    async with serving(FakeModelServer()) as (fake,), open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway:
        async with gateway.client() as client:
            spellings = (fake.url, f"{fake.url}/", f"{fake.url}/v1", f"{fake.url}/v1/")
            answers = await asyncio.gather(
                *(client.post("/admin/register", json={"endpoint_url": spellings[turn % 4]}) for turn in range(20))
            )
            listed = (await client.get("/admin/servers")).json()
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
        assert listed["total"] == 1
        refused = next(answer for answer in answers if answer.status_code == 409)
        assert refused.json()["error"]["message"]


async def test_what_else_was_acknowledged_outlives_kill_9(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer(["n"]), FakeModelServer(["o"])) as fakes,
        open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway,
    ):
        async with gateway.client() as client:
            ids = [await register(client, endpoint_url=fake.url, api_key="the-servers-own-key") for fake in fakes]
            changed, paused, removed = ids
            patch = {"max_concurrency": 3, "models": [{"name": "public/m", "upstream_name": "m"}]}
            assert (await client.patch(f"/admin/register/{changed}", json=patch)).status_code == 200
            assert (await client.post(f"/admin/servers/{paused}/pause", json={"reason": "a game"})).status_code == 200
            assert (await client.delete(f"/admin/register/{removed}")).status_code == 204
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            listed = (await client.get("/admin/servers")).json()["servers"]
            assert [server["registration_id"] for server in listed] == [changed, paused]
            assert (listed[0]["max_concurrency"], listed[0]["models"]) == (3, ["public/m"])
            assert (listed[1]["paused"], listed[1]["paused_reason"]) == (True, "a game")
            assert (await client.get(f"/admin/servers/{removed}")).status_code == 404
            answer = await client.post("/v1/chat/completions", json={"model": "public/m", "messages": []})
            assert answer.status_code == 200, answer.text
            assert answer.json()["model"] == "public/m"
        seen = fakes[0].inference[-1]
        assert seen.json["model"] == "m"
        assert seen.headers["authorization"] == "Bearer the-servers-own-key"


async def register(client: httpx2.AsyncClient, **fields: object) -> str:
    answer = await client.post("/admin/register", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["registration_id"])


@pytest.mark.parametrize("shell", ["asgi"])
async def test_a_second_gateway_in_the_same_folder_is_refused(tmp_path: Path, shell: str) -> None:
    async with open_gateway(tmp_path / "gateway", shell) as first:
        second = GatewayProcess(first.folder, shell, {"ADMIN_API_KEY": ADMIN_KEY})
        second.spawn()
        try:
            code = await asyncio.to_thread(second.wait_ended)
        finally:
            await asyncio.to_thread(second.close)
        assert code != 0
        await until(lambda: "gateway.db" in second.output, "the reason names the database")
        async with first.client() as client:
            assert (await client.get("/ready")).status_code == 200
