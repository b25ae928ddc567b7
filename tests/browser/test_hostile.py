"""Does what strangers write show as text everywhere, and never become markup, an address or a script?

The full gateway has hostile names of servers, models, keys, groups and aliases, hostile descriptions, reasons, error
texts and answers. The ``problems`` of every page tell of script that ran, dialogs, and reports of the policy.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import pytest
from playwright.async_api import Page, expect

from tests.fakes.browser import Problems, SignIn, check_frame, check_inert, check_width, settled
from tests.fakes.pages_world import HOSTILE, ROLES, PageWorld

START_OF_HOSTILE = """<img src=x onerror="__pwned(1)"><script>__pwned(2)</script>"""
MOST_OF_A_KIND = 3
MOST_PAGES = 90
LINKS = """() => [...document.querySelectorAll("a[href]")]
  .filter((link) => !link.hasAttribute("download") && link.origin === location.origin)
  .map((link) => link.pathname + link.search)"""


def _kind(url: str) -> str:
    """What pages have in common that differ in an id or in what they filter by."""
    parts = urlsplit(url)
    path = re.sub(r"/[^/]*(\d|%|\.)[^/]*(?=/|$)", "/…", parts.path)
    return f"{path}?{'&'.join(sorted(pair.partition('=')[0] for pair in parts.query.split('&')))}"


def _is_page(url: str) -> bool:
    path = urlsplit(url).path
    return path == "/ui" or (path.startswith("/ui/") and "csv" not in url)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("role", ROLES)
async def test_every_page_that_a_link_leads_to_is_there_and_inert(
    signed_in: SignIn, page_world: PageWorld, role: str
) -> None:
    page = await signed_in(role, width=360, world=page_world, path="/ui")
    waiting, seen, kinds, faults = ["/ui"], set[str](), dict[str, int](), list[str]()
    while waiting and len(seen) < MOST_PAGES:
        url = waiting.pop(0)
        answer = await page.goto(url)
        assert answer is not None
        seen.add(url)
        if answer.status != 200:
            faults.append(f"{url} answers {answer.status}")
            continue
        for check in (check_inert, check_frame, check_width):
            try:
                await check(page)
            except AssertionError as fault:
                faults.append(f"{url}: {fault}")
        for link in await page.evaluate(LINKS):
            if link not in seen and link not in waiting and _is_page(link):
                kinds[_kind(link)] = kinds.get(_kind(link), 0) + 1
                if kinds[_kind(link)] <= MOST_OF_A_KIND:
                    waiting.append(link)
    assert not faults, "\n".join(faults)
    assert len(seen) > 5


async def _shows(page: Page, words: str = START_OF_HOSTILE) -> None:
    """Fail if a page does not show words as they are."""
    await settled(page)
    text = await page.evaluate("document.body.innerText.replace(/\\s+/g, ' ')")
    assert words in text, f"{page.url} does not show {words!r}"
    await check_inert(page)


@pytest.mark.parametrize(
    "path", ["/ui/servers", "/ui/servers/{hostile}", "/ui/servers/{paused}", "/ui/servers/{refusing}", "/ui/models",
             "/ui/keys", "/ui/keys/groups"],
)  # fmt: skip
async def test_hostile_words_are_shown_as_they_are(signed_in: SignIn, page_world: PageWorld, path: str) -> None:
    page = await signed_in("admin", world=page_world, path=path.format(**page_world.ids))
    await _shows(page)
    await page.set_viewport_size({"width": 360, "height": 740})
    await settled(page)
    await check_width(page)


async def test_no_name_makes_the_page_of_a_server_too_wide(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in("admin", width=360, world=page_world, path="/ui/servers")
    for server_id in sorted(set(page_world.servers.values())):
        await page.goto(f"/ui/servers/{server_id}")
        await check_width(page)


@pytest.mark.parametrize(
    "path", ["/ui/activity", "/ui/activity?show=logs&level=WARNING", "/ui/activity?show=audit", "/ui/usage?by=model"]
)
async def test_hostile_words_in_what_happened(signed_in: SignIn, page_world: PageWorld, path: str) -> None:
    assert page_world.chat(HOSTILE).status_code == 200
    page = await signed_in("admin", world=page_world, path=path)
    await _shows(page)


@pytest.mark.parametrize("path", ["/ui/servers", "/ui/models", "/ui/keys", "/ui/activity", "/ui/usage", "/ui/nothing"])
async def test_hostile_words_in_an_address(signed_in: SignIn, page_world: PageWorld, path: str) -> None:
    page = await signed_in("admin", world=page_world, path="/ui")
    words = quote(HOSTILE)
    for url in (
        f"{path}?q={words}&sort={words}&state={words}&page={words}&tab={words}",
        f"{path}/{quote(HOSTILE, '')}",
    ):
        await page.goto(url)
        await check_inert(page)
        await check_frame(page)


async def test_a_hostile_key_at_the_sign_in(signed_in: SignIn, page_world: PageWorld) -> None:
    page = await signed_in(None, world=page_world, path=f"/ui/sign-in?next={quote(HOSTILE)}")
    await page.get_by_label("Your key").fill(HOSTILE)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await check_inert(page)


async def test_a_hostile_server_that_appears_while_somebody_looks(signed_in: SignIn, page_world: PageWorld) -> None:
    name = f"late {HOSTILE}"
    page = await signed_in("admin", world=page_world, path="/ui/servers")
    _server, server_id = page_world.fake(name, metadata={"owner": name, "description": name})
    await page.get_by_role("link", name="Show the list anew").click(timeout=10_000)
    card = page.locator(f'[data-server-id="{server_id}"]')
    await expect(card).to_contain_text("<img src=x")
    page_world.call("POST", f"/admin/servers/{server_id}/pause", {"reason": name})
    await expect(card).to_have_attribute("data-state", "paused", timeout=10_000)
    await check_inert(page)


async def test_a_hostile_answer_in_the_playground(signed_in: SignIn, page_world: PageWorld, problems: Problems) -> None:
    page = await signed_in("admin", world=page_world, path="/ui/playground")
    await page.get_by_label("Model", exact=True).first.select_option(HOSTILE)
    await page.get_by_label("Message").first.fill(HOSTILE)
    await page.get_by_role("button", name="Send").first.click()
    await expect(page.get_by_role("main")).to_contain_text(f"{HOSTILE} {HOSTILE}", timeout=15_000)
    await check_inert(page)
