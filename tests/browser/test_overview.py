"""Does the first page tell each role how its part of the pool does, by itself and over time?"""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.fakes.browser import SignIn, check_axe, check_width, focus_by_tab
from tests.fakes.pages_world import OwnWorld, PageWorld

LARGEST_FIRST_PAGE_BYTES = 250_000
CHARTS = (
    "Requests a second", "Tokens a second", "Time to the first token", "Errors, of all requests", "Saved answers",
    "Requests waiting for a place",
)  # fmt: skip
INK = """(canvas) => {
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, place) => place % 4 === 3 && value > 0);
}"""


def figure(page: Page, name: str):
    return page.locator(f'[data-figure="{name}"]').first


async def test_figures_states_and_news_change_by_themselves(signed_in: SignIn, own_world: OwnWorld) -> None:
    world = await own_world(UNHEALTHY_THRESHOLD="1")
    _steady, _id = await asyncio.to_thread(world.fake, "m")
    dying, dying_id = await asyncio.to_thread(world.fake, "m", "rare")
    page = await signed_in("admin", world=world)
    await page.evaluate("window.loadedOnce = true")
    await expect(figure(page, "serving")).to_have_text("2")
    await expect(figure(page, "models_available")).to_have_text("2")
    for _time in range(3):
        await asyncio.to_thread(world.chat, "m")
    await expect(figure(page, "requests")).to_have_text("3")
    await expect(figure(page, "requests_rate")).not_to_have_text("0")
    await asyncio.to_thread(world.house.stop, dying)
    await expect(figure(page, "serving")).to_have_text("1")
    await expect(figure(page, "models_available")).to_have_text("1")
    states = page.locator("[data-count-of]:visible")
    await expect(states).to_have_text(["1 healthy", "1 unhealthy"])
    newest = page.locator("#news > li").first
    await expect(newest).to_contain_text("became unhealthy: connection refused")
    await expect(newest.get_by_role("link")).to_have_attribute("href", f"/ui/servers/{dying_id}")
    await expect(newest.locator("time")).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d .* UTC$"))
    assert await page.evaluate("window.loadedOnce") is True
    await check_axe(page, "after a server died")


async def test_the_first_server_turns_the_empty_page_into_the_full_one(signed_in: SignIn, own_world: OwnWorld) -> None:
    world = await own_world()
    page = await signed_in("admin", world=world)
    await expect(page.get_by_role("heading", name="No servers yet")).to_be_visible()
    await expect(page.get_by_role("link", name="Register one")).to_have_attribute("href", "/ui/register")
    await asyncio.to_thread(world.fake, "m")
    await expect(figure(page, "serving")).to_have_text("1")
    await expect(page.get_by_role("heading", name="No servers yet")).to_have_count(0)


async def test_charts_are_drawn_and_read_by_keyboard(signed_in: SignIn, page_world: PageWorld) -> None:
    await asyncio.to_thread(page_world.chat, "llama-3-8b")
    page = await signed_in("admin", world=page_world)
    charts = page.locator("figure.chart")
    await expect(charts).to_have_count(len(CHARTS))
    for number, caption in enumerate(CHARTS):
        await expect(charts.nth(number).locator("figcaption")).to_contain_text(caption)
        assert await charts.nth(number).locator("canvas").evaluate(INK), caption
    plot = page.get_by_role("group", name="Tokens a second")
    await focus_by_tab(page, plot)
    told = charts.nth(1).locator("[aria-live]")
    for key in ("End", "ArrowLeft", "Home"):
        before = await told.text_content()
        await page.keyboard.press(key)
        await expect(told).not_to_have_text(before or "-")
    words = await told.text_content() or ""
    assert "Answer " in words
    assert "Prompt " in words
    await check_axe(page, "a chart has the focus")
    await page.keyboard.press("Tab")
    await expect(plot).not_to_be_focused()
    await page.get_by_text("The figures of the charts as a table").click()
    await check_axe(page, "the table is open")


