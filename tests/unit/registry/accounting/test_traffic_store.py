"""Do the figures of each minute reach the database whole, and come back added up?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.services.core.reporting.series import POOL, Bucket
from app.services.registry.accounting.traffic_store import TrafficStore
from app.utils.database import Database
from tests.fakes.migrated import MIGRATIONS

MINUTE = 31_666_680
"""A Unix minute that begins a half hour."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[TrafficStore]:
    database = await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", MIGRATIONS)
    try:
        yield TrafficStore(database)
    finally:
        await database.close()


def bucket(requests: int, first_tokens: list[int] | None = None, queued_most: int = 0) -> Bucket:
    made = Bucket(10.0, queued_most)
    made.requests, made.errors, made.prompt_tokens, made.completion_tokens = requests, 1, 7, 3
    made.continuations = 2
    made.first_tokens = first_tokens
    return made


def told(rows: list[tuple[int, str, Bucket]]) -> dict[tuple[int, str], tuple[object, ...]]:
    return {
        (number, owner): (one.seconds, one.requests, one.errors, one.prompt_tokens, one.completion_tokens,
                          one.continuations, one.queued_most, one.first_tokens)
        for number, owner, one in rows
    }  # fmt: skip


async def test_what_is_saved_is_loaded(store: TrafficStore) -> None:
    counts = [*range(17)]
    await store.save([(MINUTE, POOL, bucket(5, counts, 4)), (MINUTE, "ann", bucket(3))])
    assert told(await store.load(MINUTE)) == {
        (MINUTE, POOL): (60.0, 5, 1, 7, 3, 2, 4, counts),
        (MINUTE, "ann"): (60.0, 3, 1, 7, 3, 2, 0, None),
    }
    assert await store.load(MINUTE + 1) == []


async def test_a_minute_that_is_written_again_takes_the_place_of_what_was(store: TrafficStore) -> None:
    await store.save([(MINUTE, POOL, bucket(5))])
    await store.save([(MINUTE, POOL, bucket(9))])
    await store.save([])
    assert [one.requests for _minute, _owner, one in await store.load(0)] == [9]


async def test_minutes_are_added_up_in_steps(store: TrafficStore) -> None:
    first, second = [1] * 17, [0] * 16 + [4]
    rows = [(MINUTE, bucket(1, first, 2)), (MINUTE + 29, bucket(2, second, 9)), (MINUTE + 30, bucket(4))]
    await store.save([(minute, POOL, one) for minute, one in rows])
    assert told(await store.load(MINUTE, 30)) == {
        (MINUTE // 30, POOL): (120.0, 3, 2, 14, 6, 4, 9, [*first[:-1], 5]),
        (MINUTE // 30 + 1, POOL): (60.0, 4, 1, 7, 3, 2, 0, None),
    }


async def test_what_is_old_is_purged(store: TrafficStore) -> None:
    await store.save([(MINUTE + 1440 * day, POOL, bucket(day)) for day in range(10)])
    await store.purge(MINUTE + 1440 * 7)
    assert [one.requests for _minute, _owner, one in await store.load(0)] == [7, 8, 9]
    await store.purge(MINUTE + 1440 * 70)
    await store.purge(MINUTE + 1440 * 70)
    assert await store.load(0) == []
