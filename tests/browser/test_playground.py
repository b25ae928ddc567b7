"""Does the playground stream, stop, compare, tell who answered, and show the seam where another server went on?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

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
from tests.fakes.gateway_process import REPOSITORY
from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, FakeModelServer, Seen, event, stream_events, until_gone
from tests.fakes.pages_world import HOSTILE, OwnWorld, PageWorld
from tests.fakes.real_model import StartModelServer, bundled_model

pytestmark = pytest.mark.timeout(240)

STORY = "Write a long story about a lighthouse keeper and the sea."
PAGE = "/ui/playground"


async def ask(page: Page, words: str, *, model: str | None = None) -> Locator:
    """Send a message by the keyboard; the last turn's answer."""
    if model is not None:
        await page.get_by_label("Model", exact=True).select_option(model)
    await page.get_by_label("Message").fill(words)
    await page.keyboard.press("Control+Enter")
    return page.locator(".turn").last.locator(".answer").first


def text_of(answer: Locator) -> Locator:
    return answer.locator('[data-part="text"]')


def badge_of(answer: Locator) -> Locator:
    return answer.locator(".state .word")


async def ended(answer: Locator, words: str | re.Pattern[str] = re.compile("Complete|Cut at its longest")) -> None:
    await expect(badge_of(answer)).to_have_text(words, timeout=60_000)


# -- an answer of a real model


async def test_an_answer_streams_with_its_figures(signed_in: SignIn, page_world: PageWorld) -> None:
    real = page_world.server(page_world.servers["real"])
    page = await signed_in("admin", path=f"{PAGE}?model={real['models'][0]}")
    await expect(page.get_by_label("Model", exact=True)).to_have_value(real["models"][0])
    await page.get_by_text("System prompt and sampling").click()
    await page.get_by_label("System prompt").fill("You are brief.")
    await page.get_by_label("Temperature").fill("0")
    await page.get_by_label("Max tokens").fill("40")
    answer = await ask(page, "Say hello.")
    await ended(answer)
    assert len((await text_of(answer).inner_text()).strip()) > 0
    for part, pattern in {
        "first-token": r"^[\d.]+\s(ms|s)$",
        "speed": r"^[\d.]+ tokens/s$",
        "tokens": r"^\d+ in, \d+ out$",
        "attempts": "^1$",
    }.items():
        await expect(answer.locator(f'[data-part="{part}"]')).to_have_text(re.compile(pattern))
    server = answer.locator('[data-part="server"] a')
    await expect(server).to_have_attribute("href", re.compile("/ui/servers/[0-9a-f-]{36}"))
    await expect(page.get_by_role("status").last).to_contain_text("complete" if await is_complete(answer) else "cut")
    second = await ask(page, "Again.")
    await ended(second)
    await expect(page.locator(".turn")).to_have_count(2)
    await check_axe(page, "with answers")
    await settled(page)
    await shot(page, "playground-answer-light-1440", in_docs=True)


async def is_complete(answer: Locator) -> bool:
    return await badge_of(answer).inner_text() == "Complete"


async def test_a_server_killed_in_the_midst_leaves_a_seam_and_a_whole_answer(
    signed_in: SignIn, own_world: OwnWorld, start_model_server: StartModelServer
) -> None:
    world = await own_world()
    servers = {}
    for _server in range(2):
        started = await asyncio.to_thread(start_model_server)
        servers[await asyncio.to_thread(world.register, started.url)] = started
    await asyncio.to_thread(world.wait, lambda: all(can_go_on(world, one) for one in servers), "both can take over")
    page = await signed_in("admin", world=world, path=PAGE)
    await page.get_by_text("System prompt and sampling").click()
    await page.get_by_label("Max tokens").fill("200")
    await page.get_by_label("Temperature").fill("0")
    answer = await ask(page, STORY)
    await expect(text_of(answer)).to_contain_text(re.compile(r"\w+ \w+ \w+ \w+"))
    await answer.get_by_text("Where it went").click()
    first = await answer.locator('[data-part="server-id"]').inner_text()
    await asyncio.to_thread(servers[first].kill)
    seam = answer.locator(".seam")
    await expect(seam).to_have_text(re.compile(r"^continued by 127\.0\.0\.1:\d+ after [\d.]+\s(ms|s)$"), timeout=30_000)
    await ended(answer)
    other = next(one for one in servers if one != first)
    await expect(seam.locator("a")).to_have_attribute("href", f"/ui/servers/{other}")
    await expect(answer.locator('[data-part="server-id"]')).to_have_text(f"{first} → {other}")
    await expect(answer.locator('[data-part="attempts"]')).to_have_text("2")
    await expect(answer.locator('[data-part="continued"]')).to_contain_text("once, after")
    before, _mark, after = (await text_of(answer).inner_text()).partition(await seam.inner_text())
    assert before.strip()
    assert after.strip()
    await check_axe(page, "with a seam")


