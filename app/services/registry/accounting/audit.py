"""Who changed what? Reading the audit, and its one line that nobody asks for: what the settings are at each start.

Lines are written with the changes that they tell of (``audit_entry``) and never again: triggers refuse it. They are
read newest first, a page at a time, by their ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from app.services.core.errors import NotAllowed
from app.services.registry.access import require_operator
from app.services.registry.accounting.audit_entry import AuditEntry, append
from app.services.registry.rows import storable
from app.services.registry.tables import audit_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy.engine import RowMapping

    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.audit_entry import Shown
    from app.utils.database import Database

__all__ = ["GATEWAY_ITSELF", "Audit", "AuditLine", "AuditPage", "AuditQuery"]

GATEWAY_ITSELF: Final = "gateway"
"""Who changed it where no key asked: id and name."""
_SETTINGS: Final = "settings"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which lines are wanted. ``before``: only those with a smaller id; ``actor`` is the id or the name of a key."""

    kind: str | None = None
    action: str | None = None
    actor: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line, with its id: a later line has a larger one."""

    id: int
    entry: AuditEntry


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Lines, the newest first. ``next_before`` gets the next page; None where this is the last."""

    lines: tuple[AuditLine, ...]
    next_before: int | None


class Audit:
    """The lines that were written.

    Args:
        database: where they are.
        clock: the present moment, timezone-aware UTC.
    """

    __slots__ = ("_clock", "_database")

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def page(self, principal: Principal, query: AuditQuery) -> AuditPage:
        """Read a page.

        Raises:
            NotAllowed: not the operator's key: one that is bound to a group would see what others changed.
            StorageUnavailable: the database does not answer.
        """
        require_operator(principal)
        if principal.group is not None:
            raise NotAllowed(
                "The audit tells of all groups, and this key is bound to one. Use an admin key without a group."
            )
        wanted = sa.select(audit_log).where(*_conditions(query)).order_by(audit_log.c.id.desc()).limit(query.limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
        lines = tuple(_line(row) for row in rows[: query.limit])
        return AuditPage(lines, lines[-1].id if len(rows) > query.limit else None)

    async def record_settings(self, shown: Shown) -> None:
        """Write down which settings are in force, as far as they differ from those of the last start.

        Args:
            shown: each setting by its name as it may be shown; of a secret only whether it is set.

        Raises:
            StorageUnavailable: nothing was written.
        """
        async with self._database.write() as connection:
            wanted = sa.select(audit_log.c.before, audit_log.c.after).where(audit_log.c.object_kind == _SETTINGS)
            told = (await connection.execute(wanted.order_by(audit_log.c.id))).all()
            known: Shown = {}
            for before, after in told:
                known = {name: value for name, value in known.items() if name not in (before or {})} | (after or {})
            changed = {
                name
                for name in {*known, *shown}
                if name not in known or name not in shown or known[name] != shown[name]
            }
            if changed or not told:
                await append(connection, self._of_settings(known, shown, changed, is_first=not told))

    def _of_settings(self, known: Shown, shown: Shown, changed: set[str], *, is_first: bool) -> AuditEntry:
        return AuditEntry(
            at=self._clock(),
            actor_id=GATEWAY_ITSELF,
            actor_name=GATEWAY_ITSELF,
            action=f"{_SETTINGS}.{'first' if is_first else 'changed'}",
            object_kind=_SETTINGS,
            object_id=_SETTINGS,
            object_name=_SETTINGS,
            before=None if is_first else {name: known[name] for name in sorted(changed & known.keys())},
            after={name: shown[name] for name in sorted(changed & shown.keys())},
        )


def _conditions(query: AuditQuery) -> list[sa.ColumnElement[bool]]:
    column = audit_log.c
    conditions: list[sa.ColumnElement[bool]] = []
    for wanted, searched in (
        (query.kind, column.object_kind),
        (query.action, column.action),
        (query.object_id, column.object_id),
    ):
        if wanted is not None:
            conditions.append(searched == storable(wanted))
    if query.actor is not None:
        actor = storable(query.actor)
        conditions.append(sa.or_(column.actor_id == actor, column.actor_name == actor))
    if query.since is not None:
        conditions.append(column.at >= query.since)
    if query.until is not None:
        conditions.append(column.at < query.until)
    if query.before is not None:
        conditions.append(column.id < query.before)
    return conditions


def _line(row: RowMapping) -> AuditLine:
    told: Mapping[str, Any] = {name: row[name] for name in AuditEntry.__slots__}
    return AuditLine(row["id"], AuditEntry(**told))
