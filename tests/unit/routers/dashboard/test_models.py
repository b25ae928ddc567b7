"""Do the pages of models show what a key may ask for, and let the operator alone decide on names?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.page_client import PageClient, text_of

HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"
NAMES = ["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]
MODELS = ["big", "org/small", HOSTILE, *NAMES]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    folder = tmp_path_factory.mktemp("models")
    async with (
        open_in_process(folder, continuation_enabled=False, verification_enabled=False) as started,
        serving(FakeModelServer(models=MODELS), FakeModelServer(models=["mine"])) as (server, own),
    ):
        answer = await started.register(server.url, capabilities={"context_length": 8192})
        assert answer.status_code == 201, answer.text
        assert (await started.register(own.url, share="me")).status_code == 201
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def sign_in(gateway: GatewayInProcess):
    async with AsyncExitStack() as stack:

        async def open_pages(**key) -> PageClient:
            made = (
                [(await gateway.client.post("/admin/keys", json={"name": "one", **key})).json()["key"]] if key else []
            )
            pages = await PageClient.sign_in(gateway, *made)
            stack.push_async_callback(pages.close)
            return pages

        yield open_pages


@pytest_asyncio.fixture(loop_scope="module")
async def no_names(gateway: GatewayInProcess) -> AsyncIterator[None]:
    """Leave no alias and no class behind."""
    yield
    for alias in (await gateway.client.get("/admin/aliases")).json()["aliases"]:
        await gateway.client.delete(f"/admin/aliases/{quote(alias['name'], safe='')}")
    for one in (await gateway.client.get("/admin/model-classes")).json()["confirmed"]:
        await gateway.client.delete(f"/admin/model-classes/{quote(one['name'], safe='')}")


def cards_of(markup: str) -> list[str]:
    return re.findall(r'data-model="([^"]*)"', markup)


async def test_a_user_sees_what_it_may_ask_for_and_decides_nothing(sign_in):
    everything = await (await sign_in(role="user")).get("/ui/models")
    assert len(cards_of(everything.text)) == len(MODELS)
    assert "mine" not in cards_of(everything.text)
    assert "8\u202f192 tokens" in everything.text
    assert "1 of 1 server ready" in text_of(everything.text)
    assert "<img src=x" not in everything.text
    assert "/ui/servers?model=" not in everything.text
    assert "Names that may mean one model" not in everything.text
    assert "Aliases" not in everything.text
    narrow = await (await sign_in(role="user", models=["big"])).get("/ui/models")
    assert cards_of(narrow.text) == ["big"]
    for name in MODELS[1:]:
        assert name not in narrow.text


async def test_a_search_is_in_the_url_and_a_part_is_enough_for_htmx(sign_in):
    pages = await sign_in(role="user")
    assert cards_of((await pages.get("/ui/models?q=ORG")).text) == ["org/small"]
    part = (await pages.get("/ui/models?q=llama", htmx=True)).text
    assert set(cards_of(part)) == set(NAMES)
    assert "<html" not in part
    assert 'id="model-list"' in part
    none = await pages.get(f"/ui/models?q={quote(HOSTILE + 'x')}")
    assert "No name matches" in none.text
    assert "<img src=x" not in none.text
    assert (await pages.get(f"/ui/models?q={'x' * 300}")).status_code == 422


async def test_nothing_to_ask_for_teaches_what_to_do(tmp_path):
    async with open_in_process(tmp_path) as gateway:
        for role, words in (("owner", "Register a server"), ("user", "Ask whoever gave you the key")):
            key = (await gateway.client.post("/admin/keys", json={"name": "one", "role": role})).json()["key"]
            pages = await PageClient.sign_in(gateway, key)
            shown = text_of((await pages.get("/ui/models")).text)
            assert "No models yet" in shown
            assert words in shown
            assert (await pages.get("/ui/models/connect")).status_code == 404
            await pages.close()


async def test_limits_of_a_model_are_shown(gateway, sign_in):
    await gateway.client.put("/admin/model-limits/big", json={"limits": {"requests_per_minute": 1200}})
    shown = text_of((await (await sign_in(role="user")).get("/ui/models?q=big")).text)
    assert "1 200 requests a minute" in shown
    await gateway.client.delete("/admin/model-limits/big")


# ----------------------------------------------------------------------------------------------- names and classes


@pytest.mark.usefixtures("no_names")
async def test_the_operator_confirms_names_and_dissolves_them(gateway, sign_in):
    pages = await sign_in()
    page = await pages.get("/ui/models")
    assert 'data-proposal="llama-3.1-8b-instruct"' in page.text
    answer = await pages.post("/ui/models/classes", {"name": "house/llama", "members": NAMES})
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/models#names")
    page = await pages.get("/ui/models")
    assert "Each of these names means house/llama from now on." in text_of(page.text)
    assert 'data-class="house/llama"' in page.text
    assert "house/llama" in cards_of(page.text)
    assert "data-proposal" not in page.text
    await pages.post("/ui/models/classes/dissolve", {"name": "house/llama"})
    assert 'data-class="' not in (await pages.get("/ui/models")).text
    audit = (await gateway.client.get("/admin/audit")).json()
    assert {"model_class.confirmed", "model_class.dissolved"} <= {line["action"] for line in audit["rows"]}


@pytest.mark.usefixtures("no_names")
async def test_a_class_that_would_grow_is_changed_and_no_second_one_made(gateway, sign_in):
    pages = await sign_in()
    await pages.post("/ui/models/classes", {"name": "llama", "members": NAMES[:1]})
    await pages.post("/ui/models/classes", {"name": "llama", "extends": "llama", "members": NAMES})
    (one,) = (await gateway.client.get("/admin/model-classes")).json()["confirmed"]
    assert one["members"] == NAMES
    await pages.post("/ui/models/classes", {"name": "big", "members": ["org/small"]})
    assert "which the class would hide" in (await pages.get("/ui/models")).text


async def test_dismissed_names_are_proposed_no_more(tmp_path):
    async with open_in_process(tmp_path) as gateway, serving(FakeModelServer(models=NAMES)) as (server,):
        await gateway.register(server.url)
        pages = await PageClient.sign_in(gateway)
        assert "data-proposal" in (await pages.get("/ui/models")).text
        await pages.post("/ui/models/classes/dismiss", {"name": "x", "members": NAMES})
        assert "data-proposal" not in (await pages.get("/ui/models")).text
        await pages.close()


# ---------------------------------------------------------------------------------------------------------- aliases


@pytest.mark.usefixtures("no_names")
async def test_an_alias_is_made_edited_and_removed(gateway, sign_in):
    pages, user = await sign_in(), await sign_in(role="user")
    form = {
        "name": f"{HOSTILE}/fast", "targets-0-model": "big", "targets-0-weight": "3", "targets-3-model": "org/small",
        "targets-3-most": "8192", "fallbacks-0-model": HOSTILE,
    }  # fmt: skip
    answer = await pages.post("/ui/models/aliases", form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/models#aliases")
    (alias,) = (await gateway.client.get("/admin/aliases")).json()["aliases"]
    assert alias["targets"] == [
        {"model": "big", "weight": 3.0}, {"model": "org/small", "weight": 1.0, "max_context_tokens": 8192},
    ]  # fmt: skip
    shown = await user.get("/ui/models")
    assert "Stands for" in shown.text
    assert "<img src=x" not in shown.text
    edit = await pages.get(f"/ui/models/aliases/edit?name={quote(alias['name'])}")
    assert 'value="8192"' in edit.text
    assert "<img src=x" not in edit.text
    changed = {"was": alias["name"], "name": "fast", "targets-0-model": "big"}
    assert (await pages.post("/ui/models/aliases", changed)).status_code == 303
    assert [one["name"] for one in (await gateway.client.get("/admin/aliases")).json()["aliases"]] == ["fast"]
    asked = await pages.get("/ui/models/aliases/remove?name=fast")
    assert "Remove the alias" in text_of(asked.text)
    assert (await pages.post("/ui/models/aliases/remove", {"name": "fast"})).status_code == 303
    assert "fast is an alias no more." in text_of((await pages.get("/ui/models")).text)
    assert not (await gateway.client.get("/admin/aliases")).json()["aliases"]


@pytest.mark.usefixtures("no_names")
async def test_an_alias_that_is_not_right_is_shown_again(gateway, sign_in):
    pages = await sign_in()
    for form, words in (
        ({"name": "fast", "targets-0-model": "big", "targets-0-weight": "x"}, "Should be a number"),
        ({"name": "big", "targets-0-model": "org/small"}, "which the alias would hide"),
        ({"name": "fast", "targets-0-model": "fast"}, "cannot lead to itself"),
        ({"name": "fast"}, "name at least one model"),
    ):
        answer = await pages.post("/ui/models/aliases", form)
        assert answer.status_code == 422
        assert words in text_of(answer.text)
        assert f'value="{form["name"]}"' in answer.text
    more = await pages.post(
        "/ui/models/aliases", {"name": "fast", "targets-0-model": "a", "targets-1-model": "b", "more": "1"}
    )
    assert more.status_code == 200
    assert 'name="targets-3-model"' in more.text
    assert not (await gateway.client.get("/admin/aliases")).json()["aliases"]
    assert (await pages.get("/ui/models/aliases/edit?name=none")).status_code == 404
    gone = await pages.post("/ui/models/aliases", {"was": "none", "name": "x", "targets-0-model": "big"})
    assert gone.status_code == 422


WRITES = ["classes", "classes/dismiss", "classes/dissolve", "aliases", "aliases/remove"]


@pytest.mark.parametrize("path", WRITES)
async def test_nobody_else_decides_on_names(gateway, sign_in, path):
    group = (await gateway.client.post("/admin/groups", json={"name": f"g {path}"})).json()["id"]
    form = {"name": "fast", "members": NAMES, "targets-0-model": "big"}
    for key in ({"role": "user"}, {"role": "owner"}, {"role": "admin", "group": group}):
        pages = await sign_in(**key)
        assert (await pages.post(f"/ui/models/{path}", form)).status_code == 403
    operator = await sign_in()
    for token in ("", "x" * 43):
        assert (await operator.post(f"/ui/models/{path}", form, token=token)).status_code == 403
    assert not (await gateway.client.get("/admin/aliases")).json()["aliases"]
    assert not (await gateway.client.get("/admin/model-classes")).json()["confirmed"]


async def test_a_groups_admin_sees_names_without_buttons(gateway, sign_in):
    group = (await gateway.client.post("/admin/groups", json={"name": "lookers"})).json()["id"]
    shown = (await (await sign_in(role="admin", group=group)).get("/ui/models")).text
    assert "data-proposal" in shown
    assert "Confirm" not in shown
    assert "New alias" not in shown
    for path in ("new", "edit?name=x", "remove?name=x"):
        assert (await (await sign_in(role="admin", group=group)).get(f"/ui/models/aliases/{path}")).status_code == 403


# ---------------------------------------------------------------------------------------------- connect your tool


async def test_snippets_are_filled_in_and_never_hold_a_key(gateway, sign_in):
    pages = await sign_in(role="user")
    answer = await pages.get("/ui/models/connect?model=org/small")
    shown = text_of(answer.text)
    assert f"http://127.0.0.1:{gateway.ports['door']}/v1" in shown
    for name in ("curl", "OpenAI Python", "OpenAI JavaScript", "Open WebUI", "Cline", "Continue", "aider", "LangChain"):
        assert name in shown
    assert "contextLength: 8192" in shown
    assert "YOUR_KEY" in shown
    assert "mvk_" not in shown.replace("mvk_...", "")
    hostile = await pages.get(f"/ui/models/connect?model={quote(HOSTILE)}")
    assert hostile.status_code == 200
    assert "<img src=x" not in hostile.text


async def test_what_a_key_may_not_ask_for_is_not_connected_to(sign_in):
    pages = await sign_in(role="user", models=["big"])
    assert (await pages.get("/ui/models/connect?model=big")).status_code == 200
    for name in ("org/small", "mine", "no such", HOSTILE):
        answer = await pages.get(f"/ui/models/connect?model={quote(name)}")
        assert answer.status_code == 404
        assert "<img src=x" not in answer.text


@pytest.mark.parametrize("host", ["evil'; rm -rf ~ #", "a b", "<script>", "x" * 300, "gateway.example@evil.example"])
async def test_a_hostile_host_is_in_no_snippet(gateway, sign_in, host):
    pages = await sign_in()
    answer = await pages.client.get("/ui/models/connect?model=big", headers={"host": host})
    assert answer.status_code in {200, 400}
    assert host not in answer.text
    if answer.status_code == 200:
        assert f":{gateway.settings.port}/v1" in answer.text


async def test_the_operators_url_goes_before_the_hosts(tmp_path):
    public_url = "http://llm.example/gw"
    async with open_in_process(tmp_path, public_url=public_url) as gateway, serving(FakeModelServer()) as (server,):
        await gateway.register(server.url)
        pages = await PageClient.sign_in(gateway)
        shown = (await pages.get("/ui/models/connect")).text
        assert f"{public_url}/v1/chat/completions" in shown
        assert "127.0.0.1" not in shown
        await pages.close()
