"""Is a server registered by a form, tested in words, judged while somebody types, and is its key kept quiet?"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, json_answer, serving
from tests.fakes.page_client import PageClient, text_of

KEY = "sk-canary-of-the-server"
HOSTILE = "<img src=x onerror=alert(1)>\"'"
TYPED = {
    "endpoint_url": "not a url", "api_key": KEY, "which": "chosen", "models-1-upstream": HOSTILE, "owner": HOSTILE,
    "description": HOSTILE, "max_concurrency": "x", "share": "me", "lent": "windows", "timezone": "Mars/Olympus",
    "hours-0-days": ["mon", "wed"], "hours-0-from": "18:00", "hours-0-to": "08:00",
}  # fmt: skip

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    async with open_in_process(tmp_path_factory.mktemp("register"), continuation_enabled=False) as started:
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


def registered_at(gateway: GatewayInProcess, url: str):
    """The servers that are registered at an endpoint."""
    return [one for one in gateway.app.state.gateway.registry.servers.values() if one.endpoint.url == url]


async def test_a_server_is_registered_and_its_id_shown(gateway, sign_in):
    pages = await sign_in(role="owner")
    async with serving(FakeModelServer(models=["big", "small"])) as (server,):
        form = {"endpoint_url": server.url, "api_key": KEY, "which": "chosen", "models-0-upstream": "big",
                "models-0-name": HOSTILE, "owner": HOSTILE, "description": "a\r\nb"}  # fmt: skip
        answer = await pages.post("/ui/register", form)
        assert answer.status_code == 303, answer.text
        (record,) = registered_at(gateway, server.url)
        assert answer.headers["location"] == f"/ui/register/{record.id}"
        assert [model.upstream_name for model in record.models] == ["big"]
        assert record.api_key == KEY
        assert dict(record.metadata) == {"owner": HOSTILE, "description": "a\nb"}
        shown = await pages.get(answer.headers["location"])
        assert record.id in text_of(shown.text)
        assert 'data-copy="server-id"' in shown.text
        assert f"/ui/servers/{record.id}" in shown.text
        assert "<img" not in shown.text.replace('<img src="/ui/assets', "")
        assert KEY not in shown.text
        assert (await pages.post("/ui/register", form, htmx=True)).text.count("already registered") >= 1


async def test_the_form_comes_back_with_everything_but_the_key(sign_in):
    pages = await sign_in(role="owner")
    for path in ("/ui/register", "/ui/register/test", "/ui/register/rows"):
        answer = await pages.post(path, TYPED)
        assert answer.status_code == (200 if path.endswith("rows") else 422)
        assert KEY not in answer.text
        assert answer.text.count("&lt;img src=x") >= 3
        assert "<img src=x" not in answer.text
        assert 'value="Mars/Olympus"' in answer.text
        assert re.search(r'name="which" value="chosen" checked', answer.text)
        assert answer.text.count('name="hours-0-days" value="mon" checked') == 1
        assert 'name="hours-0-days" value="tue">' in answer.text
    assert answer.text.count("data-model-row>") == 6
    answer = await pages.post("/ui/register", TYPED)
    assert 'id="in-endpoint_url"' in answer.text
    (field,) = re.findall(r'<input[^>]*id="in-endpoint_url"[^>]*>', answer.text)
    assert 'aria-invalid="true"' in field
    assert 'aria-describedby="help-endpoint_url error-endpoint_url"' in field


async def test_what_is_wrong_is_told_while_somebody_types(sign_in):
    pages = await sign_in(role="owner")
    form = {"endpoint_url": "http://box", "priority": "5", "api_key": KEY}
    answer = await pages.post("/ui/register/check", form, htmx=True)
    assert answer.status_code == 200
    assert 'data-says="priority"' in answer.text
    assert "Only the operator" in answer.text
    assert KEY not in answer.text
    assert "data-says" not in (await pages.post("/ui/register/check", {}, htmx=True)).text


async def test_a_test_says_what_was_found_and_registers_nothing(gateway, sign_in):
    pages = await sign_in(role="owner")
    async with serving(FakeModelServer(models=["big", HOSTILE])) as (server,):
        for htmx in (True, False):
            answer = await pages.post("/ui/register/test", {"endpoint_url": server.url}, htmx=htmx)
            assert answer.status_code == 200
            words = text_of(answer.text)
            assert "The connection works" in words
            assert "big" in words
            assert "context not told" in words
            assert "Not tried." in words
            assert "<img src=x" not in answer.text
            assert ("<html" in answer.text) is not htmx
            assert not registered_at(gateway, server.url)


async def _asks_for_a_key(_server, seen, writer) -> None:
    message = f"bad key {seen.headers.get('authorization', 'none')}"
    writer.write(json_answer({"error": {"message": message}}, "401 Unauthorized"))


async def _is_a_website(_server, _seen, writer) -> None:
    writer.write(json_answer(b"<html>hello</html>", content_type="text/html"))


@pytest.mark.parametrize(
    ("behaviour", "key", "words", "at"),
    [
        (_asks_for_a_key, "", "The server asks for a key.", "api_key"),
        (_asks_for_a_key, KEY, "The server does not take this key.", "api_key"),
        (_is_a_website, "", "answered with HTML", None),
    ],
)
async def test_a_test_says_what_is_wrong(sign_in, behaviour, key, words, at):
    pages = await sign_in(role="owner")
    async with serving(FakeModelServer(behaviours={"*": behaviour})) as (server,):
        answer = await pages.post("/ui/register/test", {"endpoint_url": server.url, "api_key": key}, htmx=True)
    assert "The connection does not work" in answer.text
    assert words in text_of(answer.text)
    assert KEY not in answer.text
    assert (f'data-says="{at}"' in answer.text) is (at is not None)


async def test_a_private_address_is_told_with_the_setting_and_who_can_set_it(sign_in):
    for pages, who in ((await sign_in(role="owner"), "Only the gateway"), (await sign_in(), "You can change this")):
        answer = await pages.post("/ui/register/test", {"endpoint_url": "http://10.1.2.3:8000"}, htmx=True)
        words = text_of(answer.text)
        assert "private address" in words
        assert "ALLOWED_SERVER_NETWORKS=10.0.0.0/8" in words
        assert who in words
        answer = await pages.post("/ui/register/test", {"endpoint_url": "http://169.254.169.254"}, htmx=True)
        assert "nobody can allow this address" in text_of(answer.text)


async def test_tests_are_few_in_a_minute(sign_in):
    pages = await sign_in(role="owner")
    for _test in range(12):
        await pages.post("/ui/register/test", {"endpoint_url": "http://10.1.2.3:8000"}, htmx=True)
    answer = await pages.post("/ui/register/test", {"endpoint_url": "http://10.1.2.3:8000"}, htmx=True)
    assert "12 tests in the last minute" in answer.text


@pytest.mark.parametrize("path", ["", "/test", "/check", "/rows"])
async def test_users_and_forgeries_register_nothing(gateway, sign_in, path):
    form = {"endpoint_url": "http://127.0.0.1:9"}
    user, owner = await sign_in(role="user"), await sign_in(role="owner")
    assert (await user.post(f"/ui/register{path}", form)).status_code == 403
    assert (await owner.post(f"/ui/register{path}", form, token="")).status_code == 403
    assert (await owner.post(f"/ui/register{path}", form, token=user.token)).status_code == 403
    assert (await user.get("/ui/register")).status_code == 403
    assert not registered_at(gateway, "http://127.0.0.1:9")


async def test_another_owners_registration_is_not_shown(gateway, sign_in):
    first, second = await sign_in(role="owner"), await sign_in(role="owner")
    async with serving(FakeModelServer()) as (server,):
        answer = await first.post("/ui/register", {"endpoint_url": server.url, "share": "me"})
        assert (await second.get(answer.headers["location"])).status_code == 404
        (record,) = registered_at(gateway, server.url)
        said = await second.post("/ui/register/test", {"endpoint_url": server.url}, htmx=True)
        assert "already registered" in said.text
        assert record.id not in said.text


async def test_a_server_that_waits_for_approval_says_so(tmp_path: Path):
    async with (
        open_in_process(tmp_path, registration_needs_approval=True) as gateway,
        serving(FakeModelServer()) as (server,),
    ):
        key = (await gateway.client.post("/admin/keys", json={"name": "one", "role": "owner"})).json()["key"]
        pages = await PageClient.sign_in(gateway, key)
        answer = await pages.post("/ui/register", {"endpoint_url": server.url})
        words = text_of((await pages.get(answer.headers["location"])).text)
        assert "Waits for approval" in words
        assert "operator of this gateway has to approve it" in words
        await pages.close()
