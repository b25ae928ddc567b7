"""Keys and groups over a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.services.core.errors import NotAuthenticated
from app.services.core.keys import KeyRing, Principal
from app.services.core.people.principal import LimitRule
from app.services.registry.people.keys import Keys
from app.services.registry.people.records import KeyRecord, KeySpec
from app.services.registry.people.store import PeopleStore
from app.services.registry.tables import audit_log
from app.utils.database import Database
from tests.fakes.migrated import opened_database
from tests.fakes.registry import FakeClock

OPERATORS = "the-operators-own-key-000"
RING = KeyRing.with_admin(OPERATORS)
OPERATOR = RING.authenticate(OPERATORS.encode())


class Dice:
    """Bytes that differ each time, and are the same in each run."""

    def __init__(self) -> None:
        self.throws = 0

    def __call__(self, size: int) -> bytes:
        self.throws += 1
        return self.throws.to_bytes(size, "big")


@dataclass
class People:
    """The service over a real file, with what the data plane was told."""

    database: Database
    store: PeopleStore
    keys: Keys
    clock: FakeClock
    told: list[tuple[KeyRing, Mapping[str, LimitRule]]] = field(default_factory=list)
    operator: Principal = OPERATOR

    def who(self, secret: str) -> Principal:
        """Whom the data plane takes a secret for now."""
        return self.told[-1][0].authenticate(secret.encode())

    def why_not(self, secret: str) -> str:
        """What it tells whoever has a secret that opens nothing."""
        with pytest.raises(NotAuthenticated) as refusal:
            self.who(secret)
        return refusal.value.message

    async def make(self, name: str, by: Principal | None = None, **spec: Any) -> tuple[KeyRecord, Principal, str]:
        """Make a key: its record, who it stands for, and its secret."""
        record, secret = await self.keys.create(by or self.operator, KeySpec(name, **spec))
        return record, self.who(secret), secret

    async def audit(self) -> list[dict[str, Any]]:
        """All lines of the audit."""
        async with self.database.read() as connection:
            rows = await connection.execute(sa.select(audit_log).order_by(audit_log.c.id))
            return [dict(row) for row in rows.mappings()]


@pytest.fixture
def opened() -> Callable[..., AbstractAsyncContextManager[People]]:
    """Opens the people of a folder; opening them again is a restart."""
    dice = Dice()

    @asynccontextmanager
    async def open_folder(folder: Path, clock: FakeClock | None = None) -> AsyncIterator[People]:
        database = await opened_database(folder)
        try:
            store, moment = PeopleStore(database), clock or FakeClock()
            told: list[tuple[KeyRing, Mapping[str, LimitRule]]] = []
            keys = Keys(store, RING, moment, lambda ring, rules: told.append((ring, rules)), dice)
            await keys.load()
            yield People(database, store, keys, moment, told)
            await keys.settle()
        finally:
            await database.close()

    return open_folder


@pytest.fixture
async def people(tmp_path: Path, opened: Callable[..., AbstractAsyncContextManager[People]]) -> AsyncIterator[People]:
    async with opened(tmp_path) as made:
        yield made
