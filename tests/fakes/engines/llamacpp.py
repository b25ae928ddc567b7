"""llama.cpp's server at 0c1e570, with one model or as a router of several; 503 "Loading model" while it loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fakes.engines.interface import FakeEngine, Page, exposition
from tests.fakes.model_server import Seen

__all__ = ["FakeLlamaCpp"]


class FakeLlamaCpp(FakeEngine):
    """``metrics``: whether it was started with --metrics. ``router``: whether it loads models by itself."""

    headers: ClassVar[Mapping[str, str]] = {"Server": "llama.cpp"}

    def __init__(
        self,
        *arguments: Any,
        metrics: bool = True,
        router: bool = False,
        vision: bool = False,
        template: str = "{{ messages }}",
        **knobs: Any,
    ) -> None:
        super().__init__(*arguments, **knobs)
        self.template = template
        self.metrics, self.router, self.vision, self.swaps = metrics, router, vision, router

    def pages(self) -> dict[str, Page]:
        listing = self._router_listing() if self.router else self._listing()
        pages = {"/v1/models": listing, "/models": listing, "/health": Page({"status": "ok"})}
        if self.router:
            pages["/props"] = Page({"role": "router", "max_instances": self.room, "models_autoload": True})
            for path in ("/slots", "/metrics"):
                pages[path] = self.error("400 Bad Request", "model name is missing from the request")
            return pages
        pages["/props"] = Page(self._props())
        pages["/slots"] = Page(self._slots())
        pages["/metrics"] = self._metrics()
        return pages

    def error(self, status: str, message: str) -> Page:
        code = int(status[:3])
        kind = {503: "unavailable_error", 404: "not_found_error", 501: "not_supported_error"}
        error = {"code": code, "message": message, "type": kind.get(code, "invalid_request_error")}
        return Page({"error": error}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return self.error("404 Not Found", "File Not Found")

    def _entry(self, name: str) -> dict[str, Any]:
        inputs = ["text", "image"] if self.vision else ["text"]
        return {
            "id": name,
            "aliases": [name],
            "object": "model",
            "architecture": {"input_modalities": inputs, "output_modalities": ["text"]},
            "created": 1790000000,
            "owned_by": "llamacpp",
            "meta": {"vocab_type": 2, "n_vocab": 49152, "n_ctx": self.context, "n_ctx_train": 131072},
        }

    def _listing(self) -> Page:
        capabilities = ["completion", "multimodal"] if self.vision else ["completion"]
        models = [{"name": name, "model": name, "capabilities": capabilities} for name in self.models]
        return Page({"models": models, "object": "list", "data": [self._entry(name) for name in self.models]})

    def _router_listing(self) -> Page:
        entries = []
        for name in self.models:
            entry = self._entry(name)
            is_loaded = name in self.loaded
            entry["status"] = {"value": "loaded" if is_loaded else "unloaded", "args": ["llama-server"]}
            if not is_loaded:
                del entry["meta"]
            entries.append(entry)
        return Page({"object": "list", "data": entries})

    def _props(self) -> dict[str, Any]:
        caps = {"supports_tools": True, "supports_tool_calls": True, "supports_system_role": True}
        return {
            "default_generation_settings": {"n_ctx": self.context, "params": {"n_predict": -1}},
            "total_slots": self.places,
            "model_alias": self.models[0],
            "modalities": {"vision": self.vision, "audio": False, "video": False},
            "endpoint_slots": True,
            "endpoint_metrics": self.metrics,
            "chat_template": self.template,
            "chat_template_caps": caps,
            "build_info": "b9000-0c1e570",
            "is_sleeping": False,
        }

    def _slots(self) -> list[dict[str, Any]]:
        busy = min(self.computing, self.places)
        return [{"id": index, "n_ctx": self.context, "is_processing": index < busy} for index in range(self.places)]

    def _metrics(self) -> Page:
        if not self.metrics:
            message = "This server does not support metrics endpoint. Start it with `--metrics`"
            return self.error("501 Not Implemented", message)
        samples = {"requests_processing": self.computing, "requests_deferred": self.waiting, "n_decode_total": 7}
        return exposition({f"llamacpp:{name}": value for name, value in samples.items()})
