"""One way for all log lines: ours and other libraries', to console and file, redacted."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
import structlog
import uvicorn.config

from app.utils.logger import BatchedLines, bind_request_id, configure_logging, get_logger

pytestmark = pytest.mark.usefixtures("fresh_logging")
CANARY = "C4nary0fAVeryS3cretValue"


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    return tmp_path / "logs/gateway.log"


def events(log_file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]


def test_console_and_file(log_file: Path, capsys: pytest.CaptureFixture[str]):
    configure_logging(file=log_file)
    get_logger("app.some").info("Server registered", server_id="s1", models=2)
    line = log_file.read_text(encoding="utf-8")
    assert "INFO     Server registered server_id=s1 models=2 (app.some)\n" in line
    assert capsys.readouterr().err == line
    timestamp = datetime.fromisoformat(line.split(" ", 1)[0])
    assert timestamp.tzinfo is not None
    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=1)


def test_the_file_rotates_by_default_at_ten_megabytes_with_five_backups(log_file: Path, fresh_logging: logging.Logger):
    configure_logging(file=log_file)
    [handler] = [handler for handler in fresh_logging.handlers if isinstance(handler, RotatingFileHandler)]
    assert (handler.maxBytes, handler.backupCount) == (10 * 1024 * 1024, 5)


def test_configuring_again_replaces(log_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    logger = get_logger("app.some")
    configure_logging(file=log_file)
    configure_logging(file=tmp_path / "other.log", log_format="json", level="WARNING")
    logger.info("Not written")
    logger.warning("Written")
    assert log_file.read_text() == ""
    assert [event["event"] for event in events(tmp_path / "other.log")] == ["Written"]
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_levels(level: str, log_file: Path):
    configure_logging(file=log_file, level=level, log_format="json")
    for name in ("debug", "info", "warning", "error", "critical"):
        getattr(get_logger("app.some"), name)("x")
    assert events(log_file)[0]["level"] == level.lower()
    assert events(log_file)[-1]["level"] == "critical"


def test_request_ids(log_file: Path):
    configure_logging(file=log_file, log_format="json")
    logger = get_logger("app.some")
    with bind_request_id("outer"):
        with bind_request_id("inner"):
            logger.info("one")
            logging.getLogger("other").warning("two")
        logger.info("three")
    logger.info("four")
    assert [event.get("request_id") for event in events(log_file)] == ["inner", "inner", "outer", None]


async def test_a_request_id_is_the_task_s_own(log_file: Path):
    configure_logging(file=log_file, log_format="json")

    async def one(request_id: str, go: asyncio.Event) -> None:
        bind_request_id(request_id)
        await go.wait()
        get_logger("app.some").info("x")

    go = asyncio.Event()
    tasks = [asyncio.create_task(one(request_id, go)) for request_id in ("a", "b")]
    go.set()
    await asyncio.gather(*tasks)
    assert {event["request_id"] for event in events(log_file)} == {"a", "b"}


def raise_with_secret() -> None:
    raise ValueError(f"could not reach http://user:{CANARY}@host with mvk_{CANARY}\n2026 CRITICAL forged")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_secrets_appear_nowhere(log_format: str, log_file: Path, capsys: pytest.CaptureFixture[str]):
    operator_key = "0perator chose this ~ one"
    configure_logging(file=log_file, log_format=log_format, level="DEBUG", secrets=[operator_key])
    logger = get_logger("app.some")
    logger.info(
        "Bearer %s", CANARY, api_key=CANARY, headers={"Authorization": CANARY, "X-API-Key": CANARY}, note=operator_key
    )
    try:
        raise_with_secret()
    except ValueError as error:
        logger.exception("It failed", error=error)
        logging.getLogger("other").exception("It failed: token=%s", CANARY)
    logging.getLogger("other").warning("GET https://host/?api_key=%s %s", CANARY, operator_key)
    for written in (log_file.read_text(encoding="utf-8"), capsys.readouterr().err):
        assert written.count("It failed") == 2
        assert CANARY not in written
        assert operator_key not in written
        assert not [line for line in written.splitlines() if line.startswith("2026 CRITICAL")]


def test_a_line_break_forges_no_line(log_file: Path):
    configure_logging(file=log_file)
    forged = "x\n2026-01-01T00:00:00Z INFO     All is well (app.main)\r\x1b[2K"
    get_logger("app.some").info(forged, value=forged)
    logging.getLogger("other").warning(forged)
    assert len(log_file.read_text(encoding="utf-8").splitlines()) == 2
    assert "\x1b" not in log_file.read_text(encoding="utf-8")


def test_uvicorn_s_own_handlers_are_taken_over(log_file: Path, capsys: pytest.CaptureFixture[str]):
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    configure_logging(file=log_file, log_format="json")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7, extra={"color_message": "\x1b[1mStarted"})
    logging.getLogger("alembic.runtime.migration").warning("A table is missing")
    logging.getLogger("asyncio").error("Task was destroyed")
    assert [event["event"] for event in events(log_file)] == [
        "Started server process [7]",
        "A table is missing",
        "Task was destroyed",
    ]
    assert capsys.readouterr().err.count("\n") == 3
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_libraries_that_log_values_are_quiet_at_debug(log_file: Path):
    configure_logging(file=log_file, level="DEBUG", log_format="json")
    for name in ("alembic.runtime.migration", "aiosqlite", "sqlalchemy.engine", "httpx", "httpcore.http11"):
        logging.getLogger(name).info("statement with %s", CANARY)
    logging.getLogger("app.some").debug("ours")
    assert [event["event"] for event in events(log_file)] == ["ours"]


def test_an_unwritable_file_does_not_stop_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "logs").write_text("a file where the folder should be")
    configure_logging(file=tmp_path / "logs/gateway.log")
    get_logger("app.some").info("Going on")
    first, second = capsys.readouterr().err.splitlines()
    assert "WARNING" in first
    assert "log file can't be written" in first
    assert "Going on" in second


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (io.StringIO, {}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
    ],
)
def test_colour(
    stream: type[io.StringIO],
    environment: dict[str, str],
    coloured: bool,
    log_file: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream())
    configure_logging(file=log_file)
    get_logger("app.some").info("x")
    assert ("\x1b[" in sys.stderr.getvalue()) is coloured
    assert "\x1b[" not in log_file.read_text()


def test_loggers_can_be_captured(log_file: Path):
    with structlog.testing.capture_logs() as captured:
        get_logger("app.some").info("Server registered", models=1)
    assert captured == [{"event": "Server registered", "models": 1, "log_level": "info"}]


def test_what_waits_is_written_at_the_end_of_the_process(tmp_path: Path):
    program = (
        "from pathlib import Path\n"
        "from app.utils.logger import BatchedLines, configure_logging\n"
        "configure_logging(file=Path('gateway.log'))\n"
        "lines = BatchedLines()\n"
        "lines.append(b'the last line')\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(root)}, check=True, timeout=30)
    assert (tmp_path / "gateway.log").read_bytes() == b"the last line\n"


def test_batched_lines_belong_to_the_logger_s_interface():
    assert BatchedLines.__module__ == "app.utils.log_sinks"
