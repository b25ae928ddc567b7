"""How does TabbyAPI, as read at e632af4, show itself?"""

from __future__ import annotations

from app.services.engines.interface import Engine, Evidence, owner

__all__ = ["TabbyApi"]


class TabbyApi(Engine):
    """Signs as the owner of its models, and tells the context of the loaded one."""

    name = "tabbyapi"
    context_paths = (("parameters", "max_seq_len"), ("meta", "n_ctx"))
    error_paths = (("error", "message"), ("detail",))

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its models."""
        return owner(evidence) == "tabbyAPI"
