"""What does a look at a database file tell, without changing a byte of it?"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from app.utils.database import DatabaseInUse, DatabaseLock

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["find_damage", "is_gateway_running", "read_schema_version"]

BUSY_TIMEOUT_SECONDS: Final = 5.0


def read_schema_version(path: Path) -> int:
    """The schema's version (``PRAGMA user_version``); 0 for a file that no gateway has set up.

    Raises:
        sqlite3.Error: the file can't be read, or is no database.
    """
    with closing(_open_read_only(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def find_damage(path: Path) -> str | None:
    """What SQLite's quick check finds wrong, or None. It reads every page; indexes are not compared with tables.

    Raises:
        sqlite3.Error: the file can't be read, or is no database.
    """
    with closing(_open_read_only(path)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    return None if found == ["ok"] else "; ".join(found)


def is_gateway_running(database: Path) -> bool:
    """Whether a gateway holds the lock beside a database.

    Raises:
        DatabaseUnusable: the lock file can't be asked.
    """
    if not database.exists():
        return False
    try:
        with DatabaseLock(database):
            return False
    except DatabaseInUse:
        return True


def _open_read_only(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
