"""Do the pages of an invite show a key once, to a person and not to a program that looks at links?"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx2
import pytest

from app.routers.invites import STYLE
from app.services.core.keys import KeyForm, looks_minted
from app.services.registry.people.tokens import mint_token
from tests.fakes.api import Api
from tests.fakes.people import People, people_of

BROWSER = {"authorization": "", "accept": "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"}
PROGRAM = {"authorization": "", "accept": "application/json"}
UNKNOWN = mint_token(bytes(range(32)))
KEY = re.compile(r"<pre>(mvk_[0-9A-Za-z]{36})</pre>")


@pytest.fixture
async def people(api: Api) -> AsyncIterator[People]:
    async with people_of(api) as made:
        yield made


async def invite(people: People, name: str = "Ada", **fields: Any) -> dict[str, Any]:
    body = {"people": [{"name": name}], "as": "invites"} | fields
    (made,) = (await people.call("POST", "/admin/keys/import", 201, json=body))["made"]
    return dict(made)


def path_of(link: str) -> str:
    assert link.startswith("https://gateway.example/invite/mvi_")
    return link.removeprefix("https://gateway.example")


async def looked(people: People, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    return await people.api.client.get(path, headers=headers or BROWSER)


async def pressed(people: People, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    content_type = {"content-type": "application/x-www-form-urlencoded"}
    return await people.api.client.post(path, headers={**(headers or BROWSER), **content_type})


async def test_a_link_is_looked_at_as_often_as_one_likes_and_used_once(people: People) -> None:
    made = await invite(people)
    path = path_of(made["link"])
    assert made["key"] is None
    for _look in range(3):
        page = await looked(people, path)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert '<form method="post"><button type="submit">' in page.text
        assert "mvk_" not in page.text
    assert (await people.api.client.head(path, headers=BROWSER)).status_code == 200
    assert (await people.call("GET", f"/admin/keys/{made['id']}"))["state"] == "unclaimed"
    page = await pressed(people, path)
    assert page.status_code == 201
    key = KEY.search(page.text)[1]
    assert looks_minted(key) is KeyForm.MINTED
    assert people.keys.ring.authenticate(key.encode()).key_id == made["id"]
    assert (await people.call("GET", f"/admin/keys/{made['id']}"))["state"] == "active"
    for again in (await looked(people, path), await pressed(people, path)):
        assert again.status_code == 410
        assert "Ask whoever sent you the link" in again.text
        assert key not in again.text


@pytest.mark.parametrize("way", [looked, pressed])
async def test_the_pages_keep_their_address_and_run_nothing(people: People, way: Any) -> None:
    path = path_of((await invite(people))["link"])
    for page in (await way(people, path), await way(people, f"/invite/{UNKNOWN}"), await way(people, "/invite/x")):
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "script-src" not in policy
        assert "'unsafe" not in policy
        assert "form-action 'self'" in policy
        assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
        assert "noindex" in page.headers["x-robots-tag"]
        assert page.headers["x-frame-options"] == "DENY"
        assert "<script" not in page.text
        assert "http" not in re.sub(r"https://gateway\.example/v1", "", page.text)
        style = re.search(r"<style>(.*)</style>", page.text, re.DOTALL)[1]
        assert style == STYLE
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
        assert '<meta name="viewport"' in page.text
        assert "color-scheme:light dark" in style
        assert '<html lang="en">' in page.text


async def test_a_program_gets_json(people: People) -> None:
    await people.group()
    made = await invite(people, group="physics", expires_at="2031-01-01T00:00:00Z")
    answer = await pressed(people, path_of(made["link"]), PROGRAM)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    claimed = answer.json()
    assert looks_minted(claimed.pop("key")) is KeyForm.MINTED
    assert claimed == {
        "id": made["id"],
        "name": "Ada",
        "group": "physics",
        "expires_at": "2031-01-01T00:00:00Z",
        "base_url": "https://gateway.example/v1",
    }
    again = await pressed(people, path_of(made["link"]), PROGRAM)
    assert again.status_code == 410
    assert again.json()["error"]["code"] == "invite_gone"


async def test_the_page_shows_what_to_copy(people: People) -> None:
    page = await pressed(people, path_of((await invite(people))["link"]))
    text = unescape(page.text)
    assert 'export OPENAI_BASE_URL="https://gateway.example/v1"' in text
    assert f'export OPENAI_API_KEY="{KEY.search(page.text)[1]}"' in text
    assert "user-select:all" in STYLE


async def test_without_a_public_url_the_page_names_its_own_address(people: People) -> None:
    people.invites.public_url = ""
    made = await invite(people)
    assert made["link"].startswith("/invite/mvi_")
    page = await pressed(people, made["link"], {**BROWSER, "host": 'evil"><b>x'})
    assert "<b>" not in page.text
    made = await invite(people, "Grace")
    assert (await pressed(people, made["link"], PROGRAM)).json()["base_url"] == "http://gateway/v1"


async def test_names_are_shown_as_text(people: People) -> None:
    await people.group("<i>group</i>")
    made = await invite(people, "<b onclick=x>&Ada", group="<i>group</i>")
    page = await looked(people, path_of(made["link"]))
    assert "<b " not in page.text
    assert "<i>" not in page.text
    assert "<b onclick=x>&Ada" in unescape(page.text)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (UNKNOWN, 410),
        (UNKNOWN[:-1], 404),
        (UNKNOWN[:-1] + ("a" if UNKNOWN[-1] != "a" else "b"), 404),
        (UNKNOWN.upper(), 404),
        ("mvk_" + UNKNOWN[4:], 404),
        ("mvi_", 404),
        ("%00", 404),
        ("'%20OR%201=1--", 404),
        ("%F0%9F%92%A9", 404),
        ("x" * 3000, 404),
    ],
)
async def test_links_that_lead_nowhere_say_whom_to_ask_or_what_to_do(people: People, token: str, status: int) -> None:
    await invite(people)
    for way in (looked, pressed):
        page = await way(people, f"/invite/{token}")
        assert page.status_code == status
        assert "link" in page.text
        assert page.headers["content-type"].startswith("text/html")
        assert "x" * 100 not in page.text
        told = (await way(people, f"/invite/{token}", PROGRAM)).json()["error"]
        assert told["code"] == ("invite_gone" if status == 410 else "not_found")


async def test_a_link_ends_with_its_days_its_key_and_its_revocation(people: People) -> None:
    short = await invite(people, "a", invite_days=0.5)
    ends = await invite(people, "b", expires_at="2030-01-05T00:00:00Z")
    revoked, usual = await invite(people, "c"), await invite(people, "d")
    assert usual["link_expires_at"] == "2030-01-15T00:00:00Z"
    await people.call("DELETE", f"/admin/keys/{revoked['id']}", 204)
    assert (await pressed(people, path_of(revoked["link"]))).status_code == 410
    people.api.world.clock.move(hours=13)
    assert (await pressed(people, path_of(short["link"]))).status_code == 410
    people.api.world.clock.move(days=4)
    people.keys.refresh(people.api.world.clock())
    assert (await pressed(people, path_of(ends["link"]))).status_code == 410
    people.api.world.clock.move(days=9, hours=10)
    assert (await looked(people, path_of(usual["link"]))).status_code == 200
    people.api.world.clock.move(hours=2)
    assert (await looked(people, path_of(usual["link"]))).status_code == 410


async def test_of_many_who_press_at_once_one_gets_the_key(people: People) -> None:
    path = path_of((await invite(people))["link"])
    pages = await asyncio.gather(*(pressed(people, path) for _press in range(8)))
    assert sorted(page.status_code for page in pages) == [201] + [410] * 7
    assert len(people.keys.ring.principals) == 2


async def test_a_new_link_ends_the_one_before(people: People) -> None:
    made = await invite(people)
    answer = await people.api.client.post(f"/admin/keys/{made['id']}/invite", json={"invite_days": 1})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    renewed = answer.json()
    assert (renewed["id"], renewed["expires_at"]) == (made["id"], "2030-01-02T00:00:00Z")
    assert (await pressed(people, path_of(made["link"]))).status_code == 410
    assert (await pressed(people, path_of(renewed["link"]))).status_code == 201
    error = (await people.call("POST", f"/admin/keys/{made['id']}/invite", 409))["error"]
    assert "Rotate it" in error["message"]
    await people.call("DELETE", f"/admin/keys/{made['id']}", 204)
    await people.call("POST", f"/admin/keys/{made['id']}/invite", 409)
    await people.call("POST", "/admin/keys/nothing/invite", 404)
    await people.call("POST", f"/admin/keys/{made['id']}/invite", 422, json={"days": 1})


async def test_before_the_start_is_over_the_page_says_so(people: People) -> None:
    people.api.app.state.invites = None
    assert (await looked(people, f"/invite/{UNKNOWN}")).status_code == 503
    await people.call("POST", "/admin/keys/import", 503, json={"csv": "name\na\n"})
