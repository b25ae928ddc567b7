"""How does the gateway reach its database? One connection that writes, a few that read, one file, one process.

SQLite 3.7.0 to 3.51.2 can lose commits when two connections write or checkpoint, so exactly one does both here, with
``synchronous=FULL``: what is committed survives a power cut. Readers can't write (``query_only``). A second gateway on
the same file is refused by a lock file; one that replaces this one is lent the file, with every connection closed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Self

from app.services.core.errors import StorageUnavailable
from app.utils.database_engines import reading_engine, writing_engine
from app.utils.database_errors import DatabaseInUse, DatabaseTooNew, DatabaseUnusable, storage_failures, unusable
from app.utils.database_files import DatabaseLock, backup_database, verify
from app.utils.database_migrations import Migrations, migrate
from app.utils.database_turn import FileTurn
from app.utils.logger import get_logger
from app.utils.setting_types import sqlite_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = [
    "Database",
    "DatabaseHealth",
    "DatabaseInUse",
    "DatabaseLock",
    "DatabaseTooNew",
    "DatabaseUnusable",
    "Migrations",
    "backup_database",
    "verify",
]

logger = get_logger(__name__)

_RETRY_AFTER_SECONDS = 5
_FILE_LOST = (
    "The database file was removed or replaced while the gateway runs, so nothing can be stored: see that the right "
    "file is there, or restore a backup with `multiverse restore`, then restart the gateway."
)
_CHECK_DEADLINE_SECONDS = 2.0
_CLOSE_DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """What a look at the database found. ``reason`` is empty when it is healthy."""

    status: Literal["healthy", "unhealthy"]
    latency_ms: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Schema:
    """What was found at the start, for :meth:`Database.check` to compare with: the revision, and which file it was."""

    revision: str
    file: tuple[int, int] | None

    def has_lost(self, path: Path) -> bool:
        """Whether another file or none is at the path now. False where the system does not tell."""
        try:
            return self.file is not None and _identity(path) != self.file
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            logger.debug("The database file cannot be looked at", reason=error.strerror)
            return False


class Database:
    """The open database. Made by :meth:`open`, ended by :meth:`close`."""

    def __init__(self, path: Path, lock: DatabaseLock, schema: _Schema, timeout_seconds: float) -> None:
        self.path = path
        self._schema = schema
        self._lock = lock
        self._write_failed = False
        self._closed = False
        self._turn = FileTurn(timeout_seconds)
        self._writer = writing_engine(path, timeout_seconds)
        self._reader = reading_engine(path, timeout_seconds)

    @classmethod
    async def open(cls, url: str, migrations: Migrations, *, timeout_seconds: float = 5.0) -> Self:
        """Lock the file, bring its schema up to date and connect.

        Args:
            url: ``sqlite:///relative`` or ``sqlite:////absolute``; the file and its folder are made.
            migrations: where the schema comes from.
            timeout_seconds: how long a statement waits for a lock, or a caller for a connection.

        Raises:
            ValueError: the URL is not of that form.
            DatabaseUnusable: the file can't be used (also ``DatabaseInUse``, ``DatabaseTooNew``).
        """
        return await asyncio.to_thread(cls._prepare, sqlite_path(url), migrations, timeout_seconds)

    @classmethod
    def _prepare(cls, path: Path, migrations: Migrations, timeout_seconds: float) -> Self:
        """Do what blocks: take the lock, migrate, look at the file."""
        path = path.absolute()  # whoever changes the working directory later means no other file
        lock = DatabaseLock(path)
        lock.acquire()
        try:
            schema = _Schema(migrate(path, migrations), _identity(path))
            return cls(path, lock, schema, timeout_seconds)
        except OSError as error:
            lock.release()
            raise unusable(path, error) from error
        except BaseException:
            lock.release()
            raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give the writing connection inside a transaction: committed at the end, rolled back on an error.

        Writers take turns. What was written is on the disk when the block has been left, in the file that the next
        start will open.

        Raises:
            StorageUnavailable: the database does not answer, stayed busy past the timeout, or its file is gone.
        """
        self._refuse_closed()
        try:
            with storage_failures():
                async with self._turn.taken(), self._writer.begin() as connection:
                    yield connection
                    await self._refuse_lost()
        except StorageUnavailable:
            self._write_failed = True
            raise
        self._write_failed = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a reading connection: all its statements see the same state.

        Raises:
            StorageUnavailable: the database does not answer, or all readers stayed busy past the timeout.
        """
        self._refuse_closed()
        with storage_failures():
            async with self._turn.taken(), self._reader.connect() as connection:
                yield connection

    async def check(self) -> DatabaseHealth:
        """Look whether the database can be used: read its revision, and see that the file is still the same.

        Nothing is written, but after a write that failed: then one is tried, so that health tells the truth about a
        full disk and comes back by itself.
        """
        if self._turn.lent:  # the process that has it answers for it
            return DatabaseHealth("healthy", 0.0)
        start = perf_counter()
        try:
            async with asyncio.timeout(_CHECK_DEADLINE_SECONDS):
                reason = await self._find_fault()
        except StorageUnavailable as error:
            reason = error.message
        except TimeoutError:
            reason = f"The database did not answer within {_CHECK_DEADLINE_SECONDS:g} s."
        latency_ms = round((perf_counter() - start) * 1000, 3)
        return DatabaseHealth("unhealthy" if reason else "healthy", latency_ms, reason)

    async def close(self) -> None:
        """Put the log's pages into the file, close every connection and free the lock. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if not self._turn.lent:
            await self._let_go()

    @property
    def lent(self) -> bool:
        """Whether another process has the file, for a while or for good."""
        return self._turn.lent

    async def lend(self) -> None:
        """Let the process that replaces this one have the file. Callers wait, each as long as for a busy database.

        Raises:
            StorageUnavailable: a transaction takes too long; nothing changed.
        """
        await self._turn.lend()
        await self._let_go()

    async def take_back(self) -> None:
        """Go on with the file that was lent.

        Raises:
            DatabaseInUse: the other process still has it.
            DatabaseTooNew: the other process gave it a schema that this one does not know.
        DatabaseUnusable: the file is gone or damaged.
        """
        await asyncio.to_thread(self._lock.acquire)
        try:
            await self._refuse_changed()
        except BaseException:
            self._lock.release()
            raise
        self._turn.come_back()

    def give_away(self, refusal: str) -> None:
        """The file that was lent will not come back: from now on callers are refused with these words."""
        self._turn.give_away(refusal)

    async def _refuse_changed(self) -> None:
        """Write nothing into a schema that this release does not know."""
        revision = await asyncio.to_thread(verify, self.path)
        if revision != self._schema.revision:
            raise DatabaseTooNew(
                f"The database file {self.path} was given schema revision '{revision}' by the process that was to "
                f"replace this one; it had '{self._schema.revision}'. Start the newer release, or restore a backup."
            )

    async def _let_go(self) -> None:
        for step in (self._reader.dispose, self._checkpoint, self._writer.dispose):
            try:
                async with asyncio.timeout(_CLOSE_DEADLINE_SECONDS):
                    await step()
            except (StorageUnavailable, TimeoutError) as error:
                # Nothing is lost: the log stays beside the file, and the next start plays it.
                logger.warning("The database was not closed cleanly", step=step.__name__, reason=str(error))
        self._lock.release()

    async def _find_fault(self) -> str:
        if await asyncio.to_thread(self._schema.has_lost, self.path):
            return _FILE_LOST
        async with self.read() as connection:
            row = (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).first()
        if row is None or row[0] != self._schema.revision:
            return "The database's schema changed while the gateway runs: restart the gateway."
        if self._write_failed:
            await self._try_writing()
        return ""

    async def _try_writing(self) -> None:
        """Write a number that nothing reads, as it is: it takes a lock, a page of the log and room on the disk."""
        async with self.write() as connection:
            row = (await connection.exec_driver_sql("PRAGMA user_version")).one()
            await connection.exec_driver_sql(f"PRAGMA user_version = {int(row[0])}")

    async def _checkpoint(self) -> None:
        """Empty the log. On the bare connection: a checkpoint can't run inside a transaction."""
        with storage_failures():
            async with self._writer.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                if driver is None:
                    return
                try:
                    await driver.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                except sqlite3.Error as error:
                    raise StorageUnavailable(f"The checkpoint failed: {error}.") from error

    async def _refuse_lost(self) -> None:
        """Commit nothing that the next start would not find."""
        if await asyncio.to_thread(self._schema.has_lost, self.path):
            raise StorageUnavailable(_FILE_LOST, retry_after_seconds=_RETRY_AFTER_SECONDS)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StorageUnavailable("The database is closed: the gateway is stopping.")


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell one file from another of the same name: device and inode. None on file systems that number no files.

    Raises:
        OSError: it can't be looked at.
    """
    status = path.stat()
    return (status.st_dev, status.st_ino) if status.st_ino else None
