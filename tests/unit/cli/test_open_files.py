"""Is the limit of open files raised as far as it goes, and is a low one told?"""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.cli import open_files
from app.cli.open_files import OPEN_FILES_WANTED, on_loop_error, raise_open_file_limit, warn_of_low_limit

ROOT = Path(__file__).resolve().parents[3]

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")


@unix_only
def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    program = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "from app.cli.open_files import raise_open_file_limit; told = raise_open_file_limit();"
        "soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0];"
        "print(soft == told == min(hard, 1048576))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


@unix_only
@pytest.mark.parametrize(
    ("soft", "hard", "most_taken", "reached"),
    [
        (1024, 524_288, 524_288, 524_288),
        (256, -1, 10_240, 10_240),  # macOS: "unlimited", and refused
        (256, -1, 1_048_576, 1_048_576),
        (1024, 2_000_000, 2_000_000, 1_048_576),
        (4096, 4096, 0, 4096),
        (2_000_000, -1, 0, 2_000_000),  # never lowered
        (1024, 8192, 0, 1024),  # a sandbox that lets nothing be changed
    ],
)
def test_what_is_reached(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most_taken: int, reached: int) -> None:
    import resource  # noqa: PLC0415 - a Unix module

    unlimited = resource.RLIM_INFINITY

    def set_limit(_resource: int, limits: tuple[int, int]) -> None:
        if limits[0] > most_taken:
            raise ValueError

    monkeypatch.setattr(resource, "getrlimit", lambda _resource: (soft, unlimited if hard < 0 else hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert raise_open_file_limit() == reached


@unix_only
def test_no_limit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource  # noqa: PLC0415 - a Unix module

    monkeypatch.setattr(resource, "getrlimit", lambda _resource: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert raise_open_file_limit() is None


@pytest.mark.parametrize(("limit", "lines"), [(OPEN_FILES_WANTED - 1, 1), (OPEN_FILES_WANTED, 0), (None, 0)])
def test_a_low_limit_is_told_with_its_fix(limit: int | None, lines: int) -> None:
    with capture_logs() as logs:
        warn_of_low_limit(limit)
    assert [line["fix"] for line in logs] == [open_files.OPEN_FILES_ADVICE] * lines


@pytest.mark.parametrize(
    ("message", "error", "lines"),
    [
        ("socket.accept() out of system resource", OSError(errno.EMFILE, "too many"), 0),
        ("socket.accept() out of system resource", OSError(errno.ENOMEM, "no memory"), 1),
        ("Fatal read error", OSError(errno.EMFILE, "too many"), 1),
        ("Task exception was never retrieved", LookupError("a bug"), 1),
    ],
)
async def test_of_what_the_loop_reports_one_error_is_left_out(
    message: str, error: Exception, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    on_loop_error(asyncio.get_running_loop(), {"message": message, "exception": error})
    assert [record.message.splitlines()[0] for record in caplog.records] == [message] * lines
