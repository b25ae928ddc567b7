"""How does use reach the database, and how is it added up there? Every SQL statement on it stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from app.services.core.reporting.use import HOUR_SECONDS, Use
from app.services.registry.accounting.usage_query import GroupBy, Narrowing, Span, UsageSums
from app.services.registry.rows import storable
from app.services.registry.tables import api_keys, key_groups, model_servers, server_models, usage_hours

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.engine import RowMapping

    from app.services.core.reporting.use import UseKey
    from app.utils.database import Database

__all__ = ["GroupedUse", "KeyFacts", "ServerFacts", "UsageStore"]

_ROW: Final = tuple(column.name for column in usage_hours.primary_key)
_SUMS: Final = tuple(each.name for each in fields(UsageSums))
_NAMES_AT_ONCE: Final = 500
_DAY: Final = timedelta(days=1)
_HOUR_TEXT: Final = sa.type_coerce(usage_hours.c.hour, sa.String)
_GROUPINGS: Final[Mapping[GroupBy, sa.ColumnElement[str]]] = {
    GroupBy.KEY: usage_hours.c.key_id,
    GroupBy.MODEL: usage_hours.c.model,
    GroupBy.SERVER: usage_hours.c.server_id,
    GroupBy.OWNER: usage_hours.c.owner,
    GroupBy.GROUP: usage_hours.c.group_id,
    GroupBy.PERSON: usage_hours.c.person,
    GroupBy.HOUR: sa.func.substr(_HOUR_TEXT, 1, len("2030-01-01T00:00:00")).concat("Z"),
    GroupBy.DAY: sa.func.substr(_HOUR_TEXT, 1, len("2030-01-01")),
}
_NAMED: Final = {GroupBy.KEY: api_keys, GroupBy.OWNER: api_keys, GroupBy.GROUP: key_groups}
_KEY_FACTS: Final = sa.select(
    api_keys.c.id, api_keys.c.name, api_keys.c.role, api_keys.c.group_id, api_keys.c.minted_by
)


@dataclass(frozen=True, slots=True)
class GroupedUse:
    """Some rows by their ids, how many there are in all, and the sums of all."""

    rows: Mapping[str, UsageSums]
    count: int
    totals: UsageSums


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of a key: its name, its role, its group, and which key made it (empty: none)."""

    name: str
    role: str
    group: str
    minted_by: str


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What is known of a server: the name in its metadata, its first model, where it is, and whose (empty: nothing)."""

    given_name: str
    model: str
    host: str
    owner: str


class UsageStore:
    """Use by the hour, in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rows: Mapping[UseKey, Use]) -> None:
        """Add to what is stored, all of it or nothing."""
        statement = insert(usage_hours)
        raised = {name: usage_hours.c[name] + statement.excluded[name] for name in _SUMS}
        upsert = statement.on_conflict_do_update(index_elements=_ROW, set_=raised)
        async with self._database.write() as connection:
            await connection.execute(upsert, _stored_rows(rows))

    async def purge(self, before: datetime) -> None:
        """Delete what is older. A day is one transaction: others get their turn in between."""
        while True:
            async with self._database.write() as connection:
                oldest = await connection.scalar(sa.select(sa.func.min(usage_hours.c.hour)))
                if oldest is None or oldest >= before:
                    return
                await connection.execute(sa.delete(usage_hours).where(usage_hours.c.hour < min(oldest + _DAY, before)))

    async def grouped(
        self,
        group_by: GroupBy,
        span: Span,
        narrowing: Narrowing,
        filters: Mapping[GroupBy, Collection[str]],
        page: tuple[int | None, int] = (None, 0),
    ) -> GroupedUse:
        """Add up rows: by time the oldest first, else those with the most tokens first.

        Args:
            group_by: what a row stands for.
            span: which hours.
            narrowing: what of them may be seen.
            filters: only rows of one of these ids, or names of keys and groups.
            page: how many at most (None: all), after how many.
        """
        grouping = _GROUPINGS[group_by].label("id")
        sums = [sa.func.sum(usage_hours.c[name]).label(name) for name in _SUMS]
        chosen = sa.select(grouping, *sums).where(*_conditions(span, narrowing, filters)).group_by(grouping).subquery()
        in_all = {"all_rows": sa.func.count()} | {f"all_{name}": sa.func.sum(chosen.c[name]) for name in _SUMS}
        by_tokens = (chosen.c.prompt_tokens + chosen.c.completion_tokens).desc()
        order = (chosen.c.id,) if group_by.is_time else (by_tokens, chosen.c.id)
        limit, offset = page
        beside = [each.over().label(name) for name, each in in_all.items()]
        statement = sa.select(chosen, *beside).order_by(*order)
        async with self._database.read() as connection:
            found = (await connection.execute(statement.limit(limit).offset(offset))).mappings().all()
            whole = found[0] if found else None
            if whole is None and offset:
                alone = sa.select(*(each.label(name) for name, each in in_all.items()))
                whole = (await connection.execute(alone)).mappings().one()
        if whole is None:
            return GroupedUse({}, 0, UsageSums())
        rows = {str(row["id"]): _sums_of(row) for row in found}
        return GroupedUse(rows, whole["all_rows"], _sums_of(whole, "all_"))

    async def keys(self, ids: Collection[str]) -> dict[str, KeyFacts]:
        """Say what is known of these keys; those that are not there are left out."""
        return {row["id"]: _key_facts(row) for row in await self._found(_KEY_FACTS, api_keys.c.id, ids)}

    async def all_keys(self) -> dict[str, KeyFacts]:
        """Say what is known of every key, revoked ones too."""
        async with self._database.read() as connection:
            return {row["id"]: _key_facts(row) for row in (await connection.execute(_KEY_FACTS)).mappings()}

    async def group_names(self, ids: Collection[str]) -> dict[str, str]:
        """Say what these groups are called."""
        wanted = sa.select(key_groups.c.id, key_groups.c.name)
        return {row["id"]: row["name"] for row in await self._found(wanted, key_groups.c.id, ids)}

    async def servers(self, ids: Collection[str]) -> dict[str, ServerFacts]:
        """Say what is known of these servers, removed ones too as long as their rows are kept."""
        column = model_servers.c
        first = (
            sa.select(server_models.c.name)
            .where(server_models.c.server_id == column.id)
            .order_by(server_models.c.position)
            .limit(1)
            .scalar_subquery()
        )
        wanted = sa.select(column.id, column.owner, column.endpoint_url, column.metadata, first.label("model"))
        return {
            row["id"]: ServerFacts(
                given_name=_given_name(row["metadata"]),
                model=row["model"] or "",
                host=urlsplit(row["endpoint_url"]).netloc,
                owner=row["owner"] or "",
            )
            for row in await self._found(wanted, column.id, ids)
        }

    async def _found(
        self, wanted: sa.Select[Any], column: sa.ColumnElement[str], ids: Collection[str]
    ) -> list[Mapping[str, Any]]:
        """Read the rows of these ids, so many at a time as a statement takes."""
        left = sorted(map(storable, ids))
        rows: list[Mapping[str, Any]] = []
        async with self._database.read() as connection:
            for start in range(0, len(left), _NAMES_AT_ONCE):
                statement = wanted.where(column.in_(left[start : start + _NAMES_AT_ONCE]))
                rows += [dict(row) for row in (await connection.execute(statement)).mappings()]
        return rows


