"""Is one server looked after from its page: checked, held, changed and removed, each with its outcome told?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Locator, Page, expect

from tests.fakes.browser import SignIn, check_axe, focus_by_tab
from tests.fakes.model_server import FakeModelServer
from tests.fakes.pages_world import PageWorld

SOON_MS = 10_000


@asynccontextmanager
async def lent(world: PageWorld, model: str, **fields: object) -> AsyncIterator[tuple[FakeModelServer, str]]:
    """A server for the time of a test."""
    server, server_id = await asyncio.to_thread(world.fake, model, **fields)
    yield server, server_id
    await asyncio.to_thread(world.answer, "DELETE", f"/admin/register/{server_id}")


async def told(page: Page, words: str) -> None:
    await expect(page.locator("#notices")).to_contain_text(words, timeout=SOON_MS)


def section(page: Page) -> Locator:
    return page.locator("section.one-server")


async def test_each_button_tells_its_outcome(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "steered") as (_server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}")
        await page.get_by_role("button", name="Check now").click()
        await told(page, "It answered in")
        await page.get_by_text("Pause or drain").click()
        await page.get_by_label("15 minutes").check()
        await page.get_by_role("textbox", name="Why").fill("moving the rack")
        await page.get_by_role("button", name="Pause", exact=True).click()
        await told(page, "Paused until")
        await expect(section(page)).to_have_attribute("data-state", "paused")
        await expect(page.get_by_text("moving the rack").first).to_be_visible()
        await page.get_by_role("button", name="Resume").click()
        await told(page, "Resumed")
        await page.get_by_text("Pause or drain").click()
        await page.get_by_label("How many").fill("2")
        await page.get_by_label("Unit").select_option("hours")
        await page.get_by_label("for", exact=True).check()
        await page.get_by_role("button", name="Drain").click()
        await told(page, "Draining: nothing runs there")
        await expect(section(page)).to_have_attribute("data-state", "draining")
        await page.get_by_label("Block it, because").fill("odd answers")
        await page.get_by_role("button", name="Block").click()
        await page.get_by_role("dialog").get_by_role("button", name="Block").click()
        await told(page, "Blocked until it is lifted")
        await expect(section(page)).to_have_attribute("data-state", "blocked")
        await page.get_by_role("button", name="Lift the block").click()
        await told(page, "are lifted")


async def test_a_change_is_marked_reviewed_and_saved(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "edited", metadata={"description": "lab box"}) as (_server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}")
        await page.get_by_role("button", name="Edit").click()
        await expect(page.locator("[data-mark]:visible")).to_have_count(0)
        await page.get_by_label("Requests at once").fill("4")
        await page.get_by_label("Description").fill("<b>bench</b>")
        await expect(page.locator("[data-mark]:visible")).to_have_count(2)
        await check_axe(page, "changed form")
        await page.get_by_role("button", name="Review changes").click()
        await expect(page.locator("tbody tr")).to_have_count(2)
        await expect(page.locator("del")).to_have_text(["lab box"])
        await expect(page.locator("ins")).to_have_text(["4", "<b>bench</b>"])
        await check_axe(page, "review")
        await page.get_by_role("button", name="Change more").click()
        await expect(page.get_by_label("Requests at once")).to_have_value("4")
        await page.get_by_role("button", name="Review changes").click()
        await page.get_by_role("button", name="Save").click()
        await told(page, "Saved: requests at once, description.")
        server = await asyncio.to_thread(quiet_world.server, server_id)
        assert server["max_concurrency"] == 4
        assert server["metadata"]["description"] == "<b>bench</b>"


async def test_what_is_wrong_stands_at_its_field(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "refused") as (_server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}/edit")
        await page.get_by_label("Weight").fill("heavy")
        await page.get_by_role("button", name="Review changes").click()
        await expect(page.get_by_label("Weight")).to_have_attribute("aria-invalid", "true")
        await expect(page.get_by_label("Weight")).to_have_value("heavy")
        await check_axe(page, "refused form")


async def test_a_removal_is_told_and_asked_for_by_keyboard_alone(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "removed") as (_server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}")
        await focus_by_tab(page, page.get_by_role("button", name="Remove"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("no other server has it")).to_be_visible()
        await check_axe(page, "removal")
        await focus_by_tab(page, page.get_by_role("button", name="Remove server"))
        await page.keyboard.press("Enter")
        await told(page, "Removed 127.0.0.1:")
        await expect(page).to_have_url(re.compile("/ui/servers$"))
        answer = await asyncio.to_thread(quiet_world.answer, "GET", f"/admin/servers/{server_id}")
        assert answer.status_code == 404


async def test_the_page_tells_of_a_death_without_a_reload(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "mortal") as (server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}")
        await expect(page.locator("[data-live-state]")).to_contain_text("live", timeout=SOON_MS)
        await page.evaluate("window.sameDocument = true")
        await page.get_by_text("The checks as a table").click()
        await page.get_by_text("Pause or drain").click()
        await page.get_by_role("textbox", name="Why").fill("half a sentence")
        await asyncio.to_thread(quiet_world.house.stop, server)
        await expect(section(page)).to_have_attribute("data-state", "unhealthy", timeout=SOON_MS)
        await expect(page.get_by_role("heading", name="Why it gets no work")).to_be_visible(timeout=SOON_MS)
        await expect(page.locator("#check-rows")).to_contain_text("connection refused", timeout=SOON_MS)
        await expect(page.locator("rect.failed").first).to_be_attached()
        await expect(page.locator("#check-table")).to_have_attribute("open", "")
        await expect(page.get_by_role("textbox", name="Why")).to_have_value("half a sentence")
        await expect(page.get_by_role("textbox", name="Why")).to_be_focused()
        assert await page.evaluate("window.sameDocument") is True
        await check_axe(page, "dead")


async def test_a_server_that_is_removed_elsewhere_says_so(signed_in: SignIn, quiet_world: PageWorld) -> None:
    async with lent(quiet_world, "gone") as (_server, server_id):
        page = await signed_in(world=quiet_world, path=f"/ui/servers/{server_id}")
        await expect(page.locator("[data-live-state]")).to_contain_text("live", timeout=SOON_MS)
        await asyncio.to_thread(quiet_world.call, "DELETE", f"/admin/register/{server_id}")
        await expect(section(page)).to_have_attribute("data-state", "removed", timeout=SOON_MS)
        await expect(page.get_by_role("button", name="Check now")).to_be_disabled()


@pytest.mark.timeout(120)
async def test_a_real_engine_tells_of_itself(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in(world=page_world, path=f"/ui/servers/{page_world.servers['real']}")
    await expect(section(page)).to_contain_text("llama.cpp")
    await expect(page.get_by_role("table", name="Models")).to_contain_text("tokens")
