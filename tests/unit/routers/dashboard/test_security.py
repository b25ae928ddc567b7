"""Can a page be used against the person who looks at it? Cookies, forgery, framing, redirects, sessions that end.

The whole gateway in this process. What is asked of every route is asked of the routes that the application has, so that
a new page is held to it without being named here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from app.routers.dashboard.policy import POLICY
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process

COOKIE = "multiverse_session"
BASE = "http://gateway.example"
HOSTILE = """<img src=x onerror=alert(1)>"'</title><script>alert(2)</script>"""
WITHOUT_TOKEN = {"/ui/sign-in", "/ui/theme"}
"""The first makes a session, and asks for our own origin; the second changes the looks of the page alone."""
STREAMS = {"/ui/live"}
PROXY = "192.0.2.10"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Visitor:
    """A browser of somebody's: it keeps cookies and follows no redirects."""

    client: httpx2.AsyncClient
    csrf: str = ""

    @property
    def cookie(self) -> str:
        return self.client.cookies.get(COOKIE, "")

    async def sign_in(self, key: str = ADMIN_KEY, **form: str) -> httpx2.Response:
        answer = await self.client.post("/ui/sign-in", data={"key": key, **form})
        if answer.status_code == 303:
            found = re.search(r'name="csrf" value="([\w-]+)"', (await self.get("/ui")).text)
            assert found is not None
            self.csrf = found[1]
        return answer

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        headers = {"accept": "text/html", **options.pop("headers", {})}
        return await self.client.get(path, headers=headers, **options)

    async def is_in(self) -> bool:
        return (await self.get("/ui")).status_code == 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("security")) as running:
        yield running


