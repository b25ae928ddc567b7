"""How do the figures of each minute outlive the process? Every SQL statement on ``traffic_minutes`` stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from app.services.core.reporting.series import Bucket
from app.services.core.reporting.tallies import TIME_BOUNDS_SECONDS
from app.services.registry.dashboard_tables import traffic_minutes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.utils.database import Database

__all__ = ["Row", "TrafficStore"]

Row = tuple[int, str, Bucket]
"""The number of a step of time, whose servers (``series.POOL``: all), and what came in it."""

_MINUTE_SECONDS: Final = 60
_MINUTES_A_DAY: Final = 1440
_COLUMN: Final = traffic_minutes.c
_SUMS: Final = ("requests", "errors", "prompt_tokens", "completion_tokens", "continuations")
_PLACES: Final = range(len(TIME_BOUNDS_SECONDS) + 1)


class TrafficStore:
    """What went through each minute, in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, rows: Iterable[Row]) -> None:
        """Write each minute in place of what was there of it."""
        values = [_values(*row) for row in rows]
        if values:
            async with self._database.write() as connection:
                await connection.execute(insert(traffic_minutes).prefix_with("OR REPLACE"), values)

    async def load(self, since_minute: int, minutes: int = 1) -> list[Row]:
        """Read what is stored, added up in steps of so many minutes.

        Args:
            since_minute: the first Unix minute.
            minutes: how many make a step. The numbers of the rows count these steps.
        """
        step = (_COLUMN.minute // minutes).label("step")
        sums = [sa.func.sum(_COLUMN[name]).label(name) for name in _SUMS]
        counts = [sa.func.sum(sa.func.json_extract(_COLUMN.first_tokens, f"$[{place}]")) for place in _PLACES]
        watched, queued = sa.func.count().label("watched"), sa.func.max(_COLUMN.queued_most).label("queued_most")
        wanted = (
            sa.select(step, _COLUMN.owner, watched, queued, *sums, *counts)
            .where(_COLUMN.minute >= since_minute)
            .group_by(step, _COLUMN.owner)
        )
        async with self._database.read() as connection:
            found = (await connection.execute(wanted)).all()
        return [(row.step, row.owner, _bucket(row._mapping, row[-len(_PLACES) :])) for row in found]  # noqa: SLF001 - SQLAlchemy's public name for it

    async def purge(self, before_minute: int) -> None:
        """Delete what is older. A day is one transaction: others get their turn in between."""
        while True:
            async with self._database.write() as connection:
                oldest = await connection.scalar(sa.select(sa.func.min(_COLUMN.minute)))
                if oldest is None or oldest >= before_minute:
                    return
                until = min(oldest + _MINUTES_A_DAY, before_minute)
                await connection.execute(sa.delete(traffic_minutes).where(_COLUMN.minute < until))


def _values(minute: int, owner: str, bucket: Bucket) -> dict[str, Any]:
    """The columns of a minute."""
    sums = {name: max(getattr(bucket, name), 0) for name in _SUMS}
    first_tokens = list(bucket.first_tokens or ())
    return {"minute": minute, "owner": owner, "queued_most": bucket.queued_most, "first_tokens": first_tokens} | sums


def _bucket(row: Mapping[Any, Any], counts: Iterable[int | None]) -> Bucket:
    bucket = Bucket(float(row["watched"] * _MINUTE_SECONDS), row["queued_most"])
    for name in _SUMS:
        setattr(bucket, name, row[name])
    first_tokens = [int(count or 0) for count in counts]
    bucket.first_tokens = first_tokens if any(first_tokens) else None
    return bucket
