"""Does one process at a time write the database, and is there always one that checks the servers?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.duty import Duty
from app.lifespan import _MIGRATIONS
from app.services.core.errors import StorageUnavailable
from app.services.core.types import CheckFailure, HealthStatus, Inspection
from app.services.registry.specification import ServerSpec
from app.utils.database import Database
from tests.fakes.registry import ADMIN, registry_world

pytestmark = pytest.mark.usefixtures("empty_directory")
URL = "sqlite:///gateway.db"


class Checks:
    """Counts how often the checks were started, and keeps the last task."""

    def __init__(self) -> None:
        self.started = 0

    def start(self) -> asyncio.Task[None]:
        self.started += 1
        self.task = asyncio.create_task(self._run())
        return self.task

    async def _run(self) -> None:
        await asyncio.Event().wait()


class Book:
    """Notes in which order it was written, read and cleared."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def flush(self) -> None:
        self.steps.append("flush")

    def forget(self, server_id: str) -> None:
        self.steps.append(f"forget {server_id}")


class Accounts:
    """Notes when use and limits are written."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def flush(self) -> None:
        self._book.steps.append("flush accounts")


class Registry:
    """Reads the servers that the other process left in the database."""

    def __init__(self, database: Database, book: Book) -> None:
        self._database = database
        self._book = book
        self.servers: Mapping[str, object] = {"kept": 1, "removed": 2}
        self.failure: Exception | None = None

    async def load(self) -> None:
        async with self._database.read():
            self._book.steps.append("load")
        if self.failure is not None:
            raise self.failure
        self.servers = {"kept": 1, "registered": 3}


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def registry(database: Database, book: Book) -> Registry:
    return Registry(database, book)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = await Database.open(URL, _MIGRATIONS, timeout_seconds=0.1)
    yield database
    await database.close()


@pytest.fixture
async def duty(database: Database, book: Book, checks: Checks, registry: Registry) -> AsyncIterator[Duty]:
    yield Duty(database, book, checks.start, registry, Accounts(book))
    checks.task.cancel()
    await asyncio.wait({checks.task})


async def test_who_lends_it_writes_what_was_found_closes_and_goes_on_checking(
    duty: Duty, database: Database, book: Book, checks: Checks
) -> None:
    await duty.lend()
    assert book.steps == ["flush", "flush accounts"]
    await (await Database.open(URL, _MIGRATIONS)).close()
    await asyncio.sleep(0)
    assert (checks.started, checks.task.done()) == (1, False)
    await duty.take_back()
    await asyncio.sleep(0)
    assert (checks.started, checks.task.done()) == (1, False)
    assert (await database.check()).status == "healthy"
    async with database.write():
        pass


async def test_what_the_other_process_stored_is_taken_over(duty: Duty, book: Book, registry: Registry) -> None:
    await duty.lend()
    book.steps.clear()
    await duty.take_back()
    assert registry.servers.keys() == {"kept", "registered"}
    assert book.steps == ["flush", "load", "forget removed"]


async def test_a_server_that_was_registered_with_the_other_process_is_routed_to(tmp_path: Path, checks: Checks) -> None:
    async with registry_world(tmp_path) as old:
        kept = await old.registry.register(ADMIN, ServerSpec(endpoint_url="http://127.0.0.1:8001"))
        removed = await old.registry.register(ADMIN, ServerSpec(endpoint_url="http://127.0.0.1:8002"))
        duty = Duty(old.database, old.book, checks.start, old.registry, Accounts(Book()))
        await duty.lend()
        async with registry_world(tmp_path) as new:
            added = await new.registry.register(ADMIN, ServerSpec(endpoint_url="http://127.0.0.1:8003"))
            await new.registry.remove(ADMIN, removed.id)
        for _check in range(3):
            old.book.record(kept.id, Inspection(CheckFailure.UNREACHABLE, "gone"), old.clock())
        await duty.take_back()
        assert old.routed().keys() == {kept.id, added.id}
        assert old.book.state(kept.id).status is HealthStatus.UNHEALTHY  # found while the database was lent
        assert old.book.state(removed.id).status is HealthStatus.UNKNOWN
        duty.give_away()
        await asyncio.wait({checks.task})
    async with registry_world(tmp_path) as later:
        assert later.book.state(kept.id).status is HealthStatus.UNHEALTHY


async def test_what_can_not_be_read_again_is_told_with_its_fix(duty: Duty, book: Book, registry: Registry) -> None:
    registry.failure = StorageUnavailable("too slow")
    await duty.lend()
    with capture_logs() as logs:
        await duty.take_back()
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert line["reason"] == "too slow"
    assert "--replace" in line["event"]
    assert "forget removed" not in book.steps


async def test_who_can_not_lend_it_goes_on(duty: Duty, database: Database, checks: Checks) -> None:
    async with database.write():
        with pytest.raises(StorageUnavailable):
            await duty.lend()
    await asyncio.sleep(0)
    assert (checks.started, checks.task.done()) == (1, False)


async def test_it_is_taken_back_as_soon_as_the_other_one_lets_go(
    duty: Duty, database: Database, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.duty._RETRY_SECONDS", 0)
    await duty.lend()
    other = await Database.open(URL, _MIGRATIONS)
    with capture_logs() as logs:
        taking = asyncio.create_task(duty.take_back())
        while not logs:
            await asyncio.sleep(0)
        assert not checks.task.done()  # servers are checked all the same
        await other.close()
        await taking
    assert [line["event"] for line in logs] == ["The database is still held by the process that failed"]
    assert not database.lent


async def test_a_database_that_is_lost_meanwhile_is_told_and_refused(duty: Duty, database: Database) -> None:
    await duty.lend()
    Path("gateway.db").unlink()
    with capture_logs() as logs:
        await duty.take_back()
    assert [line["log_level"] for line in logs] == ["error"]
    with pytest.raises(StorageUnavailable, match="no file"):
        async with database.write():
            pytest.fail("there is none to write to")


async def test_what_is_given_away_sends_callers_to_the_other_process(
    duty: Duty, database: Database, checks: Checks
) -> None:
    await duty.lend()
    duty.give_away()
    await asyncio.wait({checks.task})
    assert checks.task.cancelled()
    with pytest.raises(StorageUnavailable, match="on a new connection"):
        async with database.read():
            pytest.fail("there is none to read")
