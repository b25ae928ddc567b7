"""Use over a real SQLite file, with keys, groups and servers in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.services.core.answer.usage import Usage as Tokens
from app.services.core.reporting.outcome import Outcome
from app.services.core.types import Endpoint, Server
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_store import UsageStore
from app.services.registry.tables import api_keys, key_groups, model_servers, server_models, usage_hours
from app.utils.database import Database
from tests.fakes.migrated import opened_database
from tests.fakes.registry import START, FakeClock

MODELS = ("llama", "qwen")
SERVERS = {
    name: Server(name, Endpoint("http", "10.0.0.5", port), (), owner=owner)
    for name, port, owner in (("s1", 8001, "own-a"), ("s2", 8002, "own-a"), ("s3", 8003, "own-b"))
}


def ended(key: str = "use-a", server: str | None = "s1", model: str = "llama", **fields: Any) -> Outcome:
    """A request that has ended: ten tokens, half a second, now."""
    return Outcome(**{
        "request_id": "r", "client": "", "key_id": key, "path": "/v1/completions", "model": model, "server_id": server,
        "status": 200, "error_code": None, "stream": False, "attempts": 1, "duration_seconds": 0.5,
        "first_token_seconds": None, "usage": Tokens(7, 3), "ended_at": START.timestamp(), "person": f"key:{key}",
    } | fields)  # fmt: skip


@dataclass
class Accounts:
    database: Database
    usage: Usage
    clock: FakeClock
    slept: list[float] = field(default_factory=list)

    async def write(self, outcomes: Iterable[Outcome]) -> None:
        self.count(outcomes)
        await self.usage.flush()

    def count(self, outcomes: Iterable[Outcome]) -> None:
        self.usage.tally.count(list(outcomes), MODELS, SERVERS)

    async def stored(self, column: str = "requests") -> int:
        async with self.database.read() as connection:
            return int((await connection.execute(sa.select(sa.func.sum(usage_hours.c[column])))).scalar() or 0)

    async def rows(self) -> int:
        async with self.database.read() as connection:
            return int((await connection.execute(sa.select(sa.func.count()).select_from(usage_hours))).scalar() or 0)


async def fill(database: Database) -> None:
    """Owner A (of the lab) with a user key and two servers, owner B with one of each, and a user of the admin's."""
    same = {"limits": {}, "model_limits": {}, "created_at": START, "updated_at": START}
    keys = [
        ("own-a", "Ann", "owner", "lab", "admin"), ("use-a", "Ann's student", "user", "lab", "own-a"),
        ("own-b", "Ben", "owner", None, "admin"), ("use-b", "=Ben's user", "user", None, "own-b"),
        ("use-c", "class", "user", None, "admin"),
    ]  # fmt: skip
    async with database.write() as connection:
        group = {"id": "lab", "name": "The lab", "person_limits": {}, **same}
        await connection.execute(sa.insert(key_groups).values(group))
        for key_id, name, role, group_id, minted_by in keys:
            row = {"id": key_id, "name": name, "role": role, "group_id": group_id, "minted_by": minted_by, **same}
            await connection.execute(sa.insert(api_keys).values(row))
        for server in SERVERS.values():
            metadata = {"name": "big box"} if server.id == "s2" else {"name": 7}
            row = {"id": server.id, "endpoint_url": server.endpoint.url, "owner": server.owner, "capabilities": {}}
            row |= {"metadata": metadata, "missing_models": [], "created_at": START, "updated_at": START}
            await connection.execute(sa.insert(model_servers).values(row))
            for place, model in enumerate(MODELS):
                row = {"server_id": server.id, "name": model, "upstream_name": model, "position": place}
                await connection.execute(sa.insert(server_models).values(row))


@asynccontextmanager
async def opened_accounts(folder: Path) -> AsyncIterator[Accounts]:
    """Open the accounts of a folder; opening them again is a restart."""
    is_new = not (folder / "gateway.db").exists()
    database = await opened_database(folder)
    try:
        if is_new:
            await fill(database)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        clock = FakeClock()
        yield Accounts(database, Usage(UsageStore(database), clock, sleep=sleep), clock, slept)
    finally:
        await database.close()
