"""A registry over a real SQLite file, with servers that exist only in a table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.services.core.checks.health import Thresholds
from app.services.core.keys import Principal, Role
from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, Inspection, Server
from app.services.registry.book import HealthBook
from app.services.registry.publisher import Publisher
from app.services.registry.repository import ServerRepository
from app.services.registry.secrets import SecretBox
from app.services.registry.service import Registry
from app.utils.database import Database
from tests.fakes.migrated import opened_database

ADMIN = Principal("admin", "operator", Role.ADMIN)
OWNER = Principal("key-of-owner", "owner", Role.OWNER)
STRANGER = Principal("key-of-stranger", "stranger", Role.OWNER)
USER = Principal("key-of-user", "user", Role.USER)

ENCRYPTION_KEY = bytes(range(32))
START = datetime(2030, 1, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def move(self, **duration: float) -> None:
        self.moment += timedelta(**duration)


@dataclass
class FakeInspector:
    """Finds what its table says: model names (or whole models) by URL, or a failure with its reason.

    ``gate``, when set, holds every look until it is opened; ``looks`` keeps what was asked.
    """

    listed: dict[str, Sequence[str | DiscoveredModel]] = field(default_factory=dict)
    failing: dict[str, tuple[CheckFailure, str] | Inspection] = field(default_factory=dict)
    engine: str = "llama.cpp"
    wanted_key: dict[str, str] = field(default_factory=dict)
    looks: list[tuple[str, str | None, tuple[str, ...]]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    looking: asyncio.Event = field(default_factory=asyncio.Event)

    async def inspect(self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str]) -> Inspection:
        self.looks.append((endpoint.url, api_key, tuple(expected)))
        self.looking.set()
        if self.gate is not None:
            await self.gate.wait()
        if endpoint.url in self.failing:
            found = self.failing[endpoint.url]
            return found if isinstance(found, Inspection) else Inspection(*found)
        if endpoint.url in self.wanted_key and self.wanted_key[endpoint.url] != api_key:
            return Inspection(CheckFailure.CREDENTIALS, "answered 401: wrong key")
        models = tuple(
            one if isinstance(one, DiscoveredModel) else DiscoveredModel(one)
            for one in self.listed.get(endpoint.url, ["llama-3-8b"])
        )
        missing = frozenset(expected) - {model.name for model in models}
        failure = CheckFailure.MODEL_MISSING if expected and missing == set(expected) else None
        reason = f"lists no {', '.join(sorted(missing))}" if missing else ""
        return Inspection(failure, reason, models, self.engine, 1.5, missing)


@dataclass
class World:
    """All parts of one registry."""

    database: Database
    repository: ServerRepository
    registry: Registry
    book: HealthBook
    inspector: FakeInspector
    clock: FakeClock
    installed: list[tuple[Server, ...]]

    def routed(self) -> dict[str, Server]:
        """What routing sees now, by id."""
        return {server.id: server for server in self.installed[-1]}


async def wait_until(condition: Callable[[], object]) -> None:
    """Let other tasks run until something holds."""
    while not condition():
        await asyncio.sleep(0)


@asynccontextmanager
async def registry_world(folder: Path, *, encryption_key: bytes = ENCRYPTION_KEY, clock: FakeClock | None = None):
    """Open the registry of a folder; opening it again is a restart."""
    database = await opened_database(folder)
    try:
        moment = clock or FakeClock()
        inspector = FakeInspector()
        repository = ServerRepository(database, SecretBox(encryption_key))
        installed: list[tuple[Server, ...]] = []
        parts: list[Registry] = []
        book = HealthBook(repository, Thresholds(), lambda: [registry.publish() for registry in parts])
        registry = Registry(repository, inspector, book, Publisher(book, installed.append), moment)
        parts.append(registry)
        await registry.load()
        yield World(database, repository, registry, book, inspector, moment, installed)
        await registry.settle()
    finally:
        await database.close()
