"""What can be known of a server that bears no known mark?"""

from __future__ import annotations

from app.services.engines.interface import Engine, Evidence

__all__ = ["Generic"]


class Generic(Engine):
    """Any server that speaks OpenAI's API: context lengths are looked for wherever some engine puts them."""

    name = "unknown"
    context_paths = (
        ("max_model_len",),
        ("context_length",),
        ("meta", "n_ctx"),
        ("max_context_length",),
        ("context_window",),
    )

    def recognises(self, evidence: Evidence) -> bool:  # noqa: ARG002 - nothing in it matters
        """Take whatever the others left."""
        return True
