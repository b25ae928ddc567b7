"""How does vLLM, as read at 0.33.0, show itself?"""

from __future__ import annotations

import msgspec

from app.services.engines.interface import Engine, Evidence, owner

__all__ = ["Vllm"]


class Vllm(Engine):
    """Signs as the owner of its models. LoRA adapters are listed beside the model that they sit on.

    Errors are ``{"error": {"message", ...}}``, but a wrong key gets ``{"error": "Unauthorized"}``.
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
