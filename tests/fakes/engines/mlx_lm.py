"""mlx-lm 0.32: Python's http.server, entries of three members, bare texts for unknown paths; swaps in the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.model_server import Seen

__all__ = ["FakeMlxLm"]


class FakeMlxLm(FakeEngine):
    """Tells nothing of itself but its models."""

    headers: ClassVar[Mapping[str, str]] = {"Server": "BaseHTTP/0.6 Python/3.12.4"}
    swaps = True

    def pages(self) -> dict[str, Page]:
        return {"/v1/models": self.listing(), "/health": Page({"status": "ok"})}

    def error(self, status: str, message: str) -> Page:
        return Page({"error": message}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page(b"Not Found", "404 Not Found")
