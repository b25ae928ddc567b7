"""Can an owner register a server in a real browser: by keyboard, told of faults while typing, and without a script?"""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.fakes.browser import (
    SignIn,
    check_axe,
    check_frame,
    check_inert,
    check_width,
    focus_by_tab,
    settled,
    shot,
)
from tests.fakes.model_server import FakeModelServer, json_answer
from tests.fakes.pages_world import HOSTILE, OwnWorld, PageWorld
from tests.fakes.real_model import StartModelServer

LOOKS = [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")]
KEY = "sk-canary-of-the-server"


async def _asks_for_a_key(_server, seen, writer) -> None:
    if seen.headers.get("authorization") == f"Bearer {KEY}":
        writer.write(json_answer({"object": "list", "data": [{"id": "guarded", "object": "model"}]}))
    else:
        writer.write(json_answer({"error": {"message": f"no {HOSTILE}"}}, "401 Unauthorized"))


async def fit(page: Page, where: str) -> None:
    await check_axe(page, where)
    for check in (check_frame, check_inert, check_width):
        await check(page)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_the_form_is_fit_for_everybody(
    signed_in: SignIn, quiet_world: PageWorld, width: int, scheme: str
) -> None:
    page = await signed_in("owner", width=width, scheme=scheme, world=quiet_world, path="/ui/register")
    await fit(page, "empty")
    await shot(page, f"register-{scheme}-{width}")
    await page.get_by_label("Only these").check()
    await page.get_by_text("More: who may use it").click()
    await page.get_by_label("Only at these hours").check()
    await page.get_by_label("Endpoint URL").fill("localhost:80")
    await page.get_by_label("Weight").fill("x")
    await expect(page.locator("#error-weight")).to_have_text("Should be a number, such as 1 or 0.5.")
    await fit(page, "with faults")
    server = quiet_world.house.start(FakeModelServer(models=["big", HOSTILE]))
    await page.get_by_label("Weight").fill("")
    await page.get_by_label("Always").check()
    await page.get_by_label("All that it lists").check()
    await page.get_by_label("Endpoint URL").fill(server.url)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("[data-trial=works]")).to_contain_text("big")
    await fit(page, "tested")
    await shot(page, f"register-tested-{scheme}-{width}")


async def test_a_server_is_registered_by_keyboard(signed_in: SignIn, quiet_world: PageWorld) -> None:
    server = quiet_world.house.start(FakeModelServer(models=["org/Big"]))
    page = await signed_in("owner", world=quiet_world, path="/ui/register")
    await expect(page.get_by_label("Endpoint URL")).to_be_focused()
    await page.keyboard.type(server.url)
    await focus_by_tab(page, page.get_by_label("All that it lists"))
    await page.keyboard.press("ArrowDown")
    await focus_by_tab(page, page.get_by_label("Model 1, as the server calls it"))
    await page.keyboard.type("org/Big")
    await page.keyboard.press("Tab")
    await page.keyboard.type("house-model")
    await focus_by_tab(page, page.get_by_role("button", name="Test connection"))
    await page.keyboard.press("Enter")
    found = page.locator("[data-trial=works]")
    await expect(found).to_contain_text("house-model")
    await expect(page.locator("#outcome")).to_be_focused()
    await expect(page.get_by_label("Name that people ask for").first).to_have_value("house-model")
    await focus_by_tab(page, page.get_by_role("button", name="Register", exact=True))
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/ui/register/[0-9a-f-]{36}$"))
    await fit(page, "registered")
    await shot(page, "registered-light-1440")
    server_id = await page.locator("#server-id").inner_text()
    assert page.url.endswith(server_id)
    assert quiet_world.server(server_id)["models"] == ["house-model"]
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy the id").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == server_id


async def test_a_real_engine_is_told_by_name_with_what_it_can(
    signed_in: SignIn, own_world: OwnWorld, start_model_server: StartModelServer
) -> None:
    world = await own_world()
    server = start_model_server()
    page = await signed_in("admin", world=world, path="/ui/register")
    await page.get_by_label("Endpoint URL").fill(server.url)
    await page.get_by_role("button", name="Test connection").click()
    found = page.locator("[data-trial=works]")
    await expect(found).to_contain_text("llama.cpp", timeout=40_000)
    await expect(found).to_contain_text(re.compile(r"context [\d\s]+ tokens"))
    await expect(found).to_contain_text(re.compile(r"(Yes\.|Not known yet\.)"))
    assert world.call("GET", "/admin/servers")["total"] == 0


