"""How does the registry reach the database? Every SQL statement of it stands here.

A method is one transaction. What it raises beside its own errors is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.services.core.checks.health import CheckRecord
from app.services.core.errors import EndpointRefused
from app.services.registry.accounting.audit_entry import append
from app.services.registry.records import LoadedServer
from app.services.registry.rows import (
    finding_of,
    finding_row,
    health_of,
    health_row,
    model_rows,
    record_of,
    server_row,
    storable,
)
from app.services.registry.tables import continuation_findings, health_checks, model_servers, server_models
from app.services.registry.terms_store import put_terms, read_terms
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.services.core.checks.health import HealthState
    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.services.registry.records import Finding, ServerRecord
    from app.services.registry.secrets import SecretBox
    from app.utils.database import Database

__all__ = ["HISTORY_LENGTH", "EndpointTaken", "ServerRepository"]

HISTORY_LENGTH: Final = 100
"""How many checks are kept per server."""

logger = get_logger(__name__)


class EndpointTaken(Exception):
    """Another live server has this endpoint."""


class ServerRepository:
    """Servers, their terms, their models and their checks in the database.

    What people change is written with its ``lines`` of the audit, together or not at all.
    """

    __slots__ = ("_box", "_database")

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def load(self) -> list[LoadedServer]:
        """Read all live servers, oldest first, each with its last known health and all else that is known of it."""
        living = model_servers.c.deleted_at.is_(None)
        async with self._database.read() as connection:
            servers = (await connection.execute(sa.select(model_servers).where(living).order_by(*_BY_AGE))).mappings()
            models = await _grouped(connection, sa.select(server_models).order_by(server_models.c.position))
            checks = await _grouped(connection, _LATEST_CHECKS)
            findings = await _grouped(connection, sa.select(continuation_findings))
            terms = await read_terms(connection)
        loaded = []
        for row in map(dict, servers):
            try:
                record = record_of(row, models[row["id"]], self._box)
            except EndpointRefused:
                logger.exception("A stored server is left out: its endpoint is no longer accepted", server_id=row["id"])
                continue
            history = tuple(map(_check_of, checks[record.id]))
            record = terms.applied_to(record)
            loaded.append(LoadedServer(record, health_of(row), history, _findings_of(findings[record.id])))
        return loaded

    async def insert(
        self, record: ServerRecord, health: HealthState, check: CheckRecord, lines: Sequence[AuditEntry] = ()
    ) -> None:
        """Store a new server and the check that it passed.

        Raises:
            EndpointTaken: a live server has the endpoint.
        """
        row = server_row(record, self._box) | health_row(health)
        async with self._database.write() as connection:
            await _guarded(connection, sa.insert(model_servers).values(row))
            await connection.execute(sa.insert(server_models), model_rows(record))
            await put_terms(connection, record)
            await connection.execute(sa.insert(health_checks), _check_row(record.id, check))
            await append(connection, *lines)

    async def update(
        self,
        record: ServerRecord,
        health: HealthState | None = None,
        check: CheckRecord | None = None,
        *,
        findings_of: Collection[str] = (),
        lines: Sequence[AuditEntry] = (),
    ) -> None:
        """Store a changed server; its health too if it was examined. Its models and its terms are replaced.

        What was found of them is kept of those that ``findings_of`` names, by what the server calls them.

        Raises:
            EndpointTaken: another live server has the endpoint.
        """
        row = server_row(record, self._box) | (health_row(health) if health else {})
        async with self._database.write() as connection:
            await _guarded(connection, sa.update(model_servers).where(model_servers.c.id == record.id).values(row))
            await connection.execute(sa.delete(server_models).where(server_models.c.server_id == record.id))
            await connection.execute(sa.insert(server_models), model_rows(record))
            await put_terms(connection, record)
            await connection.execute(_outdated(record.id, findings_of))
            if check is not None:
                await connection.execute(sa.insert(health_checks), _check_row(record.id, check))
            await append(connection, *lines)

    async def save_finding(self, server_id: str, upstream_name: str, finding: Finding) -> None:
        """Store what was found of a model, in place of what was known. Servers that were purged are passed over."""
        key = {"server_id": server_id, "upstream_name": storable(upstream_name)}
        async with self._database.write() as connection:
            if server_id in await _known(connection, [server_id]):
                await connection.execute(sa.delete(continuation_findings).filter_by(**key))
                await connection.execute(sa.insert(continuation_findings), key | finding_row(finding))

    async def drop_findings(self, server_id: str, *, except_of: Collection[str] = ()) -> None:
        """Forget what was found of a server's models, but of those that are named."""
        async with self._database.write() as connection:
            await connection.execute(_outdated(server_id, except_of))

    async def remove(self, server_id: str, now: datetime, lines: Sequence[AuditEntry] = ()) -> None:
        """Mark a server as removed: its history stays, its endpoint is free again, its stored key is gone."""
        gone = {"deleted_at": now, "updated_at": now, "api_key_ciphertext": None}
        async with self._database.write() as connection:
            await connection.execute(sa.update(model_servers).where(model_servers.c.id == server_id).values(gone))
            await append(connection, *lines)

    async def save_health(self, states: Mapping[str, HealthState], checks: Sequence[tuple[str, CheckRecord]]) -> None:
        """Store what checks found, keeping the last ``HISTORY_LENGTH`` per server.

        Args:
            states: the present health by server id.
            checks: (server id, check) in the order they happened.

        Servers that have been purged in the meantime are passed over.
        """
        concerned = {*states, *(server_id for server_id, _ in checks)}
        if not concerned:
            return
        async with self._database.write() as connection:
            known = await _known(connection, concerned)
            changes = [{"for_id": name} | health_row(state) for name, state in states.items() if name in known]
            rows = [_check_row(server_id, check) for server_id, check in checks if server_id in known]
            if changes:
                await connection.execute(_UPDATE_HEALTH, changes)
            if rows:
                await connection.execute(sa.insert(health_checks), rows)
                await connection.execute(_PRUNE, [{"for_id": name} for name in {row["server_id"] for row in rows}])

    async def purge(self, *, removed_before: datetime, checks_before: datetime) -> tuple[int, int]:
        """Forget what retention no longer covers.

        Args:
            removed_before: servers removed earlier go, with all their checks.
            checks_before: earlier checks go, of living servers too.

        Returns:
            How many servers and how many checks went (the checks of purged servers not counted).
        """
        old_servers = sa.delete(model_servers).where(model_servers.c.deleted_at < removed_before)
        old_checks = sa.delete(health_checks).where(health_checks.c.checked_at < checks_before)
        async with self._database.write() as connection:
            servers = await connection.execute(old_servers)
            checks = await connection.execute(old_checks)
        return servers.rowcount, checks.rowcount


