"""Are keys made, kept, changed and ended by people at a browser: seen once, by keyboard, without scripts, by role?"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.fakes.browser import SignIn, check_axe, check_frame, check_inert, check_width, focus_by_tab, settled, shot
from tests.fakes.pages_world import HOSTILE, PageWorld

LOOKS = (("light", 1440), ("dark", 1440), ("dark", 360), ("light", 360))
HEIGHTS = {360: 740, 1440: 900}
SECRET = re.compile(r"mvk_[0-9A-Za-z]{20,}")


async def judge(page: Page, name: str) -> None:
    """Look at a page in all lights and widths."""
    for scheme, width in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        await settled(page)
        await check_frame(page)
        await check_inert(page)
        await check_width(page)
        await check_axe(page, f"{name} {scheme} {width}")
        await shot(page, f"{name}-{scheme}-{width}")


def key_of(world: PageWorld, name: str) -> dict:
    found = world.call("GET", f"/admin/keys?q={name}")["keys"]
    return dict(found[0])


async def test_a_key_is_made_and_shown_this_once(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", path="/ui/keys")
    await page.get_by_role("button", name="Make a key").click()
    await judge(page, "key-new")
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.get_by_role("textbox", name="Name").fill("browser made this")
    await page.get_by_text("Models that there are").click()
    await page.get_by_role("button", name="llama-3-8b", exact=True).click()
    await expect(page.get_by_label("Models", exact=True)).to_have_value("llama-3-8b")
    await page.get_by_label("Tokens a day").fill("5000")
    await page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret")
    await expect(secret).to_have_text(SECRET)
    await expect(page.get_by_role("button", name="Copy the key")).to_be_visible()
    await judge(page, "key-secret")
    words = await secret.text_content() or ""
    assert words not in page.url
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    assert words not in await page.content(), "a page that may come back by the Back button has it no more"
    made = key_of(page_world, "browser%20made")
    assert (made["models"], made["limits"]["tokens_per_day"]) == (["llama-3-8b"], 5000)
    await page.reload()
    await page.wait_for_url("**/ui/keys")
    await expect(page.get_by_role("status").first).to_contain_text("sent before")
    assert page_world.call("GET", "/admin/keys?q=browser%20made")["total"] == 1
    for path in ("/ui/keys", f"/ui/keys/{made['id']}"):
        await page.goto(path)
        assert words not in await page.content()


async def test_what_is_wrong_stands_at_its_field(signed_in: SignIn) -> None:
    page = await signed_in("admin", path="/ui/keys/new")
    await page.get_by_role("textbox", name="Name").fill("never")
    await page.get_by_label("Last day").fill("2020-01-01")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("alert").first).to_contain_text("This was not saved")
    await expect(page.get_by_label("Last day")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("textbox", name="Name")).to_have_value("never")
    await check_axe(page, "a form that was refused")


async def test_a_key_is_looked_at_rotated_changed_and_revoked(signed_in: SignIn, page_world: PageWorld) -> None:
    terms = {"requests_per_minute": 3, "tokens_per_day": 100_000}
    made = page_world.call("POST", "/admin/keys", {"name": "browser's own", "limits": terms})
    page = await signed_in("admin", path=f"/ui/keys/{made['id']}")
    await expect(page.get_by_text("0 of 3 used")).to_be_visible()
    await judge(page, "key")
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.get_by_label("The old secret works").select_option("0")
    await page.get_by_role("button", name="Make a new secret").click()
    await expect(page.locator("#secret")).to_have_text(SECRET)
    rotated = await page.locator("#secret").text_content()
    assert rotated != made["key"]
    await page.get_by_role("button", name="I have kept it").click()
    await page.get_by_role("button", name="Change").click()
    await page.get_by_label("Requests at once").fill("2")
    await expect(page.locator(".field", has=page.get_by_label("Requests at once"))).to_have_attribute(
        "data-altered", ""
    )
    await page.get_by_role("button", name="Save the changes").click()
    await expect(page.get_by_text("Changed: limits.")).to_be_visible()
    await page.get_by_role("button", name="Revoke").click()
    await judge(page, "key-revoke")
    await page.get_by_role("button", name="Revoke it for good").click()
    await expect(page.get_by_text("browser's own is revoked")).to_be_visible()
    assert page_world.call("GET", f"/admin/keys/{made['id']}")["state"] == "revoked"


async def test_the_list_is_searched_as_one_types_and_keeps_that_in_its_url(signed_in: SignIn) -> None:
    page = await signed_in("admin", path="/ui/keys")
    rows = page.locator("[data-key-id]")
    await page.get_by_label("Search", exact=True).fill("Grace")
    await expect(rows).to_have_count(1)
    await expect(page).to_have_url(re.compile("q=Grace"))
    await page.reload()
    await expect(rows).to_have_count(1)
    await page.get_by_label("State").select_option("revoked")
    await expect(page.get_by_role("heading", name="No key fits")).to_be_visible()
    await page.get_by_role("link", name="Show all keys").click()
    await expect(rows.nth(3)).to_be_visible()
    text = await page.locator("table.keys").inner_text()
    assert HOSTILE[:60] in text


async def test_a_list_of_people_is_read_checked_made_and_kept_as_a_file(
    signed_in: SignIn, page_world: PageWorld, tmp_path: Path
) -> None:
    page = await signed_in("admin", path="/ui/keys/import")
    await judge(page, "keys-import")
    await page.set_viewport_size({"width": 1440, "height": 900})
    file = {
        "name": "class.csv",
        "mimeType": "text/csv",
        "buffer": "name;email\nZoë;zoe@example.org\nNo;nowhere\n".encode(),
    }
    await page.get_by_label("Or choose its file").set_input_files(files=[file])
    await expect(page.get_by_label("The list, as CSV")).to_have_value(re.compile("Zoë;zoe@example.org"))
    await page.get_by_role("button", name="Check the list").click()
    await expect(page.locator("[data-outcome=bad]")).to_contain_text("its email is no address")
    await judge(page, "keys-import-faults")
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.get_by_label("The list, as CSV").fill(f"name,email\nZoë,zoe@example.org\n{HOSTILE[:40]},h@example.org\n")
    await page.get_by_role("button", name="Check the list").click()
    await page.get_by_role("button", name="Make 2 links").click()
    await expect(page.get_by_role("heading", name="2 links made")).to_be_visible()
    await judge(page, "keys-imported")
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Download as CSV").click()
    download = await waiting.value
    await download.save_as(tmp_path / "links.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "links.csv").read_text())))
    assert (download.suggested_filename, [row["email"] for row in rows]) == (
        "links.csv", ["zoe@example.org", "h@example.org"],
    )  # fmt: skip
    assert all("/invite/mvi_" in row["link"] for row in rows)
    await page.reload()
    await page.wait_for_url("**/ui/keys")
    assert page_world.call("GET", "/admin/keys?q=zoe%40")["total"] == 1


async def test_a_group_is_made_by_keyboard_alone(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", path="/ui/keys/groups")
    await judge(page, "groups")
    await page.set_viewport_size({"width": 1440, "height": 900})
    await focus_by_tab(page, page.get_by_role("button", name="Make a group"))
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/keys/groups/new")
    await focus_by_tab(page, page.get_by_role("textbox", name="Name"))
    await page.keyboard.type("by keyboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="by keyboard", level=1)).to_be_visible()
    await judge(page, "group")
    (group,) = [one for one in page_world.call("GET", "/admin/groups")["groups"] if one["name"] == "by keyboard"]
    await page.goto(f"/ui/keys/groups/{group['id']}/remove")
    await focus_by_tab(page, page.get_by_role("button", name="Remove the group"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The group by keyboard is removed.")).to_be_visible()


@pytest.mark.parametrize("role", ["owner", "group-admin"])
async def test_others_make_keys_inside_their_own(signed_in: SignIn, page_world: PageWorld, role: str) -> None:
    page = await signed_in(role, path="/ui/keys/new")
    await expect(page.locator("h1")).to_have_text("Make a key")
    assert await page.get_by_label("Role").count() == (0 if role == "owner" else 1)
    await page.get_by_role("textbox", name="Name").fill(f"made by {role}")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.locator("#secret")).to_have_text(SECRET)
    made = key_of(page_world, f"made%20by%20{role}")
    assert made["role"] == "user"
    assert (made["group"] is None) is (role == "owner")


async def test_a_user_sees_what_is_left_and_rotates_its_key_without_scripts(
    signed_in: SignIn, quiet_world: PageWorld
) -> None:
    made = quiet_world.call("POST", "/admin/keys", {"name": "scriptless", "limits": {"requests_per_minute": 5}})
    page = await signed_in(None, world=quiet_world, path="/ui/sign-in", javascript=False)
    await page.get_by_label("Your key").fill(made["key"])
    await page.get_by_role("button", name="Sign in").click()
    await page.goto("/ui/keys")
    await expect(page.get_by_text("0 of 5 used")).to_be_visible()
    await page.get_by_role("button", name="Make a new secret").click()
    await expect(page.locator("#secret")).to_have_text(SECRET)
    await expect(page.get_by_text("sign in with the new one before then")).to_be_visible()


async def test_a_class_gets_keys_without_scripts(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in("admin", world=quiet_world, path="/ui/keys/import", javascript=False)
    await page.get_by_label("The list, as CSV").fill("name\nLin\nMax\n")
    await page.get_by_label("Each gets").select_option("keys")
    await page.get_by_role("button", name="Check the list").click()
    await page.get_by_role("button", name="Make 2 keys").click()
    await expect(page.get_by_role("heading", name="2 keys made")).to_be_visible()
    await page.get_by_text("All of it as CSV").click()
    assert len(SECRET.findall(await page.locator("#sheet").input_value())) == 2
