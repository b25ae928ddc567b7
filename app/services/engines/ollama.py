"""How does Ollama, as read at 0.33, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.engines.interface import Engine, Evidence, owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Ollama"]


class Ollama(Engine):
    """Says "Ollama is running" at ``/``, and owns its models as ``library``, or as the user that a name begins with.

    Names carry a tag ("llama3.1:8b"). The list does not tell context lengths; only models in memory have one.
    """

    name = "ollama"
    error_paths = (("error", "message"), ("error",))

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its library models, or by its greeting."""
        return owner(evidence) == "library" or evidence.root_body.strip().startswith(b"Ollama is running")

    def lacking(self, expected: Iterable[str], listed: Collection[str]) -> list[str]:
        """Take a name without a tag for the one tagged ``latest``, as Ollama does."""
        return [name for name in super().lacking(expected, listed) if f"{name}:latest" not in listed]
