"""Does the list of servers stay true before somebody's eyes, without taking anything out of their hands?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Locator, Page, expect

from tests.fakes.browser import SignIn, check_axe, check_width, focus_by_tab
from tests.fakes.model_server import FakeModelServer
from tests.fakes.pages_world import OwnWorld, PageWorld

SOON_MS = 10_000
TOLD_WITHIN_MS = 3_000
"""What is promised to who looks: from the first refused connection to the words in the row."""


def row_of(page: Page, server_id: str) -> Locator:
    return page.locator(f'tr[data-server-id="{server_id}"]')


async def fake(world: PageWorld, *models: str, **fields: object) -> tuple[FakeModelServer, str]:
    return await asyncio.to_thread(world.fake, *models, **fields)


async def call(world: PageWorld, method: str, path: str, body: object = None) -> None:
    await asyncio.to_thread(world.call, method, path, body)


@asynccontextmanager
async def servers(world: PageWorld, *names: str) -> AsyncIterator[list[str]]:
    """Servers for the time of a test, by their models' names."""
    ids = [(await fake(world, name, metadata={"description": f"box of {name}"}))[1] for name in names]
    yield ids
    for server_id in ids:
        await asyncio.to_thread(world.answer, "DELETE", f"/admin/register/{server_id}")


async def live(page: Page) -> None:
    await expect(page.locator("[data-live-state]")).to_contain_text("live", timeout=SOON_MS)


@pytest.mark.timeout(60)
async def test_a_server_that_is_killed_says_so_within_three_seconds(signed_in: SignIn, own_world: OwnWorld) -> None:
    """Without a reload, without traffic to it, and though its next check is a minute away."""
    world = await own_world(HEALTH_CHECK_INTERVAL_SECONDS="60", CONTINUATION_ENABLED="false")
    server, server_id = await fake(world, "to-be-killed")
    _other, other_id = await fake(world, "alive")
    page = await signed_in(world=world, path="/ui/servers")
    await live(page)
    await expect(row_of(page, server_id)).to_have_attribute("data-state", "healthy")
    await page.evaluate("window.sameDocument = true")
    await asyncio.to_thread(world.house.stop, server)
    await expect(row_of(page, server_id)).to_have_attribute("data-state", "unhealthy", timeout=TOLD_WITHIN_MS)
    await expect(row_of(page, server_id)).to_contain_text("Unhealthy")
    await expect(row_of(page, server_id)).to_contain_text("connection refused")
    await expect(row_of(page, other_id)).to_have_attribute("data-state", "healthy")
    await asyncio.to_thread(world.house.start, server, server.port)
    await expect(row_of(page, server_id)).to_have_attribute("data-state", "healthy", timeout=SOON_MS)
    assert await page.evaluate("window.sameDocument") is True


async def test_rows_change_without_taking_focus_place_or_an_open_menu(
    signed_in: SignIn, quiet_world: PageWorld
) -> None:
    names = [f"still-{number:02}" for number in range(20)]
    async with servers(quiet_world, *names) as ids:
        page = await signed_in(world=quiet_world, path="/ui/servers")
        await live(page)
        row = row_of(page, ids[10])
        await row.scroll_into_view_if_needed()
        await row.get_by_role("button", name="Actions").click()
        item = page.get_by_role("button", name="Check now")
        await item.focus()
        top = await page.evaluate("scrollY")
        await call(quiet_world, "POST", f"/admin/servers/{ids[10]}/pause", {"reason": "moving the rack"})
        await call(quiet_world, "POST", f"/admin/servers/{ids[0]}/pause", {"reason": "moving the rack"})
        await expect(row).to_have_attribute("data-state", "paused", timeout=SOON_MS)
        await expect(row).to_contain_text("moving the rack")
        await expect(row_of(page, ids[0])).to_have_attribute("data-state", "paused", timeout=SOON_MS)
        await expect(item).to_be_focused()
        await expect(item).to_be_visible()
        assert await page.evaluate("scrollY") == top


async def test_who_joins_and_who_goes_is_told_and_shown_when_asked_for(
    signed_in: SignIn, quiet_world: PageWorld
) -> None:
    async with servers(quiet_world, "first", "second") as (first, _second):
        page = await signed_in(world=quiet_world, path="/ui/servers")
        await live(page)
        await expect(row_of(page, first).locator("svg path.line")).to_have_attribute("d", re.compile("M"))
        async with servers(quiet_world, "third") as (third,):
            await expect(page.locator("#server-news")).to_contain_text("1 new server", timeout=SOON_MS)
            await expect(row_of(page, third)).to_have_count(0)
            await call(quiet_world, "DELETE", f"/admin/register/{first}")
            await expect(row_of(page, first)).to_have_attribute("data-state", "removed", timeout=SOON_MS)
            await expect(page.locator("#server-news")).to_contain_text("1 removed")
            await page.get_by_role("link", name="Show the list anew").click()
            await expect(row_of(page, third)).to_be_visible()
            await expect(row_of(page, first)).to_have_count(0)
            await expect(page.locator("#server-news")).to_be_empty()


