"""Can people find a model, see it come and go, decide on names, and connect their tool, in a real browser?"""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Browser, expect

from app.routers.dashboard.quoting import in_javascript
from tests.fakes.browser import (
    Problems,
    SignIn,
    check_axe,
    check_frame,
    check_inert,
    check_width,
    focus_by_tab,
    settled,
    shot,
)
from tests.fakes.pages_world import HOSTILE, OwnWorld, PageWorld

LOOKS = [(1440, "light"), (1440, "dark"), (360, "light"), (360, "dark")]
NAMES = ["llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"]


ODD_NAMES = [
    'it\'s "a" $(name) of \\ its own',
    "`${x}` </script>",
    "\u2028\u202e 模型 🦙",
    "\N{TAG LATIN SMALL LETTER A}",
]


async def test_javascript_reads_back_the_names_that_snippets_quote(browser: Browser) -> None:
    page = await browser.new_page()
    assert await page.evaluate(f"[{', '.join(map(in_javascript, ODD_NAMES))}]") == ODD_NAMES
    await page.close()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_the_pages_are_fit_for_everybody(
    signed_in: SignIn, page_world: PageWorld, empty_world: PageWorld, width: int, scheme: str
) -> None:
    page = await signed_in("admin", width=width, scheme=scheme, world=page_world, path="/ui/models")
    for path, name in (
        ("/ui/models", "models"),
        ("/ui/models?q=no-such-model", ""),
        ("/ui/models/connect?model=llama-3-8b", "connect"),
        ("/ui/models/aliases/new", ""),
        ("/ui/models/aliases/edit?name=fast", "alias"),
        ("/ui/models/aliases/remove?name=fast", ""),
    ):
        await page.goto(path)
        for check in (check_axe, check_frame, check_inert, check_width):
            await check(page)
        if name:
            await shot(page, f"{name}-{scheme}-{width}")
    empty = await signed_in("admin", width=width, scheme=scheme, world=empty_world, path="/ui/models")
    await expect(empty.get_by_text("No models yet")).to_be_visible()
    for check in (check_axe, check_frame, check_inert, check_width):
        await check(empty)


@pytest.mark.parametrize("role", ["group-admin", "owner", "user"])
async def test_every_role_sees_its_own(signed_in: SignIn, page_world: PageWorld, role: str) -> None:
    page = await signed_in(role, world=page_world, path="/ui/models?q=llama-3-8b")
    await expect(page.locator('[data-model="llama-3-8b"]')).to_be_visible()
    assert await page.get_by_role("button", name="New alias").count() == 0
    assert await page.get_by_role("button", name="Confirm").count() == 0
    for check in (check_axe, check_frame, check_inert, check_width):
        await check(page)


async def test_a_search_is_kept_in_the_url(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("user", world=page_world, path="/ui/models")
    search = page.get_by_label("Search")
    await search.press_sequentially("family/model-007")
    await expect(page.locator("[data-model]")).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"/ui/models\?q=family%2Fmodel-007$"))
    await expect(search).to_be_focused()
    await page.reload()
    await expect(page.locator("[data-model]")).to_have_count(1)
    await expect(search).to_have_value("family/model-007")


async def test_the_search_works_without_a_script(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("user", world=page_world, path="/ui/models", javascript=False)
    await page.get_by_label("Search").fill("family/model-00")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator("[data-model]")).to_have_count(10)


async def test_a_model_that_nobody_can_serve_any_more_says_so_by_itself(signed_in: SignIn, own_world: OwnWorld) -> None:
    world = await own_world(UNHEALTHY_THRESHOLD="1", HEALTH_CHECK_INTERVAL_SECONDS="0.2")
    server, server_id = world.fake("fading")
    page = await signed_in("user", world=world, path="/ui/models")
    card = page.locator('[data-model="fading"]')
    await expect(card).to_have_attribute("data-state", "healthy")
    await page.get_by_label("Search").focus()
    world.house.stop(server)
    await expect(card).to_have_attribute("data-state", "unhealthy", timeout=10_000)
    await expect(card).to_contain_text("No server ready")
    await expect(card).to_contain_text("0 of 1 server ready")
    await expect(page.get_by_label("Search")).to_be_focused()
    world.call("DELETE", f"/admin/register/{server_id}")
    await expect(card).to_contain_text("no server has it any more")


