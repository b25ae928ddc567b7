"""Does the doctor find what is wrong, say what to do, and change nothing?"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.cli.doctor import judge_server
from app.cli.doctor_checks import Level
from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseLock

posix = pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX")
Diagnosis = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def diagnose(run, free_port: int) -> Diagnosis:
    """Run the doctor; gives the exit code and the findings by name."""

    def call(**environment: str):
        result = run("doctor", "--json", **{"PORT": str(free_port), **environment})
        findings: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(result.stdout)["findings"]:
            findings.setdefault(finding["name"], []).append(finding)
        return result.exit_code, findings

    return call


def make_database(schema_version: int = SCHEMA_VERSION) -> Path:
    path = Path("gateway.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE model_servers (id TEXT)")
        connection.execute(f"PRAGMA user_version={schema_version}")
    return path


def test_an_empty_folder_is_fine(diagnose: Diagnosis) -> None:
    code, findings = diagnose()
    assert code == 0
    levels = {finding["level"] for group in findings.values() for finding in group if finding["name"] != "open files"}
    assert levels == {"ok", "warn"}
    assert findings["gateway"][0]["fix"] == "Start it: multiverse serve"
    assert list(Path().iterdir()) == []


def test_the_report_for_people(run, free_port: int) -> None:
    result = run("doctor", PORT=str(free_port))
    assert f"ok   port: {free_port} on 127.0.0.1 is free" in result.stdout
    assert "warn gateway: none is running here\n      -> Start it: multiverse serve" in result.stdout


def test_bad_settings_are_the_only_finding(diagnose: Diagnosis) -> None:
    code, findings = diagnose(LOG_LEVEL="LOUD")
    assert code == 1
    assert list(findings) == ["settings"]
    assert "LOG_LEVEL='LOUD'" in findings["settings"][0]["detail"]


def test_a_misspelt_setting_is_named(diagnose: Diagnosis) -> None:
    Path(".env").write_text("HEALTH_CHECK_INTERVAL_SECOND=3\n")
    code, findings = diagnose()
    assert code == 0
    assert "HEALTH_CHECK_INTERVAL_SECONDS" in findings["settings"][0]["detail"]


def test_models_open_to_everyone_are_warned_of(diagnose: Diagnosis) -> None:
    _, findings = diagnose(HOST="0.0.0.0", REQUIRE_CLIENT_AUTH="false")
    assert any("without a key" in finding["detail"] for finding in findings["settings"])


@posix
def test_files_that_others_may_read_are_warned_of(diagnose: Diagnosis) -> None:
    Path("data").mkdir()
    for path in (Path(".env"), Path("data/admin.key"), Path("data/encryption.key")):
        path.touch(0o644)
        path.chmod(0o644)
    _, findings = diagnose()
    for name, path in ((".env", ".env"), ("admin.key", "data/admin.key"), ("encryption.key", "data/encryption.key")):
        assert findings[name][0]["level"] == "warn"
        assert findings[name][0]["fix"] == f"chmod 600 {path}"
    Path(".env").chmod(0o600)
    assert diagnose()[1][".env"][0]["level"] == "ok"


def test_a_good_database(diagnose: Diagnosis) -> None:
    make_database()
    code, findings = diagnose()
    assert code == 0
    assert findings["database"][0]["detail"] == f"gateway.db is whole, schema {SCHEMA_VERSION}"
    assert findings["encryption.key"][0]["level"] == "warn"


def test_a_database_left_by_a_killed_process_is_read(diagnose: Diagnosis, empty_directory: Path) -> None:
    with closing(sqlite3.connect("live.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (id INTEGER)")
        for name in ("live.db", "live.db-wal"):  # as the disk would hold them after a power cut
            (empty_directory / name.replace("live", "gateway")).write_bytes(Path(name).read_bytes())
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    code, findings = diagnose()
    assert code == 0
    assert "migrated" in findings["database"][0]["detail"]


@pytest.mark.parametrize(
    ("schema_version", "level", "said"), [(SCHEMA_VERSION + 1, "fail", "this version knows"), (0, "ok", "next start")]
)
def test_a_database_of_another_schema(diagnose: Diagnosis, schema_version: int, level: str, said: str) -> None:
    make_database(schema_version)
    code, findings = diagnose()
    assert code == (1 if level == "fail" else 0)
    assert findings["database"][0]["level"] == level
    assert said in findings["database"][0]["detail"]


@pytest.mark.parametrize("content", [b"this is no database " * 500, None])
def test_a_damaged_database_is_found(diagnose: Diagnosis, content: bytes | None) -> None:
    path = make_database()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO model_servers VALUES (?)", [("x" * 500,)] * 200)
    damaged = bytearray(path.read_bytes())
    damaged[5000:9000] = b"\x55" * 4000
    path.write_bytes(damaged if content is None else content)
    code, findings = diagnose()
    assert code == 1
    assert findings["database"][0]["level"] == "fail"
    assert "restore" in findings["database"][0]["fix"]


def test_a_folder_that_is_a_file_is_found(diagnose: Diagnosis) -> None:
    Path("logs").write_text("a file")
    code, findings = diagnose()
    assert code == 1
    assert findings["log"][0]["level"] == "fail"


def test_what_may_not_be_written_is_found(diagnose: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    def reading_only(_path: Path, mode: int) -> bool:  # root may write everywhere, so the system isn't asked
        return not mode & os.W_OK

    monkeypatch.setattr(os, "access", reading_only)
    code, findings = diagnose()
    assert code == 1
    assert findings["database"][0]["level"] == findings["log"][0]["level"] == "fail"
    make_database()
    _, findings = diagnose()
    assert "may not be written" in findings["database"][0]["detail"]


def test_a_port_that_another_program_holds(diagnose: Diagnosis) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        code, findings = diagnose(PORT=str(other.getsockname()[1]))
    assert code == 1
    assert "is in use" in findings["port"][0]["detail"]


def test_another_program_that_speaks_http(diagnose: Diagnosis, gateway) -> None:
    gateway.answers["GET", "/health"] = (200, {"ok": True})
    code, findings = diagnose(PORT=str(gateway.port))
    assert code == 1
    assert "another program" in findings["port"][0]["detail"]


def test_a_gateway_on_another_port_is_noticed(diagnose: Diagnosis) -> None:
    with DatabaseLock(make_database()):
        code, findings = diagnose()
    assert code == 1
    assert "one runs on gateway.db, but not at" in findings["gateway"][0]["detail"]


def test_a_running_gateway_and_its_servers(diagnose: Diagnosis, gateway) -> None:
    gateway.add("aaaaaaaa-1", "http://10.0.0.1:8000")
    gateway.add("bbbbbbbb-2", "http://10.0.0.2:8000", health_status="unhealthy", reason="connection refused")
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY=gateway.key)
    assert code == 1
    assert findings["gateway"][0]["detail"] == f"version 9.9.9 answers at {gateway.url}"
    assert findings["server aaaaaaaa"][0]["level"] == "ok"
    assert findings["server bbbbbbbb"][0]["detail"] == "http://10.0.0.2:8000 is unhealthy: connection refused"
    assert findings["server bbbbbbbb"][0]["fix"].endswith("multiverse servers check bbbbbbbb")


def test_a_running_gateway_without_servers(diagnose: Diagnosis, gateway) -> None:
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY=gateway.key)
    assert code == 0
    assert findings["servers"][0]["fix"].startswith("multiverse servers add")


def test_a_key_that_the_gateway_does_not_know(diagnose: Diagnosis, gateway) -> None:
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY="another-key-than-that")
    assert code == 1
    assert findings["servers"][0]["detail"] == "This key is not known."


def test_an_unhealthy_gateway(diagnose: Diagnosis, gateway) -> None:
    gateway.answers["GET", "/health"] = (503, {"status": "unhealthy"})
    code, findings = diagnose(PORT=str(gateway.port))
    assert code == 1
    assert findings["gateway"][0]["level"] == "fail"


@pytest.mark.parametrize(
    ("fields", "level", "said"),
    [
        ({"health_status": "healthy", "reason": ""}, Level.OK, "is healthy"),
        ({"health_status": "healthy", "reason": "lists a but not b"}, Level.WARN, "lists a but not b"),
        ({"health_status": "unknown", "reason": ""}, Level.WARN, "not checked yet"),
        ({"health_status": "unhealthy", "reason": "gone"}, Level.FAIL, "gone"),
        ({"health_status": "unhealthy", "paused": True}, Level.WARN, "is paused: no reason given"),
    ],
)
def test_judging_a_server(fields: dict[str, object], level: Level, said: str) -> None:
    finding = judge_server({"registration_id": "abcdefgh-1", "endpoint_url": "http://10.0.0.1", **fields})
    assert finding.level is level
    assert said in finding.detail


def test_who_lifts_a_hold_depends_on_who_set_it() -> None:
    server = {"registration_id": "abcdefgh-1", "health_status": "healthy"}
    assert "multiverse servers resume abcdefgh" in judge_server({**server, "draining": True}).fix
    assert "admin" in judge_server({**server, "blocked": True, "paused": True}).fix
