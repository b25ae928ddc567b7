"""How do keys, groups, invites and the limits of models reach the database? Every SQL statement on them stands here.

A method is one transaction. What it raises is ``StorageUnavailable``, from the database's edge.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from app.services.core.errors import NotFound
from app.services.registry.accounting.audit_entry import append
from app.services.registry.people.rows import (
    Unreadable,
    group_of,
    group_row,
    key_of,
    key_row,
    limits_of,
    limits_value,
    secret_of,
    secret_row,
)
from app.services.registry.rows import storable
from app.services.registry.tables import api_keys, invites, key_groups, key_secrets, model_limits
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.services.core.people.principal import Limits
    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.services.registry.people.records import GroupRecord, KeyRecord, SecretRecord
    from app.utils.database import Database

__all__ = ["InviteRow", "PeopleChange", "PeopleStore", "Stored"]

_BATCH = 500
"""How many ids one statement names at most: SQLite takes 32,766 parameters, older ones 999."""

Row = dict[str, Any]
Read = TypeVar("Read")

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InviteRow:
    """An invite: the SHA-256 of its token, the key that it is for, and its end."""

    digest: bytes = field(repr=False)
    key_id: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """All that the database knows; keys and groups are the oldest first."""

    keys: tuple[KeyRecord, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    model_limits: Mapping[str, Limits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PeopleChange:
    """All that one change does, written in one transaction or not at all.

    Attributes:
        added: new keys.
        changed: keys as they are from now on, their secrets among it.
        forgotten: the ids of keys that leave the database.
        groups: groups as they are from now on, new ones among them.
        groups_gone: the ids of groups that are no more; no key is in one.
        model_limits: by model; None where there are none any more.
        invites: new ones, each in place of those that its key had.
        invite_taken: the digest of the invite that has to be open and is used up by this, and when that is judged.
        entries: the lines of the audit.
    """

    added: tuple[KeyRecord, ...] = ()
    changed: tuple[KeyRecord, ...] = ()
    forgotten: tuple[str, ...] = ()
    groups: tuple[GroupRecord, ...] = ()
    groups_gone: tuple[str, ...] = ()
    model_limits: Mapping[str, Limits | None] = field(default_factory=dict)
    invites: tuple[InviteRow, ...] = ()
    invite_taken: tuple[bytes, datetime] | None = field(default=None, repr=False)
    entries: tuple[AuditEntry, ...] = ()


class PeopleStore:
    """Keys, groups and invites in the database."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Stored:
        """Read everything. What can't be read is left out, with a line in the log: such a key opens nothing."""
        by_age = (api_keys.c.created_at, api_keys.c.id)
        async with self._database.read() as connection:
            secrets = await _secrets(connection)
            keys = await _rows(connection, sa.select(api_keys).order_by(*by_age))
            groups = await _rows(connection, sa.select(key_groups).order_by(key_groups.c.name))
            bounds = await _rows(connection, sa.select(model_limits))
        return Stored(
            keys=tuple(_readable(lambda row: key_of(row, secrets[row["id"]]), keys)),
            groups=tuple(_readable(group_of, groups)),
            model_limits=dict(_readable(lambda row: (row["name"], limits_of(row["limits"])), bounds)),
        )

    async def commit(self, change: PeopleChange, at: datetime) -> None:
        """Write a change with its lines of the audit.

        Args:
            change: what it does.
            at: when.

        Raises:
            NotFound: the invite that it takes is not open (any more); nothing is written.
        """
        async with self._database.write() as connection:
            if change.invite_taken is not None and await _take(connection, *change.invite_taken) is None:
                raise NotFound("This invite was used already or has ended. Ask the gateway's operator for a new one.")
            for group in change.groups:
                await _put_group(connection, group)
            await _add_keys(connection, change.added)
            for key in change.changed:
                await _change_key(connection, key)
            await _forget(connection, change.forgotten)
            for group_id in change.groups_gone:
                await connection.execute(sa.delete(key_groups).where(key_groups.c.id == group_id))
            for name, limits in change.model_limits.items():
                await _put_model_limits(connection, name, limits, at)
            await _put_invites(connection, change.invites)
            await append(connection, *change.entries)

    async def put_invite(self, *rows: InviteRow) -> None:
        """Store invites, each in place of those that its key had."""
        async with self._database.write() as connection:
            await _put_invites(connection, rows)

    async def find_invite(self, digest: bytes, now: datetime) -> str | None:
        """The id of the key that an open invite is for; None where there is no such invite."""
        wanted = sa.select(invites.c.key_id).where(invites.c.digest == digest, invites.c.expires_at > now)
        async with self._database.read() as connection:
            return (await connection.execute(wanted)).scalar_one_or_none()

    async def take_invite(self, digest: bytes, now: datetime) -> str | None:
        """Use an invite up: the id of its key for the first who asks, None for everybody else.

        Where the key's secret is made as well, ``PeopleChange.invite_taken`` does both or neither.
        """
        async with self._database.write() as connection:
            return await _take(connection, digest, now)

    async def purge_invites(self, now: datetime) -> int:
        """Delete the invites that have ended; how many those were."""
        async with self._database.write() as connection:
            return (await connection.execute(sa.delete(invites).where(invites.c.expires_at <= now))).rowcount


