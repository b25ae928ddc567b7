"""Does the database give back what it was given, and keep no more than it should?"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import time, timedelta

import pytest
import sqlalchemy as sa

from app.services.core.checks.health import CheckRecord, HealthState
from app.services.core.errors import StorageUnavailable
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.people.principal import Trust
from app.services.core.types import HealthStatus, ModelEntry
from app.services.registry.records import Hold, ServerRecord
from app.services.registry.repository import HISTORY_LENGTH, EndpointTaken
from app.services.registry.tables import health_checks, model_servers, server_models, server_terms
from tests.fakes.registry import ENCRYPTION_KEY, START, registry_world

CHECK = CheckRecord(START, ok=True, latency_ms=1.5)


def record(server_id: str = "id-1", url: str = "http://10.0.0.5:8000", **other) -> ServerRecord:
    return ServerRecord(server_id, parse_endpoint(url), (ModelEntry("a", "up-a", 4096),), START, START, **other)


FULL = record(
    owner="key-1",
    api_key="sk-canary-4711",
    engine="vllm",
    discovers_models=True,
    max_concurrency=8,
    priority=-3,
    weight=2.5,
    share="group",
    capabilities={"streaming": True, "max_tokens": 4096},
    metadata={"owner": "alice", "nested": {"list": [1, 2.5, None, "ü"]}},
    paused=Hold(active=True, reason="moving", until=START + timedelta(hours=1)),
    quarantined=Hold(active=True, reason="odd"),
    blocked=Hold(active=True),
    draining=Hold(active=False, reason="was", until=START),
    pending=Hold(active=True, reason="waits", until=START + timedelta(days=1)),
    trust=Trust.GROUP,
    hours=Hours("Europe/Berlin", (Window(frozenset({Day.SAT}), time(18), time(8)),)),
)
SICK = HealthState(HealthStatus.UNHEALTHY, "connection refused", 3, 0, START, START, frozenset({"up-a", "ü"}))


async def count(world, table, *conditions) -> int:
    async with world.database.read() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions))).scalar_one()


async def test_everything_comes_back_after_a_restart(tmp_path):
    async with registry_world(tmp_path) as world:
        await world.repository.insert(FULL, SICK, CHECK)
    async with registry_world(tmp_path) as world:
        (loaded,) = await world.repository.load()
    assert loaded.record == FULL
    assert loaded.record.hours is not None
    assert str(loaded.record.hours.zone) == "Europe/Berlin"
    assert loaded.health == SICK
    assert loaded.history == (CHECK,)


async def test_the_models_keep_their_order(world):
    models = tuple(ModelEntry(name, name) for name in ("z", "a", "m"))
    await world.repository.insert(replace(FULL, models=models), SICK, CHECK)
    await world.repository.update(replace(FULL, models=tuple(reversed(models))))
    (loaded,) = await world.repository.load()
    assert loaded.record.models == tuple(reversed(models))
    assert await count(world, server_models) == 3


async def test_a_live_endpoint_is_there_once_and_free_after_removal(world):
    await world.repository.insert(record("id-1"), SICK, CHECK)
    with pytest.raises(EndpointTaken):
        await world.repository.insert(record("id-2"), SICK, CHECK)
    await world.repository.insert(record("id-3", "http://10.0.0.6"), SICK, CHECK)
    with pytest.raises(EndpointTaken):
        await world.repository.update(record("id-3"))
    await world.repository.remove("id-1", START)
    await world.repository.insert(record("id-2"), SICK, CHECK)
    assert {one.record.id for one in await world.repository.load()} == {"id-2", "id-3"}


async def test_of_many_that_want_one_endpoint_one_gets_it(world):
    tries = [world.repository.insert(record(f"id-{number}"), SICK, CHECK) for number in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, EndpointTaken) for result in results) == 19
    assert await count(world, model_servers) == 1


async def test_a_refused_insert_leaves_nothing_behind(world):
    await world.repository.insert(record("id-1"), SICK, CHECK)
    with pytest.raises(EndpointTaken):
        await world.repository.insert(record("id-2"), SICK, CHECK)
    assert await count(world, server_models) == 1
    assert await count(world, server_terms) == 1
    assert await count(world, health_checks) == 1


async def test_removal_keeps_the_row_and_its_history_but_not_its_key(world):
    await world.repository.insert(FULL, SICK, CHECK)
    await world.repository.remove(FULL.id, START)
    assert await world.repository.load() == []
    assert await count(world, model_servers, model_servers.c.deleted_at == START) == 1
    assert await count(world, model_servers, model_servers.c.api_key_ciphertext.is_(None)) == 1
    assert await count(world, health_checks) == 1


async def test_no_key_stands_in_the_file_in_the_clear(world, tmp_path):
    await world.repository.insert(FULL, SICK, CHECK)
    await world.database.close()
    contents = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"10.0.0.5:8000" in contents
    assert b"canary" not in contents


async def test_with_another_encryption_key_a_server_stays_and_its_key_waits(tmp_path):
    async with registry_world(tmp_path) as world:
        await world.repository.insert(FULL, SICK, CHECK)
    async with registry_world(tmp_path, encryption_key=bytes(32)) as world:
        (loaded,) = await world.repository.load()
        assert (loaded.record.api_key, loaded.record.key_unreadable) == (None, True)
        await world.repository.update(replace(loaded.record, priority=9))
    async with registry_world(tmp_path, encryption_key=ENCRYPTION_KEY) as world:
        (loaded,) = await world.repository.load()
        assert (loaded.record.api_key, loaded.record.key_unreadable) == ("sk-canary-4711", False)
        assert loaded.record.priority == 9


async def test_a_stored_endpoint_that_is_no_longer_accepted_stops_nobody(world, caplog):
    await world.repository.insert(record("id-1"), SICK, CHECK)
    await world.repository.insert(record("id-2", "http://10.0.0.6"), SICK, CHECK)
    async with world.database.write() as connection:
        spoilt = sa.update(model_servers).where(model_servers.c.id == "id-1").values(endpoint_url="gopher://x")
        await connection.execute(spoilt)
    assert [one.record.id for one in await world.repository.load()] == ["id-2"]
    assert "left out" in caplog.text


async def test_health_and_history_are_saved_and_pruned_per_server(world):
    for name, port in (("id-1", 1), ("id-2", 2)):
        await world.repository.insert(record(name, f"http://10.0.0.5:{port}"), HealthState(), CHECK)
    checks = [CheckRecord(START + timedelta(seconds=number), ok=False, reason=str(number)) for number in range(150)]
    await world.repository.save_health({"id-1": SICK}, [("id-1", check) for check in checks])
    await world.repository.save_health({}, [("id-2", checks[0])])
    first, second = await world.repository.load()
    assert first.health == SICK
    assert first.history == tuple(reversed(checks[-HISTORY_LENGTH:]))
    assert len(second.history) == 2
    assert await count(world, health_checks) == HISTORY_LENGTH + 2


async def test_health_of_a_server_that_was_purged_is_passed_over(world):
    await world.repository.insert(record("id-1"), HealthState(), CHECK)
    await world.repository.save_health({"id-1": SICK, "gone": SICK}, [("gone", CHECK), ("id-1", CHECK)])
    (loaded,) = await world.repository.load()
    assert loaded.health == SICK
    assert await count(world, health_checks) == 2


async def test_nothing_to_save_writes_nothing(world):
    await world.database.close()
    await world.repository.save_health({}, [])
    with pytest.raises(StorageUnavailable):
        await world.repository.save_health({"id-1": SICK}, [])


async def test_what_servers_say_is_stored_whatever_it_is(world):
    reason = "lone \ud800 and nul \0 and ü"
    state = HealthState(reason=reason, missing_models=frozenset({"\ud800"}))
    await world.repository.insert(record(), state, CheckRecord(START, ok=False, reason=reason))
    (loaded,) = await world.repository.load()
    assert loaded.health.reason == loaded.history[0].reason == "lone ? and nul ? and ü"


async def test_purging_forgets_what_retention_no_longer_covers(world):
    for number in range(3):
        await world.repository.insert(record(f"id-{number}", f"http://10.0.0.5:{8000 + number}"), SICK, CHECK)
    await world.repository.remove("id-0", START - timedelta(days=40))
    await world.repository.remove("id-1", START - timedelta(days=20))
    old = CheckRecord(START - timedelta(days=50), ok=True)
    await world.repository.save_health({}, [("id-2", old)])
    before = START - timedelta(days=30)
    assert await world.repository.purge(removed_before=before, checks_before=before) == (1, 1)
    assert await count(world, model_servers) == 2
    assert await count(world, server_models) == 2
    assert await count(world, server_terms) == 2
    assert await count(world, health_checks) == 2
