"""The database: one writer, readers that can't write, failures with their fix, health that tells the truth."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError, StatementError
from structlog.testing import capture_logs

from app.services.core.errors import StorageUnavailable
from app.utils.database import Database, DatabaseInUse, DatabaseUnusable, Migrations, verify

pytestmark = pytest.mark.usefixtures("empty_directory")
URL = "sqlite:///gateway.db"
FILE = Path("gateway.db")


@pytest.fixture
async def database(first_schema: Migrations) -> AsyncIterator[Database]:
    database = await Database.open(URL, first_schema, timeout_seconds=0.2)
    yield database
    await database.close()


async def insert(database: Database, name: str) -> None:
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), {"name": name})


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(text("SELECT name FROM things ORDER BY id"))).scalars())


async def pragma(database: Database, name: str, *, writer: bool) -> object:
    async with database.write() if writer else database.read() as connection:
        return (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()


async def test_what_is_written_is_read(database: Database):
    await insert(database, "one")
    assert await names(database) == ["one"]


async def test_how_connections_are_set(database: Database):
    assert await pragma(database, "journal_mode", writer=True) == "wal"
    assert await pragma(database, "synchronous", writer=True) == 2
    assert await pragma(database, "foreign_keys", writer=True) == 1
    assert await pragma(database, "busy_timeout", writer=True) == 200
    assert await pragma(database, "query_only", writer=True) == 0
    assert await pragma(database, "query_only", writer=False) == 1
    assert await pragma(database, "busy_timeout", writer=False) == 200


async def test_an_error_inside_a_write_rolls_back(database: Database):
    async def write_and_fail() -> None:
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('lost')"))
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    assert await names(database) == []


async def test_readers_can_not_write(database: Database):
    with pytest.raises(StorageUnavailable):
        async with database.read() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('x')"))
    assert await names(database) == []


async def test_a_reader_sees_one_state_and_does_not_hold_up_the_writer(database: Database):
    count = text("SELECT count(*) FROM things")
    async with database.read() as connection:
        assert (await connection.execute(count)).scalar() == 0
        await insert(database, "later")
        assert (await connection.execute(count)).scalar() == 0
    assert await names(database) == ["later"]


async def test_writers_take_turns_on_one_connection(first_schema: Migrations):
    database = await Database.open(URL, first_schema, timeout_seconds=30)
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(insert(database, str(number)))
    assert len(await names(database)) == 50
    await database.close()


async def test_waiting_for_the_writer_has_a_deadline(database: Database):
    async with database.write():
        with pytest.raises(StorageUnavailable, match="busy"):
            await insert(database, "x")


async def test_a_cancelled_write_leaves_no_lock_and_no_row(database: Database):
    inside = asyncio.Event()

    async def hang() -> None:
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('lost')"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await insert(database, "kept")
    assert await names(database) == ["kept"]


async def test_writes_cancelled_anywhere_leave_no_lock(database: Database):
    for steps in range(12):
        task = asyncio.create_task(insert(database, "x"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await insert(database, f"after {steps}")
    assert [name for name in await names(database) if name != "x"] == [f"after {steps}" for steps in range(12)]


async def test_broken_constraints_are_the_caller_s(database: Database):
    await insert(database, "one")
    with pytest.raises(IntegrityError):
        await insert(database, "one")
    assert (await database.check()).status == "healthy"


async def test_wrong_statements_are_bugs_not_outages(database: Database):
    with pytest.raises((ProgrammingError, StatementError)):
        async with database.read() as connection:
            await connection.execute(text("SELECT :missing"))


async def test_a_timeout_of_the_caller_s_own_is_not_ours(database: Database):
    async def give_up() -> None:
        async with database.write():
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await give_up()


async def test_health(database: Database):
    health = await database.check()
    assert (health.status, health.reason) == ("healthy", "")
    assert 0 < health.latency_ms < 2000


async def test_health_writes_nothing(database: Database):
    await insert(database, "one")
    before = Path("gateway.db-wal").read_bytes()
    await database.check()
    assert Path("gateway.db-wal").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be moved there")
async def test_health_notices_a_removed_file(database: Database):
    FILE.rename("elsewhere.db")
    health = await database.check()
    assert health.status == "unhealthy"
    assert "removed or replaced" in health.reason


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be moved there")
@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_no_write_is_acknowledged_that_the_next_start_would_not_find(database: Database, how: str):
    await insert(database, "kept")
    FILE.rename("elsewhere.db")
    if how == "replaced":
        FILE.write_bytes(b"another")
    with pytest.raises(StorageUnavailable, match="restart the gateway") as caught:
        await insert(database, "lost")
    assert caught.value.retry_after_seconds == 5
    assert "removed or replaced" in (await database.check()).reason
    Path("elsewhere.db").replace(FILE)
    assert (await database.check()).status == "healthy"
    assert await names(database) == ["kept"]
    await insert(database, "later")


@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be moved there")
async def test_a_file_lost_in_the_middle_of_a_write_is_told_too(database: Database):
    async def write_and_lose() -> None:
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('lost')"))
            FILE.rename("elsewhere.db")

    with pytest.raises(StorageUnavailable, match="removed or replaced"):
        await write_and_lose()


@pytest.mark.parametrize("number", [0, 7])
async def test_where_the_system_does_not_tell_files_apart_writes_go_on(
    first_schema: Migrations, monkeypatch: pytest.MonkeyPatch, number: int
):
    """A file system that numbers no files, and one that cannot be asked for a while."""
    monkeypatch.setattr("app.utils.database._identity", lambda _path: (1, number) if number else None)
    database = await Database.open(URL, first_schema)

    def denied(_path: Path) -> tuple[int, int]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("app.utils.database._identity", denied)
    await insert(database, "one")
    assert (await database.check()).status == "healthy"
    await database.close()


async def test_a_start_that_cannot_look_at_the_file_is_told_and_frees_it(
    first_schema: Migrations, monkeypatch: pytest.MonkeyPatch
):
    def denied(_path: Path) -> tuple[int, int]:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("app.utils.database._identity", denied)
        with pytest.raises(DatabaseUnusable, match="Permission denied"):
            await Database.open(URL, first_schema)
    await (await Database.open(URL, first_schema)).close()


async def test_a_lock_held_by_another_process(database: Database):
    with closing(sqlite3.connect(FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked by another process") as caught:
            await insert(database, "x")
        assert caught.value.status == 503
        assert caught.value.retry_after_seconds == 5
        assert "locked" in (await database.check()).reason
        other.execute("ROLLBACK")
    assert (await database.check()).status == "healthy"
    await insert(database, "y")


async def test_a_full_disk_is_told_and_recovered_from(database: Database):
    async def fill(pages: int) -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await fill(1)  # SQLite takes the present size then: not one page more
    with pytest.raises(StorageUnavailable, match="disk is full: free space"):
        await insert(database, "x" * 100_000)
    await insert(database, "small still fits")
    await fill(1_000_000)
    await insert(database, "x" * 100_000)
    assert len(await names(database)) == 2


async def test_health_stays_down_while_writing_fails(database: Database, monkeypatch: pytest.MonkeyPatch):
    with closing(sqlite3.connect(FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await insert(database, "x")
        first = await database.check()
        second = await database.check()
        assert (first.status, second.status) == ("unhealthy", "unhealthy")
    assert (await database.check()).status == "healthy"


async def test_a_second_gateway_on_the_same_file_is_refused(database: Database, first_schema: Migrations):
    with pytest.raises(DatabaseInUse, match=r"gateway\.db\.lock"):
        await Database.open(URL, first_schema)
    await insert(database, "unharmed")


async def test_an_open_that_fails_frees_the_file(first_schema: Migrations):
    FILE.write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnusable):
        await Database.open(URL, first_schema)
    FILE.unlink()
    await (await Database.open(URL, first_schema)).close()


async def test_a_close_that_can_not_checkpoint_is_told_and_loses_nothing(first_schema: Migrations):
    database = await Database.open(URL, first_schema, timeout_seconds=0.1)
    await insert(database, "kept")
    async with database._writer.connect() as busy:
        with capture_logs() as captured:
            await database.close()
        await busy.invalidate()  # its pool is gone
    assert [event["step"] for event in captured if event["event"] == "The database was not closed cleanly"] == [
        "_checkpoint"
    ]
    again = await Database.open(URL, first_schema)
    assert await names(again) == ["kept"]
    await again.close()


async def test_after_close_nothing_goes_and_the_file_is_whole_and_free(first_schema: Migrations):
    database = await Database.open(URL, first_schema)
    await insert(database, "one")
    await database.close()
    await database.close()
    assert [path.name for path in sorted(Path().iterdir()) if path.name.startswith("gateway.db-")] == []
    with pytest.raises(StorageUnavailable, match="closed"):
        await insert(database, "x")
    with pytest.raises(StorageUnavailable, match="closed"):
        await names(database)
    assert (await database.check()).status == "unhealthy"
    again = await Database.open(URL, first_schema)
    assert await names(again) == ["one"]
    await again.close()


async def test_open_makes_the_folder_and_keeps_the_file_private(first_schema: Migrations):
    database = await Database.open("sqlite+aiosqlite:///some/folder/gateway.db", first_schema)
    await insert(database, "one")
    await database.close()
    file = Path("some/folder/gateway.db")
    assert file.is_file()
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600


async def test_odd_names_are_paths_and_not_urls(first_schema: Migrations):
    database = await Database.open("sqlite:///an odd%20name & more.db", first_schema)
    await insert(database, "one")
    await database.close()
    assert Path("an odd%20name & more.db").is_file()


async def test_the_event_loop_is_never_blocked(first_schema: Migrations, blocking_calls_fail: object):
    database = await Database.open(URL, first_schema)
    await insert(database, "one")
    await names(database)
    await database.check()
    await database.close()


def test_acknowledged_writes_survive_kill_nine(first_schema: Migrations):
    program = f"""
import asyncio, os, signal, sys
from pathlib import Path
from sqlalchemy import MetaData, text
from app.utils.database import Database, Migrations

async def main():
    database = await Database.open({URL!r}, Migrations(Path({str(first_schema.folder)!r}), MetaData()))
    for number in range(200):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), {{"name": str(number)}})
        os.write(1, b"x")
        if number == 99:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=30, check=False
    )
    assert ended.returncode < 0, ended.stderr

    async def look() -> list[str]:
        database = await Database.open(URL, first_schema)
        found = await names(database)
        await database.close()
        return found

    assert asyncio.run(look()) == [str(number) for number in range(len(ended.stdout))]
    assert len(ended.stdout) == 100
    assert verify(FILE) == "0001"
