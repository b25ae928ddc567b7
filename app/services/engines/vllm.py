"""How does vLLM, as read at 0.33.0, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.signals import Signals
from app.services.engines.exposition_text import amount, mean
from app.services.engines.interface import Engine, Evidence, owner

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Vllm"]

METRICS: Final = "/metrics"


class Vllm(Engine):
    """Signs as the owner of its models. LoRA adapters are listed beside the model that they sit on.

    Errors are ``{"error": {"message", ...}}``, but a wrong key gets ``{"error": "Unauthorized"}``. Its port takes
    connections while it still loads, and answers none of them. Metrics are on by default and need no key.
    """

    name = "vllm"
    context_paths = (("max_model_len",),)
    error_paths = (("error", "message"), ("error",))

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its models."""
        return owner(evidence) == "vllm"

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """By ``/tokenize``."""
        return "/tokenize", msgspec.json.encode({"model": model, "prompt": text, "add_special_tokens": False})

    def signal_paths(self) -> tuple[str, ...]:
        """Return where the figures stand."""
        return (METRICS,)

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read the figures (vllm/v1/metrics/loggers.py); each engine of a data-parallel server has its own series."""
        page = answers.get(METRICS, b"")
        cache_used = mean(page, "vllm:kv_cache_usage_perc")
        return Signals(
            running=amount(page, "vllm:num_requests_running"),
            waiting=amount(page, "vllm:num_requests_waiting"),
            cache_used=mean(page, "vllm:gpu_cache_usage_perc") if cache_used is None else cache_used,  # before 0.10
        )
