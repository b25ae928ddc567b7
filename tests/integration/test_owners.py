"""Do two owners of two groups lend what they want to whom they want, at the hours that they want, over real HTTP?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


@dataclass
class Pool:
    """A gateway with a lab and a class, each with an owner and a user, and a key of neither."""

    gateway: GatewayInProcess
    port: int
    stack: AsyncExitStack
    clients: dict[str, httpx2.AsyncClient] = field(default_factory=dict)

    async def enrol(self) -> None:
        """Make the groups and the keys."""
        groups = {}
        for name in ("lab", "class"):
            made = await self.gateway.client.post("/admin/groups", json={"name": name})
            assert made.status_code == 201, made.text
            groups[name] = name
        for name, role, group in (
            ("ada", "owner", "lab"),
            ("ada's pupil", "user", "lab"),
            ("bob", "owner", "class"),
            ("bob's pupil", "user", "class"),
            ("guest", "user", None),
        ):
            body = {"name": name, "role": role} | ({"group": group} if group else {})
            made = await self.gateway.client.post("/admin/keys", json=body)
            assert made.status_code == 201, made.text
            await self.enter(name, made.json()["key"])
        await self.enter("operator", ADMIN_KEY)

    async def enter(self, name: str, key: str) -> None:
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", headers={"authorization": f"Bearer {key}"}, timeout=20
        )
        self.clients[name] = await self.stack.enter_async_context(client)

    async def lend(self, who: str, url: str, **fields: Any) -> str:
        answer = await self.clients[who].post("/admin/register", json={"endpoint_url": url, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["registration_id"])

    async def steer(self, who: str, server_id: str, act: str, **body: Any) -> dict[str, Any]:
        answer = await self.clients[who].post(f"/admin/servers/{server_id}/{act}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def chat(self, who: str, **fields: Any) -> httpx2.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.clients[who].post("/v1/chat/completions", json=body)

    async def served_by(self, who: str, **fields: Any) -> str | None:
        """Which server answers; None if none may."""
        answer = await self.chat(who, **fields)
        return answer.headers["x-gateway-server-id"] if answer.status_code == 200 else None

    async def models(self, who: str) -> list[str]:
        return [one["id"] for one in (await self.clients[who].get("/v1/models")).json()["data"]]


@asynccontextmanager
async def open_pool(folder: Path, shell: str, **settings: Any) -> AsyncIterator[Pool]:
    async with (
        AsyncExitStack() as stack,
        open_in_process(folder, continuation_enabled=False, verification_enabled=False, **settings) as gateway,
        stack,
    ):
        pool = Pool(gateway, gateway.ports[shell], stack)
        await pool.enrol()
        yield pool


@pytest.fixture
async def pool(tmp_path: Path, shell: str) -> AsyncIterator[Pool]:
    async with open_pool(tmp_path, shell) as opened:
        yield opened


async def test_what_is_lent_to_a_group_serves_that_group_alone(pool: Pool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (first, second):
        adas = await pool.lend("ada", first.url, share="group")
        bobs = await pool.lend("bob", second.url, share="group")
        for _turn in range(4):
            for who, expected in (("ada", adas), ("ada's pupil", adas), ("bob", bobs), ("bob's pupil", bobs)):
                assert await pool.served_by(who) == expected
        refused = await pool.chat("guest")
        assert refused.status_code in {403, 404, 503}
        assert adas not in refused.text
        assert await pool.models("guest") == []
        assert await pool.models("bob's pupil") == ["m"]


async def test_what_is_lent_to_nobody_else_serves_its_owner_alone(pool: Pool) -> None:
    async with serving(FakeModelServer()) as (server,):
        server_id = await pool.lend("ada", server.url, share="me")
        assert await pool.served_by("ada") == server_id
        for who in ("ada's pupil", "bob", "guest"):
            assert await pool.served_by(who) is None
        shared = await pool.clients["ada"].patch(f"/admin/register/{server_id}", json={"share": "everyone"})
        assert shared.status_code == 200
        for who in ("ada's pupil", "bob", "guest"):
            assert await pool.served_by(who) == server_id


async def test_an_owner_steers_its_own_server_and_no_other(pool: Pool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (first, second):
        adas = await pool.lend("ada", first.url)
        bobs = await pool.lend("bob", second.url)
        for act in ("pause", "drain"):
            assert (await pool.clients["bob"].post(f"/admin/servers/{adas}/{act}")).status_code == 403
            await pool.steer("ada", adas, act)
            assert {await pool.served_by("guest") for _turn in range(6)} == {bobs}
            await pool.steer("ada", adas, "resume")
        await pool.steer("operator", bobs, "block", reason="abuse")
        assert (await pool.steer("bob", bobs, "resume"))["blocked"] is True
        assert {await pool.served_by("guest") for _turn in range(6)} == {adas}
        assert (await pool.clients["ada"].delete(f"/admin/register/{adas}")).status_code == 204
        assert await pool.served_by("guest") is None
        await pool.steer("operator", bobs, "unblock")
        assert await pool.served_by("guest") == bobs


async def test_off_hours_no_request_goes_there(pool: Pool) -> None:
    later = datetime.now(UTC) + timedelta(hours=6)
    window = {"from": f"{later:%H:%M}", "to": f"{later + timedelta(hours=1):%H:%M}"}
    async with serving(FakeModelServer()) as (server,):
        server_id = await pool.lend("ada", server.url, hours={"timezone": "UTC", "windows": [window]})
        assert await pool.served_by("guest") is None
        shown = (await pool.clients["ada"].get(f"/admin/servers/{server_id}")).json()
        assert shown["off_hours"] is True
        assert shown["reason"].startswith("lent at other hours: opens ")
        await pool.clients["ada"].patch(f"/admin/register/{server_id}", json={"hours": None})
        assert await pool.served_by("guest") == server_id


async def test_requests_with_tools_go_to_servers_that_the_operator_trusts(pool: Pool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (first, second):
        adas = await pool.lend("ada", first.url)
        refused = await pool.chat("guest", tools=TOOLS)
        assert refused.status_code in {403, 404, 503}
        assert "trust" in refused.json()["error"]["message"]
        assert await pool.served_by("ada", tools=TOOLS) == adas
        own = await pool.lend("operator", second.url)
        assert {await pool.served_by("guest", tools=TOOLS) for _turn in range(6)} == {own}
        await pool.steer("operator", adas, "trust", trust="trusted")
        await pool.steer("operator", own, "pause")
        assert await pool.served_by("guest", tools=TOOLS) == adas


async def test_what_an_owner_registers_waits_where_the_operator_wants_to_approve(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer(), FakeModelServer()) as (first, second),
        open_pool(tmp_path, shell, registration_needs_approval=True) as pool,
    ):
        server_id = await pool.lend("ada", first.url)
        assert await pool.served_by("ada") is None
        assert first.inference == []
        assert (await pool.clients["ada"].post(f"/admin/servers/{server_id}/approve")).status_code == 403
        await pool.steer("operator", server_id, "approve", trust="trusted")
        assert await pool.served_by("guest", tools=TOOLS) == server_id
        moved = await pool.clients["ada"].patch(f"/admin/register/{server_id}", json={"endpoint_url": second.url})
        assert (moved.json()["pending"], moved.json()["trust"]) == (True, "public")
        assert await pool.served_by("guest") is None
        assert second.inference == []


async def test_all_of_it_is_in_the_audit(pool: Pool) -> None:
    async with serving(FakeModelServer()) as (server,):
        server_id = await pool.lend("ada", server.url, api_key="sk-canary")
        await pool.steer("ada", server_id, "pause", reason="lunch")
        await pool.steer("operator", server_id, "trust", trust="trusted")
        await pool.clients["ada"].delete(f"/admin/register/{server_id}")
    told = await pool.clients["operator"].get("/admin/audit", params={"object_id": server_id})
    assert told.status_code == 200, told.text
    assert "canary" not in told.text
    for action in ("server.registered", "server.paused", "server.trust_changed", "server.removed"):
        assert action in told.text
    assert (await pool.clients["ada"].get("/admin/audit")).status_code == 403
