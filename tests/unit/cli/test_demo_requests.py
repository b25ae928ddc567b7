"""Does the demo's console tell of each request in short, by the gateway's own line?"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from app.cli.demo_requests import replace_console, short_line
from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.request_line import text_lines
from app.utils.logger import BatchedLines, configure_logging

SERVERS = {"id-1": "http://127.0.0.1:5001", "id-2": "http://127.0.0.1:5002"}


ANSWERED = Outcome(
    request_id="r",
    client="127.0.0.1",
    key_id="k",
    path="/v1/chat/completions",
    model="m",
    server_id="id-1",
    status=200,
    error_code=None,
    stream=False,
    attempts=1,
    duration_seconds=0.25,
    first_token_seconds=None,
    usage=Usage(3, 5),
    ended_at=1_800_000_000.0,
)


def line(**changes: Any) -> str:
    return text_lines([replace(ANSWERED, **changes)]).decode().rstrip("\n")


@pytest.fixture
def log() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    configure_logging(colour=False)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_who_answered_is_told() -> None:
    told = short_line(line(server_id="id-2", attempts=2, duration_seconds=1.5), SERVERS)
    assert told == "/v1/chat/completions: 200 in 1.50 s from http://127.0.0.1:5002, after 1 that failed"


def test_that_nobody_answered_is_told() -> None:
    told = short_line(line(status=503, error_code="no_server", server_id=None, attempts=0), SERVERS)
    assert told == "/v1/chat/completions: 503 in 0.25 s from no server"


@pytest.mark.parametrize("model", ["", "a b", 'x" server_id=id-1 attempts=9 stream=true duration_ms=1 "', "\\"])
def test_a_model_can_forge_nothing(model: str) -> None:
    told = short_line(line(model=model, server_id="id-2"), SERVERS)
    assert told == "/v1/chat/completions: 200 in 0.25 s from http://127.0.0.1:5002"


def test_other_lines_are_none() -> None:
    assert short_line("2026 INFO The gateway is ready servers=2", SERVERS) == ""


@pytest.mark.usefixtures("log")
def test_the_console_shows_short_lines_and_warnings_once_it_knows_the_servers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    echo, lines = replace_console(), BatchedLines()
    lines.append(line().encode())
    lines.flush()
    logging.getLogger("x").info("not told")
    assert capsys.readouterr().err == ""
    echo.servers.update(SERVERS)
    lines.append(line().encode())
    lines.close()
    logging.getLogger("x").warning("told")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "/v1/chat/completions: 200 in 0.25 s from http://127.0.0.1:5001"
    assert "told" in said[1]
    assert len(said) == 2
