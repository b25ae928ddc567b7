"""Is the database one process's at a time, and does nothing that waits for it get lost or hang?"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from app.services.core.errors import StorageUnavailable
from app.utils.database import Database, DatabaseInUse, DatabaseTooNew, DatabaseUnusable, Migrations

pytestmark = pytest.mark.usefixtures("empty_directory")
URL = "sqlite:///gateway.db"
FILE = Path("gateway.db")


@pytest.fixture
async def database(first_schema: Migrations) -> AsyncIterator[Database]:
    database = await Database.open(URL, first_schema, timeout_seconds=10)
    yield database
    await database.close()


async def insert(database: Database, name: str) -> None:
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), {"name": name})


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(text("SELECT name FROM things ORDER BY id"))).scalars())


async def test_the_next_process_gets_it_whole_and_the_first_one_takes_it_back(
    database: Database, first_schema: Migrations
) -> None:
    await insert(database, "before")
    await database.lend()
    assert database.lent
    assert not Path("gateway.db-wal").exists()
    assert (await database.check()).status == "healthy"
    other = await Database.open(URL, first_schema)
    await insert(other, "meanwhile")
    with pytest.raises(DatabaseInUse):
        await database.take_back()
    await other.close()
    await database.take_back()
    assert not database.lent
    await insert(database, "after")
    assert await names(database) == ["before", "meanwhile", "after"]
    with pytest.raises(DatabaseInUse):
        await Database.open(URL, first_schema)


async def test_writers_and_readers_wait_for_it_to_come_back(database: Database) -> None:
    await database.lend()
    writing, reading = asyncio.create_task(insert(database, "waited")), asyncio.create_task(names(database))
    done, _ = await asyncio.wait({writing, reading}, timeout=0.05)
    assert not done
    await database.take_back()
    await writing
    assert await reading in (["waited"], [])


async def test_it_is_lent_between_two_transactions_and_never_inside_one(database: Database) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def write_slowly() -> None:
        async with database.write() as connection:
            inside.set()
            await go_on.wait()
            await connection.execute(text("INSERT INTO things (name) VALUES ('slow')"))

    slow = asyncio.create_task(write_slowly())
    await inside.wait()
    lending = asyncio.create_task(database.lend())
    late = asyncio.create_task(insert(database, "late"))
    await asyncio.wait({lending, late}, timeout=0.05)
    assert not lending.done()
    go_on.set()
    await asyncio.gather(slow, lending)
    with closing(sqlite3.connect(FILE)) as other:
        assert other.execute("SELECT name FROM things").fetchall() == [("slow",)]
    await database.take_back()
    await late
    assert await names(database) == ["slow", "late"]


async def test_a_transaction_that_takes_too_long_keeps_it(first_schema: Migrations) -> None:
    database = await Database.open(URL, first_schema, timeout_seconds=0.05)
    async with database.write() as connection:
        with pytest.raises(StorageUnavailable, match="can't be handed over"):
            await database.lend()
        await connection.execute(text("INSERT INTO things (name) VALUES ('kept')"))
    assert await names(database) == ["kept"]
    await database.close()


async def test_whoever_waits_too_long_may_try_again(first_schema: Migrations) -> None:
    database = await Database.open(URL, first_schema, timeout_seconds=0.05)
    await database.lend()
    with pytest.raises(StorageUnavailable, match="in a second") as caught:
        await insert(database, "x")
    assert caught.value.retry_after_seconds == 1
    await database.close()


async def test_what_was_given_away_refuses_with_the_words_given(database: Database, first_schema: Migrations) -> None:
    await database.lend()
    waiting = asyncio.create_task(insert(database, "waits"))
    await asyncio.wait({waiting}, timeout=0.05)
    database.give_away("Another process has it.")
    for refused in (waiting, insert(database, "late"), names(database)):
        with pytest.raises(StorageUnavailable, match="Another process has it"):
            await refused
    other = await Database.open(URL, first_schema)
    await database.close()  # closes nothing that is no longer its own
    assert await names(other) == []
    await other.close()


async def test_a_schema_that_the_next_one_changed_is_not_taken_back(database: Database) -> None:
    await database.lend()
    with closing(sqlite3.connect(FILE)) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseTooNew, match="revision '9999'"):
        await database.take_back()
    assert database.lent


async def test_a_file_that_is_gone_is_not_taken_back(database: Database, first_schema: Migrations) -> None:
    await database.lend()
    FILE.unlink()
    with pytest.raises(DatabaseUnusable, match="no file"):
        await database.take_back()
    await (await Database.open(URL, first_schema)).close()  # its lock is free
