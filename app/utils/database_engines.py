"""How does SQLite behave for us? The settings of its connections: one engine that writes, one that only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["reading_engine", "writing_engine"]

_READERS = 4
_WRITER_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
_READER_PRAGMAS = ("query_only=ON", "foreign_keys=ON")


def writing_engine(path: Path, timeout_seconds: float) -> AsyncEngine:
    """Make the engine of the one connection that writes: what it commits is on the disk."""
    return _engine(path, timeout_seconds, begin="BEGIN IMMEDIATE", connections=1, pragmas=_WRITER_PRAGMAS)


def reading_engine(path: Path, timeout_seconds: float) -> AsyncEngine:
    """Make the engine of the connections that can't write."""
    return _engine(path, timeout_seconds, begin="BEGIN", connections=_READERS, pragmas=_READER_PRAGMAS)


def _engine(
    path: Path, timeout_seconds: float, *, begin: str, connections: int, pragmas: tuple[str, ...]
) -> AsyncEngine:
    """Make an engine whose transactions start as we say: sqlite3 itself would begin late, and deferred."""
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        connect_args={"isolation_level": None},
        hide_parameters=True,  # its errors would carry metadata and ciphertexts into tracebacks
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={int(timeout_seconds * 1000)}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
