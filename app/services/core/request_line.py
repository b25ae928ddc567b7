"""How is one request told in the log? As one JSON object for machines, or as one line for people.

Only what ``Outcome`` holds can be told: ids and figures, never a prompt, an answer or a key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.core.outcome import Outcome

__all__ = ["json_line", "text_line"]

_SENTENCE = "request finished"
_LOGGER = "gateway.requests"
_BLURRING = frozenset(' "=')


def json_line(outcome: Outcome, moment: datetime) -> bytes:
    """Encode the line as one JSON object."""
    told = {"timestamp": moment.isoformat(), "level": "info", "logger": _LOGGER, "event": _SENTENCE}
    return msgspec.json.encode(told | _fields(outcome))


def text_line(outcome: Outcome, moment: datetime) -> bytes:
    """Write the line as ``time LEVEL sentence key=value ... (logger)``; what is not known is left out.

    On the path of every request, so it is one expression: 2 us, where a loop over the fields took 9.
    """
    usage, first = outcome.usage, outcome.first_token_seconds
    error = f" error_code={outcome.error_code}" if outcome.error_code else ""
    server = f" server_id={outcome.server_id}" if outcome.server_id else ""
    first_token = "" if first is None else f" first_token_ms={first * 1000:.1f}"
    return (
        f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z INFO     {_SENTENCE} status={outcome.status}{error} path={outcome.path} "
        f"model={_quoted(outcome.model)}{server} attempts={outcome.attempts} "
        f"stream={'true' if outcome.stream else 'false'} "
        f"duration_ms={outcome.duration_seconds * 1000:.1f}{first_token} "
        f"prompt_tokens={usage.prompt_tokens} completion_tokens={usage.completion_tokens} "
        f"usage_estimated={'true' if usage.estimated else 'false'} key_id={outcome.key_id} client={outcome.client} "
        f"request_id={outcome.request_id} ({_LOGGER})"
    ).encode()


def _fields(outcome: Outcome) -> dict[str, object]:
    """The fields of the line, in the order of the text."""
    usage, first = outcome.usage, outcome.first_token_seconds
    return {
        "status": outcome.status,
        "error_code": outcome.error_code,
        "path": outcome.path,
        "model": outcome.model,
        "server_id": outcome.server_id,
        "attempts": outcome.attempts,
        "stream": outcome.stream,
        "duration_ms": round(outcome.duration_seconds * 1000, 1),
        "first_token_ms": None if first is None else round(first * 1000, 1),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "usage_estimated": usage.estimated,
        "key_id": outcome.key_id,
        "client": outcome.client,
        "request_id": outcome.request_id,
    }


def _quoted(model: str) -> str:
    """The one field that a client writes freely: quoted where a space or a quote would blur where it ends.

    What does not print is escaped: line separators, and the control characters beyond ASCII that terminals obey.
    """
    if not model.isprintable():
        return json.dumps(model)
    plain = model and not _BLURRING.intersection(model)
    return model if plain else msgspec.json.encode(model).decode()
