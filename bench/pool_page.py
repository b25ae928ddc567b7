"""Does the list of a large pool stay smooth, and when does it tell of a death? ``python -m bench.pool_page --help``.

A real gateway with so many servers, all behind one listener, and a real Chromium whose processor is slowed down four
times. Told are: the first paint, how long the browser's main thread is held at most while live data comes and while the
list is scrolled, how soon a row in view tells that its server refuses connections, without any traffic to it, and
what the gateway's processor takes with the page open and without. It ends with 1 when a death is told too late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
from playwright.async_api import async_playwright

from bench.chromium import ARGUMENTS, PAINT, SLOWED_TIMES, chromium_path
from bench.first_paint import ModelServer
from bench.measure import cpu_seconds
from bench.soak_children import ChildFailed, heed_sigterm, run_gateway

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

    from bench.soak_children import Gateway

_NOT_MET, _NOT_RUN = 1, 2
_GOAL_SECONDS: Final = 3.0
_AT_ONCE: Final = 16
_WATCHED_SECONDS: Final = 10
_WHEELS: Final = 40
_WHEEL_PIXELS: Final = 1500
_LONG_TASKS: Final = """() => {
  globalThis.tasks = [];
  globalThis.watcher ??= new PerformanceObserver((list) => {
    for (const task of list.getEntries()) globalThis.tasks.push(task.duration);
  });
  globalThis.watcher.observe({type: "longtask"});
}"""
"""Tasks of 50 ms and more (W3C Long Tasks)."""


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool_page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=1000, metavar="N", help="how many servers (1,000)")
    parser.add_argument("--deaths", type=int, default=3, metavar="N", help="how often a server dies (3)")
    options = parser.parse_args()
    heed_sigterm()
    try:
        slowest = asyncio.run(_measure(options.servers, options.deaths))
    except (ChildFailed, OSError) as error:
        sys.stderr.write(f"It could not be measured: {error}\n")
        return _NOT_RUN
    return _NOT_MET if slowest > _GOAL_SECONDS else 0


async def _measure(servers: int, deaths: int) -> float:
    """Measure all; the seconds that the slowest death took to be told."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-pool-")))
        settings = {"CONTINUATION_ENABLED": "false", "VERIFICATION_ENABLED": "false", "LOG_LEVEL": "WARNING"}
        gateway = stack.enter_context(run_gateway(folder, settings))
        pool = await asyncio.start_server(ModelServer().serve, "127.0.0.1", 0, backlog=1000)
        await stack.enter_async_context(pool)
        mortal = await asyncio.start_server(ModelServer().serve, "127.0.0.1", 0)
        port = mortal.sockets[0].getsockname()[1]
        urls = [f"http://127.0.0.1:{pool.sockets[0].getsockname()[1]}/box-{number}" for number in range(servers - 1)]
        _print("registering all, in seconds", await _register(gateway, [*urls, f"http://127.0.0.1:{port}"]))
        await _tell_load(gateway, "no page open")
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        page = await browser.new_page(
            base_url=f"http://127.0.0.1:{gateway.port}", viewport={"width": 1440, "height": 900}
        )
        await page.goto("/ui/sign-in")
        await page.fill("input[name=key]", gateway.key)
        await page.press("input[name=key]", "Enter")
        await page.wait_for_url("**/ui")
        await _look(page, gateway)
        slowest = 0.0
        for _ in range(deaths):
            slowest = max(slowest, await _die(page, mortal, port))
            mortal = await asyncio.start_server(ModelServer().serve, "127.0.0.1", port)
            await page.locator(_row(port, "healthy")).wait_for(timeout=60_000)
        await browser.close()
        mortal.close()
        return slowest


async def _register(gateway: Gateway, urls: list[str]) -> float:
    """Register servers, some at a time; returns how many seconds that took."""
    began, places = time.perf_counter(), asyncio.Semaphore(_AT_ONCE)
    base = f"http://127.0.0.1:{gateway.port}"
    async with httpx2.AsyncClient(base_url=base, headers={"x-api-key": gateway.key}, timeout=60) as client:

        async def register(url: str) -> None:
            async with places:
                answer = await client.post("/admin/register", content=json.dumps({"endpoint_url": url}))
            if answer.status_code != httpx2.codes.CREATED:
                raise ChildFailed(f"a server was not registered: {answer.text}")

        await asyncio.gather(*map(register, urls))
    return time.perf_counter() - began


async def _tell_load(gateway: Gateway, when: str) -> None:
    before = cpu_seconds(gateway.pid) or 0.0
    await asyncio.sleep(_WATCHED_SECONDS)
    share = ((cpu_seconds(gateway.pid) or 0.0) - before) / _WATCHED_SECONDS
    _print(f"the gateway, {when}, in % of a core", share * 100)


async def _look(page: Page, gateway: Gateway) -> None:
    """Load the list, let live data come, scroll."""
    session = await page.context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED_TIMES})
    answer = await page.goto("/ui/servers")
    _print("the list, in KB", len(await answer.body()) / 1000 if answer else 0)
    _print("its first contentful paint, in ms", await page.evaluate(PAINT))
    await page.get_by_text("· live").wait_for(timeout=60_000)
    await page.evaluate(_LONG_TASKS)
    await _tell_load(gateway, "the list open")
    await _tell_tasks(page, "live data")
    for _ in range(_WHEELS):
        await page.mouse.wheel(0, _WHEEL_PIXELS)
        await page.evaluate("new Promise(requestAnimationFrame)")
    await _tell_tasks(page, f"{_WHEELS} turns of the wheel")
    await _unslowed(session)


async def _unslowed(session: CDPSession) -> None:
    await session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    await session.detach()


async def _tell_tasks(page: Page, during: str) -> None:
    tasks = await page.evaluate("globalThis.tasks.splice(0)")
    _print(f"tasks of 50 ms and more during {during}", len(tasks))
    _print("the longest of them, in ms", max(tasks, default=0.0))


def _row(port: int, state: str) -> str:
    return f'tr[data-state="{state}"]:has-text("127.0.0.1:{port}")'


async def _die(page: Page, mortal: asyncio.Server, port: int) -> float:
    """Let the server refuse connections while its row is in view; returns when the row tells."""
    row = page.locator(_row(port, "healthy"))
    await row.scroll_into_view_if_needed()
    await asyncio.sleep(2)  # the page says which rows are in view, and that takes its time
    began = time.perf_counter()
    mortal.close()
    await page.locator(_row(port, "unhealthy")).wait_for(timeout=60_000)
    took = time.perf_counter() - began
    _print("from refused connections to the row that tells, in seconds", took)
    return took


def _print(what: str, figure: float) -> None:
    print(f"{what:60} {figure:>10,.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
