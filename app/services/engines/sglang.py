"""How does SGLang, as read at 0.5.23, show itself?"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.engines.exposition_text import amount, mean
from app.services.engines.interface import Engine, Evidence, owner
from app.services.engines.reading import MAX_AMOUNT, amount_at, decode_or_none, objects_at, share_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Sglang"]

LOADS: Final = "/v1/loads?include=core"
METRICS: Final = "/metrics"


class Sglang(Engine):
    """Signs as the owner of its models. Errors are flat: ``{"object": "error", "message": ...}``.

    ``/health`` may generate a token and is never asked.
    """

    name = "sglang"
    context_paths = (("max_model_len",),)
    error_paths = (("message",),)

    def recognises(self, evidence: Evidence) -> bool:
        """By the owner of its models."""
        return owner(evidence) == "sglang"

    def count_request(self, model: str, text: str) -> tuple[str, bytes] | None:
        """By ``/tokenize``."""
        return "/tokenize", msgspec.json.encode({"model": model, "prompt": text, "add_special_tokens": False})

    def is_loading(self, status: int, body: bytes) -> bool:
        """Take its 503 without a word, as ``/ready`` and ``/health`` answer while it warms up, for loading too."""
        if status == HTTPStatus.SERVICE_UNAVAILABLE and not body.strip():
            return True
        return super().is_loading(status, body)

    def signal_paths(self) -> tuple[str, ...]:
        """Return the load by rank, and the metrics, which are opt-in, for versions without it."""
        return LOADS, METRICS

    def signals(self, answers: Mapping[str, bytes]) -> Signals:
        """Read the load (entrypoints/v1_loads.py), else the figures (observability/metrics_collector.py)."""
        by_rank = _by_rank(decode_or_none(answers.get(LOADS)))
        if by_rank.running is not None:
            return by_rank
        page = answers.get(METRICS, b"")
        return Signals(
            running=amount(page, "sglang:num_running_reqs"),
            waiting=amount(page, "sglang:num_queue_reqs"),
            cache_used=mean(page, "sglang:token_usage"),
        )


def _by_rank(document: object) -> Signals:
    """Add up the ranks of data parallelism."""
    ranks = list(objects_at(document, ("loads",)))
    if not ranks:
        return NO_SIGNALS
    shares = [share_at(rank, ("token_usage",)) for rank in ranks]
    known = [share for share in shares if share is not None]
    return Signals(
        running=_total(amount_at(rank, ("num_running_reqs",)) for rank in ranks),
        waiting=_total(amount_at(rank, ("num_waiting_reqs",)) for rank in ranks),
        places=_total(amount_at(rank, ("max_running_requests",)) for rank in ranks) or None,
        cache_used=sum(known) / len(known) if len(known) == len(ranks) else None,
    )


def _total(amounts: Iterable[int | None]) -> int | None:
    """Add up what every rank tells; None where one of them does not."""
    total = 0
    for count in amounts:
        if count is None:
            return None
        total += count
    return min(total, MAX_AMOUNT)
