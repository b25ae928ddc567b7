"""How do aliases reach the database? Every SQL statement on them stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from app.services.core.choice.aliases import Alias, Target
from app.services.core.errors import FieldsInvalid
from app.services.registry.accounting.audit_entry import append
from app.services.registry.aliases.rules import checked, shown
from app.services.registry.tables import aliases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.utils.database import Database

__all__ = ["AliasRecord", "AliasStore", "Stored"]


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """An alias as it is stored. ``decided_by`` is the id of the key that made or changed it last."""

    alias: Alias
    decided_by: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def name(self) -> str:
        """What clients ask for."""
        return self.alias.name


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database has: the aliases by name, and the names of those that this release cannot read."""

    records: tuple[AliasRecord, ...]
    unreadable: tuple[str, ...]


class AliasStore:
    """The aliases in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Stored:
        """Read all aliases, sorted by name."""
        records: list[AliasRecord] = []
        unreadable: list[str] = []
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(aliases).order_by(aliases.c.name))).mappings().all()
        for row in rows:
            try:
                records.append(_record(row))
            except (msgspec.ValidationError, FieldsInvalid):
                unreadable.append(row["name"])
        return Stored(tuple(records), tuple(unreadable))

    async def put(self, record: AliasRecord, line: AuditEntry, *, instead_of: str | None = None) -> None:
        """Store an alias with the line of its change, in place of one of its name and of the one that is named."""
        told = shown(record.alias)
        row = {
            "name": record.name,
            "targets": told["targets"],
            "fallbacks": told["fallbacks"],
            "decided_by": record.decided_by,
            "created_at": record.created_at,
            "updated_at": record.updated_at,
        }
        async with self._database.write() as connection:
            gone = {record.name, record.name if instead_of is None else instead_of}
            await connection.execute(sa.delete(aliases).where(aliases.c.name.in_(gone)))
            await connection.execute(sa.insert(aliases).values(row))
            await append(connection, line)

    async def remove(self, name: str, line: AuditEntry) -> None:
        """Forget an alias, and keep the line of that."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(aliases).where(aliases.c.name == name))
            await append(connection, line)


def _record(row: Mapping[Any, Any]) -> AliasRecord:
    """Read a row.

    Raises:
        msgspec.ValidationError: another release wrote something else there.
        FieldsInvalid: this release has narrower bounds.
    """
    targets = msgspec.convert(row["targets"], tuple[Target, ...])
    fallbacks = msgspec.convert(row["fallbacks"], tuple[Target, ...])
    return AliasRecord(
        alias=checked(Alias(row["name"], targets, fallbacks)),
        decided_by=row["decided_by"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
