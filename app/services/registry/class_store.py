"""How do classes of model names reach the database? Every SQL statement on them stands here.

A method is one transaction, the change's line of the audit in it. What it raises is ``StorageUnavailable``, from the
database's edge.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.services.registry.accounting.audit_entry import append
from app.services.registry.rows import storable
from app.services.registry.tables import model_class_members, model_classes

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.utils.database import Database

__all__ = ["ClassRecord", "ClassStatus", "ClassStore"]


class ClassStatus(StrEnum):
    """What the operator decided of names that may mean one model."""

    CONFIRMED = "confirmed"
    """They do: each of them leads to all of their servers."""
    DISMISSED = "dismissed"
    """They do not: it is not proposed again."""


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """One decision. ``decided_by`` is the id of the key that took it; ``members`` are sorted."""

    id: str
    name: str
    members: tuple[str, ...]
    status: ClassStatus
    decided_by: str | None
    created_at: datetime


class ClassStore:
    """The operator's decisions on names, in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> list[ClassRecord]:
        """Read all decisions, oldest first. What is of no known status is left alone."""
        known = model_classes.c.status.in_([status.value for status in ClassStatus])
        by_age = (model_classes.c.created_at, model_classes.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(model_classes).where(known).order_by(*by_age))).mappings().all()
            members: defaultdict[str, list[str]] = defaultdict(list)
            for class_id, name in await connection.execute(
                sa.select(model_class_members.c.class_id, model_class_members.c.name)
            ):
                members[class_id].append(name)
        return [
            ClassRecord(
                id=row["id"],
                name=row["name"],
                members=tuple(sorted(members[row["id"]])),
                status=ClassStatus(row["status"]),
                decided_by=row["decided_by"],
                created_at=row["created_at"],
            )
            for row in rows
        ]

    async def put(self, record: ClassRecord, line: AuditEntry, *, instead_of: Collection[str] = ()) -> None:
        """Store a decision, in place of the one with its id and of those that ``instead_of`` names by theirs."""
        async with self._database.write() as connection:
            await _delete(connection, [record.id, *instead_of])
            await connection.execute(sa.insert(model_classes).values(_row(record)))
            rows = [{"class_id": record.id, "name": storable(name)} for name in record.members]
            await connection.execute(sa.insert(model_class_members), rows)
            await append(connection, line)

    async def remove(self, class_id: str, line: AuditEntry) -> None:
        """Forget a decision."""
        async with self._database.write() as connection:
            await _delete(connection, [class_id])
            await append(connection, line)


async def _delete(connection: AsyncConnection, class_ids: Collection[str]) -> None:
    """Delete decisions with their members; by hand, for not every connection lets deletions cascade."""
    await connection.execute(sa.delete(model_class_members).where(model_class_members.c.class_id.in_(class_ids)))
    await connection.execute(sa.delete(model_classes).where(model_classes.c.id.in_(class_ids)))


def _row(record: ClassRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": storable(record.name),
        "status": record.status.value,
        "decided_by": record.decided_by,
        "created_at": record.created_at,
    }
