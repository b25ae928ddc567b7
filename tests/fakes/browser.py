"""A real browser, and what every page has to be.

``Problems`` listens to what goes wrong in pages. The rest judges a page that is open: ``check_axe`` (WCAG 2.1 AA),
``check_frame`` (title, headings, landmarks), ``check_inert`` (nothing that came from outside became markup that runs),
``check_width`` (no scrolling sideways), ``focus_by_tab`` (by keyboard alone). What is evaluated here goes past the
page's policy by the debugging protocol, so the policy stays as strict as it is for people.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page

from tests.fakes.browser_problems import Problems
from tests.fakes.gateway_process import REPOSITORY

__all__ = [
    "CHROMIUM_ARGUMENTS",
    "SCREENSHOTS",
    "Problems",
    "SignIn",
    "check_axe",
    "check_frame",
    "check_inert",
    "check_width",
    "find_chromium",
    "focus_by_tab",
    "settled",
    "shot",
]

SignIn = Callable[..., Awaitable[Page]]
SCREENSHOTS = REPOSITORY / "docs" / "screenshots"
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
LONGEST_SHOT_PIXELS = 1300
AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
MOST_TABS = 250
MOST_TURNS_TO_FIT = 20


def find_chromium() -> str:
    """A Chromium to run; skips the test, with the fix in words, where there is none."""
    candidates = [os.environ.get("CHROMIUM", ""), "/usr/bin/chromium"]
    candidates += [shutil.which(name) or "" for name in ("chromium", "chromium-browser", "google-chrome")]
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    candidates += [str(path) for path in sorted(cache.glob("chromium-*/chrome-*/chrome"), reverse=True)]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    pytest.skip("needs a Chromium: apt-get install chromium, or playwright install chromium, or set CHROMIUM to one")


# -------------------------------------------------------------------------------------------------- what is open


async def settled(page: Page) -> None:
    """Wait until nothing moves: fonts are there, htmx waits for nothing, no transition runs."""
    await page.evaluate("document.fonts.ready.then(() => true)")
    await page.wait_for_function(
        "() => !document.querySelector('.htmx-request, [aria-busy=true]')"
        " && document.getAnimations().every((one) => one.playState !== 'running'"
        " || one.effect.getComputedTiming().iterations === Infinity)"
    )
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


async def _evaluate(page: Page, expression: str) -> Any:
    """Evaluate by the debugging protocol, which no policy of a page holds up."""
    session = await page.context.new_cdp_session(page)
    try:
        options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await session.send("Runtime.evaluate", options)
    finally:
        await session.detach()
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    return answer["result"].get("value")


def _axe_source() -> str:
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text()


async def check_axe(page: Page, where: str = "") -> None:
    """Fail if axe finds what WCAG 2.1 AA forbids, each violation with the elements and the fix.

    Args:
        page: as it is now; call it again for each state, such as an open dialog.
        where: names that state.
    """
    await settled(page)
    if not await _evaluate(page, "typeof axe === 'object'"):
        await _evaluate(page, f"{_axe_source()};true")
    run = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}
    found = json.loads(await _evaluate(page, f"axe.run(document, {json.dumps(run)}).then(JSON.stringify)"))
    lines = []
    for violation in found["violations"]:
        lines.append(f"{violation['id']} ({violation['impact']}): {violation['help']}")
        for node in violation["nodes"][:5]:
            lines.append(f"    {node['html'][:200]}")
            lines += [f"      {line.strip()}" for line in node["failureSummary"].splitlines()[1:4]]
        more = len(violation["nodes"]) - 5
        lines += [f"    and {more} more"] if more > 0 else []
    assert not lines, f"axe: {page.url} {where}\n  " + "\n  ".join(lines)


FRAME = """() => {
  const count = (selector) => document.querySelectorAll(selector).length;
  const levels = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((one) => Number(one.tagName[1]));
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return {
    title: document.title, lang: document.documentElement.lang, h1: count("h1"), main: count("main"),
    skip: document.querySelector("a.skip")?.getAttribute("href"),
    unnamedNavigations: count("nav:not([aria-label], [aria-labelledby])"), navigations: count("nav"),
    leaps: levels.filter((level, index) => index > 0 && level > levels[index - 1] + 1),
    twice: ids.filter((id, index) => ids.indexOf(id) !== index),
    unread: [...document.querySelectorAll("time:not([datetime])")].map((one) => one.outerHTML),
  };
}"""


async def check_frame(page: Page, *, signed_in: bool = True) -> None:
    """Fail if the page lacks what screen readers and tabs go by: title, language, one h1, landmarks, a skip link."""
    found = await page.evaluate(FRAME)
    assert re.fullmatch(r"\S.* · Multiverse gateway", found["title"]), found["title"]
    assert found["lang"] == "en"
    assert (found["h1"], found["main"]) == (1, 1), found
    assert found["skip"] == "#content"
    assert found["unnamedNavigations"] == 0, found
    assert bool(found["navigations"]) is signed_in, found
    assert not found["leaps"], f"a heading leaves a level out: {found['leaps']}"
    assert not found["twice"], f"ids that are there twice: {found['twice']}"
    assert not found["unread"], found["unread"]


INERT = """() => {
  const wrong = [];
  for (const element of document.querySelectorAll("*")) {
    for (const {name, value} of element.attributes) {
      if (/^on/i.test(name) || /^hx-on/i.test(name) || name === "srcdoc") wrong.push(`${name}=${value}`);
      if (/^(href|src|action|formaction|xlink:href|hx-(get|post|put|delete|patch))$/i.test(name)
        && /^[\\s\\u0000-\\u001f]*(javascript|vbscript|data:text)/i.test(value)) wrong.push(`${name}=${value}`);
    }
    if (/^(iframe|object|embed|base|style)$/i.test(element.tagName)) wrong.push(element.outerHTML.slice(0, 200));
    if (element.tagName === "SCRIPT" && !element.src) wrong.push(element.outerHTML.slice(0, 200));
  }
  return wrong;
}"""


async def check_inert(page: Page) -> None:
    """Fail if a page holds an inline handler, an inline script or style sheet, a frame, or an address that is code."""
    wrong = await page.evaluate(INERT)
    assert not wrong, f"{page.url} holds what runs: {wrong}"


WIDTH = """() => {
  const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  const scrolls = (element) => {
    for (let one = element.parentElement; one; one = one.parentElement) {
      if (one !== document.body && one !== document.documentElement
        && /auto|scroll|hidden|clip/.test(getComputedStyle(one).overflowX)) return true;
    }
    return false;
  };
  return [...document.body.querySelectorAll("*")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.right > wide + 1 && !scrolls(one);
  }).slice(0, 8).map((one) => `${one.outerHTML.slice(0, 120)} ends at ${Math.round(one.getBoundingClientRect().right)}`)
    .concat(`the page is ${document.documentElement.scrollWidth} wide`);
}"""


async def check_width(page: Page) -> None:
    """Fail if the page has to be scrolled sideways; what is too wide is named. Charts have some frames to fit in."""
    wide = await page.evaluate(WIDTH)
    for _turn in range(MOST_TURNS_TO_FIT):
        if not wide:
            break
        await settled(page)
        wide = await page.evaluate(WIDTH)
    assert not wide, f"{page.url} is wider than the window:\n  " + "\n  ".join(wide)


async def shot(page: Page, name: str, *, in_docs: bool = False) -> None:
    """Take a picture of the page: SCREENSHOTS=1 writes those that are ``in_docs`` to docs/screenshots/<name>.png,
    SCREENSHOTS=/a/folder writes all of them there."""
    wanted = os.environ.get("SCREENSHOTS", "")
    if not wanted or (wanted == "1" and not in_docs):
        return
    await page.evaluate("scrollTo(0, 0)")  # what sticks to the window stands at its top then
    await settled(page)
    folder = SCREENSHOTS if wanted == "1" else Path(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    width = await page.evaluate("document.documentElement.clientWidth")
    height = min(await page.evaluate("document.documentElement.scrollHeight"), LONGEST_SHOT_PIXELS)
    clip = {"x": 0, "y": 0, "width": width, "height": height}
    await page.screenshot(path=folder / f"{name}.png", full_page=True, clip=clip, animations="disabled")


# -------------------------------------------------------------------------------------------------- by keyboard

FOCUS = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return "";
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const hasParts = /^(date|time|month|week|datetime-local)$/.test(element.type); // the browser marks the part in focus
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const marked = hasParts || outlined || style.boxShadow !== "none";
  return {words: (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().slice(0, 60),
    tag: element.tagName, seen: box.width > 0 && box.height > 0, marked};
}"""


async def focus_by_tab(page: Page, target: Locator, *, key: str = "Tab") -> None:
    """Press a key until ``target`` has the focus; every stop on the way has to be visible and marked as focused."""
    await target.wait_for()
    for _press in range(MOST_TABS):
        if await target.evaluate("(element) => element === document.activeElement"):
            return
        await page.keyboard.press(key)
        focus = await page.evaluate(FOCUS)
        if focus:
            assert focus["seen"], f"the focus is where nothing is seen: {focus}"
            assert focus["marked"], f"nobody sees that this has the focus: {focus}"
    message = f"{target} can't be reached by {key}"
    raise AssertionError(message)
