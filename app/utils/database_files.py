"""How is a database file guarded, copied and checked? For the start, and for ``backup`` and ``restore``.

Nothing here opens the database file but SQLite: closing any other descriptor on it would drop the locks that SQLite
holds in this process (sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Self

from app.utils.database_errors import DatabaseInUse, DatabaseUnusable, unusable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["DatabaseLock", "backup_database", "lock_path", "sync_folder", "verify"]

_PAGES_PER_STEP = 1024
_BUSY_TIMEOUT_SECONDS = 5.0


def lock_path(path: Path) -> Path:
    """Give the lock file that stands beside a database file."""
    return path.with_name(f"{path.name}.lock")


class DatabaseLock:
    """An advisory lock beside the database file, held while a gateway runs on it.

    The system frees it when the process ends, however it ends. The lock file itself stays: removing it would let a
    third process lock a new file of the same name.

    Raises:
        DatabaseInUse: another process holds it.
        DatabaseUnusable: the lock file can't be made.
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, database: Path) -> None:
        self._path = lock_path(database)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, at once or not at all."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise unusable(self._path, error) from error
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise DatabaseInUse(
                f"Another gateway already runs on this database (it holds {self._path}). Stop it first, or give this "
                "one a DATABASE_URL of its own. Run one process: several workers can't share a database."
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; without a lock nothing happens."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


def backup_database(source: Path, target: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Copy a database that may be in use, whole or not at all, and check the copy.

    Args:
        source: the database file; a gateway may be running on it.
        target: the copy; it is written beside itself first, then moved into place, readable by its owner only.
        on_progress: called with the pages copied and the pages there are.

    Raises:
        DatabaseUnusable: the source can't be read, the target can't be written, or the copy is damaged.
    """
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise unusable(unfinished, error) from error
    try:
        _copy(source, unfinished, on_progress)
        verify(unfinished)
        unfinished.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise unusable(target, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def verify(path: Path) -> str | None:
    """Check a database file from end to end.

    Returns:
        The revision of its schema, or None when it has none.

    Raises:
        DatabaseUnusable: it is missing, no database, or damaged.
    """
    if not path.is_file():
        raise DatabaseUnusable(f"There is no file {path}. Check the path.")
    try:
        with closing(_open_reader(path)) as connection:
            findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            if findings != ["ok"]:
                raise DatabaseUnusable(f"The database file {path} is damaged ({findings[0]}). Take another backup.")
            return stored_revision(connection)
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def stored_revision(connection: sqlite3.Connection) -> str | None:
    """Give the schema's revision as Alembic wrote it, or None for a database that it never saw."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _copy(source: Path, target: Path, on_progress: Callable[[int, int], None] | None) -> None:
    def progress(_status: int, remaining: int, total: int) -> None:
        if on_progress is not None:
            on_progress(total - remaining, total)

    try:
        with closing(_open_reader(source)) as reading, closing(sqlite3.connect(target)) as writing:
            reading.backup(writing, pages=_PAGES_PER_STEP, progress=progress, sleep=0.01)
            writing.execute("PRAGMA journal_mode=DELETE")  # one file: a copy has no log beside it
    except sqlite3.Error as error:
        raise unusable(source, error) from error


def _open_reader(path: Path) -> sqlite3.Connection:
    """Open a file that exists, to read. Not ``mode=ro``: a log left by a killed process has to be played first."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT_SECONDS)
    connection.execute("PRAGMA query_only=ON")
    return connection


def sync_folder(folder: Path) -> None:
    """Make a move in a folder survive a power cut. Windows has no such call, and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
