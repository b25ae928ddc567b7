"""Does ``multiverse serve`` start, say where it is, work with the other commands, and end as it should?"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli.serve import announce
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.network.endpoints import parse_endpoint
from app.services.core.types import HealthStatus, Server
from app.services.registry.tables import SCHEMA_VERSION
from app.utils.config import load_settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there")

ROOT = Path(__file__).resolve().parents[3]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shell:
    """Runs commands in one folder, each in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(port)}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def serve(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, unused_port())


@pytest.fixture
def running(shell: Shell) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A gateway that serves, and what it said on stdout."""
    with shell.serve() as process:
        try:
            assert process.stdout is not None
            said = ""
            while "Stop:" not in said:
                line = process.stdout.readline()
                assert line, "it ended before it served"
                said += line
            yield process, said
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_says_where_it_is_and_ends_cleanly(shell: Shell, running, number: int, code: int) -> None:
    process, said = running
    key_file = shell.folder / "data" / "admin.key"
    assert f"listens on http://127.0.0.1:{shell.port}\n" in said
    assert f"in {key_file}\n" in said
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in errors
    for step in ("Started server process", "Waiting for application", "Finished server process"):
        assert step not in errors
        assert step in (shell.folder / "logs" / "gateway.log").read_text()
    assert key_file.read_text().strip() not in said + errors
    assert not (shell.folder / "gateway.db-wal").exists()


def test_a_pipe_that_nobody_reads_does_not_end_it(shell: Shell) -> None:
    with shell.serve() as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            said = ""
            while "The gateway is ready" not in said:
                said = process.stderr.readline()
                assert said, "it ended before it served"
            with closing(socket.create_connection(("127.0.0.1", shell.port), 20)) as client:
                client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert "BrokenPipe" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.usefixtures("empty_directory")
def test_servers_that_are_there_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    healthy = Server("a", parse_endpoint("http://10.0.0.5:8000"), (), health=HealthStatus.HEALTHY)
    announce(load_settings(), build_snapshot([healthy, replace(healthy, id="b", health=HealthStatus.UNHEALTHY)]))
    said = capsys.readouterr().out
    assert "Servers:    2 registered, 1 healthy" in said
    assert "Next:" not in said


@pytest.mark.usefixtures("running")
def test_the_other_commands_work_beside_it(shell: Shell) -> None:
    listed = shell.run("servers", "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    refused = shell.run("servers", "add", f"http://127.0.0.1:{unused_port()}")
    assert refused.returncode == 1
    assert "ALLOWED_SERVER_NETWORKS" in refused.stderr
    found = json.loads(shell.run("doctor", "--json").stdout)
    assert {"name": "gateway", "level": "ok"}.items() <= next(
        finding.items() for finding in found["findings"] if finding["name"] == "gateway"
    )
    assert shell.run("backup", "saved.tar.gz").returncode == 0
    restored = shell.run("restore", "saved.tar.gz", "--force")
    assert restored.returncode == 1
    assert "A gateway is running" in restored.stderr


@pytest.mark.usefixtures("running")
def test_a_second_one_is_told_why_it_cannot_run(shell: Shell) -> None:
    same_port = shell.run("serve")
    assert same_port.returncode == 1
    assert f"Port {shell.port} on 127.0.0.1 is in use" in same_port.stderr
    same_database = shell.run("serve", "--port", str(unused_port()))
    assert same_database.returncode == 1
    assert "Another gateway already runs on this database" in same_database.stderr
    for refused in (same_port, same_database):
        assert "Traceback" not in refused.stderr
        assert refused.stdout == ""


def test_a_newer_database_is_refused_in_words(shell: Shell, running) -> None:
    process, _ = running
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    with closing(sqlite3.connect(shell.folder / "gateway.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    refused = shell.run("serve")
    assert refused.returncode == 1
    assert "which this release does not know" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_bad_certificate_is_wrong_settings(shell: Shell) -> None:
    for name in ("cert.pem", "key.pem"):
        (shell.folder / name).write_text("nothing of the kind")
    refused = shell.run("serve", TLS_CERT_FILE="cert.pem", TLS_KEY_FILE="key.pem")
    assert refused.returncode == 2
    assert "TLS_CERT_FILE=cert.pem" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unusable_key_file_is_told_in_words(shell: Shell) -> None:
    (shell.folder / "data").mkdir()
    (shell.folder / "data" / "encryption.key").write_text("short")
    refused = shell.run("serve")
    assert refused.returncode == 1
    assert "encryption.key does not hold a key" in refused.stderr
    assert "Traceback" not in refused.stderr