_BY_AGE: Final = (model_servers.c.created_at, model_servers.c.id)

_RANKED: Final = sa.select(
    health_checks,
    sa.func.row_number()
    .over(
        partition_by=health_checks.c.server_id,
        order_by=(health_checks.c.checked_at.desc(), health_checks.c.id.desc()),
    )
    .label("rank"),
).subquery()

_LATEST_CHECKS: Final = (
    sa.select(_RANKED).where(_RANKED.c.rank <= HISTORY_LENGTH).order_by(_RANKED.c.server_id, _RANKED.c.rank)
)

_UPDATE_HEALTH: Final = sa.update(model_servers).where(model_servers.c.id == sa.bindparam("for_id"))

_KEPT: Final = (
    sa.select(health_checks.c.id)
    .where(health_checks.c.server_id == sa.bindparam("for_id"))
    .order_by(health_checks.c.checked_at.desc(), health_checks.c.id.desc())
    .limit(HISTORY_LENGTH)
)

_PRUNE: Final = sa.delete(health_checks).where(
    health_checks.c.server_id == sa.bindparam("for_id"), health_checks.c.id.not_in(_KEPT)
)


def _outdated(server_id: str, kept: Collection[str]) -> sa.Delete:
    """Delete what was found of a server's models, but of those that are kept."""
    findings = sa.delete(continuation_findings).where(continuation_findings.c.server_id == server_id)
    return findings.where(continuation_findings.c.upstream_name.not_in([storable(name) for name in kept]))


async def _guarded(connection: AsyncConnection, statement: sa.Insert | sa.Update) -> None:
    """Run a statement whose only constraint to fail is the one on live endpoints."""
    try:
        await connection.execute(statement)
    except IntegrityError as error:
        raise EndpointTaken from error


async def _known(connection: AsyncConnection, server_ids: Iterable[str]) -> set[str]:
    found = await connection.execute(sa.select(model_servers.c.id).where(model_servers.c.id.in_(list(server_ids))))
    return set(found.scalars())


async def _grouped(connection: AsyncConnection, statement: sa.Select[Any]) -> defaultdict[str, list[Mapping[str, Any]]]:
    """Run a statement and gather its rows by server."""
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in (await connection.execute(statement)).mappings():
        groups[row["server_id"]].append(dict(row))
    return groups


def _findings_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Finding]:
    """Read what was found of a server's models, by what it calls them. What can't be read is found anew."""
    findings: dict[str, Finding] = {}
    for row in rows:
        try:
            findings[row["upstream_name"]] = finding_of(row)
        except ValueError:
            logger.warning(
                "What was found of a server's model can't be read, and is found anew", server_id=row["server_id"]
            )
    return findings


def _check_row(server_id: str, check: CheckRecord) -> dict[str, Any]:
    return {
        "server_id": server_id,
        "checked_at": check.checked_at,
        "ok": check.ok,
        "reason": storable(check.reason),
        "latency_ms": check.latency_ms,
        "source": check.source,
    }


def _check_of(row: Mapping[str, Any]) -> CheckRecord:
    return CheckRecord(
        checked_at=row["checked_at"],
        ok=row["ok"],
        reason=row["reason"],
        latency_ms=row["latency_ms"] or 0.0,
        source=row["source"],
    )
