"""What does a look at a database file tell, without changing a byte of it?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.cli.plain_words import damage_words
from app.utils.database import DatabaseUnusable
from app.utils.database_files import lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_damage", "is_gateway_running", "read_schema_version", "stored_keys"]

_LOGS: Final = ("-wal", "-journal")
BUSY_TIMEOUT_SECONDS: Final = 5.0


def read_schema_version(path: Path) -> int:
    """The schema's version (``PRAGMA user_version``); 0 for a file that no gateway has set up.

    Raises:
        sqlite3.Error: the file can't be read, or is no database.
    """
    with _opened(path) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def find_damage(path: Path) -> str | None:
    """The first thing that SQLite's quick check finds wrong, or None.

    It reads every page; indexes are not compared with tables.

    Raises:
        sqlite3.Error: the file can't be read, or is no database.
    """
    with _opened(path) as connection:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if found == "ok" else damage_words(found)


def is_gateway_running(database: Path) -> bool:
    """Whether a gateway holds the lock beside a database. Looks only: a lock file that isn't there is not made.

    Raises:
        DatabaseUnusable: the lock file can't be asked.
    """
    lock = lock_path(database)
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"The lock file {lock} can't be opened: {(error.strerror or 'no access').lower()}."
        raise DatabaseUnusable(message) from error
    try:
        return _is_held(descriptor)
    finally:
        os.close(descriptor)


def stored_keys(path: Path) -> list[tuple[str, bytes]]:
    """The encrypted keys of registered servers, each with its server's id; none where the schema has no such column.

    Raises:
        sqlite3.Error: the file can't be read, or is no database.
    """
    with _opened(path) as connection:
        columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(model_servers)")}
        if not {"id", "api_key_ciphertext"} <= columns:
            return []
        rows = connection.execute("SELECT id, api_key_ciphertext FROM model_servers WHERE api_key_ciphertext NOT NULL")
        return [(str(row[0]), bytes(row[1])) for row in rows]


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database so that not even a log or an index of it is left beside it.

    While a gateway runs, both are there, and reading through them is safe. While none does, the file alone is read as
    one that nobody changes. What a killed gateway left in a log is played into a copy.
    """
    if not path.exists():
        message = "there is no such file"
        raise sqlite3.OperationalError(message)
    if _may_be_running(path):
        yield from _connected(path, "mode=ro")
    elif not any(_is_filled(path.with_name(path.name + side)) for side in _LOGS):
        yield from _connected(path, "mode=ro&immutable=1")
    else:
        with tempfile.TemporaryDirectory(prefix="gateway-look-") as folder:
            copy = Path(folder) / path.name
            for side in ("", *_LOGS):
                with suppress(FileNotFoundError):
                    shutil.copyfile(path.with_name(path.name + side), copy.with_name(copy.name + side))
            yield from _connected(copy, "mode=rw")


def _connected(path: Path, options: str) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?{options}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        yield connection


def _may_be_running(path: Path) -> bool:
    try:
        return is_gateway_running(path)
    except DatabaseUnusable:
        return True  # Then the file is read as if in use, which is right in both cases.


def _is_filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


if sys.platform == "win32":
    import msvcrt

    def _is_held(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return True
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return False
else:
    import fcntl

    def _is_held(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
