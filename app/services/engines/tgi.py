"""How does Text Generation Inference, as read at 3.3.6, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.engines.interface import Engine, Evidence
from app.services.engines.reading import count_at, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Tgi"]

CONTEXT_PATH: Final = ("max_total_tokens",)


class Tgi(Engine):
    """Serves one model, and tells of it at ``/info``. Errors are ``{"error": str, "error_type": str}``."""

    name = "tgi"
    error_paths = (("error",),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the fields of ``/info`` that no other engine has together."""
        named = text_at(evidence.info, ("model_id",))
        return bool(named) and count_at(evidence.info, CONTEXT_PATH) is not None

    def context_length(self, entry: Mapping[str, object], evidence: Evidence) -> int | None:  # noqa: ARG002 - not per entry
        """Return prompt and answer together, as ``/info`` tells it."""
        return count_at(evidence.info, CONTEXT_PATH)
