"""Is everything right at once after a restart, before the first checks are through?"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving

pytestmark = pytest.mark.e2e

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SERVERS, HANGING = 50, 3


async def register(client: httpx2.AsyncClient, url: str) -> str:
    answer = await client.post("/admin/register", json={"endpoint_url": url})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["registration_id"])


async def servers_of(client: httpx2.AsyncClient) -> dict[str, dict[str, Any]]:
    listed = (await client.get("/admin/servers")).json()["servers"]
    return {server["registration_id"]: server for server in listed}


async def end(gateway: GatewayProcess, how: str) -> None:
    await asyncio.to_thread(gateway.kill if how == "kill -9" else gateway.stop)


class Hanging:
    """Lists the model at first; once ``hangs`` is set, a check is taken and never answered."""

    def __init__(self) -> None:
        self.hangs = False
        self.held = 0
        self.let_go = 0

    async def __call__(self, fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        if self.hangs:
            self.held += 1
            await fake.reader_of(writer).read()
            self.let_go += 1
        else:
            writer.write(json_answer({"object": "list", "data": [{"id": "m", "object": "model"}]}))


@pytest.mark.parametrize(("shell", "how"), [("door", "kill -9"), ("asgi", "SIGTERM")])
async def test_the_first_request_after_ready_is_served(tmp_path: Path, shell: str, how: str) -> None:
    hanging = Hanging()
    fake = FakeModelServer(behaviours={"/v1/models": hanging})
    async with serving(fake), open_gateway(tmp_path / "gateway", shell) as gateway:
        async with gateway.client() as client:
            server_id = await register(client, fake.url)
        await end(gateway, how)
        hanging.hangs = True  # no check comes through: only what was known before can help
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            first = await client.post("/v1/chat/completions", json=CHAT)
            assert first.status_code == 200, first.text
            listed = (await client.get("/v1/models")).json()["data"]
            assert [(model["id"], model["healthy_servers"]) for model in listed] == [("m", 1)]
            assert (await servers_of(client))[server_id]["health_status"] == "healthy"


@pytest.mark.parametrize("shell", ["door"])
async def test_a_server_that_went_while_the_gateway_was_down_costs_no_request(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (going, staying),
        open_gateway(tmp_path / "gateway", shell) as gateway,
    ):
        async with gateway.client() as client:
            await register(client, going.url)
            staying_id = await register(client, staying.url)
        await end(gateway, "SIGTERM")
        await going.stop()
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            answers = [await client.post("/v1/chat/completions", json=CHAT) for _time in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 8
        assert {answer.headers["x-gateway-server-id"] for answer in answers} == {staying_id}


@pytest.mark.parametrize("shell", ["asgi"])
async def test_what_was_known_of_health_is_known_again(tmp_path: Path, shell: str) -> None:
    settings = {"health_check_interval_seconds": 0.2}
    async with serving(FakeModelServer()) as (fake,), open_gateway(tmp_path / "gateway", shell, **settings) as gateway:
        async with gateway.client() as client:
            server_id = await register(client, fake.url)
            await fake.stop()

            async def is_down() -> bool:
                return bool((await servers_of(client))[server_id]["health_status"] == "unhealthy")

            await until(is_down, "it is unhealthy")
            before = (await client.get(f"/admin/servers/{server_id}")).json()
        await end(gateway, "SIGTERM")
        gateway.settings["HEALTH_CHECK_INTERVAL_SECONDS"] = "600"
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:
            after = (await client.get(f"/admin/servers/{server_id}")).json()
            refused = await client.post("/v1/chat/completions", json=CHAT)
        assert after["health_status"] == "unhealthy"
        assert after["last_transition_at"] == before["last_transition_at"]
        known = {check["checked_at"] for check in after["history"]}
        assert {check["checked_at"] for check in before["history"]} <= known
        assert refused.status_code == 503


@pytest.mark.parametrize("shell", ["door"])
async def test_all_are_checked_at_once_and_one_that_hangs_delays_nobody(tmp_path: Path, shell: str) -> None:
    hanging = Hanging()
    fake = FakeModelServer(behaviours={f"/s{number}/v1/models": hanging for number in range(HANGING)})
    settings = {"health_check_timeout_seconds": 30, "health_check_interval_seconds": 600}
    async with serving(fake), open_gateway(tmp_path / "gateway", shell, **settings) as gateway:
        async with gateway.client() as client:
            ids = [await register(client, f"{fake.url}/s{number}") for number in range(SERVERS)]
            before = await checked_at(client)
        await end(gateway, "SIGTERM")
        hanging.hangs, fake.requests = True, []
        await asyncio.to_thread(gateway.start)
        async with gateway.client() as client:

            async def all_others() -> dict[str, datetime] | None:
                now = await checked_at(client)
                checked = {server_id: moment for server_id, moment in now.items() if moment != before[server_id]}
                return checked if len(checked) >= SERVERS - HANGING else None

            checked = await until(all_others, "all others were checked")
            assert set(checked) == set(ids[HANGING:])
            assert (hanging.held, hanging.let_go) == (HANGING, 0)  # these are still waited for
            assert {server["health_status"] for server in (await servers_of(client)).values()} == {"healthy"}
        assert sorted(seen.path for seen in fake.requests if seen.method == "GET") == sorted(
            f"/s{number}/v1/models" for number in range(SERVERS)
        )
        spread = max(checked.values()) - min(checked.values())
        assert spread.total_seconds() < 5


async def checked_at(client: httpx2.AsyncClient) -> dict[str, datetime]:
    servers = await servers_of(client)
    return {server_id: datetime.fromisoformat(server["last_checked_at"]) for server_id, server in servers.items()}
