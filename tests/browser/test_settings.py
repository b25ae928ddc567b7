"""Does the page Settings tell what is in force, and make a backup?"""

from __future__ import annotations

import tarfile

from playwright.async_api import expect

from tests.fakes.browser import SignIn, check_axe, focus_by_tab
from tests.fakes.gateway_process import ADMIN_KEY
from tests.fakes.pages_world import PageWorld


async def test_values_are_told_with_their_source(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(world=quiet_world, path="/ui/settings")
    await page.get_by_label("Find a setting").fill("health_check_interval")
    await page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has_text="HEALTH_CHECK_INTERVAL_SECONDS")
    await expect(row).to_contain_text("Environment")
    await expect(row).to_contain_text("Default: 10")
    await expect(page.get_by_text("1 of ")).to_be_visible()
    assert "q=health_check_interval" in page.url
    await page.get_by_role("link", name="Show all").click()
    secret = page.get_by_role("row").filter(has_text="ADMIN_API_KEY")
    await expect(secret).to_contain_text("Set, not shown")
    assert ADMIN_KEY not in await page.content()


async def test_a_change_of_env_waits_for_a_restart(signed_in: SignIn, quiet_world: PageWorld) -> None:
    file = quiet_world.gateway.folder / ".env"
    file.write_text("MAX_ATTEMPTS=5\n", encoding="utf-8")
    try:
        page = await signed_in(world=quiet_world, path="/ui/settings?q=max_attempts")
        await expect(page.get_by_text("1 setting has changed in .env since the start")).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text="MAX_ATTEMPTS")).to_contain_text("After a restart: 5")
        await check_axe(page, "with a change that waits")
        file.write_text("MAX_ATTEMPTS=many\n", encoding="utf-8")
        await page.reload()
        await expect(page.get_by_role("alert")).to_contain_text("The next start would fail")
    finally:
        file.unlink()


async def test_a_backup_is_made_by_keyboard_and_told(signed_in: SignIn, quiet_world: PageWorld) -> None:
    backups = quiet_world.gateway.folder / "backups"
    earlier = set(backups.glob("gateway-*.tar.gz"))
    page = await signed_in(world=quiet_world, path="/ui/settings")
    await focus_by_tab(page, page.get_by_role("button", name="Make a backup"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("A backup is being made. The gateway goes on serving.")).to_be_visible()
    await expect(page.get_by_text("The last one was made")).to_be_visible(timeout=40_000)
    await expect(page.get_by_role("button", name="Make a backup")).to_be_visible()
    await check_axe(page, "with a backup")
    (file,) = set(backups.glob("gateway-*.tar.gz")) - earlier
    await expect(page.get_by_text(str(file))).to_be_visible()
    with tarfile.open(file) as archive:
        assert "gateway.db" in archive.getnames()


async def test_it_works_without_scripts(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(world=quiet_world, path="/ui/settings", javascript=False)
    await page.get_by_label("Find a setting").fill("queue")
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_role("row").filter(has_text="QUEUE_MAX_SIZE")).to_be_visible()
    await page.goto("/ui/settings")
    await page.get_by_role("button", name="Make a backup").click()
    await expect(page.get_by_role("heading", name="Backups")).to_be_visible()
    link = page.get_by_role("link", name="Look again")
    while await link.count():
        await link.click()
        await page.reload()
    await expect(page.get_by_text("The last one was made")).to_be_visible()
