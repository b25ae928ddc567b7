"""How does the server of llama-cpp-python, as read at 0.3.35, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.signals import Signals
from app.services.engines.interface import Engine, Evidence
from app.services.engines.reading import entries

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LlamaCppPython"]

ENTRY_MEMBERS: Final = frozenset({"id", "object", "owned_by", "permissions"})


class LlamaCppPython(Engine):
    """A FastAPI server over the library. It owns its models as ``me``; errors are ``{"error": {"message", ...}}``.

    Of several models it has one in memory, and closes it for another one inside the request (server/model.py). It
    tells neither how busy it is nor its context. It computes one request at a time: unless its owner forbids it
    (``interrupt_requests``), a new one breaks off the stream that runs, which then ends with ``[DONE]``.
    """

    name = "llama-cpp-python"
    error_paths = (("error", "message"),)
    swaps_models = True

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner together with the list of permissions, which nothing else writes so."""
        first = next(entries(evidence.listing), None)
        return first is not None and first.keys() == ENTRY_MEMBERS and first["owned_by"] == "me"

    def signals(self, answers: Mapping[str, bytes]) -> Signals:  # noqa: ARG002 - it is asked for nothing
        """It has one place, whatever else it does not tell."""
        return Signals(places=1)