async def test_charts_follow_the_lights_and_the_width(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", world=page_world)
    canvas = page.locator("figure.chart canvas").first
    await expect(canvas).to_be_visible()
    wide = (await canvas.bounding_box() or {})["width"]
    light = await canvas.evaluate("(canvas) => canvas.toDataURL()")
    await page.emulate_media(color_scheme="dark")
    await page.wait_for_function(
        "(before) => document.querySelector('figure.chart canvas').toDataURL() !== before", arg=light
    )
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.wait_for_function(
        "(before) => document.querySelector('figure.chart canvas').getBoundingClientRect().width < before", arg=wide
    )
    await check_width(page)


@pytest.mark.parametrize(("words", "name", "rows"), [("6 hours", "6h", 12), ("7 days", "7d", 28)])
async def test_spans_are_links_and_their_figures_a_table_without_scripts(
    signed_in: SignIn, page_world: PageWorld, words: str, name: str, rows: int
) -> None:
    page = await signed_in("admin", world=page_world, javascript=False)
    await page.get_by_role("link", name=words).click()
    await page.wait_for_url(f"**/ui?span={name}#charts")
    await expect(page.get_by_role("link", name=words)).to_have_attribute("aria-current", "true")
    await expect(page.locator("figure.chart").first).to_be_hidden()
    await page.get_by_text("The figures of the charts as a table").click()
    table = page.get_by_role("table")
    await expect(table).to_be_visible()
    await expect(table.locator("caption")).to_contain_text(f"The last {words}")
    assert await table.locator("tbody tr").count() in {rows, rows + 1}
    await page.goto("/ui?span=nonsense")
    await expect(page.get_by_role("link", name="15 minutes")).to_have_attribute("aria-current", "true")


async def test_figures_that_cannot_be_fetched_are_told(signed_in: SignIn, quiet_world: PageWorld, problems) -> None:
    await asyncio.to_thread(quiet_world.fake, "m", role="owner")
    problems.allow("answered 503: GET .*/ui/overview/series")
    page = await signed_in("owner", world=quiet_world, path="/ui/keys")
    await page.route("**/ui/overview/series*", lambda route: route.fulfill(status=503, body="{}"))
    await page.goto("/ui")
    fault = page.locator("figure.chart .fault").first
    await expect(fault).to_have_text("The figures could not be fetched. It is tried again.")
    await check_axe(page, "figures are missing")


async def test_an_owner_sees_its_own_servers_alone(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("owner", world=page_world)
    mine = await asyncio.to_thread(page_world.call, "GET", "/admin/stats", role="owner")
    await expect(figure(page, "servers")).to_have_text(str(mine["servers"]["total"]))
    await expect(page.get_by_text("Waiting for a place")).to_have_count(0)
    await expect(page.locator("#news")).not_to_contain_text("__pwned")
    await expect(page.get_by_role("heading", name="Your own use today")).to_be_visible()


async def test_a_user_sees_models_and_its_own_use(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("user", world=page_world)
    await expect(page.get_by_role("heading", name="Models that you can use")).to_be_visible()
    await expect(page.get_by_role("heading", name="Your own use today")).to_be_visible()
    await expect(page.get_by_role("heading", name="What is left of your limits")).to_be_visible()
    await expect(page.get_by_role("heading", name="What happened lately")).to_have_count(0)
    await page.get_by_role("link", name="llama-3-8b", exact=True).click()
    await page.wait_for_url("**/ui/playground?model=llama-3-8b")
    answer = await page.request.get("/ui/overview/series")
    assert answer.status == 403


async def test_the_first_page_is_light(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", world=page_world, path="/ui/no-such-page")
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await page.goto("/ui")
    await expect(page.locator("figure.chart canvas").last).to_be_visible()
    assert sum(sizes) < LARGEST_FIRST_PAGE_BYTES
