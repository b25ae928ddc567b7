"""How does TabbyAPI, as read at e632af4, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.engines.interface import Engine, Evidence, owner
from app.services.engines.reading import MAX_AMOUNT, count_at, decode_or_none, is_model_name, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TabbyApi"]

CURRENT: Final = "/v1/model"


class TabbyApi(Engine):
    """Signs as the owner of its models, and tells the context of the loaded one.

    With an admin's key it lists its whole folder. It answers with the model that is loaded, whichever was asked for,
    unless its owner allows requests to change it.
    """

    name = "tabbyapi"
    context_paths = (("parameters", "max_seq_len"), ("meta", "n_ctx"))
    error_paths = (("error", "message"), ("detail",))
    loading_words = ("no models are currently loaded",)

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its models."""
        return owner(evidence) == "tabbyAPI"

    def signal_paths(self) -> tuple[str, ...]:
        """Return the card of the model in memory; 503 while there is none."""
        return (CURRENT,)

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read the card (endpoints/core/types/model.py). How many requests run or wait, it tells nowhere."""
        card = decode_or_none(answers.get(CURRENT))
        name, places = value_at(card, ("id",)), count_at(card, ("parameters", "max_batch_size"))
        if not is_model_name(name):
            return NO_SIGNALS
        context = count_at(card, ("parameters", "max_seq_len"))
        sees = value_at(card, ("parameters", "use_vision")) is True
        return Signals(
            places=None if places is None else min(places, MAX_AMOUNT),
            loaded=frozenset({name}),
            contexts={} if context is None else {name: context},
            capabilities={name: frozenset({"vision"})} if sees else {},
        )
