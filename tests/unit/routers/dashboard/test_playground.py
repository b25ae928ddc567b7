"""Is what the playground sends served as with the visitor's own key, and is the page told no more than that?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.routers.dashboard import playground_way
from tests.fakes.gateway_in_process import ADMIN_KEY, SHELLS, GatewayInProcess, open_in_process
from tests.fakes.house import until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving

HOSTILE = "<img src=x onerror=alert(1)>"
PAGE = "/ui/playground"


@dataclass
class Demo:
    """Stands in for the demo."""

    alive: set[str]
    killed: list[str] = field(default_factory=list)

    def killable(self, server_id: str) -> bool:
        return server_id in self.alive

    def kill(self, server_id: str) -> None:
        self.killed.append(server_id)


class Browser:
    """Signed in, as a browser is: with a cookie, and the token that its page holds."""

    def __init__(self, client: httpx2.AsyncClient, csrf: str) -> None:
        self.client = client
        self.csrf = csrf

    async def chat(self, **fields: Any) -> httpx2.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.client.post(f"{PAGE}/chat", json=body, headers=self.headers)

    async def send(self, path: str = PAGE, **fields: Any) -> httpx2.Response:
        form = {"model": "m", "prompt": "hi", "csrf": self.csrf, **fields}
        return await self.client.post(path, data=form, headers={"accept": "text/html"})

    @property
    def headers(self) -> dict[str, str]:
        return {"x-csrf-token": self.csrf, "x-gateway-route": "why"}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path, verification_enabled=False) as opened:
        yield opened


@pytest.fixture
async def clients() -> AsyncIterator[list[httpx2.AsyncClient]]:
    opened: list[httpx2.AsyncClient] = []
    yield opened
    for client in opened:
        await client.aclose()


@pytest.fixture
async def sign_in(gateway: GatewayInProcess, clients: list[httpx2.AsyncClient]) -> Any:
    async def open_browser(key: str = ADMIN_KEY, shell: str = "door") -> Browser:
        client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.ports[shell]}", timeout=20)
        clients.append(client)
        answer = await client.post("/ui/sign-in", data={"key": key})
        assert answer.status_code == 303
        page = await client.get("/ui/keys", headers={"accept": "text/html"}, follow_redirects=True)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token is not None
        return Browser(client, token[1])

    return open_browser


async def key_with(gateway: GatewayInProcess, **fields: Any) -> str:
    answer = await gateway.client.post("/admin/keys", json={"name": "one", **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


# -- the way of a script


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_stream_comes_through_with_all_that_tells_of_its_way(
    gateway: GatewayInProcess, sign_in: Any, shell: str
) -> None:
    async with serving(FakeModelServer()) as (fake,):
        server_id = (await gateway.register(fake.url)).json()["registration_id"]
        browser = await sign_in(shell=shell)
        answer = await browser.chat(stream=True)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("data: [DONE]")
    assert answer.headers["x-gateway-server-id"] == server_id
    assert answer.headers["x-gateway-attempts"] == "1"
    assert f"server={server_id}" in answer.headers["x-gateway-route"]
    (seen,) = fake.inference
    assert seen.headers["x-request-id"] == answer.headers["x-request-id"]
    assert not {"cookie", "x-csrf-token", "origin", "authorization"} & set(seen.headers)


async def test_without_the_pages_token_nothing_is_asked(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer()) as (fake,):
        await gateway.register(fake.url)
        browser = await sign_in()
        browser.csrf = "guessed"
        refused = await browser.chat()
        foreign = await browser.client.post(f"{PAGE}/chat", json={}, headers={"sec-fetch-site": "cross-site"})
        stranger = await gateway.client.post(f"{PAGE}/chat", json={})
        assert not fake.inference
    assert [refused.status_code, foreign.status_code, stranger.status_code] == [403, 403, 401]
    assert refused.json()["error"]["code"] == "csrf_token"


async def test_a_visitors_scope_and_limits_count(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer(models=["m", "other"])) as (fake,):
        await gateway.register(fake.url)
        browser = await sign_in(await key_with(gateway, models=["m"], limits={"requests_per_minute": 1}))
        wrong, first, second = await browser.chat(model="other"), await browser.chat(), await browser.chat()
    assert [wrong.status_code, first.status_code, second.status_code] == [403, 200, 429]
    assert wrong.json()["error"]["code"] == "model_not_in_scope"


@pytest.mark.parametrize("shell", SHELLS)
async def test_who_stops_ends_the_work_upstream(gateway: GatewayInProcess, sign_in: Any, shell: str) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        await gateway.register(fake.url)
        browser = await sign_in(shell=shell)
        body = {"model": "m", "messages": [], "stream": True}
        async with browser.client.stream("POST", f"{PAGE}/chat", json=body, headers=browser.headers) as answer:
            async for _piece in answer.aiter_bytes():
                break
        async with asyncio.timeout(10):
            await fake.lost.wait()
        await until(lambda: gateway.app.state.plane.open_exchanges == 0)


# -- the way of a form


async def test_a_form_comes_back_with_the_whole_answer(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer(models=["m", "other"], words=[HOSTILE])) as (fake,):
        server_id = (await gateway.register(fake.url)).json()["registration_id"]
        browser = await sign_in()
        answer = await browser.send(second_model="other", system="Be brief.", temperature="0.5", stop="END\n\nSTOP")
        asked = [seen.json for seen in fake.inference]
    assert answer.status_code == 200
    assert answer.text.count("&lt;img src=x onerror=alert(1)&gt;") == 2
    assert HOSTILE not in answer.text
    assert f'<a href="/ui/servers/{server_id}">' in answer.text
    assert sorted(body["model"] for body in asked) == ["m", "other"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert [(body["messages"], body["temperature"], body["stop"]) for body in asked] == [
        (messages, 0.5, ["END", "STOP"])
    ] * 2


@pytest.mark.parametrize(("fields", "words"), [({"prompt": " "}, "prompt:"), ({"temperature": "warm"}, "temperature:")])
async def test_a_field_that_is_wrong_is_told_at_its_place(
    gateway: GatewayInProcess, sign_in: Any, fields: dict[str, str], words: str
) -> None:
    async with serving(FakeModelServer()) as (fake,):
        await gateway.register(fake.url)
        answer = await (await sign_in()).send(**fields)
        assert not fake.inference
    (name,) = fields
    assert answer.status_code == 422
    assert re.search(rf'id="error-{name}"[^>]*>{words}', answer.text)


async def test_an_error_is_shown_in_the_gateways_words(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer()) as (fake,):
        await gateway.register(fake.url)
        answer = await (await sign_in()).send(model="no-such-model")
    assert answer.status_code == 200
    assert "Model &#39;no-such-model&#39; not found" in answer.text


async def test_an_endless_answer_is_given_up(
    gateway: GatewayInProcess, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground_way, "MOST_ANSWER_BYTES", 2000)
    async with serving(FakeModelServer(words=["long"] * 1000)) as (fake,):
        await gateway.register(fake.url)
        answer = await (await sign_in()).send()
        assert "too long for this page" in answer.text
        await until(lambda: gateway.app.state.plane.open_exchanges == 0)


# -- what is shown, and to whom


async def test_the_page_offers_what_the_key_may_ask_for(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer(models=["m", HOSTILE, "other"])) as (fake,):
        await gateway.register(fake.url)
        browser = await sign_in(await key_with(gateway, models=["m", HOSTILE]))
        page = await browser.client.get(f"{PAGE}?model=m", headers={"accept": "text/html"})
    assert '<option value="m" selected>m (1 of 1 server ready)</option>' in page.text
    assert "other" not in re.findall(r'<option value="([^"]*)"', page.text)
    assert HOSTILE not in page.text
    assert "Kill the server" not in page.text


async def test_where_nothing_can_be_asked_the_page_teaches(gateway: GatewayInProcess, sign_in: Any) -> None:
    nothing = await (await sign_in()).client.get(PAGE, headers={"accept": "text/html"})
    assert "Register a server" in nothing.text
    barred = await sign_in(await key_with(gateway, routes=["/ui", "/v1/embeddings"]))
    page = await barred.client.get(PAGE, headers={"accept": "text/html"})
    assert "This key may not talk to models" in page.text


async def test_a_server_is_named_to_those_who_may_know_it(gateway: GatewayInProcess, sign_in: Any) -> None:
    async with serving(FakeModelServer()) as (fake,):
        metadata = {"description": "lab box"}
        server_id = (await gateway.register(fake.url, metadata=metadata)).json()["registration_id"]
        path = f"{PAGE}/servers/{server_id}"
        operator, owner = await sign_in(), await sign_in(await key_with(gateway, role="owner"))
        user = await sign_in(await key_with(gateway))
        told = [(await browser.client.get(path)).json() for browser in (operator, owner, user)]
        unknown = (await operator.client.get(f"{PAGE}/servers/nobody-knows")).json()
    page = f"/ui/servers/{server_id}"
    assert told == [
        {"name": fake.url.removeprefix("http://"), "url": page},
        {"name": "lab box", "url": page},
        {"name": f"server {server_id[:8]}", "url": None},
    ]
    assert unknown == {"name": "server nobody-k", "url": None}


# -- the demo


async def test_outside_the_demo_nothing_is_killed(gateway: GatewayInProcess, sign_in: Any) -> None:
    answer = await (await sign_in()).send(f"{PAGE}/kill", server_id="s1")
    assert answer.status_code == 404


async def test_in_the_demo_an_admin_kills_what_runs(gateway: GatewayInProcess, sign_in: Any) -> None:
    demo = gateway.app.state.demo = Demo({"s1"})
    async with serving(FakeModelServer()) as (fake,):
        await gateway.register(fake.url)
        operator, user = await sign_in(), await sign_in(await key_with(gateway))
        form = {"server_id": "s1"}
        forbidden = await user.client.post(f"{PAGE}/kill", data=form, headers=user.headers)
        tokenless = await operator.client.post(f"{PAGE}/kill", data=form)
        gone = await operator.client.post(f"{PAGE}/kill", data={"server_id": "s2"}, headers=operator.headers)
        assert demo.killed == []
        done = await operator.client.post(f"{PAGE}/kill", data=form, headers=operator.headers)
        offered = await operator.client.get(PAGE, headers={"accept": "text/html"})
    assert [answer.status_code for answer in (forbidden, tokenless, gone, done)] == [403, 403, 409, 204]
    assert demo.killed == ["s1"]
    assert "Kill the server that is answering" in offered.text


async def test_a_server_that_writes_nonsense_is_told_of(gateway: GatewayInProcess, sign_in: Any) -> None:
    async def nonsense(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del fake, seen
        writer.write(json_answer({"choices": "none", "object": HOSTILE}))

    fake = FakeModelServer()
    async with serving(fake):
        await gateway.register(fake.url)
        fake.behaviours["/v1/chat/completions"] = nonsense
        answer = await (await sign_in()).send()
    assert answer.status_code == 200
    assert "Failed" in answer.text
    assert HOSTILE not in answer.text