def _stored_rows(rows: Mapping[UseKey, Use]) -> list[dict[str, Any]]:
    """Make columns. Two keys that differ in what no database takes as text alone are stored as one."""
    made: dict[tuple[str, ...], dict[str, Any]] = {}
    for key, use in rows.items():
        texts = tuple(map(storable, key[1:]))
        row = made.get((str(key.hour), *texts))
        if row is None:
            hour = datetime.fromtimestamp(key.hour * HOUR_SECONDS, UTC)
            row = made[str(key.hour), *texts] = dict(zip(_ROW, (hour, *texts), strict=True)) | dict.fromkeys(_SUMS, 0)
        for name in _SUMS:
            row[name] += getattr(use, name)
    return list(made.values())


def _conditions(
    span: Span, narrowing: Narrowing, filters: Mapping[GroupBy, Collection[str]]
) -> list[sa.ColumnElement[bool]]:
    column = usage_hours.c
    conditions = [column.hour >= span.since, column.hour < span.until]
    if narrowing.owner is not None:
        conditions.append(column.owner == narrowing.owner)
    if narrowing.group is not None:
        conditions.append(column.group_id == narrowing.group)
    if narrowing.key is not None:
        conditions.append(column.key_id == storable(narrowing.key))
    if narrowing.keys_of is not None:
        minted = sa.select(api_keys.c.id).where(api_keys.c.minted_by == narrowing.keys_of)
        conditions.append(sa.or_(column.key_id == narrowing.keys_of, column.key_id.in_(minted)))
    conditions += [_is_one_of(name, sorted(map(storable, wanted))) for name, wanted in filters.items()]
    return conditions


def _is_one_of(name: GroupBy, wanted: list[str]) -> sa.ColumnElement[bool]:
    """Whether a row is of one of these: by id, and where a table knows names, by name too."""
    ids = _GROUPINGS[name].in_(wanted)
    table = _NAMED.get(name)
    if table is None:
        return ids
    return sa.or_(ids, _GROUPINGS[name].in_(sa.select(table.c.id).where(table.c.name.in_(wanted))))


def _sums_of(row: RowMapping, prefix: str = "") -> UsageSums:
    return UsageSums(**{name: row[f"{prefix}{name}"] or 0 for name in _SUMS})


def _key_facts(row: Mapping[str, Any] | RowMapping) -> KeyFacts:
    return KeyFacts(row["name"], row["role"], row["group_id"] or "", row["minted_by"] or "")


def _given_name(metadata: Any) -> str:
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name.strip() if isinstance(name, str) else ""
