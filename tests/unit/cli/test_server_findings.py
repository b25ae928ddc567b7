"""What was found of a server, and what it is loading, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cli.server_findings import finding_rows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = (NOW - timedelta(hours=2)).isoformat()


def found(subject: str, verdict: str = "ok", measured: float | None = None, detail: str = "") -> dict[str, Any]:
    return {"subject": subject, "verdict": verdict, "measured": measured, "detail": detail, "found_at": EARLIER}


def lines(server: dict[str, Any]) -> list[str]:
    return [f"{label} {text.plain}" for label, text in finding_rows(server, NOW)]


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (found("name"), "Found name ok, 2 h ago"),
        (found("context", measured=4096), "Found context ok, 4,096 tokens of context, 2 h ago"),
        (
            found("context", "mismatch", 2048, "it has 2048, not 4096"),
            "Found context mismatch, it has 2048, not 4096, 2 h ago",
        ),
        (found("speed", measured=58.8), "Found 59 tokens a second, 2 h ago"),
        (found("first_token", measured=431.2), "Found 431 ms to the first token, 2 h ago"),
        (found("canary", "unclear", detail="there is no other"), "Found canary unclear, there is no other, 2 h ago"),
        (found("new_subject", measured=1.0), "Found new_subject ok, 2 h ago"),
    ],
)
def test_a_finding_is_a_line(finding: dict[str, Any], line: str) -> None:
    assert lines({"model_details": [{"name": "m", "verification": [finding]}]}) == [line]


def test_models_are_told_apart_where_there_are_several() -> None:
    models = [{"name": name, "verification": [found("name")]} for name in ("a", "b")]
    assert lines({"model_details": models}) == ["Found a: name ok, 2 h ago", "Found b: name ok, 2 h ago"]


def test_a_load_under_way_comes_first() -> None:
    since = (NOW - timedelta(seconds=12)).isoformat()
    loading = [
        {"model": "laptop:8b", "since": since, "about_seconds": 40.2},
        {"model": "other", "since": since, "about_seconds": None},
    ]
    assert lines({"loading": loading, "model_details": [{"name": "m", "verification": [found("name")]}]}) == [
        "Loading laptop:8b, began 12 s ago, takes about 40 s",
        "Loading other, began 12 s ago",
        "Found name ok, 2 h ago",
    ]


def test_an_older_gateway_tells_nothing() -> None:
    assert lines({}) == lines({"model_details": [{"name": "m"}]}) == []
