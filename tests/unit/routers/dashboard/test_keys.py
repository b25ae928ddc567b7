"""Are keys found, made, shown once, changed and ended by forms, by whom they may be, and by nobody else?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from html import unescape
from typing import Any

import pytest
import pytest_asyncio

from app.routers.dashboard import key_pages
from app.routers.dashboard.key_forms import GROUP_FIELDS, KEY_FIELDS, what_changed
from app.services.core.keys import KeyForm, looks_minted
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.page_client import PageClient, text_of

HOSTILE = "<img src=x onerror=alert(1)>\"'"
SECRET = re.compile(r"mvk_[0-9A-Za-z]{20,}")
FORM_ID = re.compile(r'name="form_id" value="([^"]+)"')
UPDATED = re.compile(r'name="updated_at" value="([^"]+)"')
SignIn = Callable[..., Awaitable[PageClient]]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("keys"), continuation_enabled=False) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def sign_in(gateway: GatewayInProcess) -> AsyncIterator[SignIn]:
    async with AsyncExitStack() as stack:

        async def open_pages(key: str | None = None, **fields: Any) -> PageClient:
            secret = key or ((await make(gateway, **fields))["key"] if fields else None)
            pages = await PageClient.sign_in(gateway, *([secret] if secret else []))
            stack.push_async_callback(pages.close)
            return pages

        yield open_pages


async def make(gateway: GatewayInProcess, **fields: Any) -> dict[str, Any]:
    answer = await gateway.client.post("/admin/keys", json={"name": "one", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def show(gateway: GatewayInProcess, key_id: str) -> dict[str, Any]:
    return dict((await gateway.client.get(f"/admin/keys/{key_id}")).json())


async def count(gateway: GatewayInProcess, **params: str) -> int:
    return int((await gateway.client.get("/admin/keys", params=params)).json()["total"])


async def form_of(pages: PageClient, path: str, pattern: re.Pattern[str] = FORM_ID) -> str:
    found = pattern.search((await pages.get(path)).text)
    assert found is not None
    return unescape(found[1])


# ---------------------------------------------------------------------------------------------- the list


async def test_the_list_is_found_filtered_and_paged_by_its_url(gateway, sign_in, monkeypatch) -> None:
    monkeypatch.setattr(key_pages, "KEYS_A_PAGE", 2)
    pages = await sign_in()
    for number in range(3):
        await make(gateway, name=f"paged {number}", person=f"p{number}@example.org")
    first = (await pages.get("/ui/keys?q=paged")).text
    assert [name for name in ("paged 0", "paged 1", "paged 2") if name in first] == ["paged 1", "paged 2"]
    older = unescape(re.search(r'rel="next" href="([^"]+)"', first)[1])
    assert older.startswith("/ui/keys?q=paged&after=")
    second = (await pages.get(older)).text
    assert "paged 0" in second
    assert "paged 2" not in second
    assert 'rel="next"' not in second
    assert "3 keys fit" in text_of(first)
    assert "No key fits" in (await pages.get("/ui/keys?q=no-such-thing")).text
    assert (await pages.get("/ui/keys?role=king&state=lost")).status_code == 200, "what is no filter is none"
    assert (await pages.get("/ui/keys?group=no-such-group")).status_code == 422


async def test_a_whole_key_in_the_search_goes_out_of_the_address(gateway, sign_in) -> None:
    made = await make(gateway, name="pasted")
    pages = await sign_in()
    answer = await pages.get(f"/ui/keys?q={made['key']}&role=user")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/keys?q={made['key'][-4:]}&role=user")
    text = (await pages.get(answer.headers["location"])).text
    assert made["key"] not in text
    assert "pasted" in text


async def test_hostile_names_are_text(gateway, sign_in) -> None:
    made = await make(gateway, name=HOSTILE, person=HOSTILE[:20], models=[HOSTILE])
    pages = await sign_in()
    for path in ("/ui/keys", f"/ui/keys/{made['id']}", f"/ui/keys/{made['id']}/edit", f"/ui/keys/{made['id']}/revoke"):
        text = (await pages.get(path)).text
        assert "<img src=x" not in text
        assert HOSTILE in unescape(text)


# ---------------------------------------------------------------------------------------------- make, once


async def test_a_key_is_made_shown_once_and_not_again_by_loading_the_page(gateway, sign_in) -> None:
    pages = await sign_in()
    fields = {
        "form_id": await form_of(pages, "/ui/keys/new"), "name": "made by a form", "role": "owner", "models": "a\r\nb",
        "limits.requests_per_minute": "60", "expires_at": "2090-02-28", "weight": "", "reach": "",
    }  # fmt: skip
    answer = await pages.post("/ui/keys/new", fields)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    (secret,) = set(SECRET.findall(answer.text))
    assert looks_minted(secret) is KeyForm.MINTED
    (found,) = (await gateway.client.get("/admin/keys", params={"q": "made by a form"})).json()["keys"]
    assert (found["role"], found["models"], found["limits"]["requests_per_minute"]) == ("owner", ["a", "b"], 60)
    assert found["expires_at"] == "2090-02-28T23:59:59Z"
    again = await pages.post("/ui/keys/new", fields)
    assert (again.status_code, again.headers["location"]) == (303, "/ui/keys")
    assert await count(gateway, q="made by a form") == 1
    listed = (await pages.get("/ui/keys")).text
    assert "sent before" in listed
    assert secret not in listed
    assert secret not in (await pages.get(f"/ui/keys/{found['id']}")).text


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"name": ""}, "name", "Is needed."),
        ({"name": "x", "limits.tokens_per_day": "many"}, "limits.tokens_per_day", "whole number"),
        ({"name": "x", "weight": "1e9"}, "weight", "a number of at most 100"),
        ({"name": "x", "expires_at": "2001-01-01"}, "expires_at", "has passed already"),
        ({"name": "x", "person": "a/b"}, "person", "without a slash"),
    ],
)
async def test_what_is_not_good_is_told_at_its_field_and_what_was_typed_stays(
    gateway, sign_in, fields: dict[str, str], field: str, words: str
) -> None:
    before = await count(gateway)
    pages = await sign_in()
    form_id = await form_of(pages, "/ui/keys/new")
    answer = await pages.post("/ui/keys/new", {"form_id": form_id, "models": HOSTILE, **fields})
    assert answer.status_code == 422
    assert words in re.search(rf'id="error-{re.escape(field)}"[^>]*>([^<]*)', answer.text)[1]
    assert f">{HOSTILE}</textarea>" in unescape(answer.text)
    assert "<img" not in answer.text.replace('<img src="/ui/assets', "")
    assert await count(gateway) == before
    again = await pages.post("/ui/keys/new", {"form_id": form_id, "name": "mended", "models": ""})
    assert SECRET.search(again.text), "a form that failed may be mended and sent again"


async def test_an_owner_makes_keys_inside_its_own_and_sees_no_others(gateway, sign_in) -> None:
    other = await make(gateway, name="somebody else's")
    pages = await sign_in(role="owner", models=["a"])
    form_id = await form_of(pages, "/ui/keys/new")
    refused = await pages.post("/ui/keys/new", {"form_id": form_id, "name": "wider", "models": "a\nb"})
    assert refused.status_code == 422
    assert "may do more than itself" in refused.text
    made = await pages.post("/ui/keys/new", {"form_id": form_id, "name": "inside"})
    assert SECRET.search(made.text)
    listed = (await pages.get("/ui/keys")).text
    assert "inside" in listed
    assert "somebody else" not in listed
    for path in (f"/ui/keys/{other['id']}", f"/ui/keys/{other['id']}/edit", f"/ui/keys/{other['id']}/revoke"):
        assert (await pages.get(path)).status_code == 404
    for action in ("edit", "revoke", "rotate", "invite"):
        sent = {"form_id": "x" * 32, "updated_at": "", "overlap_seconds": "0", "invite_days": "1"}
        assert (await pages.post(f"/ui/keys/{other['id']}/{action}", sent)).status_code == 404
    assert (await show(gateway, other["id"]))["state"] == "active"


# ---------------------------------------------------------------------------------------------- one key


async def test_whoever_is_signed_in_sees_its_own_key(gateway, sign_in) -> None:
    operator = text_of((await (await sign_in()).get("/ui/keys/own")).text)
    assert "ADMIN_API_KEY" in operator
    assert "Make a new secret" not in operator, "it is a setting"
    owner = await make(gateway, name="its own", role="owner", routes=["/v1", "/ui"], models=["a"])
    shown = text_of((await (await sign_in(owner["key"])).get("/ui/keys/own")).text)
    assert owner["key"][-4:] in shown
    assert "Make a new secret" in shown


async def test_a_user_sees_its_own_key_alone_and_may_rotate_it(gateway, sign_in) -> None:
    own = await make(gateway, name="mine", limits={"requests_per_minute": 7, "tokens_per_day": 1000})
    other = await make(gateway, name="not mine")
    pages = await sign_in(own["key"])
    text = text_of((await pages.get("/ui/keys")).text)
    assert "0 of 7 used, 7 left" in text
    assert "not mine" not in text
    for path in ("new", "import", "groups", other["id"], f"{own['id']}/edit"):
        assert (await pages.get(f"/ui/keys/{path}")).status_code == 403, path
    for path in ("new", "import", f"{own['id']}/edit", f"{own['id']}/revoke", f"{other['id']}/rotate"):
        assert (
            await pages.post(f"/ui/keys/{path}", {"form_id": "x" * 32, "name": "x", "csv": "name\na"})
        ).status_code == 403
    form_id = await form_of(pages, "/ui/keys")
    rotated = await pages.post(f"/ui/keys/{own['id']}/rotate", {"form_id": form_id, "overlap_seconds": "3600"})
    (secret,) = set(SECRET.findall(rotated.text))
    assert secret != own["key"]
    again = await pages.post(f"/ui/keys/{own['id']}/rotate", {"form_id": form_id, "overlap_seconds": "3600"})
    assert again.status_code == 303
    assert await sign_in(secret), "loading the page again left the new secret as it was"


async def test_what_differs_is_changed_and_nothing_else(gateway, sign_in) -> None:
    made = await make(
        gateway, name="before", limits={"concurrency": 2}, models=["a"], expires_at="2090-05-05T10:00:00Z"
    )
    pages = await sign_in()
    path = f"/ui/keys/{made['id']}/edit"
    page = (await pages.get(path)).text
    updated = unescape(UPDATED.search(page)[1])
    sent = {
        "updated_at": updated, "name": "after", "role": "user", "group": "", "person": "", "models": "",
        "reach": "public", "weight": "1", "expires_at": "2090-05-05", "limits.concurrency": "2",
        "limits.tokens_per_day": "5",
    }  # fmt: skip
    answer = await pages.post(path, sent)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/keys/{made['id']}")
    shown = await show(gateway, made["id"])
    assert (shown["name"], shown["models"], shown["expires_at"]) == ("after", None, "2090-05-05T10:00:00Z")
    assert (shown["limits"]["concurrency"], shown["limits"]["tokens_per_day"]) == (2, 5)
    assert (await pages.client.head(f"/ui/keys/{made['id']}")).status_code == 200, "which nobody sees"
    assert "Changed: name, models, limits." in (await pages.get(f"/ui/keys/{made['id']}")).text
    assert "Changed: " not in (await pages.get(f"/ui/keys/{made['id']}")).text
    stale = await pages.post(path, {**sent, "name": "lost"})
    assert stale.status_code == 409
    assert "Somebody changed this key" in stale.text
    assert (await show(gateway, made["id"]))["name"] == "after"
    sent["updated_at"] = unescape(UPDATED.search(stale.text)[1])
    refused = await pages.post(path, {**sent, "weight": "0"})
    assert (refused.status_code, 'id="error-weight"' in refused.text) == (422, True)


async def test_a_key_is_revoked_after_a_question(gateway, sign_in) -> None:
    owner = await make(gateway, name="an owner", role="owner")
    gateway_client = gateway.client
    headers = {"authorization": f"Bearer {owner['key']}"}
    assert (await gateway_client.post("/admin/keys", json={"name": "child"}, headers=headers)).status_code == 201
    pages = await sign_in()
    asked = text_of((await pages.get(f"/ui/keys/{owner['id']}/revoke")).text)
    assert "1 key that it made ends with it" in asked
    assert (await show(gateway, owner["id"]))["state"] == "active"
    answer = await pages.post(f"/ui/keys/{owner['id']}/revoke", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/keys")
    assert (await show(gateway, owner["id"]))["state"] == "revoked"
    shown = (await pages.get(f"/ui/keys/{owner['id']}")).text
    assert "/edit" not in shown
    assert "It is revoked already" in (await pages.get(f"/ui/keys/{owner['id']}/revoke")).text


async def test_a_new_link_is_shown_once(gateway, sign_in) -> None:
    body = {"people": [{"name": "Invited"}], "as": "invites"}
    (one,) = (await gateway.client.post("/admin/keys/import", json=body)).json()["made"]
    pages = await sign_in()
    path = f"/ui/keys/{one['id']}"
    form = {"form_id": await form_of(pages, path), "invite_days": "3"}
    answer = await pages.post(f"{path}/invite", form)
    (link,) = set(re.findall(r"http://[^<\"]+/invite/mvi_\w+", answer.text))
    assert answer.headers["cache-control"] == "no-store"
    assert (await pages.post(f"{path}/invite", form)).status_code == 303
    claimed = await gateway.client.post(link[link.index("/invite") :], headers={"accept": "application/json"})
    assert claimed.status_code == 201, "loading the page again left the link as it was"
    assert "mvi_" not in (await pages.get(path)).text
    assert (await pages.post(f"{path}/invite", {**form, "form_id": "y" * 32})).status_code == 409


async def test_a_form_without_its_token_does_nothing(gateway, sign_in) -> None:
    made = await make(gateway, name="kept")
    pages = await sign_in()
    before = await count(gateway)
    for path, fields in (
        ("new", {"name": "x", "form_id": "z" * 32}),
        (f"{made['id']}/revoke", {}),
        ("groups/new", {"name": "g"}),
    ):
        assert (await pages.post(f"/ui/keys/{path}", fields, token="")).status_code == 403
    assert (await count(gateway), (await show(gateway, made["id"]))["state"]) == (before, "active")


# ---------------------------------------------------------------------------------------------- lists of people


async def test_a_list_is_checked_line_by_line_then_made_and_kept_once(gateway, sign_in) -> None:
    await make(gateway, name="Grace", person="grace@example.org")
    pages = await sign_in()
    before = await count(gateway)
    bad = "name,email\nAda,ada@example.org\nBob,no address\nGrace,grace@example.org\n" + HOSTILE + ",x@example.org\n"
    form = {"form_id": await form_of(pages, "/ui/keys/import"), "csv": bad, "as": "keys", "step": "check"}
    checked = await pages.post("/ui/keys/import", form)
    rows = dict(re.findall(r'data-outcome="(\S+)"><th[^>]*>(\d+)', checked.text))
    assert rows == {"bad": "3", "left-out": "4", "made": "5"}
    assert "its email is no address" in checked.text
    assert 'value="make"' not in checked.text
    assert "<img src=x" not in checked.text
    good = {**form, "csv": "name,email\nAda,ada@example.org\nGrace,grace@example.org\n=cmd,e@example.org\n"}
    assert 'value="make"' not in (await pages.post("/ui/keys/import", good)).text, "one of them has a key"
    ready = await pages.post("/ui/keys/import", {**good, "skip_existing": "on"})
    assert "2 people would get a key, 1 would be left out" in text_of(ready.text)
    assert await count(gateway) == before
    made = await pages.post("/ui/keys/import", {**good, "skip_existing": "on", "step": "make"})
    assert made.headers["cache-control"] == "no-store"
    sheet = unescape(re.search(r'<textarea id="sheet"[^>]*>([^<]*)', made.text)[1]).splitlines()
    assert sheet[0] == "line,name,person,email,key"
    assert [line.rpartition(",")[0] for line in sheet[1:]] == [
        "2,Ada,ada@example.org,ada@example.org", "4,'=cmd,e@example.org,e@example.org",
    ]  # fmt: skip
    assert len(set(SECRET.findall(made.text))) == 2
    again = await pages.post("/ui/keys/import", {**good, "skip_existing": "on", "step": "make"})
    assert (again.status_code, await count(gateway)) == (303, before + 2)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"csv": ""}, "csv", "Paste the list"),
        ({"csv": "nothing,known\na,b\n"}, "csv", "names none of the columns"),
        ({"csv": 'name\n"open'}, "csv", "close its quotes"),
        ({"csv": "name\n" + "a" * 400_000}, "csv", "Import it in parts"),
        ({"csv": "name\nada\n", "as": "letters"}, "as", ""),
        ({"csv": "name\nada\n", "invite_days": "1000"}, "invite_days", "90"),
        ({"csv": "name\nada\n", "expires_at": "2001-01-01"}, "expires_at", "has passed"),
    ],
)
async def test_a_list_or_terms_that_are_not_good_are_told(
    gateway, sign_in, fields: dict[str, str], field: str, words: str
) -> None:
    before = await count(gateway)
    answer = await (await sign_in()).post("/ui/keys/import", {"form_id": "w" * 32, "step": "check", **fields})
    assert answer.status_code == 422
    assert words in re.search(rf'id="error-{field}"[^>]*>([^<]*)', answer.text)[1]
    assert await count(gateway) == before


# ---------------------------------------------------------------------------------------------- groups


async def test_what_changed_is_told_as_the_form_calls_it() -> None:
    assert what_changed(["name", "expires_at", "weight"]) == "Changed: name, last day, share beside others."
    assert what_changed([]) == "Nothing was changed."
    told = what_changed({name.partition(".")[0] for name in (*KEY_FIELDS, *GROUP_FIELDS)})
    assert "_" not in told, "no field is called by its name in the API"


async def test_without_groups_the_page_teaches(tmp_path) -> None:
    async with open_in_process(tmp_path, continuation_enabled=False) as gateway:
        pages = await PageClient.sign_in(gateway)
        assert "No groups yet" in (await pages.get("/ui/keys/groups")).text
        await pages.close()


async def test_a_group_is_made_changed_and_removed(gateway, sign_in) -> None:
    pages = await sign_in()
    sent = {
        "name": HOSTILE,
        "description": HOSTILE,
        "reach": "group",
        "person_limits.tokens_per_day": "100",
        "weight": "",
    }
    made = await pages.post("/ui/keys/groups/new", sent)
    path = made.headers["location"]
    assert made.status_code == 303
    shown = (await pages.get(path)).text
    assert "<img src=x" not in shown
    assert "100 tokens/day" in text_of(shown)
    assert (await pages.post("/ui/keys/groups/new", sent)).status_code == 409, "no two groups have one name"
    assert "Make a group" in (await pages.get("/ui/keys/groups/new")).text
    edit = {
        "updated_at": await form_of(pages, f"{path}/edit", UPDATED),
        "name": "plain",
        "reach": "group",
        "weight": "1",
    }
    refused = await pages.post(f"{path}/edit", {**edit, "name": ""})
    assert (refused.status_code, 'id="error-name"' in refused.text) == (422, True)
    assert (await pages.post(f"{path}/edit", edit)).status_code == 303
    group = (await gateway.client.get(f"/admin/groups/{path.rpartition('/')[2]}")).json()
    assert (group["name"], group["description"], group["person_limits"]["tokens_per_day"]) == ("plain", "", None)
    assert (await pages.post(f"{path}/edit", edit)).status_code == 409
    lost = await pages.post("/ui/keys/new", {"form_id": "v" * 32, "name": "x", "group": HOSTILE})
    assert "There is no group" in re.search(r'id="error-group"[^>]*>([^<]*)', lost.text)[1]
    inside = await make(gateway, name="inside", group="plain")
    assert "1 key is in it" in text_of((await pages.get(f"{path}/remove")).text)
    refused = await pages.post(f"{path}/remove", {})
    assert refused.status_code == 409
    await gateway.client.delete(f"/admin/keys/{inside['id']}")
    assert (await pages.post(f"{path}/remove", {})).headers["location"] == "/ui/keys/groups"
    assert (await pages.get(path)).status_code == 404


async def test_who_is_no_admin_changes_no_group(gateway, sign_in) -> None:
    made = (await gateway.client.post("/admin/groups", json={"name": "theirs"})).json()
    pages = await sign_in(role="owner", group="theirs")
    assert "theirs" in (await pages.get("/ui/keys/groups")).text
    assert (await pages.get(f"/ui/keys/groups/{made['id']}")).status_code == 200
    for path in ("new", f"{made['id']}/edit", f"{made['id']}/remove"):
        assert (await pages.get(f"/ui/keys/groups/{path}")).status_code == 403
        assert (await pages.post(f"/ui/keys/groups/{path}", {"name": "x"})).status_code == 403
