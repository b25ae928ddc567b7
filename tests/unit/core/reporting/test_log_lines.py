"""What does a line of the log say?"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.usage import Usage
from app.services.core.reporting.log_lines import (
    LogRecord,
    is_continuation,
    moment_of_line,
    read_record,
    severity,
)
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import json_lines, text_lines
from app.utils.log_format import render_json, text_renderer

WHEN = "2030-01-31T08:00:00.250000Z"
MOMENT = datetime(2030, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)

names = st.from_regex(r"[a-z][a-z_]{0,11}", fullmatch=True).filter(
    lambda name: name not in {"timestamp", "level", "logger", "event", "exception", "stack", "request_id"}
)
plain_values = st.one_of(st.text(max_size=60), st.integers(), st.booleans(), st.none(), st.floats())
values = st.one_of(
    plain_values,
    st.lists(plain_values, max_size=3),
    st.dictionaries(st.text(max_size=8), plain_values, max_size=3),
)
sentences = (
    st.text(max_size=60)
    .map(lambda text: " ".join(text.split(" ")).strip(" "))
    .filter(lambda text: "=" not in text and "(" not in text)
)


def shown(text):
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def as_text(value):
    return shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


@given(
    sentence=sentences,
    level=st.sampled_from(["debug", "info", "warning", "error", "critical"]),
    logger=st.from_regex(r"[a-z][a-z.]{0,20}", fullmatch=True),
    fields=st.dictionaries(names, values, max_size=5),
    request_id=st.none() | st.from_regex(r"[A-Za-z0-9-]{1,30}", fullmatch=True),
    exception=st.none() | st.text(min_size=1, max_size=80),
)
def test_what_the_formatters_write_is_read_back(sentence, level, logger, fields, request_id, exception):
    event = {"event": sentence, **fields, "logger": logger, "level": level, "timestamp": WHEN}
    event |= {} if request_id is None else {"request_id": request_id}
    event |= {} if exception is None else {"exception": exception}
    expected = LogRecord(
        MOMENT,
        level,
        logger,
        shown(sentence),
        tuple((name, as_text(value)) for name, value in fields.items()),
        request_id or "",
        "" if exception is None else "\n".join(shown(line) for line in exception.split("\n")),
    )
    for write in (render_json, text_renderer(colour=False)):
        lines = write(None, "", event).split("\n")
        assert all(is_continuation(line) for line in lines[1:])
        assert read_record(lines) == expected
        assert moment_of_line(lines[0]) == MOMENT


def outcome(**changes):
    told = {
        "request_id": "req-1",
        "client": "192.0.2.7",
        "key_id": "admin",
        "path": "/v1/chat/completions",
        "model": "llama",
        "server_id": "3f0c4a52",
        "status": 200,
        "error_code": None,
        "stream": True,
        "attempts": 2,
        "duration_seconds": 1.25,
        "first_token_seconds": 0.5,
        "usage": Usage(12, 34),
        "ended_at": MOMENT.timestamp(),
        "continuations": 1,
    }
    return Outcome(**(told | changes))


@given(model=st.text(min_size=1, max_size=60), client=st.text(max_size=30))
def test_lines_of_requests_are_read_back(model, client):
    told = outcome(model=model, client=client, trace=b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")
    for write in (json_lines, text_lines):
        record = read_record([write([told]).decode().removesuffix("\n")])
        fields = dict(record.fields)
        assert (record.time, record.level, record.component) == (MOMENT, "info", "gateway.requests")
        assert (record.text, record.request_id) == ("request finished", "req-1")
        assert (fields["model"], fields["client"]) == (shown(model), shown(client))
        assert (fields["status"], fields["duration_ms"], fields["continuations"]) == ("200", "1250.0", "1")
        assert (fields["stream"], fields["trace_id"], fields["server_id"]) == ("true", "a" * 32, "3f0c4a52")


@given(line=st.text())
def test_no_line_is_lost_and_none_steers_the_page(line):
    record = read_record([line])
    assert all(part.isprintable() for part in (record.text, record.component, record.level, *sum(record.fields, ())))
    if record.time is None and not record.level:
        assert record.text == shown(line)
    moment_of_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        '{"event": 1, "level": "info"}',
        '{"event": "x"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"event": "x", "level": "info", "n": ' + "9" * 5000 + "}",
        "2030-01-31 08:00:00 INFO x",
        "2030-01-31T08:00:00Z info x (y)",
        "Traceback (most recent call last):",
    ],
)
def test_what_is_no_event_is_kept_as_text(line):
    record = read_record([line])
    assert (record.time, record.level, record.component, record.fields) == (None, "", "", ())
    assert line.startswith(record.text.removesuffix("..."))


def test_an_impossible_time_costs_the_time_alone():
    assert read_record(["2030-13-41T99:00:00Z INFO     x y=1 (z)"]) == LogRecord(None, "info", "z", "x", (("y", "1"),))
    assert read_record(["0001-01-01T00:00:00+14:00 INFO     x (z)"]).time is None


@pytest.mark.parametrize(
    ("body", "text", "fields"),
    [
        ("Server registered server_id=a models=3", "Server registered", (("server_id", "a"), ("models", "3"))),
        ("a=b is no field here", "a=b is no field here", ()),
        ("open( x=1", "open(", (("x", "1"),)),
        ('he said x="y and z=1', 'he said x="y and', (("z", "1"),)),
        ('x="a=1 b=2" y=3', "", (("x", "a=1 b=2"), ("y", "3"))),
        ("x={not closed", "x={not closed", ()),
        ('x=[1, 2] y={"a b": "]"}', "", (("x", "[1, 2]"), ("y", '{"a b": "]"}'))),
        ('x="\\u00e9\\ud83d\\ude00\\x85"', "", (("x", "é😀\\x85"),)),
        ("client= y=1", "", (("client", ""), ("y", "1"))),
        ('x=a"b', 'x=a"b', ()),
        ("path=/a?b=c", "", (("path", "/a?b=c"),)),
    ],
)
def test_where_the_sentence_ends_and_the_fields_begin(body, text, fields):
    record = read_record([f"{WHEN} INFO     {body} (app.x)"])
    assert (record.text, record.fields, record.component) == (text, fields, "app.x")


def test_a_line_that_was_cut_keeps_its_time_and_level():
    record = read_record([f"{WHEN} WARNING  The log ends he"])
    assert (record.time, record.level, record.component, record.text) == (MOMENT, "warning", "", "The log ends he")


def test_what_is_long_is_cut():
    record = read_record([f"{WHEN} INFO     {'x' * 9000} y={'z' * 9000} (w)", *["    | " + "t" * 100] * 9000])
    assert len(record.text) < 4100
    assert len(record.fields[0][1]) < 1100
    assert len(record.detail) < 21_000
    assert record.detail.endswith("...")


def test_a_line_made_to_cost_time_is_read_all_the_same():
    record = read_record([f"{WHEN} INFO     " + ' a="b' * 50_001])
    assert record.text.startswith("a=")


def test_levels_are_ordered_and_unknown_ones_are_below():
    assert [severity(level) for level in ("odd", "DEBUG", "info", "Warning", "error", "critical")] == [
        -1, 0, 1, 2, 3, 4,
    ]  # fmt: skip


def test_a_continuation_alone_is_kept():
    assert read_record(["    | lost its head"]).text == "    | lost its head"
