"""How does SGLang, as read at 0.5.23, show itself?"""

from __future__ import annotations

import msgspec

from app.services.engines.interface import Engine, Evidence, owner

__all__ = ["Sglang"]


class Sglang(Engine):
    """Signs as the owner of its models. Errors are flat: ``{"object": "error", "message": ...}``."""

    name = "sglang"
    context_paths = (("max_model_len",),)
    error_paths = (("message",),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its models."""
        return owner(evidence) == "sglang"

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """By ``/tokenize``."""
        return "/tokenize", msgspec.json.encode({"model": model, "prompt": text, "add_special_tokens": False})
