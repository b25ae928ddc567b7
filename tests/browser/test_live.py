"""Does a page say so when it is not live, come back, share its stream, and tell nobody what is another's?"""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.fakes.browser import Problems, SignIn, check_axe, focus_by_tab
from tests.fakes.pages_world import OwnWorld, PageWorld

SOON_MS = 30_000
SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.mark.timeout(180)
async def test_a_page_that_is_not_live_says_so_and_comes_back(
    signed_in: SignIn, own_world: OwnWorld, problems: Problems
) -> None:
    world = await own_world()
    page = await signed_in("admin", world=world, path="/ui/servers")
    live, stale = page.locator("[data-live-state]"), page.locator("[data-stale]")
    await expect(live).to_have_text("· live", timeout=SOON_MS)
    await expect(stale).to_be_hidden()
    problems.allow("")  # nobody is there to answer
    await asyncio.to_thread(world.gateway.stop)
    await expect(stale).to_be_visible(timeout=SOON_MS)
    await asyncio.to_thread(world.gateway.start)
    await expect(live).to_have_text("· live", timeout=SOON_MS)
    await expect(stale).to_be_hidden()


async def test_a_page_of_one_sign_in_hears_nothing_of_anothers(
    signed_in: SignIn, page_world: PageWorld, problems: Problems
) -> None:
    page = await signed_in("admin", world=page_world, path="/ui/servers")
    rows = page.locator("[data-server-id]")
    await expect(page.locator("[data-live-state]")).to_have_text("· live", timeout=SOON_MS)
    count = await rows.count()
    other = await page.context.new_page()
    await page.context.clear_cookies()
    await other.goto("/ui/sign-in")
    await other.fill("input[name=key]", page_world.key("owner"))
    await other.press("input[name=key]", "Enter")
    await other.wait_for_url("**/ui")
    problems.allow("answered 40[14]")
    problems.allow("status of 40[14]")
    answer = await page.request.get(
        f"/ui/live?topics=servers&seer={await page.locator('body').get_attribute('data-seer')}"
    )
    assert answer.status == 401
    assert "Somebody else has signed in" in (await answer.json())["error"]["message"]
    assert await rows.count() == count


async def test_many_pages_share_one_stream_and_a_hidden_one_hears_nothing(
    signed_in: SignIn, own_world: OwnWorld
) -> None:
    """A browser opens six connections to a host: were each page's stream its own, the seventh would load for ever."""
    world = await own_world()
    _fake, server_id = await asyncio.to_thread(world.fake, "m")
    first = await signed_in("admin", world=world, path="/ui/servers")
    pages = [first]
    for _more in range(8):
        page = await first.context.new_page()
        await page.goto("/ui/servers")
        pages.append(page)
    for page in pages:
        await expect(page.locator("[data-live-state]")).to_have_text("· live", timeout=SOON_MS)
    hidden = pages.pop()
    await hidden.evaluate(SET_HIDDEN, True)
    await asyncio.to_thread(world.call, "POST", f"/admin/servers/{server_id}/pause", {"reason": "for a while"})
    row = f'[data-server-id="{server_id}"]'
    for page in pages:
        await expect(page.locator(row)).to_have_attribute("data-state", "paused")
    await expect(hidden.locator(row)).not_to_have_attribute("data-state", "paused")
    await hidden.evaluate(SET_HIDDEN, False)
    await expect(hidden.locator(row)).to_have_attribute("data-state", "paused")


async def test_where_nothing_is_shared_a_hidden_page_closes_its_stream(
    signed_in: SignIn, quiet_world: PageWorld, problems: Problems
) -> None:
    page = await signed_in("admin", world=quiet_world, path="/ui/settings")
    await page.context.add_init_script("delete globalThis.SharedWorker")
    problems.allow("request failed: GET .*/ui/live")
    async with page.expect_request("**/ui/live?*"):
        await page.goto("/ui/servers")
    await expect(page.locator("[data-live-state]")).to_have_text("· live", timeout=SOON_MS)
    async with page.expect_event("requestfailed", lambda request: "/ui/live" in request.url):
        await page.evaluate(SET_HIDDEN, True)
    async with page.expect_request("**/ui/live?*"):
        await page.evaluate(SET_HIDDEN, False)


async def test_a_page_stands_still_where_somebody_wants_it_to(signed_in: SignIn, own_world: OwnWorld) -> None:
    """What moves by itself can be stopped: WCAG 2.1, 2.2.2."""
    world = await own_world()
    _fake, server_id = await asyncio.to_thread(world.fake, "m")
    page = await signed_in("admin", world=world, path="/ui/servers")
    state, row = page.locator("[data-live-state]"), page.locator(f'[data-server-id="{server_id}"]')
    await expect(state).to_have_text("· live", timeout=SOON_MS)
    await focus_by_tab(page, page.get_by_role("button", name="Pause updates"))
    await page.keyboard.press("Enter")
    await expect(state).to_have_text("· updates paused")
    await check_axe(page, "updates paused")
    other = await page.context.new_page()
    await other.goto("/ui/servers")
    await expect(other.locator("[data-live-state]")).to_have_text("· live", timeout=SOON_MS)
    await asyncio.to_thread(world.call, "POST", f"/admin/servers/{server_id}/pause", {"reason": "for a while"})
    await expect(other.locator(f'[data-server-id="{server_id}"]')).to_have_attribute("data-state", "paused")
    await expect(row).not_to_have_attribute("data-state", "paused")
    await page.get_by_role("button", name="Resume updates").click()
    await expect(row).to_have_attribute("data-state", "paused")
    await expect(state).to_have_text("· live")
