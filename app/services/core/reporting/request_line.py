"""How are requests told in the log? Each as one JSON object for machines, or as one line for people.

Only what ``Outcome`` holds can be told: ids and figures, never a prompt, an answer or a key. Lines are made a batch at
a time: the second of their timestamps is written out once, and so is each model's name.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.reporting.outcome import Outcome

__all__ = ["LineFormat", "json_lines", "text_lines"]

_SENTENCE = "request finished"
_LOGGER = "gateway.requests"
_BLURRING = frozenset(' "=')
_MICROSECONDS = 1_000_000
_FRACTION_DIGITS = -6
_TRACE_ID = slice(3, 35)
"""Where the trace id stands in a ``traceparent``."""


class LineFormat(Protocol):
    """``json_lines`` or ``text_lines``."""

    def __call__(self, outcomes: Sequence[Outcome]) -> bytes:
        """Make the lines of a batch, in its order, each ended by a newline."""


class _Line(msgspec.Struct, gc=False):
    """A line as JSON, its fields in the order in which they are written."""

    timestamp: str
    level: str
    logger: str
    event: str
    status: int
    error_code: str | None
    path: str
    model: str
    server_id: str | None
    attempts: int
    continuations: int
    stream: bool
    duration_ms: float
    first_token_ms: float | None
    prompt_tokens: int
    completion_tokens: int
    usage_estimated: bool
    key_id: str
    client: str
    request_id: str
    trace_id: str | msgspec.UnsetType = msgspec.UNSET


_encode_lines = msgspec.json.Encoder().encode_lines


def json_lines(outcomes: Sequence[Outcome]) -> bytes:
    """Encode each outcome as one JSON object."""
    lines, second, stamp = [], "", ""
    for outcome in outcomes:
        digits = str(round(outcome.ended_at * _MICROSECONDS))
        if digits[:_FRACTION_DIGITS] != second:
            second = digits[:_FRACTION_DIGITS]
            stamp = _written_out(second)
        usage, first = outcome.usage, outcome.first_token_seconds
        line = _Line(
            f"{stamp}.{digits[_FRACTION_DIGITS:]}+00:00",
            "info",
            _LOGGER,
            _SENTENCE,
            outcome.status,
            outcome.error_code,
            outcome.path,
            outcome.model,
            outcome.server_id,
            outcome.attempts,
            outcome.continuations,
            outcome.stream,
            round(outcome.duration_seconds * 1000, 1),
            None if first is None else round(first * 1000, 1),
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.estimated,
            outcome.key_id,
            outcome.client,
            outcome.request_id,
            outcome.trace[_TRACE_ID].decode() if outcome.trace else msgspec.UNSET,
        )
        lines.append(line)
    return _encode_lines(lines)


def text_lines(outcomes: Sequence[Outcome]) -> bytes:
    """Write each as ``time LEVEL sentence key=value ... (logger)``; what is not known is left out.

    Every request pays for this, so a line is one expression and no loop over its fields. What
    a client or its proxy can write freely, ``model`` and ``client``, is quoted; the other fields are the gateway's own.
    """
    lines, second, stamp = [], "", ""
    names: dict[str, str] = {}
    for outcome in outcomes:
        digits = str(round(outcome.ended_at * _MICROSECONDS))
        if digits[:_FRACTION_DIGITS] != second:
            second = digits[:_FRACTION_DIGITS]
            stamp = _written_out(second)
        model = names.get(outcome.model) or _quoted(outcome.model, names)
        client = outcome.client and (names.get(outcome.client) or _quoted(outcome.client, names))
        usage, first = outcome.usage, outcome.first_token_seconds
        error = f" error_code={outcome.error_code}" if outcome.error_code else ""
        server = f" server_id={outcome.server_id}" if outcome.server_id else ""
        onward = f" continuations={outcome.continuations}" if outcome.continuations else ""
        first_token = "" if first is None else f" first_token_ms={first * 1000:.1f}"
        trace = f" trace_id={outcome.trace[_TRACE_ID].decode()}" if outcome.trace else ""
        lines.append(
            f"{stamp}.{digits[_FRACTION_DIGITS:]}Z INFO     {_SENTENCE} status={outcome.status}{error} "
            f"path={outcome.path} model={model}{server} attempts={outcome.attempts}{onward} "
            f"stream={'true' if outcome.stream else 'false'} "
            f"duration_ms={outcome.duration_seconds * 1000:.1f}{first_token} "
            f"prompt_tokens={usage.prompt_tokens} completion_tokens={usage.completion_tokens} "
            f"usage_estimated={'true' if usage.estimated else 'false'} "
            f"key_id={outcome.key_id} client={client} request_id={outcome.request_id}{trace} ({_LOGGER})\n"
        )
    return "".join(lines).encode()


def _written_out(second: str) -> str:
    """A second of Unix time, given by its digits, in ISO 8601, UTC, without its offset."""
    return datetime.fromtimestamp(int(second or 0), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _quoted(text: str, known: dict[str, str]) -> str:
    """Quote what others write freely where a space or a quote would blur where it ends; ``known`` keeps the result.

    What does not print is escaped: line separators, and the control characters beyond ASCII that terminals obey.
    """
    if not text.isprintable():
        quoted = json.dumps(text)
    elif not text or _BLURRING.intersection(text):
        quoted = msgspec.json.encode(text).decode()
    else:
        quoted = text
    known[text] = quoted
    return quoted