@asynccontextmanager
async def visiting(gateway: GatewayInProcess, base: str = BASE, address: str = "127.0.0.1") -> AsyncIterator[Visitor]:
    transport = httpx2.ASGITransport(app=gateway.app, client=(address, 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
        yield Visitor(client)


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(gateway: GatewayInProcess) -> AsyncIterator[Visitor]:
    async with visiting(gateway) as visitor:
        yield visitor


@pytest_asyncio.fixture(loop_scope="module")
async def admin(gateway: GatewayInProcess) -> AsyncIterator[Visitor]:
    async with visiting(gateway) as visitor:
        assert (await visitor.sign_in()).status_code == 303
        yield visitor


def ui_routes(gateway: GatewayInProcess, method: str) -> Iterator[APIRoute]:
    for route in _flat(gateway.app.routes):
        if route.path.startswith("/ui") and method in (route.methods or ()):
            yield route


def _flat(routes: list[Any]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif inner := getattr(getattr(route, "original_router", route), "routes", None):
            yield from _flat(inner)


def concrete(path: str, value: str = "nothing-like-it") -> str:
    return re.sub(r"\{\w+(:\w+)?\}", value, path)


async def make_key(gateway: GatewayInProcess, **fields: object) -> dict[str, Any]:
    answer = await gateway.client.post("/admin/keys", json={"name": "somebody", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


# -------------------------------------------------------------------------------------------------- the cookie


async def _morsel(visitor: Visitor, **headers: str) -> dict[str, Any]:
    answer = await visitor.client.post("/ui/sign-in", data={"key": ADMIN_KEY}, headers=headers)
    assert answer.status_code == 303, answer.text
    return dict(SimpleCookie(answer.headers["set-cookie"])[COOKIE])


async def test_the_cookie_is_for_the_pages_alone(stranger: Visitor) -> None:
    flags = await _morsel(stranger)
    assert (flags["httponly"], flags["samesite"].lower(), flags["path"]) == (True, "strict", "/ui")
    assert (flags["domain"], flags["max-age"], flags["expires"], flags["secure"]) == ("", "", "", "")


async def test_it_is_secure_where_the_browser_came_by_https(
    gateway: GatewayInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
    async with visiting(gateway, "https://gateway.example") as visitor:
        assert (await _morsel(visitor))["secure"] is True
    async with visiting(gateway, address=PROXY) as visitor:
        assert (await _morsel(visitor, **forwarded))["secure"] == ""  # anybody can say so
    trusting = gateway.settings.model_copy(
        update={"trusted_proxies": type(gateway.settings)(_env_file=None, trusted_proxies=PROXY).trusted_proxies}
    )
    monkeypatch.setitem(gateway.app.state._state, "settings", trusting)
    async with visiting(gateway, address=PROXY) as visitor:
        assert (await _morsel(visitor, **forwarded))["secure"] is True
        assert (await _morsel(visitor))["secure"] == ""


async def test_the_cookie_opens_nothing_but_pages(gateway: GatewayInProcess, admin: Visitor) -> None:
    sent = [
        {"cookie": f"{COOKIE}={admin.cookie}"},
        {"authorization": f"Bearer {admin.cookie}"},
        {"x-api-key": admin.cookie},
        {"x-api-key": admin.csrf},
        {"cookie": f"{COOKIE}={admin.cookie}", "x-csrf-token": admin.csrf},
    ]
    async with visiting(gateway) as bare:
        for headers in sent:
            for path in ("/admin/servers", "/admin/keys", "/v1/models", "/v1/usage", "/metrics"):
                assert (await bare.client.get(path, headers=headers)).status_code == 401, (path, headers)
        # and a key opens no page: a browser would have to be told it with each request
        answer = await bare.get("/ui", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert answer.status_code == 303


async def test_a_cookie_that_somebody_chose_becomes_no_session(gateway: GatewayInProcess, stranger: Visitor) -> None:
    chosen = "A" * 43
    answer = await stranger.client.post(
        "/ui/sign-in", data={"key": ADMIN_KEY}, headers={"cookie": f"{COOKIE}={chosen}"}
    )
    assert answer.status_code == 303
    assert SimpleCookie(answer.headers["set-cookie"])[COOKIE].value != chosen
    async with visiting(gateway) as attacker:
        attacker.client.cookies.set(COOKIE, chosen, path="/ui")
        assert not await attacker.is_in()


async def test_each_sign_in_has_a_cookie_of_its_own_and_ends_the_one_before(
    gateway: GatewayInProcess, stranger: Visitor
) -> None:
    seen = []
    for _sign_in in range(3):
        await stranger.sign_in()
        seen.append((stranger.cookie, stranger.csrf))
    assert len({cookie for cookie, _csrf in seen}) == len({csrf for _cookie, csrf in seen}) == 3
    async with visiting(gateway) as attacker:  # whoever planted a session of theirs has it no more
        for cookie, _csrf in seen[:2]:
            attacker.client.cookies.set(COOKIE, cookie, path="/ui")
            assert not await attacker.is_in()
    assert await stranger.is_in()


# -------------------------------------------------------------------------------------------------- forgery


async def _state(gateway: GatewayInProcess) -> list[Any]:
    answers = [await gateway.client.get(path) for path in ("/admin/audit", "/admin/servers", "/admin/keys")]
    entries = [one for one in answers[0].json()["rows"] if not one["action"].startswith("session.")]
    return [entries, answers[1].json()["total"], len(answers[2].json()["keys"])]


async def test_no_change_without_the_token_of_this_session(gateway: GatewayInProcess, admin: Visitor) -> None:
    before = await _state(gateway)
    async with visiting(gateway) as other:
        await other.sign_in()
        for route in ui_routes(gateway, "POST"):
            if route.path in WITHOUT_TOKEN:
                continue
            url = concrete(route.path)
            for token in ("", "wrong", admin.csrf[:-1], other.csrf, admin.cookie):
                for sent in ({"data": {"csrf": token}}, {"headers": {"x-csrf-token": token}, "json": {}}):
                    answer = await admin.client.post(url, **sent)
                    assert answer.status_code == 403, (route.path, token, answer.status_code)
    assert await _state(gateway) == before
    assert await admin.is_in()


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
        {"sec-fetch-site": "same-site", "origin": "https://other.gateway.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://gateway.example.evil.example"},
        {"origin": "http://gateway.example:8443"},
    ],
)
async def test_no_change_from_a_page_of_somebody_else(
    gateway: GatewayInProcess, admin: Visitor, headers: dict[str, str]
) -> None:
    before = await _state(gateway)
    for route in ui_routes(gateway, "POST"):
        if route.path == "/ui/theme":
            continue
        form = {"csrf": admin.csrf, "key": ADMIN_KEY}
        answer = await admin.client.post(concrete(route.path), data=form, headers=headers)
        assert answer.status_code == 403, (route.path, answer.status_code)
        assert COOKIE not in answer.headers.get("set-cookie", "")
    assert await _state(gateway) == before
    assert await admin.is_in()


async def test_nothing_changes_by_being_looked_at(gateway: GatewayInProcess, admin: Visitor) -> None:
    before = await _state(gateway)
    for route in ui_routes(gateway, "GET"):
        if route.path not in STREAMS:
            await admin.get(concrete(route.path))
            assert (await admin.client.get("/ui/sign-out")).status_code in {404, 405}
    assert await _state(gateway) == before
    assert await admin.is_in()


async def test_who_is_not_signed_in_changes_and_sees_nothing(gateway: GatewayInProcess, stranger: Visitor) -> None:
    before = await _state(gateway)
    for route in ui_routes(gateway, "GET"):
        if route.path.startswith(("/ui/assets", "/ui/sign-in")):
            continue
        answer = await stranger.get(concrete(route.path))
        assert answer.status_code == 303, (route.path, answer.status_code)
        assert answer.headers["location"].startswith("/ui/sign-in"), route.path
        assert (await stranger.client.get(concrete(route.path))).status_code == 401, route.path
    for route in ui_routes(gateway, "POST"):
        if route.path not in WITHOUT_TOKEN:
            answer = await stranger.client.post(concrete(route.path), data={"csrf": "x"})
            assert answer.status_code == 401, (route.path, answer.status_code)
    assert await _state(gateway) == before


# -------------------------------------------------------------------------------------------------- framing


async def test_no_page_can_be_framed_or_run_what_is_not_ours(gateway: GatewayInProcess, admin: Visitor) -> None:
    assert "unsafe" not in POLICY
    assert "script-src 'self'" in POLICY
    async with visiting(gateway) as stranger:
        answers = [await stranger.get(path) for path in ("/ui", "/ui/sign-in", "/ui/no-such-page")]
        answers.append(await stranger.client.post("/ui/sign-in", data={"key": "wrong"}))
    for route in ui_routes(gateway, "GET"):
        if route.path not in STREAMS and not route.path.startswith("/ui/assets"):
            answers.append(await admin.get(concrete(route.path)))
            answers.append(await admin.get(concrete(route.path), headers={"hx-request": "true"}))
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy in {POLICY, "default-src 'none'; frame-ancestors 'none'"}, answer.url
        if answer.headers.get("content-type", "").startswith("text/html"):
            assert policy == POLICY, answer.url
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store", answer.url
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


# -------------------------------------------------------------------------------------------------- redirects

ELSEWHERE = (
    "//evil.example", "///evil.example", "https://evil.example", "https:evil.example", "http://gateway.example@evil",
    "/\\evil.example", "\\\\evil.example", "/ui\\..\\evil", "/ui/../admin", "/ui/../../evil", "/ui/./../x", "/ui//evil",
    "%2f%2fevil.example", "/%2fevil.example", "/ui/%2e%2e/admin", "/ui%0d%0aset-cookie:a=b", "/ui\r\nset-cookie: a=b",
    "/ui\tx", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "/uix", "/uievil.example", "ui", " /ui",
    "/ui/sign-in", "/ui/sign-in?next=/ui/sign-in", "/ui/sign-out", "/ui/live", "/admin", "/docs", "//gateway.example/u",
    "/ui?x=\r\nset-cookie:a=b", "/ui/keys#\\evil", "/ui/\u2028", "", "/", "?", "#", "/ui/@evil.example/../..",
)  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
async def test_signing_in_leads_nowhere_else(stranger: Visitor, target: str) -> None:
    answers = [await stranger.sign_in(next=target), await stranger.get("/ui/sign-in", params={"next": target})]
    answers.append(await stranger.client.post("/ui/theme", data={"theme": "dark", "next": target}))
    for answer in answers:
        assert answer.status_code == 303
        location = answer.headers["location"]
        there = urlsplit(urljoin(f"{BASE}/ui/sign-in", location))
        assert (there.scheme, there.netloc) == ("http", "gateway.example"), location
        assert there.path == "/ui", location
        assert set(SimpleCookie(answer.headers.get("set-cookie", ""))) <= {COOKIE, "multiverse_theme"}


@pytest.mark.parametrize(
    "target", ["/ui", "/ui/keys", "/ui/servers/3f0c-4a52", "/ui/servers?q=llama&state=down", "/ui/activity?after=1%2C2"]
)
async def test_signing_in_leads_to_the_page_that_was_wanted(stranger: Visitor, target: str) -> None:
    asked = await stranger.get(target)
    assert asked.status_code == 303
    sign_in = await stranger.get(asked.headers["location"])
    wanted = re.search(r'name="next" value="([^"]*)"', sign_in.text)
    assert wanted is not None
    answer = await stranger.sign_in(next=wanted[1].replace("&amp;", "&"))
    assert answer.headers["location"] == target


# -------------------------------------------------------------------------------------------------- how it ends


async def test_signing_out_ends_it_whoever_kept_the_cookie(gateway: GatewayInProcess, admin: Visitor) -> None:
    cookie = admin.cookie
    answer = await admin.client.post("/ui/sign-out", data={"csrf": admin.csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in")
    gone = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert (gone.value, gone["path"], gone["max-age"]) == ("", "/ui", "0")
    async with visiting(gateway) as thief:
        thief.client.cookies.set(COOKIE, cookie, path="/ui")
        assert not await thief.is_in()


async def test_signing_out_everywhere(gateway: GatewayInProcess) -> None:
    made = await make_key(gateway)
    async with visiting(gateway) as here, visiting(gateway) as there, visiting(gateway) as other:
        for visitor in (here, there):
            await visitor.sign_in(made["key"])
        await other.sign_in()
        await here.client.post("/ui/sign-out", data={"csrf": here.csrf, "everywhere": "on"})
        assert [await visitor.is_in() for visitor in (here, there, other)] == [False, False, True]


async def test_a_key_that_ends_ends_its_sessions(gateway: GatewayInProcess, stranger: Visitor) -> None:
    made = await make_key(gateway)
    await stranger.sign_in(made["key"])
    rotated = await gateway.client.post(f"/admin/keys/{made['id']}/rotate", json={"overlap_seconds": 0})
    assert not await stranger.is_in()
    await stranger.sign_in(rotated.json()["key"])
    assert await stranger.is_in()
    await gateway.client.delete(f"/admin/keys/{made['id']}")
    answer = await stranger.get("/ui/models")
    assert answer.headers["location"] == "/ui/sign-in?next=/ui/models"
    assert "This key was revoked on" in (await stranger.get("/ui/sign-in")).text


async def test_it_ends_by_itself(gateway: GatewayInProcess, admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = gateway.app.state.sessions
    now = sessions._now
    hours = timedelta(hours=gateway.settings.session_hours)
    with monkeypatch.context() as later:
        later.setattr(sessions, "_now", lambda: now() + hours - timedelta(seconds=30))
        assert await admin.is_in()
    with monkeypatch.context() as later:
        later.setattr(sessions, "_now", lambda: now() + 2 * hours)
        assert not await admin.is_in()


async def test_what_is_guessed_is_slowed_down(gateway: GatewayInProcess) -> None:
    async with visiting(gateway, address="203.0.113.77") as guesser, visiting(gateway) as other:
        for _guess in range(10):
            answer = await guesser.sign_in("mvk_canary-of-a-wrong-key")
            assert answer.status_code == 401
            assert "canary" not in answer.text
        answer = await guesser.sign_in()
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (await other.sign_in()).status_code == 303
    assert "canary-of-a-wrong-key" not in gateway.log


async def test_a_stranger_brings_no_more_than_a_key(stranger: Visitor) -> None:
    for path in ("/ui/sign-in", "/ui/theme", "/ui/sign-out"):
        answer = await stranger.client.post(path, data={"key": "x" * 10_000})
        assert answer.status_code == 413, path


# -------------------------------------------------------------------------------------------------- what is shown


async def test_another_role_is_told_what_it_may_not(gateway: GatewayInProcess, stranger: Visitor) -> None:
    await stranger.sign_in((await make_key(gateway, role="user"))["key"])
    for path in ("/ui/servers", "/ui/register", "/ui/settings"):
        answer = await stranger.get(path)
        assert answer.status_code == 403, path
        assert "<h1>Not allowed</h1>" in answer.text


async def test_a_scope_that_does_not_reach_the_pages_does_not_reach_them_by_sign_in(
    gateway: GatewayInProcess, stranger: Visitor
) -> None:
    made = await make_key(gateway, role="admin", routes=["/v1/chat/completions"])
    answer = await stranger.sign_in(made["key"])
    assert answer.status_code == 403
    assert COOKIE not in answer.headers.get("set-cookie", "")


async def test_what_a_request_says_is_shown_as_text(gateway: GatewayInProcess, admin: Visitor) -> None:
    for route in ui_routes(gateway, "GET"):
        if route.path in STREAMS or route.path.startswith("/ui/assets"):
            continue
        url = concrete(route.path, "%3Cimg%20src=x%20onerror=alert(1)%3E")
        names = [field.alias for field in route.dependant.query_params] or ["q"]
        queries: list[dict[str, str]] = [{name: HOSTILE} for name in names] + [dict.fromkeys(names, HOSTILE)]
        for query in queries:
            answer = await admin.get(url, params=query)
            assert answer.status_code < 500, (url, query)
            for markup in ("<img src=x", "<script>alert", "'</title><script>"):
                assert markup not in answer.text, (url, query)
    answer = await admin.client.post("/ui/sign-in", data={"key": HOSTILE, "next": HOSTILE})
    assert "<img src=x" not in answer.text