def can_go_on(world: PageWorld, server_id: str) -> bool:
    return all(model["continuation"]["chat"] != "none" for model in world.server(server_id)["model_details"])


# -- the demo


@dataclass
class DemoWorld:
    """A running demo, as far as a sign-in needs to know it."""

    url: str
    admin_key: str

    def key(self, role: str) -> str:
        assert role == "admin"
        return self.admin_key


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoWorld]:
    """``multiverse demo``, ended as Ctrl-C would."""
    bundled_model()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}
    arguments = [sys.executable, "-m", "app.cli", "demo", "--no-engines", "--port", "0", "--json"]
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (tmp_path / "stderr").read_text()
        told = json.loads(line)
        yield DemoWorld(told["base_url"].removesuffix("/v1"), told["key"])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_in_the_demo_a_button_kills_who_answers_and_the_answer_finishes_all_the_same(
    signed_in: SignIn, demo: DemoWorld
) -> None:
    page = await signed_in("admin", world=cast("PageWorld", demo), path=PAGE)
    await page.get_by_text("System prompt and sampling").click()
    await page.get_by_label("Max tokens").fill("200")
    await page.get_by_role("button", name=STORY).click()
    await expect(page.get_by_label("Message")).to_have_value(STORY)
    await page.get_by_role("button", name="Send").click()
    answer = page.locator(".answer")
    await expect(text_of(answer)).to_contain_text(re.compile(r"\w+ \w+ \w+"))
    server = answer.locator('[data-part="server"] a')
    first = await server.get_attribute("href") or ""
    await answer.get_by_role("button", name="Kill the server that is answering").click()
    await expect(answer.locator(".seam")).to_be_visible(timeout=30_000)
    await expect(server).not_to_have_attribute("href", first)
    await ended(answer)
    await expect(answer.get_by_role("button", name="Kill")).to_have_count(0)
    await settled(page)
    await shot(page, "playground-seam-light-1440", in_docs=True)
    back = page.locator("#in-model option").first
    async with asyncio.timeout(60):
        while "2 of 2" not in await back.inner_text():  # the demo brings it back, and the gateway finds it by itself
            await page.reload()


# -- answers of scripted servers


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(quiet_world: PageWorld) -> AsyncIterator[Any]:
    """Servers of one test, which are taken out of the gateway after it."""
    ids: list[str] = []

    def start(*models: str, **fields: Any) -> FakeModelServer:
        server, server_id = quiet_world.fake(*models)
        for name, value in fields.items():
            setattr(server, name, value)
        ids.append(server_id)
        return server

    yield lambda *models, **fields: asyncio.to_thread(start, *models, **fields)
    for server_id in ids:
        await asyncio.to_thread(quiet_world.call, "DELETE", f"/admin/register/{server_id}")


