"""Does a child end when its parent does, however the parent ends?"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHILD = (
    "import os, sys, threading; from app.demo.lifeline import die_with_parent;"
    "die_with_parent({parent}); print('ready', flush=True); threading.Event().wait()"
)
PARENT = (
    "import os, subprocess, sys;"
    "child = subprocess.Popen([sys.executable, '-c', {child!r}.format(parent=os.getpid())],"
    " stdin=subprocess.PIPE, stdout=subprocess.PIPE);"
    "child.stdout.readline(); print(child.pid, flush=True); sys.stdin.read()"
)


def spawn(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_end_of_stdin_ends_it() -> None:
    with spawn(CHILD.format(parent=os.getpid())) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(20) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_parent_takes_it_along() -> None:
    with spawn(PARENT.format(child=CHILD)) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait(20)
        wait_until_gone(child_pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux'")
def test_a_parent_that_was_gone_before_is_noticed() -> None:
    with spawn(CHILD.format(parent=2**22 + 1)) as child:
        assert child.wait(20) == 0


def wait_until_gone(pid: int) -> None:
    """Wait for a process that is no child of ours: by a descriptor on Linux, by asking elsewhere."""
    deadline = time.monotonic() + 20
    try:
        if sys.platform == "linux":
            descriptor = os.pidfd_open(pid)
            readable, _, _ = select.select([descriptor], [], [], 20)
            os.close(descriptor)
            assert readable, f"process {pid} is still there"
            return
        while time.monotonic() < deadline:
            os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise AssertionError(f"process {pid} is still there")
