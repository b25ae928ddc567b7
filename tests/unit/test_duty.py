"""Does one process at a time check the servers and write the database?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.duty import Duty
from app.lifespan import _MIGRATIONS
from app.services.core.errors import StorageUnavailable
from app.utils.database import Database

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
    """Notes whether the checks ran, and the database was there, when it was written for the last time."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self.flushed_after: list[bool] = []

    async def flush(self) -> None:
        self.flushed_after.append(self._checks.task.cancelled())


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def book(checks: Checks) -> Book:
    return Book(checks)


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = await Database.open(URL, _MIGRATIONS, timeout_seconds=0.1)
    yield database
    await database.close()


@pytest.fixture
async def duty(database: Database, book: Book, checks: Checks) -> AsyncIterator[Duty]:
    yield Duty(database, book, checks.start)
    checks.task.cancel()
    await asyncio.wait({checks.task})


async def test_who_lends_it_stops_its_checks_writes_what_they_found_and_closes(
    duty: Duty, database: Database, book: Book, checks: Checks
) -> None:
    assert checks.started == 1
    await duty.lend()
    assert book.flushed_after == [True]
    await (await Database.open(URL, _MIGRATIONS)).close()
    await duty.take_back()
    assert (checks.started, checks.task.done()) == (2, False)
    assert (await database.check()).status == "healthy"
    async with database.write():
        pass


async def test_who_can_not_lend_it_goes_on(duty: Duty, database: Database, checks: Checks) -> None:
    async with database.write():
        with pytest.raises(StorageUnavailable):
            await duty.lend()
    assert (checks.started, checks.task.done()) == (2, False)


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
        assert checks.started == 2  # servers are checked all the same
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


async def test_what_is_given_away_sends_callers_to_the_other_process(duty: Duty, database: Database) -> None:
    await duty.lend()
    duty.give_away()
    with pytest.raises(StorageUnavailable, match="on a new connection"):
        async with database.read():
            pytest.fail("there is none to read")
