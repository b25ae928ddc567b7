"""Locks, backups and checks of a database file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from app.utils.database import DatabaseInUse, DatabaseLock, DatabaseUnusable, backup_database, verify

pytestmark = pytest.mark.usefixtures("empty_directory")
FILE = Path("gateway.db")
COPY = Path("copy.db")


def make(path: Path, *words: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS words (word TEXT)")
        connection.executemany("INSERT INTO words VALUES (?)", [(word,) for word in words])
        connection.commit()


def words(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM words ORDER BY rowid")]


def test_a_lock_is_one_s_alone_until_released():
    first, second = DatabaseLock(FILE), DatabaseLock(FILE)
    with first, pytest.raises(DatabaseInUse, match=r"holds gateway\.db\.lock"):
        second.acquire()
    with second:
        assert Path("gateway.db.lock").exists()
    second.release()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_process_frees_its_lock():
    program = (
        "import sys; from pathlib import Path; from app.utils.database import DatabaseLock\n"
        "DatabaseLock(Path('gateway.db')).acquire(); print('locked', flush=True); sys.stdin.read()"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(DatabaseInUse):
            DatabaseLock(FILE).acquire()
        process.kill()
        process.wait(10)
    with DatabaseLock(FILE):
        pass


def test_a_lock_that_can_not_be_made():
    Path("folder").touch()
    with pytest.raises(DatabaseUnusable, match="write access"):
        DatabaseLock(Path("folder/gateway.db")).acquire()


def test_a_backup_is_one_private_file_with_everything_committed():
    make(FILE, "one")
    with closing(sqlite3.connect(FILE)) as running:
        running.execute("INSERT INTO words VALUES ('in the log only')")
        running.commit()
        running.execute("INSERT INTO words VALUES ('not committed')")
        backup_database(FILE, COPY)
    assert words(COPY) == ["one", "in the log only"]
    assert sorted(path.name for path in Path().iterdir() if "copy" in path.name) == ["copy.db"]
    if os.name == "posix":
        assert COPY.stat().st_mode & 0o777 == 0o600


def test_a_backup_replaces_an_older_one_only_when_it_is_whole():
    make(COPY, "older backup")
    FILE.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnusable, match=r"gateway\.db"):
        backup_database(FILE, COPY)
    assert words(COPY) == ["older backup"]
    FILE.unlink()
    make(FILE, "new")
    backup_database(FILE, COPY)
    assert words(COPY) == ["new"]


def test_a_backup_of_nothing():
    with pytest.raises(DatabaseUnusable, match=r"gateway\.db"):
        backup_database(FILE, COPY)
    assert not FILE.exists()
    assert not COPY.exists()


def test_a_backup_into_a_place_that_can_not_be_written():
    make(FILE, "one")
    Path("folder").touch()
    with pytest.raises(DatabaseUnusable, match="write access"):
        backup_database(FILE, Path("folder/copy.db"))


def test_a_damaged_file_is_told():
    make(FILE, *(f"{number} {'x' * 500}" for number in range(100)))
    content = bytearray(FILE.read_bytes())
    content[8192:16384] = b"\xa5" * 8192
    FILE.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match="damaged"):
        verify(FILE)


def test_verify():
    with pytest.raises(DatabaseUnusable, match="There is no file"):
        verify(COPY)
    COPY.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnusable, match="no SQLite database"):
        verify(COPY)
    COPY.unlink()
    make(COPY, "fine")
    assert verify(COPY) is None
