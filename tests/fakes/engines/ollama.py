"""Ollama 0.33: loads a model inside the request, tells at /api/ps what is in memory and with which context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.model_server import Seen

__all__ = ["FakeOllama"]


class FakeOllama(FakeEngine):
    """``capabilities``: what /api/tags says of a model. ``remote``: models that run in Ollama's cloud."""

    swaps = True

    def __init__(
        self,
        *arguments: Any,
        capabilities: Mapping[str, Sequence[str]] | None = None,
        remote: Sequence[str] = (),
        **knobs: Any,
    ) -> None:
        super().__init__(*arguments, **knobs)
        self.capabilities, self.remote = dict(capabilities or {}), list(remote)

    def pages(self) -> dict[str, Page]:
        entries = [{"id": name, "object": "model", "created": 1, "owned_by": _owner(name)} for name in self.models]
        return {
            "/": Page(b"Ollama is running", content_type="text/plain; charset=utf-8"),
            "/v1/models": Page({"object": "list", "data": entries or None}),
            "/api/version": Page({"version": "0.33.0"}),
            "/api/ps": Page({"models": [self._running(name) for name in self.loaded if name not in self.remote]}),
            "/api/tags": Page({"models": [self._tag(name) for name in self.models]}),
        }

    def error(self, status: str, message: str) -> Page:
        kind = {"400": "invalid_request_error", "404": "not_found_error"}.get(status[:3], "api_error")
        return Page({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page(b"404 page not found", "404 Not Found", "text/plain")

    def while_loading(self, seen: Seen) -> Page:
        return Page({"error": "server busy, please try again.  maximum pending requests exceeded"}, "503 Busy")

    def _running(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "model": name,
            "size": 5_137_025_024,
            "digest": "2ae6f6dd7a3d",
            "details": {"format": "gguf", "family": "llama", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"},
            "expires_at": "2026-09-01T12:00:00Z",
            "size_vram": 5_137_025_024,
            "context_length": self.context,
        }

    def _tag(self, name: str) -> dict[str, Any]:
        tag: dict[str, Any] = {"name": name, "model": name, "size": 1, "digest": "2ae6f6dd7a3d", "details": {}}
        if name in self.capabilities:
            tag["capabilities"] = list(self.capabilities[name])
        if name in self.remote:
            tag |= {"remote_model": name, "remote_host": "https://ollama.com:443"}
        return tag


def _owner(name: str) -> str:
    """The part before the last slash's part, as Ollama parses names."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else "library"
