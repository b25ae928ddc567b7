"""What goes wrong in a page while nobody asks: errors, reports of its policy, script from outside, failed requests."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Request, Response, WebError

__all__ = ["Problems"]

WATCH = """
(() => {
  window.__pwned = (...words) => console.error(`script from outside ran: ${words.join(" ")}`);
  document.addEventListener("securitypolicyviolation", (event) => {
    const place = `${event.sourceFile}:${event.lineNumber}`;
    console.error(`policy report: ${event.violatedDirective} blocked ${event.blockedURI} ${event.sample} at ${place}`);
  });
  const judge = (node) => {
    if (node.nodeName !== "SCRIPT" || node.src) return;
    console.error(`a script without a file: ${node.textContent.slice(0, 80)}`);
  };
  new MutationObserver((records) => {
    for (const record of records) for (const node of record.addedNodes) {
      judge(node);
      for (const inner of node.querySelectorAll?.("script") ?? []) judge(inner);
    }
  }).observe(document, {childList: true, subtree: true});
})();
"""


class Problems:
    """What went wrong in the pages of a test. ``allow`` what the test brings about on purpose."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        self._hosts: set[str] = set()

    def allow(self, pattern: str) -> None:
        """Let pass what this regular expression finds."""
        self._allowed.append(re.compile(pattern))

    @property
    def left(self) -> list[str]:
        """What nobody allowed."""
        return [one for one in self.found if not any(pattern.search(one) for pattern in self._allowed)]

    def check(self) -> None:
        """Fail if anything went wrong."""
        left = self.left
        assert not left, "the browser found fault:\n  " + "\n  ".join(dict.fromkeys(left))

    async def watch(self, context: BrowserContext, url: str) -> None:
        """Listen to all pages of a context; they may ask the host of ``url`` alone."""
        self._hosts.add(urlsplit(url).netloc)
        await context.add_init_script(WATCH)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failed)
        context.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        # A status that is an error is judged where the answer comes; Chromium repeats it here.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.found.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: WebError) -> None:
        self.found.append(f"uncaught error: {error.error.message}\n    {(error.error.stack or '')[:500]}")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self.found.append(f"a dialog opened: {dialog.type} {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"data", "blob"} and url.netloc not in self._hosts:
            self.found.append(f"request to another host: {request.method} {request.url}")

    def _on_failed(self, request: Request) -> None:
        # What a page leaves behind when it goes is aborted, the stream of changes above all.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.found.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        kind = response.request.resource_type
        is_asset = kind in {"stylesheet", "script", "image", "font", "manifest"}
        if response.status >= 500 or (is_asset and response.status >= 400):
            self.found.append(f"answered {response.status}: {response.request.method} {response.url} ({kind})")
