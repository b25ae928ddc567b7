"""How does llama.cpp's server, as read at 0c1e570, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.engines.interface import Engine, Evidence, header_starts, owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LlamaCpp"]


class LlamaCpp(Engine):
    """Signs with ``Server: llama.cpp``; tells the context of one slot, which is what a request may use.

    A model may be asked for by its aliases as well. While it loads, everything answers 503 "Loading model".
    """

    name = "llama.cpp"
    context_paths = (("meta", "n_ctx"),)
    error_paths = (("error", "message"),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the Server header, which even its errors carry, or by the owner of its models."""
        return header_starts(evidence, "server", "llama.cpp") or owner(evidence) == "llamacpp"

    def names(self, entry: Mapping[str, object]) -> Iterator[object]:
        """Yield the id, then the aliases."""
        yield entry.get("id")
        aliases = entry.get("aliases")
        if isinstance(aliases, list):
            yield from aliases

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """By ``/tokenize``; the model is for a router of several."""
        asked = {"model": model, "content": text, "add_special": False, "parse_special": False}
        return "/tokenize", msgspec.json.encode(asked)
