"""Are database and keys saved while they are in use, and brought back without losing what was there?"""

from __future__ import annotations

import json
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.services.registry.tables import SCHEMA_VERSION
from app.utils.database import DatabaseLock

KEYS = {"admin.key": "mvk_the-admin-key", "encryption.key": "the-encryption-key"}


def make_database(path: Path, rows: int, schema_version: int = SCHEMA_VERSION) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA user_version={schema_version}")
    connection.execute("CREATE TABLE model_servers (id INTEGER PRIMARY KEY, filler TEXT)")
    connection.executemany("INSERT INTO model_servers (filler) VALUES (?)", [("x" * 1000,)] * rows)
    return connection


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM model_servers").fetchone()[0]


@pytest.fixture
def home(empty_directory: Path) -> Iterator[Path]:
    """A gateway's folder whose database is open, with rows that only the write-ahead log holds."""
    connection = make_database(empty_directory / "gateway.db", 500)
    folder = empty_directory / "data"
    folder.mkdir()
    for name, content in KEYS.items():
        (folder / name).write_text(content)
    yield empty_directory
    connection.close()


@pytest.fixture
def saved(home: Path, run) -> Path:
    assert run("backup", "saved.tar.gz").exit_code == 0
    return home / "saved.tar.gz"


def test_a_backup_of_an_open_database_is_whole_and_private(home: Path, run) -> None:
    result = run("backup")
    assert result.exit_code == 0
    archive = next((home / "backups").glob("gateway-*.tar.gz"))
    assert "admin.key, encryption.key, gateway.db" in result.stdout
    assert [path.name for path in (home / "backups").iterdir()] == [archive.name]
    if sys.platform != "win32":
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600


def test_backup_as_json(home: Path, run) -> None:
    told = json.loads(run("backup", "a.tar.gz", "--json").stdout)
    assert told["file"] == str(home / "a.tar.gz")
    assert told["members"] == ["admin.key", "encryption.key", "gateway.db"]


@pytest.mark.usefixtures("home")
def test_a_key_from_the_settings_is_mentioned(run) -> None:
    assert "ENCRYPTION_KEY" in run("backup", "a.tar.gz", ENCRYPTION_KEY="A" * 43 + "=").stdout


def test_a_backup_is_never_overwritten(saved: Path, run) -> None:
    before = saved.read_bytes()
    result = run("backup", saved.name)
    assert result.exit_code == 1
    assert "never overwritten" in result.stderr
    assert saved.read_bytes() == before


@pytest.mark.usefixtures("empty_directory")
def test_nothing_to_back_up_is_told(run) -> None:
    result = run("backup")
    assert result.exit_code == 1
    assert "There is no database" in result.stderr


def test_a_damaged_database_is_not_backed_up_as_if_it_were_good(home: Path, run) -> None:
    (home / "broken.db").write_bytes(b"this is no database " * 500)
    result = run("backup", "a.tar.gz", DATABASE_URL="sqlite:///broken.db")
    assert result.exit_code == 1
    assert not (home / "a.tar.gz").exists()


def test_a_restore_brings_everything_back(saved: Path, home: Path, run, tmp_path_factory, monkeypatch) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    result = run("restore", str(saved))
    assert result.exit_code == 0, result.stderr
    assert count(elsewhere / "gateway.db") == count(home / "gateway.db") == 500
    for name, content in KEYS.items():
        path = elsewhere / "data" / name
        assert path.read_text() == content
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(elsewhere.glob(".gateway-restore-*"))


@pytest.fixture
def other_home(saved: Path, tmp_path_factory, monkeypatch) -> Path:
    """Another folder, with a database of its own and a log beside it."""
    folder = tmp_path_factory.mktemp("other")
    make_database(folder / "gateway.db", 7).close()
    (folder / "gateway.db-wal").write_bytes(b"a log")
    monkeypatch.chdir(folder)
    assert saved.exists()
    return folder


def test_what_was_there_is_moved_aside(saved: Path, other_home: Path, run) -> None:
    told = json.loads(run("restore", str(saved), "--force", "--json").stdout)
    aside = [Path(path) for path in told["moved_aside"]]
    assert [path.name.rpartition("Z")[2] for path in aside] == ["", "-wal"]
    assert aside[1].read_bytes() == b"a log"
    aside[1].unlink()
    assert count(aside[0]) == 7
    assert count(other_home / "gateway.db") == 500


def test_a_database_is_not_replaced_unasked(saved: Path, other_home: Path, run) -> None:
    result = run("restore", str(saved))
    assert result.exit_code == 2
    assert "--force" in result.stderr
    (other_home / "gateway.db-wal").unlink()
    assert count(other_home / "gateway.db") == 7


def test_a_running_gateway_is_left_alone(saved: Path, other_home: Path, run) -> None:
    with DatabaseLock(other_home / "gateway.db"):
        result = run("restore", str(saved), "--force")
    assert result.exit_code == 1
    assert "A gateway is running" in result.stderr
    (other_home / "gateway.db-wal").unlink()
    assert count(other_home / "gateway.db") == 7


def test_a_newer_schema_is_refused(home: Path, run) -> None:
    make_database(home / "newer.db", 1, SCHEMA_VERSION + 1).close()
    assert run("backup", "newer.tar.gz", DATABASE_URL="sqlite:///newer.db").exit_code == 0
    result = run("restore", "newer.tar.gz", DATABASE_URL="sqlite:///other.db")
    assert result.exit_code == 1
    assert f"has schema {SCHEMA_VERSION + 1}" in result.stderr
    assert not (home / "other.db").exists()


@pytest.mark.usefixtures("empty_directory")
def test_a_file_that_is_no_backup_is_refused(run) -> None:
    Path("x.tar.gz").write_bytes(b"nonsense")
    result = run("restore", "x.tar.gz")
    assert result.exit_code == 1
    assert "can't be restored" in result.stderr
    assert run("restore", "absent.tar.gz").exit_code == 2
    assert not Path("gateway.db").exists()
