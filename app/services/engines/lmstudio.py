"""How does LM Studio, as seen at 0.4, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.engines.abilities import abilities_in
from app.services.engines.interface import Engine, Evidence, header_starts, owner
from app.services.engines.reading import (
    count_at,
    decode_or_none,
    is_model_name,
    objects_at,
    text_at,
    texts_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LmStudio"]

OWN_LIST: Final = "/api/v0/models"


class LmStudio(Engine):
    """A server on Express. Paths that it does not know answer 200 with ``{"error": ...}``.

    ``/v1/models`` names no context lengths. A model that is not loaded is loaded inside the request, with 4,096
    tokens unless its owner chose another default, and may put the last one out.
    """

    name = "lmstudio"
    context_paths = (("loaded_context_length",), ("max_context_length",))
    error_paths = (("error",), ("error", "message"))
    swaps_models = True

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner that it gives every model, or by the framework that it stands on."""
        return owner(evidence) == "organization_owner" or header_starts(evidence, "x-powered-by", "express")

    def signal_paths(self) -> tuple[str, ...]:
        """Return its own list, which tells state and context of each model."""
        return (OWN_LIST,)

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read the list (REST API v0, since 0.3.6). How many requests run or wait, it tells nowhere."""
        document = decode_or_none(answers.get(OWN_LIST))
        if not isinstance(value_at(document, ("data",)), list):
            return NO_SIGNALS  # "Unexpected endpoint", with status 200
        loaded, contexts, capabilities = set(), {}, {}
        for model in objects_at(document, ("data",)):
            name = model.get("id")
            if not is_model_name(name):
                continue
            if text_at(model, ("state",)) == "loaded":
                loaded.add(name)
                if (context := count_at(model, ("loaded_context_length",))) is not None:
                    contexts[name] = context
            words = {text_at(model, ("type",)), *texts_at(model, ("capabilities",))}
            if able := abilities_in(words):
                capabilities[name] = able
        return Signals(loaded=frozenset(loaded), contexts=contexts, capabilities=capabilities)
