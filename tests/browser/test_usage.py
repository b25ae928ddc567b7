"""Does the page of use draw, tell, filter and hand out what was used, to each role its own?"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.fakes.browser import SignIn, check_axe, check_frame, check_inert, check_width, focus_by_tab, settled
from tests.fakes.pages_world import PageWorld


async def test_use_is_drawn_and_told_as_a_table(signed_in: SignIn) -> None:
    page = await signed_in("admin", path="/ui/usage?by=model")
    plot = page.locator(".usage-chart .plot canvas")
    await expect(plot).to_be_visible()
    ink = """(one) => one.toDataURL() !== Object.assign(document.createElement("canvas"),
        {width: one.width, height: one.height}).toDataURL()"""
    assert await plot.evaluate(ink), "nothing was drawn"
    summary = page.get_by_text("The figures of the chart as a table")
    await focus_by_tab(page, summary)
    await page.keyboard.press("Enter")
    sums = await page.locator("#chart-table tr.sums td").all_inner_texts()
    told = await page.locator(".usage-chart .legend strong").all_inner_texts()
    assert len(sums) == len(told) > 0
    await check_axe(page, "with its table open")
    await page.locator(".u-over").hover()
    await expect(page.locator(".usage-chart .reading")).to_contain_text("tokens")
    await page.emulate_media(color_scheme="dark")
    await settled(page)
    assert await plot.evaluate(ink)


async def test_what_is_chosen_stays_in_the_url_and_rows_lead_further(signed_in: SignIn) -> None:
    page = await signed_in("admin", path="/ui/usage")
    await expect(page.get_by_label("From", exact=True)).to_be_hidden()
    await page.get_by_label("When", exact=True).select_option("own")
    await page.get_by_label("From", exact=True).fill("2020-01-01")
    await page.get_by_label("By", exact=True).select_option("key")
    await page.get_by_role("button", name="Show").click()
    await expect(page).to_have_url(re.compile(r"span=own&from=2020-01-01&to=&by=key"))
    await page.locator("table.usage").get_by_role("link", name="the user").click()
    await expect(page.locator(".filters")).to_contain_text("Key:")
    await expect(page).to_have_url(re.compile("by=day&key="))
    await page.get_by_role("link", name="Without this filter").click()
    await expect(page.locator(".filters")).to_have_count(0)


@pytest.mark.parametrize("role", ["admin", "group-admin", "owner"])
async def test_the_rows_are_handed_out_as_a_file(signed_in: SignIn, tmp_path: Path, role: str) -> None:
    page = await signed_in(role, path="/ui/usage?by=model")
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Download as CSV").first.click()
    download = await waiting.value
    await download.save_as(tmp_path / "usage.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "usage.csv").read_text())))
    shown = await page.locator("table.usage tbody tr").count()
    assert (download.suggested_filename, len(rows)) == ("usage.csv", shown)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
async def test_an_owner_sees_what_its_servers_served_and_what_it_used(
    signed_in: SignIn, width: int, scheme: str
) -> None:
    page = await signed_in("owner", path="/ui/usage", width=width, scheme=scheme)
    await expect(page.get_by_text("Whose requests these were is not told")).to_be_visible()
    await expect(page.get_by_role("table", name=re.compile("What you gave and took"))).to_be_visible()
    served = await page.locator("#by option").all_inner_texts()
    assert "Key" not in served
    await page.get_by_role("link", name="What your keys used").click()
    assert "Key" in await page.locator("#by option").all_inner_texts()
    for check in (check_frame, check_inert, check_width, check_axe):
        await check(page)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
async def test_a_user_sees_its_own(signed_in: SignIn, page_world: PageWorld, width: int, scheme: str) -> None:
    page = await signed_in("user", path="/ui/usage", width=width, scheme=scheme)
    own = page_world.call("GET", "/v1/usage", role="user")
    by_model = page.get_by_role("table", name=re.compile("This month by model"))
    await expect(by_model).to_be_visible()
    assert await by_model.locator("tbody tr").count() == len(own["models"])
    await expect(page.get_by_role("table", name=re.compile("The last 30 days"))).to_be_visible()
    await expect(page.locator(".usage-chart .plot canvas")).to_be_visible()
    assert await page.locator("#chart-table tr[data-at]").count() == 30
    for check in (check_frame, check_inert, check_width, check_axe):
        await check(page)


async def test_figures_are_there_without_scripts(signed_in: SignIn) -> None:
    page = await signed_in("admin", path="/ui/usage", javascript=False)
    await expect(page.locator("table.usage tbody tr").first).to_be_visible()
    await page.get_by_label("By", exact=True).select_option("person")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("table", name="Use by person")).to_be_visible()
    await page.get_by_text("The figures of the chart as a table").click()
    await expect(page.locator("#chart-table")).to_be_visible()


async def test_an_empty_page_teaches(signed_in: SignIn, empty_world: PageWorld) -> None:
    page = await signed_in("admin", world=empty_world, path="/ui/usage")
    await expect(page.get_by_role("heading", name="Nothing was used in this time")).to_be_visible()
    await expect(page.get_by_role("link", name="connect a tool")).to_be_visible()
