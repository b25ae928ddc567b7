"""What is one line of the audit, and how does it get into the transaction of the change that it tells of?

A change and its line are written together or not at all. Neither ``before`` nor ``after`` ever holds a secret: who
makes an entry gives what may be shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.services.registry.accounting.origin import current_origin
from app.services.registry.rows import storable
from app.services.registry.tables import audit_log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.services.core.people.principal import Principal

__all__ = ["AuditEntry", "Shown", "append", "entry"]

Shown = dict[str, Any]
"""An object as it may be shown: values that JSON has, no secret among them."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: by whom, from where, of what, and what it was before and after (None: it was not, or is no more)."""

    at: datetime
    actor_id: str
    actor_name: str
    action: str
    object_kind: str
    object_id: str
    object_name: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    client: str = ""
    request_id: str = ""


def entry(
    principal: Principal,
    at: datetime,
    action: str,
    object_kind: str,
    object_id: str,
    object_name: str = "",
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Make the line of a change that a key makes, with the origin of the request that is being served.

    Args:
        principal: whose key it is.
        at: when.
        action: ``<object_kind>.<verb in the past>``, such as ``key.created`` or ``server.paused``.
        object_kind: ``key``, ``group``, ``server``, ``alias``, ``model_limits``, ``model_class`` or ``settings``.
        object_id: of the object.
        object_name: what people call it.
        before: the object as it was, as far as it changes.
        after: the object as it is now, likewise.
    """
    origin = current_origin()
    return AuditEntry(
        at,
        principal.key_id,
        principal.name,
        action,
        object_kind,
        object_id,
        object_name,
        before,
        after,
        origin.client,
        origin.request_id,
    )


async def append(connection: AsyncConnection, *entries: AuditEntry) -> None:
    """Write lines of the audit in the transaction of ``connection``."""
    rows = [
        {
            "at": line.at,
            "actor_id": line.actor_id,
            "actor_name": storable(line.actor_name),
            "client": storable(line.client),
            "request_id": line.request_id,
            "action": line.action,
            "object_kind": line.object_kind,
            "object_id": storable(line.object_id),
            "object_name": storable(line.object_name),
            "before": None if line.before is None else dict(line.before),
            "after": None if line.after is None else dict(line.after),
        }
        for line in entries
    ]
    if rows:
        await connection.execute(sa.insert(audit_log), rows)
