"""What does SIGHUP mean with a terminal, without one, and under nohup?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.replace_child import end_child

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP there")

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = (
    "import os, signal, sys; exec(sys.argv[1]);"
    "from app.cli.replace_hangup import Hangup;"
    "meaning = Hangup().meaning.name; os.kill(os.getpid(), signal.SIGHUP); print(meaning)"
)


def meaning(preparation: str) -> tuple[str, int]:
    """What a process without a terminal takes it for, and how it ends when the signal comes before it is ready."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, preparation],
        cwd=ROOT,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    return done.stdout.strip(), done.returncode


def test_without_a_terminal_it_asks_for_a_replacement() -> None:
    assert meaning("") == ("REPLACE", 0)


def test_under_nohup_it_is_ignored() -> None:
    assert meaning("signal.signal(signal.SIGHUP, signal.SIG_IGN)") == ("IGNORED", 0)


def test_in_a_terminal_it_ends_the_process() -> None:
    ours, theirs = os.openpty()
    try:
        assert meaning(f"os.open({os.ttyname(theirs)!r}, os.O_RDWR)") == ("", -signal.SIGHUP)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("program", "patience_seconds", "code"),
    [
        ("print(flush=True)", 10, 0),
        ("print(flush=True); signal.pause()", 0.05, -signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()", 0.05, -signal.SIGKILL),
    ],
    ids=["by itself", "when told to", "by force"],
)
def test_a_child_that_failed_ends(
    monkeypatch: pytest.MonkeyPatch, program: str, patience_seconds: float, code: int
) -> None:
    monkeypatch.setattr("app.cli.replace_child.END_SECONDS", patience_seconds)
    command = [sys.executable, "-c", f"import signal; {program}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        end_child(child)
        assert child.returncode == code
