"""SGLang 0.5.23: load by rank at /v1/loads, flat errors; 503 with an empty body while it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fakes.engines.interface import FakeEngine, Page, exposition
from tests.fakes.model_server import Seen

__all__ = ["FakeSglang"]


class FakeSglang(FakeEngine):
    """``ranks``: over how many the figures are spread. ``metrics``: whether /metrics is served; it is opt-in."""

    headers: ClassVar[Mapping[str, str]] = {"server": "uvicorn"}

    def __init__(
        self, *arguments: Any, ranks: int = 1, metrics: bool = False, cache_used: float = 0.0, **knobs: Any
    ) -> None:
        super().__init__(*arguments, **knobs)
        self.ranks, self.metrics, self.cache_used = ranks, metrics, cache_used

    def pages(self) -> dict[str, Page]:
        pages = {
            "/v1/models": self.listing(owned_by="sglang", root=self.models[0], max_model_len=self.context),
            "/server_info": Page({"version": "0.5.23", "tp_size": 1}),
            "/ready": Page(b""),
            "/v1/loads?include=core": Page(self._loads()),
        }
        if self.metrics:
            pages["/metrics"] = exposition(self._samples())
        return pages

    def error(self, status: str, message: str) -> Page:
        code = int(status[:3])
        return Page({"object": "error", "message": message, "type": "BadRequest", "param": None, "code": code}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page({"detail": "Not Found"}, "404 Not Found")

    def while_loading(self, seen: Seen) -> Page:
        return Page(b"", "503 Service Unavailable")

    def _share(self, total: int, rank: int) -> int:
        return total // self.ranks + (1 if rank < total % self.ranks else 0)

    def _loads(self) -> dict[str, Any]:
        ranks = [
            {
                "timestamp": 1790000000.5,
                "dp_rank": rank,
                "num_running_reqs": self._share(self.computing, rank),
                "num_waiting_reqs": self._share(self.waiting, rank),
                "num_used_tokens": 0,
                "max_total_num_tokens": 100_000,
                "max_running_requests": self._share(self.places, rank),
                "token_usage": self.cache_used,
                "gen_throughput": 0.0,
                "decode_moments": None,
            }
            for rank in range(self.ranks)
        ]
        return {"timestamp": "2026-09-01T00:00:00+00:00", "version": "0.5.23", "accelerator": None, "loads": ranks}

    def _samples(self) -> dict[str, float]:
        labels = f'{{engine_type="unified",model_name="{self.models[0]}",pp_rank="0",tp_rank="0"}}'
        return {
            f"sglang:num_running_reqs{labels}": float(self.computing),
            f"sglang:num_queue_reqs{labels}": float(self.waiting),
            f"sglang:token_usage{labels}": self.cache_used,
        }
