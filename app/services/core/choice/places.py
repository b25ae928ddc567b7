"""How many requests does a server compute at once, and how strong does that make it beside others?

What it computes at once is its own word, its owner's bound, or what is usual for its engine. It says when requests
begin to wait there, and less of how fast it is: an engine that batches takes a thousand where its memory holds them,
and is not a hundred times as fast as one that takes ten. So between servers a place counts for one request up to 64,
where the graphics cards that the gateway is for have long been busy, and none counts beyond. A server that is stronger
than that has a larger ``weight``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from app.services.core.types import Server

__all__ = ["MOST_COUNTED", "USUAL_PLACES", "places_of", "strength_of"]

USUAL_PLACES: Final = 4
"""For an engine that does not tell, whose owner sets no bound, and that is not known to take more or less."""
MOST_COUNTED: Final = 64
"""So many places make a server stronger than one with fewer."""
_MOST_PLACES: Final = 1024
"""What a server says beyond it is not believed."""
_USUAL: Final = {"vllm": 64, "sglang": 64, "tgi": 64, "ollama": 2, "llama-cpp-python": 1}
"""Engines that batch what comes take hundreds, unless they are told otherwise. Ollama computes one at a time, or four;
the library of llama.cpp in Python one, always."""


def places_of(server: Server) -> int:
    """How many requests it is taken to compute at once, 1 to 1,024."""
    known = [count for count in (server.places, server.max_concurrency) if count is not None]
    usual = _USUAL.get(server.engine, USUAL_PLACES)
    return min(max(min(known, default=usual), 1), _MOST_PLACES)


def strength_of(server: Server, places: int) -> float:
    """How much load is as much for it, at so many places, as one request for a server of one place and weight 1.0."""
    return min(places, MOST_COUNTED) * server.weight
