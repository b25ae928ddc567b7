"""Is whoever watches over the gateway told, and is nothing replaced behind its back?"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.cli.handover_service import notify, ready_words, refusal_of_watcher, reloading_words

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such sockets there")


@pytest.mark.parametrize(
    ("environment", "pid", "own_child", "refusal"),
    [
        ({}, 100, False, None),
        ({}, 100, True, None),
        ({}, 1, True, "container"),
        ({"NOTIFY_SOCKET": "/run/notify", "SYSTEMD_EXEC_PID": "100"}, 100, True, None),
        ({"NOTIFY_SOCKET": "/run/notify"}, 100, False, "is a service"),
        ({"SYSTEMD_EXEC_PID": "100"}, 100, True, "systemd runs"),
        ({"SYSTEMD_EXEC_PID": "100"}, 100, False, "systemd runs"),
        ({"SYSTEMD_EXEC_PID": "99"}, 100, False, None),  # of the terminal, say, in which it was started
    ],
)
def test_what_can_not_be_replaced_says_why(
    environment: dict[str, str], pid: int, own_child: bool, refusal: str | None
) -> None:
    refused = refusal_of_watcher(environment, pid, own_child=own_child)
    if refusal is None:
        assert refused is None
    else:
        assert refused is not None
        assert refusal in refused.reason
        assert refused.fix


@pytest.mark.parametrize(
    "abstract", [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux has them"))]
)
def test_systemd_hears_it(tmp_path: Path, abstract: bool) -> None:
    name = f"@multiverse-test-{tmp_path}"[:90] if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(5)
        systemd.bind(name.replace("@", "\0", 1) if abstract else name)
        notify(ready_words(42), {"NOTIFY_SOCKET": name})
        assert systemd.recv(4096) == b"READY=1\nMAINPID=42"
        notify(reloading_words(), {"NOTIFY_SOCKET": name})
        assert systemd.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_that_nobody_listens_is_logged_and_no_trouble(tmp_path: Path) -> None:
    with capture_logs() as logs:
        notify(ready_words(42), {})
        notify(ready_words(42), {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert [line["event"] for line in logs] == ["systemd could not be told how the gateway is"]
