"""Text Generation Inference 3.3.6: one model, told at /info; errors with a text and a type side by side."""

from __future__ import annotations

from tests.fakes.engines.interface import FakeEngine, Page, exposition
from tests.fakes.model_server import Seen

__all__ = ["FakeTgi"]


class FakeTgi(FakeEngine):
    """Its port opens when the model is loaded: ``loading`` shows as a failed health check of its shards."""

    def pages(self) -> dict[str, Page]:
        model = self.models[0]
        info = {
            "model_id": model,
            "max_concurrent_requests": 128,
            "max_input_tokens": self.context - 1,
            "max_total_tokens": self.context,
            "router": "text-generation-router",
            "version": "3.3.6",
        }
        samples = {"queue_size": self.waiting, "batch_current_size": self.computing, "request_count": 12}
        return {
            "/": Page(b""),
            "/v1/models": Page(
                {"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": model}]}
            ),
            "/info": Page(info),
            "/health": Page(b""),
            "/metrics": exposition({f"tgi_{name}": float(value) for name, value in samples.items()}),
        }

    def error(self, status: str, message: str) -> Page:
        kind = {"429": "overloaded", "422": "validation", "424": "generation", "503": "healthcheck"}
        return Page({"error": message, "error_type": kind.get(status[:3], "unknown")}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page(b"", "404 Not Found")

    def while_loading(self, seen: Seen) -> Page:
        return self.error("503 Service Unavailable", "unhealthy")
