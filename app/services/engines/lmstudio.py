"""How does LM Studio, as seen at 0.4, show itself?"""

from __future__ import annotations

from app.services.engines.interface import Engine, Evidence, header_starts, owner

__all__ = ["LmStudio"]


class LmStudio(Engine):
    """A server on Express. Paths that it does not know answer 200 with ``{"error": ...}``.

    ``/v1/models`` names no context lengths.
    """

    name = "lmstudio"
    context_paths = (("loaded_context_length",), ("max_context_length",))
    error_paths = (("error",), ("error", "message"))

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner that it gives every model, or by the framework that it stands on."""
        return owner(evidence) == "organization_owner" or header_starts(evidence, "x-powered-by", "express")
