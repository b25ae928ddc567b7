"""How do the terms of servers reach the database? Every SQL statement on them stands here.

They belong to their server: read with it, and written in the transaction that writes it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from app.services.core.people.principal import Trust
from app.services.registry.records import Hold, ServerRecord
from app.services.registry.rows import hold_of, hold_row
from app.services.registry.tables import server_terms
from app.services.registry.terms import hours_document, hours_from
from app.services.registry.terms_zones import known_zone
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["Terms", "put_terms", "read_terms"]

_UNREADABLE: Final = Hold(
    active=True, reason="its terms were stored by another release and cannot be read: set its hours, then approve it"
)

logger = get_logger(__name__)


class Terms:
    """What is stored of the terms of all servers, with the zones that their hours name."""

    __slots__ = ("_rows", "_zones")

    def __init__(self, rows: Mapping[str, Mapping[str, Any]], zones: Mapping[str, tzinfo | None]) -> None:
        self._rows = rows
        self._zones = zones

    def applied_to(self, record: ServerRecord) -> ServerRecord:
        """Return a server on its terms; one whose terms can't be read serves nobody until somebody has looked."""
        row = self._rows.get(record.id)
        if row is None:
            return record
        try:
            return replace(
                record,
                trust=None if row["trust"] is None else Trust(row["trust"]),
                hours=None if row["hours"] is None else hours_from(row["hours"], self._zones.get(_zone_name(row))),
                pending=hold_of(row, "pending"),
            )
        except (KeyError, TypeError, ValueError):
            logger.exception("The terms of a stored server cannot be read: it waits for approval", server_id=record.id)
            return replace(record, pending=_UNREADABLE)


async def read_terms(connection: AsyncConnection) -> Terms:
    """Read the terms of all servers. Servers of an older release have none."""
    rows = {row["server_id"]: dict(row) for row in (await connection.execute(sa.select(server_terms))).mappings()}
    return Terms(rows, await asyncio.to_thread(_zones_of, rows.values()))


async def put_terms(connection: AsyncConnection, record: ServerRecord) -> None:
    """Write the terms of a server, in place of what was known."""
    row = {
        "server_id": record.id,
        "trust": None if record.trust is None else record.trust.value,
        "hours": None if record.hours is None else hours_document(record.hours),
    } | hold_row(record, "pending")
    await connection.execute(sa.delete(server_terms).where(server_terms.c.server_id == record.id))
    await connection.execute(sa.insert(server_terms).values(row))


def _zones_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, tzinfo | None]:
    """Read the zones that hours name from this machine's files."""
    return {name: known_zone(name) for name in {_zone_name(row) for row in rows}}


def _zone_name(row: Mapping[str, Any]) -> str:
    hours = row["hours"]
    return str(hours.get("timezone", "")) if isinstance(hours, dict) else ""
