"""How does mlx-lm's server, as read at 0.32, show itself?"""

from __future__ import annotations

from typing import Final

from app.services.engines.interface import Engine, Evidence, header_starts
from app.services.engines.reading import entries

__all__ = ["MlxLm"]

ENTRY_MEMBERS: Final = frozenset({"id", "object", "created"})


class MlxLm(Engine):
    """A plain ``http.server`` that lists every MLX model in the cache, unsigned. Errors are ``{"error": str}``.

    It has one model in memory, loads another one inside the request, and tells of neither.
    """

    name = "mlx-lm"
    error_paths = (("error",),)
    swaps_models = True

    def recognises(self, evidence: Evidence) -> bool:
        """By Python's own server together with entries of exactly three members; either alone says little."""
        first = next(entries(evidence.listing), None)
        return first is not None and first.keys() == ENTRY_MEMBERS and header_starts(evidence, "server", "basehttp/")
