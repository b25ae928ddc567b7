"""No value forges a line, in text or in JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.utils.log_format import render_json, text_renderer

EVENT = {"event": "Server registered", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "logger": "app.x"}
ANY_TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=60)


def as_text(**fields: object) -> str:
    return text_renderer(colour=False)(None, "info", {**EVENT, **fields})


def test_text_line():
    line = as_text(server_id="a b", models=3, plain="word", empty="", ratio=0.5, items=["x", 1], request_id="req-1")
    assert line == (
        '2026-01-01T00:00:00Z INFO     Server registered server_id="a b" models=3 plain=word empty="" ratio=0.5 '
        'items=["x", 1] request_id=req-1 (app.x)'
    )


def test_json_line_begins_with_what_is_looked_for():
    line = render_json(None, "info", {"zebra": 1, "request_id": "r", **EVENT})
    assert list(json.loads(line)) == ["timestamp", "level", "logger", "event", "request_id", "zebra"]


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_one_event_is_one_line(event: str, name: str, value: str):
    fields = {**EVENT, "event": event, f"field{name}": value, "request_id": value, "logger": name, "items": [value]}
    for line in (text_renderer(colour=False)(None, "info", fields), render_json(None, "info", fields)):
        assert len(line.splitlines()) == 1
        assert line.isprintable()


@given(ANY_TEXT)
def test_json_keeps_every_character(value: str):
    assert json.loads(render_json(None, "info", {**EVENT, "value": value}))["value"] == value


@given(ANY_TEXT)
def test_a_traceback_can_not_be_taken_for_events(message: str):
    first, *rest = as_text(exception=f"Traceback\nValueError: {message}").splitlines()
    assert first.endswith("(app.x)")
    assert rest
    assert all(line.startswith("    | ") for line in rest)


def test_colour_is_in_the_frame_only():
    line = text_renderer(colour=True)(None, "info", {**EVENT, "value": "\x1b[31mred"})
    assert "\x1b[32m" in line
    assert "\x1b[31m" not in line


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "notice"])
def test_levels(level: str):
    assert level.upper() in text_renderer(colour=True)(None, level, {**EVENT, "level": level})
