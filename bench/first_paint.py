"""How soon does each page show something, and how much is sent for it? ``python -m bench.first_paint --help``.

A real gateway with so many servers, and a real Chromium whose processor is slowed down four times, as a small laptop's
or a phone's would be. Nothing is cached. For each page: the first contentful paint, the median of some loads, and the
bytes over the wire, headers included. It ends with 1 when the first page takes more than its goal of either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import urllib.request
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import async_playwright
from rich.console import Console
from rich.table import Table

from bench.chromium import ARGUMENTS, PAINT, SLOWED_TIMES, chromium_path
from bench.soak_children import ChildFailed, heed_sigterm, run_gateway

if TYPE_CHECKING:
    from playwright.async_api import Page

    from bench.soak_children import Gateway

_NOT_MET, _NOT_RUN = 1, 2
_PAGES: Final = (
    "/ui", "/ui/servers", "/ui/register", "/ui/models", "/ui/playground", "/ui/keys", "/ui/usage",
    "/ui/activity", "/ui/settings",
)  # fmt: skip
_GOAL_MILLISECONDS: Final = 1000
_GOAL_BYTES: Final = 250_000


class ModelServer:
    """Lists one model to whoever asks, whatever it asks."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request of one connection; some only knock."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        is_list = head.startswith(b"GET") and b"/models" in head.partition(b"\r\n")[0]
        body = json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode() if is_list else b"{}"
        status = b"200 OK" if is_list else b"404 Not Found"
        fields = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(b"HTTP/1.1 %b\r\n%b%b" % (status, fields, body))
        await writer.drain()


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_paint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--servers", type=int, default=20, metavar="N", help="how many servers are registered (20)")
    parser.add_argument("--loads", type=int, default=5, metavar="N", help="how often each page is loaded (5)")
    options = parser.parse_args()
    heed_sigterm()
    try:
        figures = asyncio.run(_measure(options.servers, options.loads))
    except (ChildFailed, OSError) as error:
        sys.stderr.write(f"It could not be measured: {error}\n")
        return _NOT_RUN
    return _report(figures)


async def _measure(servers: int, loads: int) -> dict[str, tuple[float, float]]:
    """Load each page; the median of the paints in milliseconds, and the bytes, by page."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-pages-")))
        settings = {"CONTINUATION_ENABLED": "false", "VERIFICATION_ENABLED": "false"}
        gateway = stack.enter_context(run_gateway(folder, settings))
        for _ in range(servers):
            listener = await asyncio.start_server(ModelServer().serve, "127.0.0.1", 0)
            await stack.enter_async_context(listener)
            await asyncio.to_thread(_register, gateway, listener.sockets[0].getsockname()[1])
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        page = await browser.new_page(base_url=f"http://127.0.0.1:{gateway.port}")
        figures = {"/ui/sign-in": await _loads(page, "/ui/sign-in", loads)}
        await page.fill("input[name=key]", gateway.key)
        await page.press("input[name=key]", "Enter")
        await page.wait_for_url("**/ui")
        for path in _PAGES:
            figures[path] = await _loads(page, path, loads)
        await browser.close()
        return figures


def _register(gateway: Gateway, port: int) -> None:
    body = json.dumps({"endpoint_url": f"http://127.0.0.1:{port}"}).encode()
    headers = {"x-api-key": gateway.key, "content-type": "application/json"}
    url = f"http://127.0.0.1:{gateway.port}/admin/register"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30):
        pass


async def _loads(page: Page, path: str, loads: int) -> tuple[float, float]:
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    await session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED_TIMES})
    sizes: list[float] = []

    def loaded(event: dict[str, Any]) -> None:
        sizes.append(event["encodedDataLength"])

    session.on("Network.loadingFinished", loaded)
    paints = []
    for _ in range(loads):
        await page.goto(path, wait_until="load")
        paints.append(float(await page.evaluate(PAINT)))
    await session.detach()
    return median(paints), sum(sizes) / loads


def _report(figures: dict[str, tuple[float, float]]) -> int:
    """Print all, and judge the first page."""
    table = Table("page", "first contentful paint, ms", "over the wire, KB")
    for path, (paint, size) in figures.items():
        table.add_row(path, f"{paint:.0f}", f"{size / 1000:.0f}")
    Console().print(table)
    paint, size = figures["/ui"]
    return _NOT_MET if paint > _GOAL_MILLISECONDS or size > _GOAL_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
