"""How does what was counted for limits reach the database? Every statement on ``limit_counters`` stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from app.services.registry.rows import storable
from app.services.registry.tables import limit_counters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.utils.database import Database

__all__ = ["CounterStore"]

_ALL_MODELS: Final = ""
"""Stands in a row for a counter that every model counts for."""
_OF_A_PERSON: Final = limit_counters.c.subject.startswith("person:", autoescape=True)
_COLUMNS: Final = (limit_counters.c.subject, limit_counters.c.model, limit_counters.c.state)
_DELETE: Final = sa.delete(limit_counters).where(
    limit_counters.c.subject == sa.bindparam("of_subject"), limit_counters.c.model == sa.bindparam("of_model")
)


class CounterStore:
    """The states of counters, in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, most_people: int) -> list[tuple[str, str | None, bytes]]:
        """Read subject, model (None: all) and state of each counter; of people those that were saved last.

        Args:
            most_people: how many counters of people are read at most, newest first.
        """
        newest = sa.select(*_COLUMNS).order_by(limit_counters.c.saved_at.desc(), limit_counters.c.subject)
        found: list[tuple[str, str | None, bytes]] = []
        async with self._database.read() as connection:
            for statement in (newest.where(~_OF_A_PERSON), newest.where(_OF_A_PERSON).limit(most_people)):
                for subject, model, state in await connection.execute(statement):
                    found.append((subject, None if model == _ALL_MODELS else model, bytes(state)))
        return found

    async def save(self, states: Sequence[tuple[str, str | None, bytes | None]], saved_at: datetime) -> None:
        """Write the state of each counter in place of what was; delete those that have none any more."""
        rows: dict[tuple[str, str], bytes | None] = {
            (storable(subject), storable(model or _ALL_MODELS)): state for subject, model, state in states
        }
        if not rows:
            return
        kept = [
            {"subject": subject, "model": model, "state": state, "saved_at": saved_at}
            for (subject, model), state in rows.items()
            if state is not None
        ]
        async with self._database.write() as connection:
            await connection.execute(_DELETE, [{"of_subject": subject, "of_model": model} for subject, model in rows])
            if kept:
                await connection.execute(sa.insert(limit_counters), kept)

    async def purge(self, saved_before: datetime) -> None:
        """Delete what was not saved since a moment."""
        async with self._database.write() as connection:
            await connection.execute(sa.delete(limit_counters).where(limit_counters.c.saved_at < saved_before))
