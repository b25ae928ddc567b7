"""Does the page of one server tell what is so, and does each of its buttons do what it says, for whoever may?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = """<img src=x onerror=alert(1)>"'</title><script>alert(2)</script>"""


@dataclass
class Visitor:
    """A browser of somebody's, signed in."""

    client: httpx2.AsyncClient
    csrf: str

    async def get(self, path: str, status: int = 200, **headers: str) -> str:
        answer = await self.client.get(path, headers={"accept": "text/html", **headers})
        assert answer.status_code == status, answer.text
        return answer.text

    async def press(self, path: str, status: int = 303, **fields: str) -> httpx2.Response:
        """Send a form as its page does."""
        data = {"csrf": self.csrf, **fields}
        answer = await self.client.post(path, data=data, headers={"accept": "text/html"})
        assert answer.status_code == status, answer.text
        return answer

    async def notice_after(self, path: str, **fields: str) -> str:
        """Press a button; what is told on the page that it leads to."""
        answer = await self.press(path, **fields)
        page = await self.get(answer.headers["location"])
        found = re.search(r'class="notice (\w+)".*?<span>(.*?)</span>', page, re.DOTALL)
        assert found is not None, page
        return f"{found[1]}: {unescape(found[2])}"


@dataclass
class World:
    gateway: GatewayInProcess
    keys: dict[str, str]

    async def register(self, server: FakeModelServer, role: str = "admin", **fields: Any) -> str:
        answer = await self.gateway.client.post(
            "/admin/register",
            json={"endpoint_url": server.url, **fields},
            headers={"authorization": f"Bearer {self.keys[role]}"},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["registration_id"])

    async def server(self, server_id: str) -> dict[str, Any]:
        return dict((await self.gateway.client.get(f"/admin/servers/{server_id}")).json())

    @asynccontextmanager
    async def visiting(self, role: str = "admin") -> AsyncIterator[Visitor]:
        transport = httpx2.ASGITransport(app=self.gateway.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.example") as client:
            answer = await client.post("/ui/sign-in", data={"key": self.keys[role]})
            assert answer.status_code == 303, answer.text
            page = await client.get("/ui", headers={"accept": "text/html"})
            csrf = re.search(r'name="csrf" value="([\w-]+)"', page.text)
            assert csrf is not None
            yield Visitor(client, csrf[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    quiet = {"continuation_enabled": False, "verification_enabled": False, "unhealthy_threshold": 1}
    async with open_in_process(tmp_path_factory.mktemp("servers"), **quiet) as gateway:
        keys = {"admin": ADMIN_KEY}
        for role in ("owner", "user"):
            made = await gateway.client.post("/admin/keys", json={"name": f"the {role}", "role": role})
            keys[role] = made.json()["key"]
        yield World(gateway, keys)


@pytest_asyncio.fixture(loop_scope="module")
async def lent() -> AsyncIterator[FakeModelServer]:
    async with serving(FakeModelServer(models=["llama", "qwen"])) as (server,):
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def admin(world: World) -> AsyncIterator[Visitor]:
    async with world.visiting() as visitor:
        yield visitor


async def test_an_empty_list_teaches_and_a_full_one_shows_rows(
    world: World, admin: Visitor, lent: FakeModelServer
) -> None:
    server_id = await world.register(lent, metadata={"description": HOSTILE, "owner": HOSTILE})
    page = await admin.get("/ui/servers")
    assert f'data-server-id="{server_id}" data-state="healthy"' in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    narrow = await admin.get("/ui/servers?model=nothing-of-that-name")
    assert "No server fits" in narrow
    assert server_id not in narrow
    await admin.press(f"/ui/servers/{server_id}/remove")
    assert "No servers yet" in await admin.get("/ui/servers")


async def test_the_url_of_a_filtered_list_is_told_to_htmx(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent)
    answer = await admin.client.get("/ui/servers?q=&state=healthy&model=&sort=load", headers={"hx-request": "true"})
    assert answer.headers["hx-push-url"] == "/ui/servers?state=healthy&sort=load"
    await admin.press(f"/ui/servers/{server_id}/remove")


async def test_the_page_tells_all_that_is_known(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    hours = {"timezone": "UTC", "windows": [{"from": "00:00", "to": "00:00"}]}
    server_id = await world.register(
        lent, hours=hours, max_concurrency=3, api_key="sk-canary-of-the-server", metadata={"rack": HOSTILE}
    )
    page = await admin.get(f"/ui/servers/{server_id}")
    for words in (lent.url, server_id, "llama", "qwen", "stored, encrypted", "the operator", "daily 00:00 to 00:00"):
        assert words in page, words
    assert "sk-canary" not in page
    assert "<script>alert" not in page
    assert page.count("<rect") == 1
    rows = await admin.get(f"/ui/servers/{server_id}/checks")
    assert rows.count("<tr>") == 1
    assert "<html" not in await admin.get(f"/ui/servers/{server_id}/now", **{"hx-request": "true"})
    await admin.press(f"/ui/servers/{server_id}/remove")


@pytest.mark.parametrize("path", ["", "/edit", "/remove", "/now", "/checks"])
async def test_an_unknown_server_is_told_in_words(admin: Visitor, path: str) -> None:
    page = await admin.get(f"/ui/servers/no-such-server{path}", status=404)
    assert "There is no server with this id" in page


async def test_users_are_told_that_servers_are_not_for_them(world: World, lent: FakeModelServer) -> None:
    server_id = await world.register(lent)
    async with world.visiting("user") as user:
        for path in ("/ui/servers", f"/ui/servers/{server_id}", f"/ui/servers/{server_id}/edit"):
            assert "may use models" in await user.get(path, status=403)
        for action in ("check", "pause", "drain", "resume", "block", "remove", "save", "edit", "trust", "approve"):
            await user.press(f"/ui/servers/{server_id}/{action}", status=403)
        await user.press("/ui/servers/in-view", status=403, id=server_id)
    async with world.visiting() as admin:
        assert (await world.server(server_id))["paused"] is False
        await admin.press(f"/ui/servers/{server_id}/remove")


async def test_an_owner_steers_its_own_and_sees_of_others_what_is_shared(world: World, lent: FakeModelServer) -> None:
    async with serving(FakeModelServer(models=["own"])) as (own,):
        of_others = await world.register(lent, metadata={"owner": "alice", "rack": "canary"})
        own_id = await world.register(own, role="owner")
        async with world.visiting("owner") as owner:
            page = await owner.get(f"/ui/servers/{of_others}")
            assert lent.url.removeprefix("http://") not in page
            assert "canary" not in page
            assert "Check now" not in page
            for action in ("check", "pause", "drain", "resume", "remove", "save", "edit"):
                await owner.press(f"/ui/servers/{of_others}/{action}", status=403)
            for action in ("block", "unblock", "approve", "trust"):
                await owner.press(f"/ui/servers/{own_id}/{action}", status=403)
            mine = await owner.get(f"/ui/servers/{own_id}")
            assert own.url in mine
            assert "Registered by</dt><dd><bdi>you</bdi>" in mine
            assert "The operator&#39;s word" not in mine
            assert "Paused until it is lifted" in await owner.notice_after(f"/ui/servers/{own_id}/pause")
        async with world.visiting() as admin:
            page = await admin.get(f"/ui/servers/{own_id}")
            found = re.search(r'Registered by</dt><dd><a href="(/ui/keys/[^"]+)"><bdi>the owner</bdi></a>', page)
            assert found is not None, page
            assert "the owner" in await admin.get(found[1])
            for server_id in (own_id, of_others):
                await admin.press(f"/ui/servers/{server_id}/remove")


async def test_check_pause_drain_and_resume_tell_how_it_went(
    world: World, admin: Visitor, lent: FakeModelServer
) -> None:
    server_id = await world.register(lent)
    url = f"/ui/servers/{server_id}"
    assert re.match(r"good: Checked just now\. It answered in [\d.]+", await admin.notice_after(f"{url}/check"))
    paused = await admin.notice_after(
        f"{url}/pause", **{"for": "own", "own": "90", "unit": "minutes", "reason": HOSTILE}
    )
    assert paused.startswith("good: Paused until 20")
    server = await world.server(server_id)
    until = datetime.fromisoformat(server["paused_until"])
    assert timedelta(minutes=89) < until - datetime.now(UTC) < timedelta(minutes=91)
    page = await admin.get(url)
    assert 'data-state="paused"' in page
    assert "It is paused." in page
    assert "<script>alert" not in page
    assert "good: Draining: nothing runs there" in await admin.notice_after(f"{url}/drain", **{"for": "open"})
    assert "good: Resumed." in await admin.notice_after(f"{url}/resume")
    server = await world.server(server_id)
    assert (server["paused"], server["draining"]) == (False, False)
    await admin.press(f"{url}/remove")


async def test_what_goes_wrong_is_told_where_it_was_asked_for(
    world: World, admin: Visitor, lent: FakeModelServer
) -> None:
    server_id = await world.register(lent)
    url = f"/ui/servers/{server_id}"
    told = await admin.notice_after(f"{url}/pause", **{"for": "own", "own": "-1"})
    assert told.startswith("bad: Say how long")
    assert (await admin.notice_after(f"{url}/pause", reason="x" * 600)).startswith("bad: ")
    await lent.stop()
    assert "connection refused" in await admin.notice_after(f"{url}/check")
    page = await admin.get(url)
    assert 'data-state="unhealthy"' in page
    assert "Its checks fail" in page
    await admin.press(f"{url}/remove")


async def test_a_script_is_told_in_json(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent)

    async def send(path: str, **fields: str) -> httpx2.Response:
        headers = {"accept": "application/json", "x-csrf-token": admin.csrf}
        return await admin.client.post(path, data=fields, headers=headers)

    paused = await send(f"/ui/servers/{server_id}/pause", **{"for": "1h"})
    assert paused.status_code == 200
    assert paused.json()["kind"] == "good"
    refused = await send(f"/ui/servers/{server_id}/pause", **{"for": "eternity"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "for")
    unknown = await send("/ui/servers/nobody/check")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert "GET /" not in unknown.json()["error"]["message"], "a page shows it"
    seen = await send("/ui/servers/in-view", id=server_id, page="x")
    assert seen.status_code == 204
    await admin.press(f"/ui/servers/{server_id}/remove")


async def test_the_operators_word(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent, role="owner")
    url = f"/ui/servers/{server_id}"
    assert "good: Blocked until it is lifted" in await admin.notice_after(f"{url}/block", reason="odd answers")
    page = await admin.get(url)
    assert 'data-state="blocked"' in page
    assert "odd answers" in page
    assert "It stays blocked" in await admin.notice_after(f"{url}/resume")
    assert "are lifted" in await admin.notice_after(f"{url}/unblock")
    assert "now trusted" in await admin.notice_after(f"{url}/trust", trust="trusted")
    assert "as its owner and its share imply" in await admin.notice_after(f"{url}/trust", trust="")
    assert "bad: " in await admin.notice_after(f"{url}/trust", trust="blindly")
    assert "Approved" in await admin.notice_after(f"{url}/approve")
    await admin.press(f"{url}/remove")


async def test_a_change_is_reviewed_and_then_saved(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent, metadata={"description": "lab box"})
    url = f"/ui/servers/{server_id}"
    assert "lab box" in await admin.get(f"{url}/edit")
    fields = {"max_concurrency": "16", "description": HOSTILE, "share": "me"}
    review = (await admin.press(f"{url}/edit", status=200, **fields)).text
    assert "Review changes" in review
    assert "<del>lab box</del>" in review
    assert "<ins>16</ins>" in review
    assert "<script>alert" not in review
    assert (await world.server(server_id))["max_concurrency"] is None
    back = (await admin.press(f"{url}/edit", status=200, back="on", **fields)).text
    assert "Edit server" in back
    assert 'value="16"' in back
    notice = await admin.notice_after(f"{url}/save", **fields)
    assert notice == "good: Saved: who may use it, requests at once, description."
    server = await world.server(server_id)
    assert (server["max_concurrency"], server["share"]) == (16, "me")
    assert server["metadata"]["description"] == HOSTILE
    assert "Nothing is changed" in (await admin.press(f"{url}/edit", status=200)).text
    await admin.press(f"{url}/remove")


async def test_what_somebody_else_changed_meanwhile_is_not_undone(
    world: World, admin: Visitor, lent: FakeModelServer
) -> None:
    server_id = await world.register(lent)
    url = f"/ui/servers/{server_id}"
    as_of = re.search(r'name="as_of" value="(\w+)"', await admin.get(f"{url}/edit"))[1]
    await admin.notice_after(f"{url}/save", weight="7")
    for step in ("edit", "save"):
        page = (await admin.press(f"{url}/{step}", status=409, weight="1", priority="2", as_of=as_of)).text
        assert "Somebody has changed this server" in page
        assert f'value="{as_of}"' not in page
    assert (await world.server(server_id))["weight"] == 7
    fresh = re.search(r'name="as_of" value="(\w+)"', page)[1]
    await admin.notice_after(f"{url}/save", weight="7", priority="2", as_of=fresh)
    assert (await world.server(server_id))["priority"] == 2
    await admin.press(f"{url}/remove")


async def test_what_is_refused_stands_at_its_field(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent, api_key="sk-canary-of-the-server")
    url = f"/ui/servers/{server_id}"
    page = (await admin.press(f"{url}/edit", status=422, weight="heavy")).text
    assert 'id="error-weight"' in page
    page = (await admin.press(f"{url}/save", status=422, endpoint_url="http://127.0.0.1:9")).text
    assert 'id="error-api_key"' in page
    assert "Give the server's own key again" in unescape(page)
    page = (await admin.press(f"{url}/save", status=503, models="no-such-model")).text
    assert "no-such-model" in page
    asked = (await admin.press(f"{url}/edit", status=200, api_key="new", new_key="sk-typed-canary")).text
    assert "once more" in asked
    assert "canary" not in asked
    notice = await admin.notice_after(f"{url}/save", api_key="new", new_key="sk-typed-canary")
    assert notice == "good: Saved: the server's own key."
    assert (await world.server(server_id))["has_api_key"] is True
    await admin.notice_after(f"{url}/save", api_key="none")
    assert (await world.server(server_id))["has_api_key"] is False
    await admin.press(f"{url}/remove")


async def test_a_removal_tells_what_it_means_before_it_is_done(
    world: World, admin: Visitor, lent: FakeModelServer
) -> None:
    async with serving(FakeModelServer(models=["llama"])) as (other,):
        server_id, other_id = await world.register(lent), await world.register(other)
        page = unescape(await admin.get(f"/ui/servers/{server_id}/remove"))
        assert "Other servers have llama: that goes on." in page
        assert "no other server has it: <strong>qwen</strong>" in page
        assert (await world.server(server_id))["registration_id"] == server_id
        answer = await admin.press(f"/ui/servers/{server_id}/remove")
        assert answer.headers["location"] == "/ui/servers"
        assert (await world.gateway.client.get(f"/admin/servers/{server_id}")).status_code == 404
        await admin.press(f"/ui/servers/{other_id}/remove")


async def test_a_change_without_the_pages_token_is_refused(world: World, admin: Visitor, lent: FakeModelServer) -> None:
    server_id = await world.register(lent)
    for path in ("pause", "remove", "save", "block", "check"):
        answer = await admin.client.post(f"/ui/servers/{server_id}/{path}", data={"csrf": "guessed"})
        assert answer.status_code == 403
    assert (await world.server(server_id))["paused"] is False
    await admin.press(f"/ui/servers/{server_id}/remove")
