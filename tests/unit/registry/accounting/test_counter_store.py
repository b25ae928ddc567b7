"""Do states of counters reach the database whole, and is what is old deleted?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.services.registry.accounting.counter_store import CounterStore
from app.utils.database import Database
from tests.fakes.migrated import MIGRATIONS

NOON = datetime(2030, 5, 10, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CounterStore]:
    database = await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", MIGRATIONS)
    try:
        yield CounterStore(database)
    finally:
        await database.close()


async def test_what_is_saved_is_loaded(store):
    states = [("key:a", None, b"\x00\xff"), ("key:a", "org/llama", b"two"), ("person:ada@example.org", None, b"")]
    await store.save(states, NOON)
    assert sorted(await store.load(10), key=str) == sorted(states, key=str)


async def test_a_newer_state_takes_the_place_of_an_older_one(store):
    await store.save([("key:a", None, b"old"), ("key:a", "m", b"other"), ("key:b", None, b"old")], NOON)
    await store.save([("key:a", None, b"new"), ("key:b", None, None), ("key:c", None, None)], NOON)
    assert sorted(await store.load(10), key=str) == [("key:a", "m", b"other"), ("key:a", None, b"new")]


async def test_nothing_to_save_writes_nothing(store):
    await store.save([], NOON)
    assert await store.load(10) == []


async def test_of_people_the_newest_are_loaded_and_of_all_else_everything(store):
    for number in range(10):
        await store.save(
            [(f"person:{number}", None, b"p"), (f"key:{number}", None, b"k")], NOON + timedelta(hours=number)
        )
    loaded = [subject for subject, _, _ in await store.load(3)]
    assert [subject for subject in loaded if subject.startswith("person:")] == ["person:9", "person:8", "person:7"]
    assert len(loaded) == 13


async def test_names_that_no_database_takes_are_stored_all_the_same(store):
    await store.save(
        [("person:\ud800", None, b"one"), ("person:a\0b", None, b"two"), ("person:?", None, b"three")], NOON
    )
    assert {subject for subject, _, _ in await store.load(10)} == {"person:?", "person:a?b"}


async def test_a_thousand_states_are_one_transaction(store):
    states = [(f"person:{number}", "m", b"x" * 300) for number in range(1000)]
    await store.save(states, NOON)
    await store.save(states, NOON)
    assert len(await store.load(5000)) == 1000


async def test_what_was_not_saved_for_long_is_purged(store):
    await store.save([("key:old", None, b"old")], NOON)
    await store.save([("key:new", None, b"new")], NOON + timedelta(days=2))
    await store.purge(NOON + timedelta(days=1))
    assert [subject for subject, _, _ in await store.load(10)] == ["key:new"]
