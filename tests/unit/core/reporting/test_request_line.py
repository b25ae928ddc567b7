"""How requests are told in the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import json_lines, text_lines

MOMENT = datetime(2026, 11, 23, 4, 5, 6, 789000, tzinfo=UTC)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
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
    ended_at=MOMENT.timestamp(),
    trace=f"00-{TRACE_ID}-b7ad6b7169203331-01".encode(),
)
UNTRACED = replace(OUTCOME, trace=b"")


def text_line(outcome: Outcome) -> str:
    line = text_lines([outcome]).decode()
    assert line.endswith("\n")
    return line[:-1]


def test_json_holds_every_field() -> None:
    told = json.loads(json_lines([UNTRACED]))
    fields = {
        "timestamp": "2026-11-23T04:05:06.789000+00:00", "level": "info", "logger": "gateway.requests",
        "event": "request finished", "status": 200, "error_code": None, "path": "/v1/chat/completions",
        "model": "org/model", "server_id": "s1", "attempts": 2, "continuations": 0, "stream": True,
        "duration_ms": 1234.6, "first_token_ms": 200.0, "prompt_tokens": 7, "completion_tokens": 3,
        "usage_estimated": False,
        "key_id": "admin", "client": "192.0.2.7", "request_id": "r-1",
    }  # fmt: skip
    assert told == fields
    assert list(told) == list(fields)
    assert json.loads(json_lines([OUTCOME])) == fields | {"trace_id": TRACE_ID}


def test_text_is_one_readable_line() -> None:
    assert text_line(UNTRACED) == (
        "2026-11-23T04:05:06.789000Z INFO     request finished status=200 path=/v1/chat/completions model=org/model "
        "server_id=s1 attempts=2 stream=true duration_ms=1234.6 first_token_ms=200.0 prompt_tokens=7 "
        "completion_tokens=3 usage_estimated=false key_id=admin client=192.0.2.7 request_id=r-1 (gateway.requests)"
    )
    assert text_line(OUTCOME).endswith(f" request_id=r-1 trace_id={TRACE_ID} (gateway.requests)")


def test_what_is_not_known_is_left_out() -> None:
    bare = replace(UNTRACED, server_id=None, first_token_seconds=None, error_code="no_server", stream=False, client="")
    line = text_line(bare)
    assert " error_code=no_server path=" in line
    assert " model=org/model attempts=2 stream=false duration_ms=1234.6 prompt_tokens=7 " in line
    assert " client= request_id=" in line
    assert json.loads(json_lines([bare]))["first_token_ms"] is None


@pytest.mark.parametrize("ended_at", [1.0, 1_700_000_000.0, 1_700_000_000.000001, 1_699_999_999.9999996, 2e9 + 0.5])
def test_both_forms_tell_the_time_to_the_microsecond(ended_at: float) -> None:
    outcome = replace(OUTCOME, ended_at=ended_at)
    wanted = datetime.fromtimestamp(ended_at, UTC)
    assert datetime.fromisoformat(text_line(outcome).split()[0]) == wanted
    assert datetime.fromisoformat(json.loads(json_lines([outcome]))["timestamp"]) == wanted


@given(st.lists(st.floats(1, 4e9), min_size=1, max_size=20))
def test_a_batch_keeps_its_order_and_each_its_own_second(times: list[float]) -> None:
    batch = [replace(OUTCOME, ended_at=time, request_id=f"r-{place}") for place, time in enumerate(times)]
    lines = text_lines(batch).decode().splitlines()
    assert lines == [text_line(outcome) for outcome in batch]
    assert json_lines(batch) == b"".join(json_lines([outcome]) for outcome in batch)


def test_a_models_name_can_forge_no_field_and_no_line() -> None:
    evil = replace(OUTCOME, model='x status=500\n2026 INFO forged "y"', server_id=None)
    line = text_line(evil)
    assert "\n" not in line
    assert 'model="x status=500\\n2026 INFO forged \\"y\\"" attempts=2' in line


def test_neither_can_what_stands_for_a_client() -> None:
    line = text_line(replace(OUTCOME, client="fe80::1%x status=500"))
    assert 'client="fe80::1%x status=500" ' in line


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\x85", "\u2028", "\u202e", "\0", "\ufeff", "\x7f"])
def test_what_does_not_print_is_escaped(sign: str) -> None:
    assert text_line(replace(OUTCOME, model=f"m{sign}")).isprintable()


@given(st.text(), st.text())
def test_whatever_is_in_a_name_a_line_is_one_line(model: str, client: str) -> None:
    outcome = replace(OUTCOME, model=model, client=client)
    assert text_line(outcome).isprintable()
    told = json_lines([outcome])
    assert told.count(b"\n") == 1
    assert not any(byte < ord(" ") for byte in told[:-1])
    assert json.loads(told)["model"] == model


def test_a_stream_that_went_on_elsewhere_says_how_often() -> None:
    moved = replace(OUTCOME, continuations=2)
    assert " attempts=2 continuations=2 stream=" in text_lines([moved]).decode()
    assert json.loads(json_lines([moved]))["continuations"] == 2
