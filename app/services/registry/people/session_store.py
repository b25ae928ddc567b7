"""How do sign-ins to the pages reach the database? Every SQL statement on them stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from app.services.core.people.session import StoredSession
from app.services.registry.accounting.audit_entry import append
from app.services.registry.tables import ui_sessions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.utils.database import Database

__all__ = ["SessionStore"]

_BATCH = 500
"""How many ids one statement names at most: SQLite takes 32,766 parameters, older ones 999."""


class SessionStore:
    """Sign-ins in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, most: int) -> list[StoredSession]:
        """Read at most so many, those that end last; some may have ended."""
        wanted = sa.select(ui_sessions).order_by(ui_sessions.c.expires_at.desc(), ui_sessions.c.id).limit(most)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted)
            return [StoredSession(row.id, row.sealed_digest, row.created_at, row.expires_at) for row in rows]

    async def open(self, session: StoredSession, closed: Collection[bytes], entry: AuditEntry | None = None) -> None:
        """Add a session, delete those that it takes the place of, and write the line of the audit: all or nothing."""
        async with self._database.write() as connection:
            await _delete(connection, (*closed, session.id))
            row = {name: getattr(session, name) for name in ("id", "sealed_digest", "created_at", "expires_at")}
            await connection.execute(sa.insert(ui_sessions).values(row))
            if entry is not None:
                await append(connection, entry)

    async def save(self, ends: Mapping[bytes, datetime], closed: Collection[bytes]) -> None:
        """Write new ends of sessions, by id, and delete those that were closed. One that is not there stays so."""
        async with self._database.write() as connection:
            await _delete(connection, closed)
            if ends:
                change = (
                    sa.update(ui_sessions)
                    .where(ui_sessions.c.id == sa.bindparam("session_id"))
                    .values(expires_at=sa.bindparam("end"))
                )
                await connection.execute(change, [{"session_id": id_, "end": end} for id_, end in ends.items()])

    async def purge(self, now: datetime) -> int:
        """Delete what has ended; how many that were."""
        async with self._database.write() as connection:
            return (await connection.execute(sa.delete(ui_sessions).where(ui_sessions.c.expires_at <= now))).rowcount


async def _delete(connection: AsyncConnection, closed: Collection[bytes]) -> None:
    ids = tuple(closed)
    for start in range(0, len(ids), _BATCH):
        await connection.execute(sa.delete(ui_sessions).where(ui_sessions.c.id.in_(ids[start : start + _BATCH])))