async def test_filters_stand_in_the_url_and_back_leads_back(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with servers(quiet_world, "apple", "banana") as (apple, banana):
        page = await signed_in(world=quiet_world, path="/ui/servers")
        await page.get_by_label("Search").fill("box of app")
        await expect(row_of(page, banana)).to_have_count(0)
        await expect(row_of(page, apple)).to_be_visible()
        await expect(page).to_have_url(re.compile(r"/ui/servers\?q=box\+of\+app$"))
        await expect(page.get_by_label("Search")).to_be_focused()
        await page.reload()
        await expect(page.get_by_label("Search")).to_have_value("box of app")
        await expect(row_of(page, banana)).to_have_count(0)
        await page.get_by_role("link", name="Latency").click()
        await expect(page).to_have_url(re.compile(r"q=box\+of\+app&sort=latency$"))
        await expect(page.get_by_role("columnheader", name="Latency")).to_have_attribute("aria-sort", "ascending")
        await page.go_back()
        await expect(page.get_by_role("columnheader", name="Latency")).not_to_have_attribute("aria-sort", "ascending")
        await page.go_back()
        await expect(row_of(page, banana)).to_be_visible()
        await live(page)
        await row_of(page, banana).get_by_role("button", name="Actions").click()
        await page.get_by_role("button", name="Check now").click()
        await expect(page.locator("#notices")).to_contain_text("Checked", timeout=SOON_MS)
        await expect(page).to_have_url(re.compile(r"/ui/servers$"))


async def test_a_filtered_list_goes_on_changing_by_itself(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with servers(quiet_world, "cherry", "damson") as (cherry, _damson):
        page = await signed_in(world=quiet_world, path="/ui/servers")
        await live(page)
        await page.get_by_label("Model").fill("cherry")
        await expect(page.locator("tr[data-server-id]")).to_have_count(1)
        await call(quiet_world, "POST", f"/admin/servers/{cherry}/drain")
        await expect(row_of(page, cherry)).to_have_attribute("data-state", "draining", timeout=SOON_MS)
        await expect(page.locator("#server-news")).to_be_empty()


async def test_the_menu_of_a_row_works_by_keyboard_alone(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with servers(quiet_world, "by-keyboard") as (server_id,):
        page = await signed_in(world=quiet_world, path="/ui/servers?model=by-keyboard")
        await live(page)
        await page.evaluate("window.sameDocument = true")
        row = row_of(page, server_id)
        await focus_by_tab(page, row.get_by_role("button", name="Actions"))
        await page.keyboard.press("Enter")
        await focus_by_tab(page, page.get_by_role("button", name="Pause for 1 hour"))
        await check_axe(page, "open menu")
        await page.keyboard.press("Enter")
        await expect(page.locator("#notices")).to_contain_text("Paused until", timeout=SOON_MS)
        await expect(row).to_have_attribute("data-state", "paused", timeout=SOON_MS)
        await focus_by_tab(page, row.get_by_role("button", name="Actions"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Pause for 1 hour")).to_be_hidden()
        await page.keyboard.press("Escape")
        await expect(page.locator("#row-menu")).to_be_hidden()
        await expect(row.get_by_role("button", name="Actions")).to_be_focused()
        assert await page.evaluate("window.sameDocument") is True


async def test_it_all_works_without_scripts(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with servers(quiet_world, "plain", "other") as (plain, other):
        page = await signed_in(world=quiet_world, path="/ui/servers", javascript=False)
        await page.get_by_label("Search").fill("box of plain")
        await page.get_by_role("button", name="Show").click()
        await expect(row_of(page, plain)).to_be_visible()
        await expect(row_of(page, other)).to_have_count(0)
        await expect(page.get_by_role("button", name="Actions")).to_have_count(0)
        await page.get_by_role("link", name="Owner").click()
        assert "sort=owner" in page.url
        await row_of(page, plain).get_by_role("link").click()
        await page.get_by_role("button", name="Check now").click()
        await expect(page.locator("#notices")).to_contain_text("It answered in")


@pytest.mark.parametrize("width", [360, 768, 1440])
async def test_a_long_list_fits_each_window(signed_in: SignIn, quiet_world: PageWorld, width: int) -> None:
    async with servers(quiet_world, "a" * 200, "short"):
        page = await signed_in(world=quiet_world, path="/ui/servers", width=width)
        await check_width(page)
        await page.get_by_role("button", name="Actions").first.click()
        await check_width(page)
        await check_axe(page, f"{width}")


async def test_a_menu_without_room_below_opens_above(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with servers(quiet_world, "at-the-bottom") as (server_id,):
        page = await signed_in(world=quiet_world, path="/ui/servers?model=at-the-bottom")
        button = row_of(page, server_id).get_by_role("button", name="Actions")
        place = await button.bounding_box()
        assert place is not None
        await page.set_viewport_size({"width": 1440, "height": round(place["y"] + place["height"] + 20)})
        await button.click()
        menu = page.locator("#row-menu")
        await expect(menu.get_by_role("button", name="Check now")).to_be_in_viewport(ratio=1)
        assert (await menu.bounding_box())["y"] + (await menu.bounding_box())["height"] <= place["y"]
