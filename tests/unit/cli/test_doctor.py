"""Does the doctor find what is wrong, say what to do, and change nothing?"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.cli.doctor import judge_server, summary
from app.cli.doctor_checks import Finding, Level
from app.services.registry.secrets import SecretBox
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


ENCRYPTION_KEY = base64.b64encode(bytes(range(32))).decode()


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
        path.write_text("" if path.name == ".env" else ENCRYPTION_KEY)
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


@pytest.fixture
def held_here(empty_directory: Path) -> Iterator[None]:
    """The folder's lock is held, as if the gateway that answers were this folder's."""
    with DatabaseLock(empty_directory / make_database()):
        yield


@pytest.mark.usefixtures("held_here")
def test_a_running_gateway_and_its_servers(diagnose: Diagnosis, gateway) -> None:
    gateway.add("aaaaaaaa-1", "http://10.0.0.1:8000")
    gateway.add("bbbbbbbb-2", "http://10.0.0.2:8000", health_status="unhealthy", reason="connection refused")
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY=gateway.key)
    assert code == 1
    assert findings["gateway"][0]["detail"] == f"version 9.9.9 answers at {gateway.url}"
    assert findings["server aaaaaaaa"][0]["level"] == "ok"
    assert findings["server bbbbbbbb"][0]["detail"] == "http://10.0.0.2:8000 is unhealthy: connection refused"
    assert findings["server bbbbbbbb"][0]["fix"].endswith("multiverse servers check bbbbbbbb")


@pytest.mark.usefixtures("held_here")
def test_a_running_gateway_without_servers(diagnose: Diagnosis, gateway) -> None:
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY=gateway.key)
    assert code == 0
    assert findings["servers"][0]["fix"].startswith("multiverse servers add")


@pytest.mark.usefixtures("held_here")
def test_a_key_that_the_gateway_does_not_know(diagnose: Diagnosis, gateway) -> None:
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY="another-key-than-that")
    assert code == 1
    assert findings["servers"][0]["detail"] == "This key is not known."


@pytest.mark.usefixtures("held_here")
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
    said = "multiverse servers unblock abcdefgh (with an admin key)"
    assert judge_server({**server, "blocked": True, "paused": True}).fix == said
    assert "servers check abcdefgh" in judge_server({**server, "quarantined": True, "paused": True}).fix


def everything_here() -> dict[str, tuple[bytes, int, int]]:
    files = [path for path in Path().rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("log_is_left", [False, True])
def test_the_doctor_leaves_everything_as_it_was(diagnose: Diagnosis, log_is_left: bool) -> None:
    with closing(sqlite3.connect("live.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (id INTEGER)")
        if not log_is_left:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for name in ("live.db", "live.db-wal") if log_is_left else ("live.db",):
            Path(name.replace("live", "gateway")).write_bytes(Path(name).read_bytes())
    Path("live.db").unlink()
    Path("data").mkdir()
    for name in ("admin.key", "encryption.key"):
        Path("data", name).write_text(ENCRYPTION_KEY)
    before = everything_here()
    assert before.keys() >= ({"gateway.db", "gateway.db-wal"} if log_is_left else {"gateway.db"})
    _, findings = diagnose()
    assert findings["database"][0]["level"] == "ok"
    assert everything_here() == before


@posix
def test_a_lock_of_another_user_is_named(diagnose: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database()
    Path("gateway.db.lock").touch()

    def not_the_lock(path: Path, _mode: int) -> bool:  # root may open everything, so the system isn't asked
        return Path(path).name != "gateway.db.lock"

    monkeypatch.setattr(os, "access", not_the_lock)
    code, findings = diagnose()
    assert code == 1
    assert "this user may not open gateway.db.lock, which belongs to" in findings["lock"][0]["detail"]
    assert findings["lock"][0]["fix"].endswith("gateway.db.lock")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="takes root")
def test_a_lock_that_a_command_of_root_left_is_named(diagnose: Diagnosis) -> None:
    os.chown(make_database(), 12345, 12345)
    Path("gateway.db.lock").touch()
    assert "belongs to root, gateway.db to user 12345" in diagnose()[1]["lock"][0]["detail"]


def test_a_lock_that_cannot_be_asked_is_no_verdict_on_the_gateway(
    diagnose: Diagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database()
    Path("gateway.db.lock").touch()
    original = os.open

    def refuse(path: Path, flags: int, *rest: int, **options: int) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    _, findings = diagnose()
    assert findings["database"][0]["level"] == "ok"
    assert findings["port"][0]["level"] == "ok"


def test_another_folders_gateway_on_the_port(diagnose: Diagnosis, gateway) -> None:
    make_database()
    code, findings = diagnose(PORT=str(gateway.port), ADMIN_API_KEY=gateway.key)
    assert code == 1
    assert findings["port"][0]["detail"] == f"another gateway, not this folder's, answers at {gateway.url}"
    assert "gateway" not in findings
    assert "servers" not in findings


@pytest.mark.usefixtures("held_here")
def test_why_a_running_gateway_does_not_answer_is_said_in_plain_words(diagnose: Diagnosis, gateway) -> None:
    _, findings = diagnose()
    assert re.search(r"but not at http://127\.0\.0\.1:\d+: connection refused$", findings["gateway"][0]["detail"])
    certificate = Path("certificate.pem")
    certificate.write_text("not read by the doctor")
    tls = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(certificate)}
    _, findings = diagnose(PORT=str(gateway.port), **tls)
    assert findings["gateway"][0]["detail"].endswith("it speaks http, not https")


@pytest.mark.parametrize("name", ["admin.key", "encryption.key"])
def test_a_key_file_that_the_gateway_would_refuse(diagnose: Diagnosis, name: str) -> None:
    Path("data").mkdir()
    Path("data", name).write_text("short")
    Path("data", name).chmod(0o600)
    code, findings = diagnose()
    assert code == 1
    assert f"file {Path('data', name)} does not hold" in findings[name][0]["detail"]
    assert findings[name][0]["fix"]


def store_key(key: bytes) -> None:
    with closing(sqlite3.connect("gateway.db")) as connection, connection:
        connection.execute("CREATE TABLE model_servers (id TEXT, api_key_ciphertext BLOB)")
        connection.execute("INSERT INTO model_servers VALUES ('a-server', ?)", (SecretBox(key).seal("k", "a-server"),))
        connection.execute("INSERT INTO model_servers VALUES ('another', NULL)")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


@pytest.mark.parametrize("from_settings", [False, True])
def test_a_key_that_does_not_open_what_is_stored(diagnose: Diagnosis, from_settings: bool) -> None:
    environment = {"ENCRYPTION_KEY": ENCRYPTION_KEY} if from_settings else {}
    Path("data").mkdir()
    if not from_settings:
        Path("data/encryption.key").write_text(ENCRYPTION_KEY)
        Path("data/encryption.key").chmod(0o600)
    store_key(bytes(32))
    code, findings = diagnose(**environment)
    assert code == 1
    assert "does not open 1 of the 1 servers' keys" in findings["encryption.key"][0]["detail"]
    Path("gateway.db").unlink()
    store_key(bytes(range(32)))
    code, findings = diagnose(**environment)
    assert code == 0
    assert findings["encryption.key"][0]["level"] == "ok"


def test_a_missing_encryption_key_that_is_needed(diagnose: Diagnosis) -> None:
    store_key(bytes(32))
    code, findings = diagnose()
    assert code == 1
    assert "the keys of 1 servers in the database can't be decrypted" in findings["encryption.key"][0]["detail"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HOST": "0.0.0.0"}, "HOST=0.0.0.0 without TLS"),
        ({"ALLOWED_SERVER_NETWORKS": "10.0.0.0/8,0.0.0.0/0"}, "ALLOWED_SERVER_NETWORKS=0.0.0.0/0 lets the gateway"),
        ({"ALLOWED_SERVER_NETWORKS": "::/0"}, "ALLOWED_SERVER_NETWORKS=::/0 lets the gateway"),
    ],
)
def test_what_is_open_too_wide_is_warned_of(diagnose: Diagnosis, environment: dict[str, str], said: str) -> None:
    _, findings = diagnose(**environment)
    assert [said in finding["detail"] for finding in findings["settings"]] == [False, True]
    assert findings["settings"][1]["level"] == "warn"


def test_a_proxy_in_front_may_bring_the_tls(diagnose: Diagnosis) -> None:
    _, findings = diagnose(HOST="0.0.0.0", TRUSTED_PROXIES="10.0.0.1")
    assert [finding["level"] for finding in findings["settings"]] == ["ok"]


@posix
def test_a_database_that_others_may_read_is_warned_of(diagnose: Diagnosis) -> None:
    make_database().chmod(0o644)
    good, finding = diagnose()[1]["database"]
    assert (good["level"], finding["level"], finding["fix"]) == ("ok", "warn", "chmod 600 gateway.db")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (
            "10.0.0.5 is private; the operator can allow it with ALLOWED_SERVER_NETWORKS=10.0.0.0/8 (any network ...)",
            "Add 10.0.0.0/8, or the network that holds it, to ALLOWED_SERVER_NETWORKS, and restart the gateway.",
        ),
        ("169.254.169.254 is link-local, and no setting opens it; use another", "by an address that other machines"),
        ("connection refused", "See to it there"),
    ],
)
def test_a_forbidden_address_has_its_own_advice(reason: str, advice: str) -> None:
    server = {"registration_id": "abcdefgh-1", "endpoint_url": "http://10.0.0.5", "health_status": "unhealthy"}
    assert advice in judge_server({**server, "reason": reason}).fix


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([Level.OK], "All well"),
        ([Level.WARN], "1 warning"),
        ([Level.FAIL, Level.OK, Level.WARN, Level.WARN], "1 failure, 2 warnings"),
        ([Level.FAIL, Level.FAIL], "2 failures"),
    ],
)
def test_the_last_line(levels: list[Level], said: str) -> None:
    assert summary([Finding("x", level, "y") for level in levels]) == said


def test_the_report_ends_with_the_summary(run, free_port: int) -> None:
    lines = run("doctor", PORT=str(free_port)).stdout.splitlines()
    assert re.fullmatch(r"\d warnings?", lines[-1])
