"""LM Studio 0.4: Express, loads on demand, tells at /api/v0/models what is loaded; unknown paths answer 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.model_server import Seen

__all__ = ["FakeLmStudio"]


class FakeLmStudio(FakeEngine):
    """``kinds``: what a model is where it is no ``llm``: ``vlm`` or ``embeddings``. ``tools``: trained for them."""

    headers: ClassVar[Mapping[str, str]] = {"X-Powered-By": "Express"}
    swaps = True

    def __init__(
        self, *arguments: Any, kinds: Mapping[str, str] | None = None, tools: tuple[str, ...] = (), **knobs: Any
    ) -> None:
        super().__init__(*arguments, **knobs)
        self.kinds, self.tools = dict(kinds or {}), tools

    def pages(self) -> dict[str, Page]:
        entries = [{"id": name, "object": "model", "owned_by": "organization_owner"} for name in self.models]
        return {
            "/v1/models": Page({"data": entries, "object": "list"}),
            "/api/v0/models": Page({"data": [self._model(name) for name in self.models], "object": "list"}),
        }

    def error(self, status: str, message: str) -> Page:
        return Page({"error": message}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page({"error": f"Unexpected endpoint or method. ({seen.method} {seen.path})"})

    def _model(self, name: str) -> dict[str, Any]:
        model: dict[str, Any] = {
            "id": name,
            "object": "model",
            "type": self.kinds.get(name, "llm"),
            "publisher": "lmstudio-community",
            "arch": "qwen3",
            "compatibility_type": "gguf",
            "quantization": "Q4_K_M",
            "state": "loaded" if name in self.loaded else "not-loaded",
            "max_context_length": 131072,
        }
        if name in self.loaded:
            model["loaded_context_length"] = self.context
        if name in self.tools:
            model["capabilities"] = ["tool_use"]
        return model