async def test_the_operator_decides_on_names_by_keyboard(signed_in: SignIn, own_world: OwnWorld) -> None:
    world = await own_world()
    world.fake(*NAMES)
    page = await signed_in("admin", world=world, path="/ui/models")
    await check_axe(page, "with a proposal")
    await focus_by_tab(page, page.get_by_role("button", name="Confirm"))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("Each of these names means")
    await expect(page.locator('[data-class="llama-3.1-8b-instruct"]')).to_be_visible()
    await page.get_by_role("button", name="Dissolve").click()
    await check_axe(page, "asked to dissolve")
    await page.get_by_role("dialog").get_by_role("button", name="Dissolve").click()
    await expect(page.locator("[data-class]")).to_have_count(0)
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator("[data-proposal]")).to_have_count(0)


async def test_an_alias_is_made_and_removed_by_keyboard(signed_in: SignIn, own_world: OwnWorld) -> None:
    world = await own_world()
    world.fake("big", "small")
    page = await signed_in("admin", world=world, path="/ui/models/aliases/new")
    await focus_by_tab(page, page.get_by_label("Name (needed)"))
    await page.keyboard.type("fast")
    await focus_by_tab(page, page.get_by_label("Model").first)
    await page.keyboard.type("big")
    await page.keyboard.press("Tab")
    await page.keyboard.type("x")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Weight").first).to_have_attribute("aria-invalid", "true")
    await check_axe(page, "an alias with a fault")
    await page.get_by_label("Weight").first.fill("3")
    await page.keyboard.press("Enter")
    await expect(page.locator('[data-alias="fast"]')).to_contain_text("weight 3")
    await expect(page.locator('[data-model="fast"]')).to_contain_text("big")
    await page.get_by_role("button", name="Remove fast").click()
    await page.get_by_role("button", name="Remove").click()
    await expect(page.locator('[data-alias="fast"]')).to_have_count(0)


async def test_a_key_fills_the_texts_and_leaves_the_browser_nowhere(
    signed_in: SignIn, page_world: PageWorld, problems: Problems
) -> None:
    page = await signed_in("user", world=page_world, path="/ui/models/connect?model=llama-3-8b")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.url} {request.post_data or ''}"))
    odd = "mvk_it's\"a\\key$HOME"
    await page.get_by_label("Your key").fill(odd)
    curl = page.locator("#tool-curl-1")
    await expect(curl).to_contain_text("export MULTIVERSE_KEY='mvk_it'\\''s\"a\\key$HOME'")
    python = await page.locator("#tool-openai-python-1").inner_text()
    (quoted,) = re.findall(r'api_key=("(?:[^"\\]|\\.)*")', python)
    assert json.loads(quoted) == odd
    await expect(page.locator("#tool-cline-3")).to_have_text(odd)
    await page.get_by_label("Your key").fill("two words")
    await expect(page.get_by_label("Your key")).to_have_attribute("aria-invalid", "true")
    await expect(curl).to_contain_text("YOUR_KEY")
    await page.get_by_label("Your key").fill("")
    await expect(curl).to_contain_text("YOUR_KEY")
    await settled(page)
    assert not [one for one in asked if "mvk_it" in one]
    assert not await page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length")


async def test_what_is_copied_is_the_whole_text(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("user", world=page_world, path="/ui/models/connect?model=llama-3-8b")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tool = page.locator("#tool-continue")
    await tool.get_by_role("button", name="Copy").click()
    await expect(tool.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == await page.locator("#tool-continue-1").text_content()
    assert "\n    provider: openai\n" in copied


async def test_hostile_names_are_text_everywhere(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", world=page_world, path="/ui/models")
    hostile = page.locator(f"[data-model={json.dumps(HOSTILE)}]")
    await expect(hostile.get_by_role("heading")).to_have_text(HOSTILE)
    await hostile.get_by_role("button", name="Connect your tool").click()
    await expect(page.locator("#model-name")).to_have_text(HOSTILE)
    await check_inert(page)
    await page.goto("/ui/models")
    alias = page.locator("[data-alias]").filter(has_text="alias <")
    await alias.get_by_role("button", name="Edit").click()
    await expect(page.get_by_label("Name (needed)")).to_have_value(f"alias {HOSTILE}")
    await check_inert(page)
