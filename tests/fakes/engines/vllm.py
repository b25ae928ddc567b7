"""vLLM 0.33.0: figures in /metrics with one series an engine of data parallelism, nested errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.fakes.engines.interface import FakeEngine, Page, exposition
from tests.fakes.model_server import Seen

__all__ = ["FakeVllm"]


class FakeVllm(FakeEngine):
    """``engines``: over how many the figures are spread."""

    headers: ClassVar[Mapping[str, str]] = {"server": "uvicorn"}

    def __init__(self, *arguments: Any, engines: int = 1, cache_used: float = 0.0, **knobs: Any) -> None:
        super().__init__(*arguments, **knobs)
        self.engines, self.cache_used = engines, cache_used

    def pages(self) -> dict[str, Page]:
        return {
            "/v1/models": self.listing(owned_by="vllm", root="/models/x", parent=None, max_model_len=self.context),
            "/version": Page({"version": "0.33.0"}),
            "/health": Page(b""),
            "/metrics": exposition(self._samples()),
        }

    def error(self, status: str, message: str) -> Page:
        code = int(status[:3])
        return Page({"error": {"message": message, "type": "BadRequestError", "param": None, "code": code}}, status)

    def unknown_path(self, seen: Seen) -> Page:
        return Page({"detail": "Not Found"}, "404 Not Found")

    def _samples(self) -> dict[str, float]:
        samples: dict[str, float] = {'python_info{implementation="CPython"}': 1.0}
        for name, total in (("num_requests_running", self.computing), ("num_requests_waiting", self.waiting)):
            for engine in range(self.engines):
                share = total // self.engines + (1 if engine < total % self.engines else 0)
                samples[f'vllm:{name}{{engine="{engine}",model_name="{self.models[0]}"}}'] = float(share)
        for engine in range(self.engines):
            series = f'vllm:kv_cache_usage_perc{{engine="{engine}",model_name="{self.models[0]}"}}'
            samples[series] = self.cache_used
        return samples