async def _secrets(connection: AsyncConnection) -> defaultdict[str, list[SecretRecord]]:
    """All secrets by the ids of their keys, the newest last."""
    found: defaultdict[str, list[SecretRecord]] = defaultdict(list)
    # One that was replaced is the older of two, even where the clock stood still.
    by_age = (key_secrets.c.expires_at.is_(None), key_secrets.c.created_at, key_secrets.c.digest)
    for row in await _rows(connection, sa.select(key_secrets).order_by(*by_age)):
        found[row["key_id"]].append(secret_of(row))
    return found


async def _rows(connection: AsyncConnection, wanted: sa.Select[Any]) -> list[Row]:
    """Fetch rows as plain mappings: at tens of thousands SQLAlchemy's own take twice the time."""
    result = await connection.execute(wanted)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def _readable(read: Callable[[Row], Read], rows: Iterable[Row]) -> Iterator[Read]:
    for row in rows:
        try:
            yield read(row)
        except Unreadable as error:
            logger.warning("A stored key, group or limit is left out", name=row["name"], reason=str(error))


async def _take(connection: AsyncConnection, digest: bytes, now: datetime) -> str | None:
    taken = sa.delete(invites).where(invites.c.digest == digest, invites.c.expires_at > now)
    return (await connection.execute(taken.returning(invites.c.key_id))).scalar_one_or_none()


async def _put_group(connection: AsyncConnection, group: GroupRecord) -> None:
    row = group_row(group)
    changed = await connection.execute(sa.update(key_groups).where(key_groups.c.id == group.id).values(row))
    if not changed.rowcount:
        await connection.execute(sa.insert(key_groups).values(row))


async def _add_keys(connection: AsyncConnection, keys: tuple[KeyRecord, ...]) -> None:
    if keys:
        await connection.execute(sa.insert(api_keys), [key_row(key) for key in keys])
    secrets = [secret_row(key.id, secret) for key in keys for secret in key.secrets]
    if secrets:
        await connection.execute(sa.insert(key_secrets), secrets)


async def _change_key(connection: AsyncConnection, key: KeyRecord) -> None:
    await connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(key_row(key)))
    await connection.execute(sa.delete(key_secrets).where(key_secrets.c.key_id == key.id))
    if key.secrets:
        await connection.execute(sa.insert(key_secrets), [secret_row(key.id, secret) for secret in key.secrets])


async def _forget(connection: AsyncConnection, key_ids: tuple[str, ...]) -> None:
    """Delete keys with all that is theirs; by hand, for not every connection lets deletions cascade."""
    for start in range(0, len(key_ids), _BATCH):
        batch = key_ids[start : start + _BATCH]
        for table in (key_secrets, invites):
            await connection.execute(sa.delete(table).where(table.c.key_id.in_(batch)))
        await connection.execute(sa.delete(api_keys).where(api_keys.c.id.in_(batch)))


async def _put_invites(connection: AsyncConnection, rows: tuple[InviteRow, ...]) -> None:
    """Store invites, each in place of those that its key had."""
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        await connection.execute(sa.delete(invites).where(invites.c.key_id.in_([row.key_id for row in batch])))
        await connection.execute(sa.insert(invites), [_invite_row(row) for row in batch])


async def _put_model_limits(connection: AsyncConnection, name: str, limits: Limits | None, at: datetime) -> None:
    name = storable(name)
    await connection.execute(sa.delete(model_limits).where(model_limits.c.name == name))
    if limits is not None:
        row = {"name": name, "limits": limits_value(limits), "updated_at": at}
        await connection.execute(sa.insert(model_limits).values(row))


def _invite_row(invite: InviteRow) -> dict[str, Any]:
    return {
        "digest": invite.digest,
        "key_id": invite.key_id,
        "created_at": invite.created_at,
        "expires_at": invite.expires_at,
    }
