"""What does a failure of SQLite mean, and what fixes it?

Two kinds: what stops the start (:class:`DatabaseUnusable` and its children, told to the operator with the file's name)
and what happens while the gateway runs (``StorageUnavailable``, answered as 503; inference goes on from memory)::

    DatabaseUnusable            the file can't be used
    ├── DatabaseInUse           another gateway has it
    └── DatabaseTooNew          a newer release wrote it
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DatabaseError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.services.core.errors import StorageUnavailable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["DatabaseInUse", "DatabaseTooNew", "DatabaseUnusable", "advice_for", "storage_failures", "unusable"]

logger = get_logger(__name__)

_RETRY_AFTER_SECONDS = 5
_BUSY = "it is locked by another process: stop whatever else writes to the database file"
_ADVICE = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": "the disk is full: free space on the disk that holds the database file",
    "SQLITE_READONLY": "it is read-only: give the gateway's user write access to the database file and its folder",
    "SQLITE_PERM": "access is denied: give the gateway's user write access to the database file and its folder",
    "SQLITE_CANTOPEN": "it can't be opened: check that the folder exists and that the gateway's user may write there",
    "SQLITE_IOERR": "reading or writing the disk fails: check the disk that holds the database file",
    "SQLITE_CORRUPT": "it is damaged: stop the gateway and restore a backup with `multiverse restore`",
    "SQLITE_NOTADB": "the file is no SQLite database: restore a backup with `multiverse restore`, or name another file",
}
_UNKNOWN = "see the gateway's log for the reason"


class DatabaseUnusable(Exception):
    """The database file can't be used; the message names the file, the reason and the fix."""


class DatabaseInUse(DatabaseUnusable):
    """Another gateway runs on the same file."""


class DatabaseTooNew(DatabaseUnusable):
    """The schema is one that this release does not know."""


def advice_for(error: BaseException | None) -> str:
    """Say what is wrong with the database and what fixes it, by SQLite's result code (sqlite.org/rescode.html)."""
    name = getattr(error, "sqlite_errorname", None) or ""
    primary = "_".join(name.split("_")[:2])  # SQLITE_READONLY_DIRECTORY is a kind of SQLITE_READONLY
    return _ADVICE.get(primary, _UNKNOWN)


def unusable(path: Path, error: sqlite3.Error | OSError) -> DatabaseUnusable:
    """Make the error that stops the start from what SQLite or the system said."""
    if isinstance(error, OSError):
        return DatabaseUnusable(
            f"The database file {path} can't be used: {error.strerror}. "
            "Give the gateway's user write access to its folder."
        )
    advice = advice_for(error)
    return DatabaseUnusable(f"The database file {path} can't be used: {advice if advice is not _UNKNOWN else error}.")


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turn SQLite's failures into ``StorageUnavailable``.

    Broken constraints (``IntegrityError``) and wrong statements (``ProgrammingError``) pass: they are the caller's.

    Raises:
        StorageUnavailable: the database does not answer; the message names the fix.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise _unavailable("it is busy: every connection is taken; try again", error) from error
    except DatabaseError as error:
        if isinstance(error, OperationalError | InternalError) or type(error) is DatabaseError:
            raise _unavailable(advice_for(error.orig), error.orig or error) from error
        raise


def _unavailable(advice: str, error: BaseException) -> StorageUnavailable:
    code = getattr(error, "sqlite_errorname", None)
    logger.warning("The database failed", reason=str(error), sqlite_code=code, advice=advice)
    return StorageUnavailable(f"The database does not answer: {advice}.", retry_after_seconds=_RETRY_AFTER_SECONDS)
