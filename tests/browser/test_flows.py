"""Can everything be done by keyboard alone, on a wide and on a narrow page, each stop of the focus seen?

Nothing is clicked here: what is wanted is reached by Tab, then Enter, space, arrows and letters do the rest.
"""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.fakes.browser import SignIn, check_axe, focus_by_tab
from tests.fakes.model_server import FakeModelServer
from tests.fakes.pages_world import PageWorld


async def press(page: Page, target: Locator, key: str = "Enter") -> None:
    """Go to a control by Tab and press a key on it."""
    await focus_by_tab(page, target)
    await page.keyboard.press(key)


async def write(page: Page, label: str, words: str) -> None:
    """Go to a field by Tab and write into it, in place of what is there."""
    await focus_by_tab(page, page.get_by_label(label, exact=True))
    await page.keyboard.press("Control+a")
    await page.keyboard.type(words)


async def choose(page: Page, label: str | re.Pattern[str], words: str) -> None:
    """Go to a select by Tab and choose by the letters of its option."""
    await focus_by_tab(page, page.get_by_label(label).first)
    await page.keyboard.type(words)


async def go(page: Page, name: str) -> None:
    """Go to another page by the menu, which is closed on a narrow page."""
    link = page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True)
    menu = page.locator("summary").filter(has_text="Menu").first
    await expect(link.or_(menu).filter(visible=True).first).to_be_visible()
    if not await link.is_visible():
        await press(page, menu)
    await press(page, link)
    await expect(page.locator("nav[aria-label=Pages] a[aria-current=page]")).to_have_text(name)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("width", [1440, 360])
async def test_a_whole_visit_by_keyboard(signed_in: SignIn, page_world: PageWorld, width: int) -> None:
    model = f"keyboard-{width}"
    server = page_world.house.start(FakeModelServer(models=[model], words=["It", " works", "."]))

    page = await signed_in(None, world=page_world, path="/ui/sign-in", width=width)
    await write(page, "Your key", page_world.key("owner"))
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui")

    await go(page, "Register")
    await focus_by_tab(page, page.locator("[name=endpoint_url]"))
    await page.keyboard.type(server.url)
    await press(page, page.get_by_role("button", name="Test connection"))
    await expect(page.locator("#outcome")).to_contain_text(model)
    await press(page, page.get_by_role("button", name="Register", exact=True))
    await page.wait_for_url("**/ui/register/*")
    server_id = await page.locator("#server-id").inner_text()

    await press(page, page.get_by_role("button", name="Its page"))
    await page.wait_for_url(f"**/ui/servers/{server_id}")
    hold = page.locator("details").filter(has=page.get_by_label("Why"))
    await press(page, hold.locator("summary"))
    await focus_by_tab(page, hold.get_by_label("Why"))
    await page.keyboard.type("moving the box")
    await press(page, hold.get_by_role("button", name="Pause", exact=True))
    await expect(page.locator("#notices")).to_contain_text("Paused")
    assert page_world.server(server_id)["paused_reason"] == "moving the box"
    await press(page, page.get_by_role("button", name="Resume"))
    await expect(page.locator("#notices")).to_contain_text("Resumed")

    await go(page, "Keys")
    await press(page, page.get_by_role("button", name="Make a key").first)
    await focus_by_tab(page, page.locator("[name=name]"))
    await page.keyboard.type(f"made by keyboard {width}")
    await press(page, page.get_by_role("button", name="Make the key"))
    await expect(page.locator("#secret")).to_contain_text("mvk_")
    await check_axe(page, "a key is shown once")
    await press(page, page.get_by_role("button", name="I have kept it"), " ")

    await go(page, "Playground")
    await choose(page, "Model", model)
    await focus_by_tab(page, page.get_by_label("Message"))
    await page.keyboard.type("Does it work?")
    await press(page, page.get_by_role("button", name="Send"))
    await expect(page.locator("#conversation")).to_contain_text("It works.")
    await check_axe(page, "after an answer")

    if width == 360:
        await press(page, page.locator("summary").filter(has_text="Menu").first)
    await press(page, page.get_by_role("button", name="Sign out"))
    await page.wait_for_url("**/ui/sign-in")
    assert not await page.context.cookies(f"{page_world.url}/ui")


async def test_the_skip_link_leads_past_the_menu(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in("owner", world=quiet_world, path="/ui/models")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#content")).to_be_focused()


@pytest.mark.parametrize("width", [1440, 360])
async def test_no_page_traps_the_focus(signed_in: SignIn, page_world: PageWorld, width: int) -> None:
    for path in ("/ui", "/ui/servers", "/ui/register", "/ui/playground", "/ui/keys", "/ui/activity"):
        page = await signed_in("admin", world=page_world, path=path, width=width)
        first = page.get_by_role("link", name="Skip to the content")
        last = page.get_by_role("link", name="API")
        await focus_by_tab(page, last)
        await focus_by_tab(page, first, key="Shift+Tab")
        await page.context.close()


async def test_a_menu_of_a_server_is_closed_by_escape_and_gives_the_focus_back(
    signed_in: SignIn, page_world: PageWorld
) -> None:
    page = await signed_in("admin", world=page_world, path="/ui/servers")
    button = page.locator("tr[data-server-id] .acts button").first
    await press(page, button)
    menu = page.locator("#row-menu")
    await expect(menu).to_be_visible()
    await check_axe(page, "with an open menu")
    await page.keyboard.press("Escape")
    await expect(menu).to_be_hidden()
    await expect(button).to_be_focused()
