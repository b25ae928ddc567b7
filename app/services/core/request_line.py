"""How is one request told in the log? As one JSON object for machines, or as one line for people.

Only what ``Outcome`` holds can be told: ids and figures, never a prompt, an answer or a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.core.outcome import Outcome

__all__ = ["json_line", "text_line"]

_SENTENCE = "request finished"
_LOGGER = "gateway.requests"


def json_line(outcome: Outcome, moment: datetime) -> bytes:
    """Encode the line as one JSON object."""
    told = {"timestamp": moment.isoformat(), "level": "info", "logger": _LOGGER, "event": _SENTENCE}
    return msgspec.json.encode(told | _fields(outcome))


def text_line(outcome: Outcome, moment: datetime) -> bytes:
    """Write the line as ``time LEVEL sentence key=value ... (logger)``; what is not known is left out."""
    fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(outcome).items() if value is not None)
    stamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{stamp} INFO     {_SENTENCE} {fields} ({_LOGGER})".encode()


def _fields(outcome: Outcome) -> dict[str, object]:
    usage = outcome.usage
    return {
        "status": outcome.status,
        "error_code": outcome.error_code,
        "path": outcome.path,
        "model": outcome.model,
        "server_id": outcome.server_id,
        "attempts": outcome.attempts,
        "stream": outcome.stream,
        "duration_ms": round(outcome.duration_seconds * 1000, 1),
        "first_token_ms": _milliseconds(outcome.first_token_seconds),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "usage_estimated": usage.estimated,
        "key_id": outcome.key_id,
        "client": outcome.client,
        "request_id": outcome.request_id,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _shown(value: object) -> str:
    """A value as it stands behind ``=``: quoted where a space or a quote would blur where it ends."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else msgspec.json.encode(text).decode()