async def test_a_key_that_is_asked_for_is_told_at_its_field_and_stays_there(
    signed_in: SignIn, quiet_world: PageWorld
) -> None:
    server = quiet_world.house.start(FakeModelServer(behaviours={"/v1/models": _asks_for_a_key}))
    page = await signed_in("owner", world=quiet_world, path="/ui/register")
    await page.get_by_label("Endpoint URL").fill(server.url)
    test = page.get_by_role("button", name="Test connection")
    await test.click()
    key = page.get_by_label("The server's own key")
    await expect(page.locator("#error-api_key")).to_have_text("The server asks for a key.")
    await expect(key).to_be_focused()
    await expect(page.locator("[data-trial=fails]")).to_contain_text(HOSTILE)
    await check_inert(page)
    await key.fill("wrong-key")
    await test.click()
    await expect(page.locator("#error-api_key")).to_have_text("The server does not take this key.")
    await expect(key).to_have_value("wrong-key")
    await page.get_by_label("Owner").fill("alice")  # what is typed elsewhere takes no fault away
    await page.wait_for_event("requestfinished", lambda request: request.url.endswith("/ui/register/check"))
    await settled(page)
    await expect(key).to_have_attribute("aria-invalid", "true")
    await key.fill(KEY)
    await expect(page.locator("#error-api_key")).to_have_text("")
    await test.click()
    await expect(page.locator("[data-trial=works]")).to_contain_text("guarded")
    await expect(page.get_by_label("Owner")).to_have_value("alice")
    assert KEY not in await page.content()


async def test_rows_are_added_where_a_script_runs(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in("owner", world=quiet_world, path="/ui/register")
    await page.get_by_label("Only these").check()
    await page.get_by_label("Model 3, as the server calls it").fill("three")
    await page.get_by_role("button", name="More models").click()
    await expect(page.get_by_label("Model 4, as the server calls it")).to_be_focused()
    await expect(page.get_by_label("Model 3, as the server calls it")).to_have_value("three")
    await check_axe(page, "with another row")
    await check_frame(page)


async def test_everything_works_without_a_script(signed_in: SignIn, quiet_world: PageWorld) -> None:
    server = quiet_world.house.start(FakeModelServer(models=["plain"]))
    page = await signed_in("owner", world=quiet_world, path="/ui/register", javascript=False)
    await page.get_by_role("button", name="Register", exact=True).click()
    await expect(page.locator("#error-endpoint_url")).to_contain_text("Say where the server listens")
    await page.get_by_label("Endpoint URL").fill(server.url)
    await page.get_by_label("Only these").check()
    await page.get_by_role("button", name="More models").click()
    await expect(page.get_by_label("Model 6, as the server calls it")).to_be_visible()
    await page.get_by_label("Model 6, as the server calls it").fill("plain")
    await page.get_by_label("The server's own key").fill(KEY)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("[data-trial=works]")).to_contain_text("plain")
    await expect(page.get_by_label("Model 6, as the server calls it")).to_have_value("plain")
    await expect(page.get_by_label("The server's own key")).to_have_value("")
    await page.get_by_role("button", name="Register", exact=True).click()
    await page.wait_for_url(re.compile(r"/ui/register/[0-9a-f-]{36}$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("The server is registered")


async def test_hostile_words_stay_words(signed_in: SignIn, quiet_world: PageWorld) -> None:
    server = quiet_world.house.start(FakeModelServer(models=["m"]))
    page = await signed_in("owner", world=quiet_world, path="/ui/register")
    await page.get_by_label("Owner").fill(HOSTILE)
    await page.get_by_label("Description").fill(HOSTILE)
    await page.get_by_label("Only these").check()
    await page.get_by_label("Model 1, as the server calls it").fill("m")
    await page.get_by_label("Name that people ask for").first.fill(HOSTILE)
    await page.get_by_label("Endpoint URL").fill(server.url)
    await page.get_by_role("button", name="Test connection").click()
    await expect(page.locator("[data-trial=works]")).to_contain_text(HOSTILE)
    await check_inert(page)
    await page.get_by_role("button", name="Register", exact=True).click()
    await page.wait_for_url(re.compile(r"/ui/register/[0-9a-f-]{36}$"))
    await expect(page.locator(".tag").filter(has_text=HOSTILE)).to_be_visible()
    await check_inert(page)
