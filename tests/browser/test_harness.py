"""Is a fault in a page found? Each check here is shown one: a check that can't fail proves nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page

from tests.fakes.browser import Problems, SignIn, check_axe, check_frame, check_inert, check_width, focus_by_tab
from tests.fakes.pages_world import PageWorld

ADD = "(html) => { document.querySelector('main').insertAdjacentHTML('beforeend', html); }"

INLINE_SCRIPT = """() => {
  const script = document.createElement("script");
  script.textContent = "window.ran = 1";
  document.body.append(script);
}"""


@pytest.mark.parametrize(
    ("check", "fault", "words"),
    [
        (check_axe, '<img src="data:,">', "image-alt"),
        (check_axe, "<input type='text'>", "label"),
        (check_axe, "<p class='pale'>pale</p>", "color-contrast"),
        (check_frame, "<h1>Another one</h1>", "h1"),
        (check_frame, "<h5>too deep</h5>", "leaves a level out"),
        (check_frame, "<p id='content'></p>", "there twice"),
        (check_inert, "<p onclick='void 0'>x</p>", "onclick"),
        (check_inert, "<a href=' javascript:void 0'>x</a>", "javascript"),
        (check_inert, "<iframe></iframe>", "iframe"),
        (check_width, "<svg width='3000' height='1'></svg>", "ends at 3"),
    ],
)
async def test_a_fault_is_found(
    signed_in: SignIn,
    quiet_world: PageWorld,
    problems: Problems,
    check: Callable[[Page], Awaitable[None]],
    fault: str,
    words: str,
) -> None:
    problems.allow("inline event handler|policy report: script-src-attr")
    page = await signed_in("user", world=quiet_world, path="/ui/no-such-page")
    await check(page)
    await page.evaluate(ADD, fault)
    await page.evaluate(
        "() => { const pale = document.querySelector('.pale');"
        " if (pale) { pale.style.color = '#999'; pale.style.backgroundColor = '#aaa'; } }"
    )
    with pytest.raises(AssertionError, match=words):
        await check(page)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("() => { setTimeout(() => { throw new Error('a bug') }); }", "uncaught error: a bug"),
        ("() => { setTimeout(() => Promise.reject(new Error('a promise'))); }", "uncaught error: a promise"),
        ("() => console.error('mind this')", "console error: mind this"),
        ("() => { setTimeout(() => alert('hello')); }", "a dialog opened: alert hello"),
        ("() => { new Image().src = 'http://evil.example/x.png'; }", "policy report: img-src"),
        ("() => { fetch('http://evil.example/x').catch(() => 0); }", "policy report: connect-src"),
        (INLINE_SCRIPT, "a script without a file"),
        ("() => { document.body.setAttribute('onclick', '__pwned(1)'); document.body.click(); }", "policy report"),
        ("() => { __pwned('directly'); }", "script from outside ran: directly"),
        ("() => { new Image().src = '/ui/assets/0/missing.png'; }", "answered 404"),
    ],
)
async def test_what_goes_wrong_is_heard(
    signed_in: SignIn, quiet_world: PageWorld, problems: Problems, fault: str, words: str
) -> None:
    page = await signed_in("user", world=quiet_world, path="/ui/models")
    assert not problems.found
    await page.evaluate(fault)
    while not any(words in one for one in problems.found):
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => done(true)))")
    with pytest.raises(AssertionError, match="the browser found fault"):
        problems.check()
    problems.allow("(?s).*")


async def test_a_focus_that_nobody_sees_is_found(signed_in: SignIn, quiet_world: PageWorld) -> None:
    page = await signed_in(None, world=quiet_world, path="/ui/sign-in")
    await page.evaluate(
        "() => { const button = document.querySelector('button');"
        " button.style.setProperty('outline', 'none', 'important');"
        " button.style.setProperty('box-shadow', 'none', 'important'); }"
    )
    with pytest.raises(AssertionError, match="nobody sees"):
        await focus_by_tab(page, page.get_by_role("link", name="API"))