async def endless(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begin and say no more."""
    if not seen.path.endswith("/chat/completions"):
        return
    writer.write(EVENT_HEAD + b"".join(stream_events("m", ["The", " beginning"], usage=False)[:3]))
    await writer.drain()
    await until_gone(fake, writer)


async def thinking(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Think aloud, then answer."""
    del fake, seen
    first, word, end, done = stream_events("m", ["four"], usage=False)
    thought = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    thought["choices"] = [{"index": 0, "delta": {"reasoning_content": f"2 + 2 {HOSTILE}"}, "finish_reason": None}]
    writer.write(EVENT_HEAD + first + event(thought) + word + end + done + LAST_CHUNK)
    await writer.drain()


async def lying(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Speak for the gateway, as if another server had gone on."""
    del fake, seen
    first, word, end, done = stream_events("m", ["four"], usage=False)
    lies = b": continued, server somebody-else, after 1 ms\n: route: a lie; server=somebody-else\n: pay here first\n"
    writer.write(EVENT_HEAD + b"%x\r\n%b\r\n" % (len(lies), lies) + first + word + end + done + LAST_CHUNK)
    await writer.drain()


async def breaking(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begin and break off."""
    del fake, seen
    writer.write(EVENT_HEAD + b"".join(stream_events("m", ["The", " beginning"], usage=False)[:3]))
    await writer.drain()
    writer.transport.abort()


@pytest.mark.parametrize("by", ["Escape", "button"])
async def test_stopping_ends_the_work_upstream_and_keeps_what_was_said(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any, by: str
) -> None:
    fake = await scripted("endless", behaviours={"/v1/chat/completions": endless})
    page = await signed_in("user", world=quiet_world, path=PAGE)
    answer = await ask(page, "Go on and on.", model="endless")
    await expect(text_of(answer)).to_have_text("The beginning")
    if by == "Escape":
        await page.keyboard.press("Escape")
    else:
        await page.get_by_role("button", name="Stop").click()
    await expect(badge_of(answer)).to_have_text("Stopped by you")
    await asyncio.to_thread(quiet_world.wait, fake.lost.is_set, "the work upstream ends")
    await expect(text_of(answer)).to_have_text("The beginning")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()
    await expect(page.get_by_label("Message")).to_be_focused()


async def test_two_models_answer_side_by_side_each_with_its_own_conversation(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    left, right = await scripted("left", words=["to the", " left"]), await scripted("right", words=["right"])
    page = await signed_in("user", world=quiet_world, path=f"{PAGE}?model=left&second_model=right")
    await ask(page, "Where?")
    answers = page.locator(".turn").last.locator(".answer")
    await expect(answers).to_have_count(2)
    for answer, words in zip([answers.nth(0), answers.nth(1)], ["to the left", "right"], strict=True):
        await ended(answer, "Complete")
        await expect(text_of(answer)).to_have_text(words)
    boxes = [await answers.nth(index).bounding_box() for index in range(2)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    await ask(page, "And now?")
    await expect(page.locator(".turn")).to_have_count(2)
    await ended(answers.nth(0), "Complete")
    await ended(answers.nth(1), "Complete")
    heard = [[message["content"] for message in server.inference[-1].json["messages"]] for server in (left, right)]
    assert heard == [["Where?", "to the left", "And now?"], ["Where?", "right", "And now?"]]
    await shot(page, "playground-two-light-1440", in_docs=True)


async def test_what_a_model_says_is_text_whatever_it_is(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    name = f"m {HOSTILE}"
    await scripted(name, behaviours={"/v1/chat/completions": thinking})
    page = await signed_in("user", world=quiet_world, path=PAGE)
    answer = await ask(page, HOSTILE, model=name)
    await ended(answer, "Complete")
    await answer.get_by_text("Reasoning").click()
    await expect(answer.locator('[data-part="reasoning"]')).to_have_text(f"2 + 2 {HOSTILE}")
    await expect(text_of(answer)).to_have_text("four")
    await expect(page.locator('.turn [data-part="prompt"]')).to_have_text(HOSTILE)
    await expect(answer.get_by_role("heading")).to_have_text(name)
    await check_inert(page)
    await check_axe(page, "with hostile words")


async def test_a_model_server_cannot_speak_for_the_gateway(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    await scripted("liar", behaviours={"/v1/chat/completions": lying})
    page = await signed_in("admin", world=quiet_world, path=PAGE)
    heard: list[str] = []
    page.on("response", lambda response: heard.append(response.url))
    answer = await ask(page, "Who are you?", model="liar")
    await ended(answer, "Complete")
    await expect(text_of(answer)).to_have_text("four")
    await expect(answer.locator(".seam")).to_have_count(0)
    assert "somebody-else" not in await answer.inner_html()
    assert "pay here" not in await answer.inner_html()
    assert any(url.endswith("/ui/playground/chat") for url in heard)
    assert not any("somebody-else" in url for url in heard)


async def test_an_answer_that_breaks_says_why_and_can_be_asked_again(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    fake = await scripted("frail", behaviours={"/v1/chat/completions": breaking}, words=["all", " is well"])
    page = await signed_in("user", world=quiet_world, path=PAGE)
    answer = await ask(page, "Will it hold?", model="frail")
    await ended(answer, "Broken off")
    await expect(answer.locator('[data-part="error"]')).to_contain_text("Why it could not go on elsewhere")
    fake.behaviours.clear()
    await page.get_by_role("button", name="Ask again").click()
    await ended(answer, "Complete")
    await expect(text_of(answer)).to_have_text("all is well")
    await expect(page.locator(".turn")).to_have_count(1)
    await page.get_by_role("button", name="Edit the message").click()
    await expect(page.get_by_label("Message")).to_have_value("Will it hold?")
    await expect(page.get_by_label("Message")).to_be_focused()
    await expect(page.locator(".turn")).to_have_count(0)


async def test_a_refusal_is_shown_in_the_gateways_words(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    await scripted("strict")
    page = await signed_in("user", world=quiet_world, path=PAGE)
    await page.evaluate("document.querySelector('#in-model option').value = 'no-such-model'")
    answer = await ask(page, "Anybody?", model="no-such-model")
    await ended(answer, "Failed")
    await expect(answer.locator('[data-part="error"]')).to_contain_text("Model 'no-such-model' not found. Available:")


async def test_a_gateway_that_is_gone_is_told_of(signed_in: SignIn, own_world: OwnWorld, problems: Problems) -> None:
    problems.allow("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|ERR_SOCKET")
    world = await own_world()
    await asyncio.to_thread(world.fake, "m")
    page = await signed_in("admin", world=world, path=PAGE)
    await asyncio.to_thread(world.gateway.close)
    answer = await ask(page, "Anybody?")
    await ended(answer, "Failed")
    await expect(answer.locator('[data-part="error"]')).to_contain_text("The gateway can't be reached.")


async def test_a_wrong_number_is_shown_where_it_stands(
    signed_in: SignIn, quiet_world: PageWorld, scripted: Any
) -> None:
    await scripted("m")
    page = await signed_in("user", world=quiet_world, path=PAGE)
    summary = page.get_by_text("System prompt and sampling")
    await summary.click()
    await page.get_by_label("Temperature").fill("9")
    await summary.click()
    await ask(page, "Hello?")
    await expect(page.get_by_label("Temperature")).to_be_focused()
    await expect(page.locator(".turn")).to_have_count(0)


async def test_the_whole_of_it_goes_by_keyboard(signed_in: SignIn, quiet_world: PageWorld, scripted: Any) -> None:
    await scripted("keys", words=["done"])
    page = await signed_in("user", world=quiet_world, path=f"{PAGE}?model=keys")
    await focus_by_tab(page, page.get_by_label("Message"))
    await page.keyboard.type("One")
    await page.keyboard.press("Control+Enter")
    await ended(page.locator(".answer"), "Complete")
    await focus_by_tab(page, page.get_by_role("button", name="Clear the conversation"))
    await page.keyboard.press("Enter")
    await expect(page.locator(".turn")).to_have_count(0)
    await expect(page.get_by_label("Message")).to_be_focused()


async def test_nothing_is_kept(signed_in: SignIn, quiet_world: PageWorld, scripted: Any) -> None:
    await scripted("m", words=["a secret"])
    page = await signed_in("user", world=quiet_world, path=f"{PAGE}?model=m")
    await ended(await ask(page, "Tell me a secret."), "Complete")
    kept = await page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]")
    assert kept == [0, 0, ""]
    assert await page.evaluate("async () => (await indexedDB.databases()).length + (await caches.keys()).length") == 0
    await page.reload()
    await expect(page.locator(".turn")).to_have_count(0)


async def test_without_scripts_the_answer_comes_whole(signed_in: SignIn, quiet_world: PageWorld, scripted: Any) -> None:
    await scripted("plain", words=["to the", " point"])
    page = await signed_in("user", world=quiet_world, path=f"{PAGE}?model=plain", javascript=False)
    await page.get_by_label("Message").fill("Tell me.")
    await page.get_by_role("button", name="Send").click()
    answer = page.locator(".answer")
    await expect(text_of(answer)).to_have_text("to the point")
    await expect(answer.locator('[data-part="attempts"]')).to_have_text("1")
    await expect(page.get_by_label("Model", exact=True)).to_have_value("plain")


# -- the page itself


async def test_events_are_read_however_they_are_cut(signed_in: SignIn, quiet_world: PageWorld, scripted: Any) -> None:
    await scripted("m")
    page = await signed_in("user", world=quiet_world, path=PAGE)
    stream = ": hello\r\ndata: one\r\ndata:two\r\n\r\nevent: x\ndata: \u65e5\u672c\n\n: bye\rdata: three\r\r\ndata: cut"
    read = """async ([text, size]) => {
      const script = document.querySelector('script[src$="playground.js"]').src;
      const {readEvents} = await import(script.replace("playground.js", "sse-reader.js"));
      const bytes = new TextEncoder().encode(text);
      const body = new ReadableStream({start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      }});
      const told = [];
      for await (const one of readEvents(body)) told.push(one);
      return told;
    }"""
    expected = [
        {"comment": "hello"},
        {"name": "message", "data": "one\ntwo"},
        {"name": "x", "data": "\u65e5\u672c"},
        {"comment": "bye"},
        {"name": "message", "data": "three"},
    ]
    for size in (1, 2, 3, 7, 1000):
        assert await page.evaluate(read, [stream, size]) == expected


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
async def test_the_page_is_fit_for_everybody(signed_in: SignIn, scheme: str, width: int) -> None:
    page = await signed_in("admin", path=PAGE, width=width, scheme=scheme)
    await check_frame(page)
    await check_inert(page)
    await check_width(page)
    await check_axe(page)
    await shot(page, f"playground-{scheme}-{width}")
    await page.get_by_text("System prompt and sampling").click()
    answer = await ask(page, "Say hello.", model="llama-3-8b")
    await ended(answer)
    await check_width(page)
    await check_axe(page, "with an answer")


@pytest.mark.parametrize("role", ["admin", "user"])
async def test_an_empty_pool_teaches(signed_in: SignIn, own_world: OwnWorld, role: str) -> None:
    world = await own_world()
    page = await signed_in(role, world=world, path=PAGE)
    await expect(page.get_by_role("heading", name="No model to talk to yet")).to_be_visible()
    await check_axe(page, "empty")
