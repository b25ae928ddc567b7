"""Are database and keys saved while they are in use, and brought back without losing what was there?"""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from app.cli.archive import Member, file_digest
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


def test_a_backup_that_is_stopped_leaves_nothing(home: Path, run, monkeypatch) -> None:
    def stopped(path: Path) -> Member:
        assert list((home / "backups").glob(".gateway-backup-*")), "the copy stands there"
        signal.raise_signal(signal.SIGTERM)
        return file_digest(path)

    monkeypatch.setattr("app.cli.backup.file_digest", stopped)
    before = signal.getsignal(signal.SIGTERM)
    result = run("backup")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "was stopped" in result.stderr
    assert list((home / "backups").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


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


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("number", range(8))
def test_a_crash_at_any_step_leaves_a_database(saved: Path, other_home: Path, run, monkeypatch, number: int) -> None:
    """Never none: the next start would make an empty one."""
    steps = 0

    def crashing(original):
        def step(*arguments, **options):
            nonlocal steps
            names = [Path(argument).name for argument in arguments if isinstance(argument, str | Path)]
            if any("gateway.db" in name and not name.endswith(".lock") for name in names):
                steps += 1
                if steps > number:
                    raise Crash
            return original(*arguments, **options)

        return step

    with monkeypatch.context() as patched, suppress(Crash):
        for name in ("link", "rename", "replace", "unlink"):
            patched.setattr(os, name, crashing(getattr(os, name)))
        run("restore", str(saved), "--force")
    (other_home / "gateway.db-wal").unlink(missing_ok=True)
    assert count(other_home / "gateway.db") == (500 if steps <= number else 7)
    assert run("restore", str(saved), "--force").exit_code == 0
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


class StandingClock(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, zone=None):
        return cls(2100, 1, 1, tzinfo=zone)


def test_two_backups_and_two_restores_in_one_second(home: Path, run, tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setattr("app.cli.backup.datetime", StandingClock)
    for _ in range(3):
        assert run("backup").exit_code == 0
    names = sorted(path.name for path in (home / "backups").iterdir())
    stem = "gateway-21000101T000000Z"
    assert names == [f"{stem}-2.tar.gz", f"{stem}-3.tar.gz", f"{stem}.tar.gz"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    for _ in range(3):
        assert run("restore", str(home / "backups" / names[0]), "--force").exit_code == 0
    assert len(list(elsewhere.glob("gateway.db.before-restore-*"))) == 2


def test_a_data_folder_on_another_disk(saved: Path, other_home: Path, run) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == other_home.stat().st_dev:
        pytest.skip("there is no second file system here")
    with TemporaryDirectory(dir=memory) as folder:
        Path(folder, "encryption.key").write_text("the old one")
        result = run("restore", str(saved), "--force", GATEWAY_DATA_DIR=folder)
        assert result.exit_code == 0, result.stderr
        assert {name: Path(folder, name).read_text() for name in KEYS} == KEYS
        aside = list(Path(folder).glob("encryption.key.before-restore-*"))
        assert [path.read_text() for path in aside] == ["the old one"]
    assert count(other_home / "gateway.db") == 500


def test_a_restore_that_fails_halfway_changes_nothing(saved: Path, other_home: Path, run, monkeypatch) -> None:
    (other_home / "data").mkdir()
    (other_home / "data" / "encryption.key").write_text("the old one")
    original = os.replace

    def refuse(source, target) -> None:
        if Path(target).name == "gateway.db":
            raise OSError(errno.EACCES, "Permission denied", str(target))
        original(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    result = run("restore", str(saved), "--force")
    assert result.exit_code == 1
    assert "gateway.db: permission denied; nothing was changed." in result.stderr
    assert [path.name for path in (other_home / "data").iterdir()] == ["encryption.key"]
    assert (other_home / "data" / "encryption.key").read_text() == "the old one"
    (other_home / "gateway.db-wal").unlink()
    assert count(other_home / "gateway.db") == 7


def test_a_linked_database_stays_where_it_is(saved: Path, other_home: Path, run) -> None:
    disk = other_home / "disk"
    disk.mkdir()
    (other_home / "gateway.db").rename(disk / "real.db")
    (other_home / "gateway.db").symlink_to(disk / "real.db")
    assert run("restore", str(saved), "--force").exit_code == 0
    assert (other_home / "gateway.db").is_symlink()
    assert count(disk / "real.db") == 500


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="takes root")
def test_what_root_saves_and_restores_belongs_to_the_gateways_user(
    home: Path, run, tmp_path_factory, monkeypatch
) -> None:
    os.chown(home, 12345, 12345)
    assert run("backup").exit_code == 0
    archive = next((home / "backups").iterdir())
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.chown(elsewhere, 12345, 12345)
    monkeypatch.chdir(elsewhere)
    assert run("restore", str(archive)).exit_code == 0
    owners = {path.name: path.stat().st_uid for path in [archive.parent, archive, *elsewhere.rglob("*")]}
    assert {"data", "admin.key", "encryption.key", "gateway.db", "gateway.db.lock"} <= owners.keys()
    assert set(owners.values()) == {12345}


def test_a_folder_without_settings_is_told_what_to_set(home: Path, run, tmp_path_factory, monkeypatch) -> None:
    authority = home / "authority.pem"
    authority.write_text("a certificate")
    networks = "10.0.0.0/8,192.168.1.0/24"
    settings = {"ALLOWED_SERVER_NETWORKS": networks, "UPSTREAM_CA_FILE": str(authority)}
    assert run("backup", "a.tar.gz", **settings).exit_code == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    said = run("restore", str(home / "a.tar.gz")).stdout
    assert (
        f"This folder has no .env. The backup's gateway had ALLOWED_SERVER_NETWORKS={networks}, "
        f"UPSTREAM_CA_FILE={authority}: run multiverse init --yes --allow 10.0.0.0/8 --allow 192.168.1.0/24\n"
    ) in said
    assert "name it in .env as UPSTREAM_CA_FILE" in said
    told = json.loads(run("restore", str(home / "a.tar.gz"), "--force", "--json").stdout)
    assert told["settings_to_set"] == settings
    assert "no .env" not in run("restore", str(home / "a.tar.gz"), "--force", **settings).stdout
    Path(".env").touch()
    assert "no .env" not in run("restore", str(home / "a.tar.gz"), "--force").stdout


def test_a_backup_without_its_encryption_key(home: Path, run, tmp_path_factory, monkeypatch) -> None:
    (home / "data" / "encryption.key").unlink()
    assert run("backup", "a.tar.gz").exit_code == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "holds no encryption key" in run("restore", str(home / "a.tar.gz")).stdout


def test_damage_is_told_in_one_line(home: Path, run) -> None:
    path = home / "broken.db"
    make_database(path, 500).close()
    damaged = bytearray(path.read_bytes())
    damaged[8192:20480] = b"\x55" * 12288
    path.write_bytes(damaged)
    result = run("backup", "a.tar.gz", DATABASE_URL="sqlite:///broken.db")
    assert result.exit_code == 1
    assert "***" not in result.stderr
    assert "damaged" in result.stderr.partition("Error: ")[2].splitlines()[0]
