"""Does the page Activity tell what happens, while it happens, and let it be found again?"""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.fakes.browser import SignIn, check_axe, focus_by_tab
from tests.fakes.gateway_process import until
from tests.fakes.model_server import FakeModelServer
from tests.fakes.pages_world import HOSTILE, PageWorld

ROWS = "#rows > tr"


@pytest.fixture(scope="module")
def watched(quiet_world: PageWorld) -> FakeModelServer:
    """A server whose requests the tests look at."""
    server, _server_id = quiet_world.fake("watched-model", "other-model")
    return server


def rows_of(page: Page, words: str) -> Locator:
    return page.locator(ROWS).filter(has_text=words)


async def ask(world: PageWorld, model: str = "watched-model", role: str = "admin") -> str:
    """Ask a model; the id of the request."""
    answer = await asyncio.to_thread(world.chat, model, role=role)
    return str(answer.headers["x-request-id"])


async def test_new_requests_come_in_at_the_top_and_what_has_focus_keeps_it(
    signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer
) -> None:
    first = await ask(quiet_world)
    page = await signed_in(world=quiet_world, path="/ui/activity?model=watched-model")
    link = rows_of(page, first).get_by_role("link", name="watched-model")
    await link.focus()
    second = await ask(quiet_world)
    other = await ask(quiet_world, "other-model")
    third = await ask(quiet_world)
    await expect(page.locator(ROWS).first).to_contain_text(third)
    await expect(rows_of(page, second)).to_contain_text("200 answered")
    await expect(rows_of(page, other)).to_have_count(0)  # the filter holds for what comes in too
    await expect(link).to_be_focused()
    await expect(page.get_by_role("status").filter(has_text="Following")).to_be_visible()
    await check_axe(page, "with rows that came in")


async def test_following_can_be_paused_by_keyboard(
    signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer
) -> None:
    await ask(quiet_world)
    page = await signed_in(world=quiet_world, path="/ui/activity")
    await focus_by_tab(page, page.get_by_role("button", name="Pause"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="Paused")).to_be_visible()
    other = await signed_in(world=quiet_world, path="/ui/activity")
    missed = await ask(quiet_world)
    await expect(rows_of(other, missed)).to_have_count(1)
    await expect(rows_of(page, missed)).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(rows_of(page, missed)).to_have_count(1)


async def test_the_first_request_takes_the_place_of_the_empty_state(signed_in: SignIn, quiet_world: PageWorld) -> None:
    quiet_world.fake("first-model")
    page = await signed_in(world=quiet_world, path="/ui/activity?model=first-model")
    await expect(page.get_by_role("heading", name="No request like that")).to_be_visible()
    asked = await ask(quiet_world, "first-model")
    await expect(rows_of(page, asked)).to_be_visible()
    await expect(page.get_by_role("heading", name="No request like that")).to_be_hidden()


async def test_filters_stay_in_the_address(signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer) -> None:
    good = await ask(quiet_world)
    bad = await ask(quiet_world, "no-such-model")
    page = await signed_in(world=quiet_world, path="/ui/activity")
    await page.get_by_label("Result").select_option("errors")
    await page.get_by_role("button", name="Filter").click()
    await expect(rows_of(page, bad)).to_contain_text("404 refused")
    await expect(rows_of(page, good)).to_have_count(0)
    assert "status=errors" in page.url
    await page.reload()
    await expect(page.get_by_label("Result")).to_have_value("errors")
    await page.get_by_role("link", name="Clear").click()
    await page.get_by_label("Request id").fill(good[:12])
    await page.keyboard.press("Enter")
    await expect(page.locator(ROWS)).to_have_count(1)


async def test_a_request_leads_to_its_lines_of_the_log(
    signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer
) -> None:
    asked = await ask(quiet_world)
    page = await signed_in(world=quiet_world, path=f"/ui/activity?request_id={asked}")
    await rows_of(page, asked).get_by_role("link", name=asked).click()
    await expect(page).to_have_url(re.compile(rf"show=logs&request_id={asked}"))
    await expect(rows_of(page, "request finished")).to_contain_text("model=watched-model")


async def test_the_log_is_followed_and_filtered(
    signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer
) -> None:
    page = await signed_in(world=quiet_world, path="/ui/activity?show=logs&component=gateway.requests")
    asked = await ask(quiet_world)
    await expect(rows_of(page, asked)).to_contain_text("status=200")
    await page.get_by_label("Level").select_option("warning")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("heading", name="No line like that")).to_be_visible()
    await page.goto("/ui/activity?show=logs&since=yesterday")
    await expect(page.get_by_label("From (UTC)")).to_have_value("yesterday")
    await expect(page.get_by_text("Write a date like 2030-01-31")).to_be_visible()
    await check_axe(page, "with an error")


async def test_the_audit_tells_what_changed(signed_in: SignIn, quiet_world: PageWorld) -> None:
    made = quiet_world.call("POST", "/admin/keys", {"name": f"audited {HOSTILE}"[:128]})
    quiet_world.call("PATCH", f"/admin/keys/{made['id']}", {"name": "audited anew"})
    page = await signed_in(world=quiet_world, path=f"/ui/activity?show=audit&object={made['id']}")
    rows = page.get_by_role("row").filter(has_text="operator")
    await expect(rows).to_have_count(2)
    details = rows.first.locator("summary")
    await focus_by_tab(page, details)
    await page.keyboard.press("Enter")
    await expect(rows.first.get_by_role("cell", name="audited anew").last).to_be_visible()
    await check_axe(page, "with a change open")
    async with page.expect_download() as download:
        await page.get_by_text("Download as CSV").click()
    assert (await download.value).suggested_filename == "audit.csv"


async def test_each_role_sees_its_own(signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer) -> None:
    hers = await ask(quiet_world, role="user")
    others = await ask(quiet_world)
    page = await signed_in("user", world=quiet_world, path="/ui/activity")
    await expect(rows_of(page, hers)).to_have_count(1)
    await expect(rows_of(page, others)).to_have_count(0)
    await expect(page.get_by_role("link", name="Logs")).to_have_count(0)
    answer = await page.goto("/ui/activity?show=logs")
    assert answer is not None
    assert answer.status == 403


async def loaded_until_there(page: Page, request_id: str) -> None:
    """Load the page anew until it has the request: requests are taken in twice a second, and no script follows them."""

    async def is_there() -> bool:
        await page.reload()
        return await rows_of(page, request_id).count() == 1

    await until(is_there, f"the page shows the request {request_id}")


async def test_it_works_without_scripts(signed_in: SignIn, quiet_world: PageWorld, watched: FakeModelServer) -> None:
    asked = await ask(quiet_world)
    page = await signed_in(world=quiet_world, path="/ui/activity", javascript=False)
    await loaded_until_there(page, asked)
    await expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    await page.get_by_label("Model").fill("watched-model")
    await page.get_by_role("button", name="Filter").click()
    await expect(rows_of(page, asked)).to_have_count(1)
    await page.get_by_role("link", name="Logs").click()
    await loaded_until_there(page, asked)
    await page.get_by_role("link", name="Audit").click()
    await expect(page.get_by_role("row").filter(has_text="Server registered").first).to_be_visible()
