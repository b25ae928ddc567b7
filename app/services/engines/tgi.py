"""How does Text Generation Inference, as read at 3.3.6, show itself?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.signals import Signals
from app.services.engines.exposition_text import amount
from app.services.engines.interface import Engine, Evidence
from app.services.engines.reading import count_at, decode_or_none, is_model_name, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Tgi"]

CONTEXT_PATH: Final = ("max_total_tokens",)
INFO: Final = "/info"
METRICS: Final = "/metrics"


class Tgi(Engine):
    """Serves one model, and tells of it at ``/info``. Errors are ``{"error": str, "error_type": str}``.

    A full queue answers 429. Its port opens once the model is loaded.
    """

    name = "tgi"
    error_paths = (("error",),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the fields of ``/info`` that no other engine has together."""
        named = text_at(evidence.info, ("model_id",))
        return bool(named) and count_at(evidence.info, CONTEXT_PATH) is not None

    def context_length(self, entry: Mapping[str, object], evidence: Evidence) -> int | None:  # noqa: ARG002 - not per entry
        """Return prompt and answer together, as ``/info`` tells it."""
        return count_at(evidence.info, CONTEXT_PATH)

    def signal_paths(self) -> tuple[str, ...]:
        """Return the figures, and the limits."""
        return METRICS, INFO

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read the figures (backends/v3/src) and the context. How many fit into a batch depends on their length."""
        page, info = answers.get(METRICS, b""), decode_or_none(answers.get(INFO))
        model, context = text_at(info, ("model_id",)), count_at(info, CONTEXT_PATH)
        return Signals(
            running=amount(page, "tgi_batch_current_size"),
            waiting=amount(page, "tgi_queue_size"),
            contexts={model: context} if context is not None and is_model_name(model) else {},
        )
