"""TabbyAPI at e632af4: one model at a time, told at /v1/model; 503 while none is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fakes.engines.interface import FakeEngine, Page
from tests.fakes.model_server import Seen

__all__ = ["FakeTabbyApi"]

NO_MODEL = "No models are currently loaded."


class FakeTabbyApi(FakeEngine):
    """Lists all of its folder, as it does for an admin's key; the first loaded model serves. ``vision``: its own."""

    headers: ClassVar[Mapping[str, str]] = {"server": "uvicorn"}

    def __init__(self, *arguments: Any, vision: bool = False, **knobs: Any) -> None:
        super().__init__(*arguments, **knobs)
        self.vision = vision

    def pages(self) -> dict[str, Page]:
        pages = {
            "/v1/models": Page({"object": "list", "data": [self._card(name) for name in self.models]}),
            "/health": Page({"status": "healthy", "issues": []}),
            "/v1/model": Page({"detail": NO_MODEL}, "503 Service Unavailable"),
        }
        if self.loaded:
            pages["/v1/model"] = Page(self._card(self.loaded[0]))
        return pages

    def error(self, status: str, message: str) -> Page:
        return Page({"detail": message}, status)

    def while_loading(self, seen: Seen) -> Page:
        return self.error("503 Service Unavailable", NO_MODEL)

    def _card(self, name: str) -> dict[str, Any]:
        card: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": 1790000000,
            "owned_by": "tabbyAPI",
            "parameters": None,
        }
        if name in self.loaded[:1]:
            card["parameters"] = {
                "max_seq_len": self.context,
                "cache_size": self.context,
                "max_batch_size": self.places,
                "use_vision": self.vision,
            }
        return card
