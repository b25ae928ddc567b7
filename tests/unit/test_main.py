"""Is a start that fails under plain uvicorn told in one clear sentence, and never by a traceback?"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseLock

ROOT = Path(__file__).resolve().parents[2]
CA_FILE = "authorities.pem"


def a_newer_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "gateway.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")


def no_database(folder: Path) -> None:
    (folder / "gateway.db").write_text("nothing of the kind, and longer than the head of a database file" * 20)


def a_bad_encryption_key(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "encryption.key").write_text("short")


def a_bad_admin_key(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "admin.key").write_text("short")


def bad_authorities(folder: Path) -> None:
    (folder / CA_FILE).write_text("nothing of the kind")


def start(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )


def start_uvicorn(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return start(folder, "uvicorn", "app.main:app", "--port", "0", **environment)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (a_newer_database, "which this release does not know"),
        (no_database, "the file is no SQLite database: restore a backup with `multiverse restore`"),
        (a_bad_encryption_key, "encryption.key does not hold a key of 32 bytes"),
        (a_bad_admin_key, "admin.key does not hold one key"),
    ],
)
def test_a_failed_start_is_told_once_in_words(tmp_path: Path, spoil, sentence: str) -> None:
    spoil(tmp_path)
    ended = start_uvicorn(tmp_path)
    assert ended.returncode != 0
    assert ended.stdout.count(sentence) == 1, ended.stdout
    assert "Traceback" not in ended.stdout
    assert "The gateway can't start" in ended.stdout


def test_a_database_that_another_gateway_has_is_told_in_words(tmp_path: Path) -> None:
    lock = DatabaseLock(tmp_path / "gateway.db")
    lock.acquire()
    try:
        ended = start_uvicorn(tmp_path)
    finally:
        lock.release()
    assert ended.returncode != 0
    assert ended.stdout.count("Another gateway already runs on this database") == 1, ended.stdout
    assert "Traceback" not in ended.stdout


@pytest.mark.parametrize(
    "command", [("uvicorn", "app.main:app", "--port", "0"), ("app.cli", "serve", "--port", "{port}")]
)
def test_bad_authorities_are_wrong_settings(tmp_path: Path, command: tuple[str, ...], unused_tcp_port: int) -> None:
    bad_authorities(tmp_path)
    filled = [part.format(port=unused_tcp_port) for part in command]
    ended = start(tmp_path, *filled, UPSTREAM_CA_FILE=CA_FILE)
    assert ended.returncode == 2, ended.stdout
    assert ended.stdout.count(f"UPSTREAM_CA_FILE='{CA_FILE}': must hold certificates in PEM") == 1, ended.stdout
    assert "Traceback" not in ended.stdout


def test_tls_files_without_effect_are_told_once(tmp_path: Path) -> None:
    a_bad_encryption_key(tmp_path)  # so that it ends by itself
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not looked at")
    ended = start_uvicorn(tmp_path, TLS_CERT_FILE="cert.pem", TLS_KEY_FILE="key.pem")
    assert ended.stdout.count("TLS_CERT_FILE and TLS_KEY_FILE have no effect here") == 1, ended.stdout
