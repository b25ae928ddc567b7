"""How is a request told as a span? Names and values after OpenTelemetry's semantic conventions.

One span a request, of kind SERVER: its id is the parent that the model server was told, whatever number of attempts it
took. Names are those of ``gen_ai.*``, ``http.*`` and ``error.type`` (semantic conventions 1.44);
what they have no name for stands under ``multiverse.*``. Never a prompt, an answer, a key or an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.http.trace_context import trace_ids

if TYPE_CHECKING:
    from app.services.core.reporting.outcome import Outcome

__all__ = ["OPERATIONS", "SpanFacts", "span_facts"]

OPERATIONS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
_UNKNOWN_ENGINE = "unknown"
_OPENAI = "openai"
"""What the conventions say of a provider that is known by nothing but its API."""
_MICROSECONDS = 1_000_000
_NANOSECONDS_EACH = 1000


class SpanFacts(msgspec.Struct, frozen=True, gc=False):
    """One span. Times are nanoseconds of Unix time; ``parent_id`` is 0 where the trace begins here."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    started_at: int
    ended_at: int
    failed: bool
    attributes: dict[str, str | int | float | bool]


def span_facts(outcome: Outcome, engine: str) -> SpanFacts:
    """Tell an outcome that has a trace.

    Args:
        outcome: its ``trace`` is not empty.
        engine: of the server that answered; "unknown" or empty where that is not known.
    """
    trace_id, span_id = trace_ids(outcome.trace)
    ended_at = _nanoseconds(outcome.ended_at)
    operation = OPERATIONS.get(outcome.path, "")
    # A model that no server has is a client's invention, and names of spans are to be few.
    words = (operation, outcome.model if outcome.server_id else "") if operation else ("POST", outcome.path)
    return SpanFacts(
        name=" ".join(word for word in words if word),
        trace_id=trace_id,
        span_id=span_id,
        parent_id=trace_ids(outcome.parent)[1] if outcome.parent else 0,
        started_at=ended_at - _nanoseconds(outcome.duration_seconds),
        ended_at=ended_at,
        failed=outcome.status >= 500,
        attributes=_attributes(outcome, operation, engine),
    )


def _attributes(outcome: Outcome, operation: str, engine: str) -> dict[str, str | int | float | bool]:
    usage = outcome.usage
    told: dict[str, str | int | float | bool | None] = {
        "http.request.method": "POST",
        "http.route": outcome.path,
        "http.response.status_code": outcome.status,
        "error.type": outcome.error_code or (str(outcome.status) if outcome.status >= 400 else None),
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _OPENAI if engine in {"", _UNKNOWN_ENGINE} else engine,
        "gen_ai.request.model": outcome.model,
        "gen_ai.request.stream": outcome.stream,
        "multiverse.request.id": outcome.request_id,
        "multiverse.key.id": outcome.key_id,
        "multiverse.server.id": outcome.server_id,
        "multiverse.attempts": outcome.attempts,
    }
    if outcome.server_id:
        told |= {
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "multiverse.usage.estimated": usage.estimated,
        }
        if outcome.stream:
            told["gen_ai.response.time_to_first_chunk"] = outcome.first_token_seconds
            told["multiverse.events"] = outcome.events
    return {name: value for name, value in told.items() if value not in {None, ""}}


def _nanoseconds(seconds: float) -> int:
    """To the microsecond: a float of Unix time holds no more."""
    return round(seconds * _MICROSECONDS) * _NANOSECONDS_EACH
