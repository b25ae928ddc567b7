"""Does a person get in with a key, where they wanted to go, and out again?"""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.fakes.browser import SignIn, check_axe, check_frame, check_inert, check_width, shot
from tests.fakes.pages_world import PageWorld


async def test_a_stranger_signs_in_and_gets_where_they_wanted(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(None, world=quiet_world, path="/ui/models?q=llama")
    assert page.url.endswith("/ui/sign-in?next=/ui/models%3Fq%3Dllama")
    await page.get_by_label("Your key").fill(quiet_world.key("user"))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/ui/models?q=llama")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


async def test_a_wrong_key_is_told_and_the_page_stays_fit_to_use(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(None, world=quiet_world, path="/ui/sign-in")
    key = page.get_by_label("Your key")
    await expect(key).to_be_focused()
    await key.fill("mvk_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("mistyped")
    await expect(key).to_have_attribute("aria-invalid", "true")
    await expect(key).to_have_value("")
    await check_axe(page, "after a wrong key")


async def test_the_form_works_without_scripts(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(None, world=quiet_world, path="/ui/sign-in", javascript=False)
    await page.get_by_label("Your key").fill(quiet_world.key("owner"))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/ui")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/ui/sign-in")


@pytest.mark.parametrize("role", ["admin", "group-admin", "owner", "user"])
async def test_signing_out_leaves_nothing_behind(signed_in: SignIn, quiet_world: PageWorld, role: str) -> None:
    page = await signed_in(role, world=quiet_world)
    (cookie,) = [one for one in await page.context.cookies() if one["name"] == "multiverse_session"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"], cookie["expires"]) == (True, "Strict", "/ui", -1)
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/ui/sign-in")
    assert not [one for one in await page.context.cookies() if one["name"] == "multiverse_session"]
    await page.go_back()
    await page.wait_for_url("**/ui/sign-in*")  # the page before is not shown from a cache
    await page.context.add_cookies([cookie])  # nor does an old cookie open anything
    await page.goto("/ui")
    await page.wait_for_url("**/ui/sign-in")


async def test_a_key_that_is_revoked_ends_what_is_open(signed_in: SignIn, quiet_world: PageWorld) -> None:
    made = quiet_world.call("POST", "/admin/keys", {"name": "short-lived"})
    page = await signed_in(None, world=quiet_world, path="/ui/sign-in")
    await page.get_by_label("Your key").fill(made["key"])
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui")
    quiet_world.call("DELETE", f"/admin/keys/{made['id']}")
    await page.goto("/ui/models")
    await page.wait_for_url("**/ui/sign-in?next=/ui/models")
    await expect(page.get_by_role("alert")).to_contain_text("This key was revoked")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
async def test_the_page_is_fit_for_everybody(
    signed_in: SignIn, empty_world: PageWorld, scheme: str, width: int
) -> None:
    page = await signed_in(None, world=empty_world, path="/ui/sign-in", width=width, scheme=scheme)
    await check_frame(page, signed_in=False)
    await check_inert(page)
    await check_width(page)
    await check_axe(page)
    await shot(page, f"sign-in-{scheme}-{width}", in_docs=(scheme == "dark") == (width == 360))


async def test_the_choice_of_colours_is_kept(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in("user", world=quiet_world)
    await page.get_by_role("button", name="Dark", exact=True).click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.goto("/ui/models")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await check_axe(page, "dark by choice")
