"""How do verdicts on servers' claims reach the database? Every statement on ``verification_findings`` stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.services.core.verification.findings import Subject, Verdict, VerificationFinding
from app.services.registry.rows import storable
from app.services.registry.tables import model_servers, verification_findings
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.utils.database import Database

__all__ = ["FindingStore"]

logger = get_logger(__name__)

_LIVING = sa.select(model_servers.c.id).where(model_servers.c.deleted_at.is_(None))
_OF_LIVING = (
    sa.select(verification_findings)
    .where(verification_findings.c.server_id.in_(_LIVING))
    .order_by(*verification_findings.primary_key)
)


class FindingStore:
    """What was found of servers' claims, in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, dict[str, tuple[VerificationFinding, ...]]]:
        """Read what is known of living servers: by id, and by what they call their models."""
        found: dict[str, dict[str, tuple[VerificationFinding, ...]]] = {}
        async with self._database.read() as connection:
            for row in (await connection.execute(_OF_LIVING)).mappings():
                models = found.setdefault(row["server_id"], {})
                models[row["upstream_name"]] = (*models.get(row["upstream_name"], ()), *_findings_in(dict(row)))
        return found

    async def replace(self, server_id: str, findings: Mapping[str, Sequence[VerificationFinding]]) -> None:
        """Store all that is known of a server, by what it calls its models, in place of what was.

        Of a server that was removed nothing is stored any more.
        """
        rows = {
            (storable(name), finding.subject): _row(server_id, name, finding)
            for name, found in findings.items()
            for finding in found
        }
        async with self._database.write() as connection:
            await connection.execute(sa.delete(verification_findings).filter_by(server_id=server_id))
            living = await connection.execute(_LIVING.where(model_servers.c.id == server_id))
            if rows and living.first() is not None:
                await connection.execute(sa.insert(verification_findings), list(rows.values()))


def _row(server_id: str, upstream_name: str, finding: VerificationFinding) -> dict[str, Any]:
    return {
        "server_id": server_id,
        "upstream_name": storable(upstream_name),
        "subject": finding.subject.value,
        "verdict": finding.verdict.value,
        "detail": storable(finding.detail),
        "measured": finding.measured,
        "found_at": finding.found_at,
    }


def _findings_in(row: Mapping[str, Any]) -> tuple[VerificationFinding, ...]:
    """Read a row; nothing where another release found what this one does not know. It is found anew."""
    try:
        subject, verdict = Subject(row["subject"]), Verdict(row["verdict"])
    except ValueError:
        logger.warning("A verdict on a server's claim can't be read, and is found anew", server_id=row["server_id"])
        return ()
    return (VerificationFinding(subject, verdict, row["detail"], row["measured"], row["found_at"]),)
