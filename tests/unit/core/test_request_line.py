"""How one request is told in the log."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.services.core.outcome import Outcome
from app.services.core.request_line import json_line, text_line
from app.services.core.usage import Usage

MOMENT = datetime(2026, 11, 23, 4, 5, 6, 789000, tzinfo=UTC)
OUTCOME = Outcome(
    request_id="r-1",
    client="192.0.2.7",
    key_id="admin",
    path="/v1/chat/completions",
    model="org/model",
    server_id="s1",
    status=200,
    error_code=None,
    stream=True,
    attempts=2,
    duration_seconds=1.23456,
    first_token_seconds=0.2,
    usage=Usage(7, 3),
)


def test_json_holds_every_field() -> None:
    told = json.loads(json_line(OUTCOME, MOMENT))
    assert told == {
        "timestamp": "2026-11-23T04:05:06.789000+00:00", "level": "info", "logger": "gateway.requests",
        "event": "request finished", "status": 200, "error_code": None, "path": "/v1/chat/completions",
        "model": "org/model", "server_id": "s1", "attempts": 2, "stream": True, "duration_ms": 1234.6,
        "first_token_ms": 200.0, "prompt_tokens": 7, "completion_tokens": 3, "usage_estimated": False,
        "key_id": "admin", "client": "192.0.2.7", "request_id": "r-1",
    }  # fmt: skip


def test_text_is_one_readable_line() -> None:
    line = text_line(OUTCOME, MOMENT).decode()
    assert line.startswith(
        "2026-11-23T04:05:06.789000Z INFO     request finished status=200 path=/v1/chat/completions "
    )
    assert " stream=true " in line
    assert "error_code" not in line
    assert line.endswith(" request_id=r-1 (gateway.requests)")


def test_a_models_name_can_forge_no_field_and_no_line() -> None:
    evil = replace(OUTCOME, model='x status=500\n2026 INFO forged "y"', server_id=None)
    line = text_line(evil, MOMENT).decode()
    assert "\n" not in line
    assert 'model="x status=500\\n2026 INFO forged \\"y\\"" attempts=2' in line


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\x85", "\u2028", "\u202e", "\0", "\ufeff"])
def test_what_does_not_print_is_escaped(sign: str) -> None:
    assert text_line(replace(OUTCOME, model=f"m{sign}"), MOMENT).decode().isprintable()
