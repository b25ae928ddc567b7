"""Do the use cases leave database, memory and routing alike, whoever comes, goes or fails meanwhile?"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app.services.core.errors import (
    Conflict,
    EndpointRefused,
    FieldsInvalid,
    NotAllowed,
    NotFound,
    ServerUnreachable,
    StorageUnavailable,
)
from app.services.core.types import CheckFailure, DiscoveredModel, HealthStatus, Inspection, ModelEntry
from app.services.registry.records import Hold, LoadedServer
from app.services.registry.specification import ServerChange, ServerSpec
from tests.fakes.registry import ADMIN, ENCRYPTION_KEY, OWNER, START, STRANGER, USER, World, registry_world, wait_until

URL = "http://10.0.0.5:8000"
OTHER_URL = "http://10.0.0.6:8000"
SPEC = ServerSpec(URL, models=(ModelEntry("llama-3-8b", "llama-3-8b"),))


async def stored(world: World):
    return {one.record.id: one.record for one in await world.repository.load()}


async def assert_alike(world: World) -> None:
    """Database, memory and routing hold the same servers."""
    assert await stored(world) == dict(world.registry.servers)
    assert set(world.routed()) == set(world.registry.servers)


async def test_a_registered_server_is_stored_known_and_routed(world):
    record = await world.registry.register(OWNER, SPEC)
    assert str(UUID(record.id)) == record.id
    assert (record.owner, record.engine, record.created_at) == (OWNER.key_id, "llama.cpp", START)
    await assert_alike(world)
    server = world.routed()[record.id]
    assert (server.health, server.models, server.accepts_work) == (HealthStatus.HEALTHY, record.models, True)
    assert [check.ok for check in world.book.history(record.id)] == [True]
    assert world.book.state(record.id).last_transition_at == START


async def test_all_is_there_after_a_restart(tmp_path):
    async with registry_world(tmp_path) as world:
        record = await world.registry.register(OWNER, SPEC)
        await world.registry.pause(OWNER, record.id, reason="night")
        before = dict(world.registry.servers)
    async with registry_world(tmp_path) as world:
        assert dict(world.registry.servers) == before
        assert world.routed()[record.id].paused
        assert world.routed()[record.id].health is HealthStatus.HEALTHY
        assert len(world.book.history(record.id)) == 1


@pytest.mark.parametrize("written", [URL + "/", URL + "/v1", URL + "/v1/", "HTTP://10.0.0.5:8000"])
async def test_ways_to_write_one_endpoint_are_one_endpoint(world, written):
    record = await world.registry.register(OWNER, SPEC)
    with pytest.raises(Conflict, match=record.id):
        await world.registry.register(OWNER, ServerSpec(written))
    assert len(world.inspector.looks) == 1


async def test_a_conflict_names_the_registration_to_who_may_know_it(world):
    record = await world.registry.register(OWNER, SPEC)
    with pytest.raises(Conflict, match=record.id):
        await world.registry.register(ADMIN, SPEC)
    with pytest.raises(Conflict) as caught:
        await world.registry.register(STRANGER, SPEC)
    assert record.id not in caught.value.message


async def test_of_many_registrations_of_one_endpoint_one_is_taken(world):
    results = await asyncio.gather(*(world.registry.register(OWNER, SPEC) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 9
    assert len(world.registry.servers) == 1
    await assert_alike(world)


@pytest.mark.parametrize(
    ("failure", "error", "text"),
    [
        (CheckFailure.REFUSED_ADDRESS, EndpointRefused, "private"),
        (CheckFailure.UNREACHABLE, ServerUnreachable, "connection refused. Check that it is running"),
        (CheckFailure.NOT_READY, ServerUnreachable, "Wait until it is ready"),
        (CheckFailure.CREDENTIALS, ServerUnreachable, "api_key"),
        (CheckFailure.BAD_ANSWER, ServerUnreachable, "OpenAI-compatible"),
    ],
)
async def test_a_server_that_fails_its_check_is_not_registered(world, failure, error, text):
    reason = {CheckFailure.REFUSED_ADDRESS: "10.0.0.5 is private", CheckFailure.UNREACHABLE: "connection refused"}
    world.inspector.failing[URL] = (failure, reason.get(failure, "odd"))
    with pytest.raises(error, match=text) as caught:
        await world.registry.register(OWNER, SPEC)
    assert caught.value.status == (400 if error is EndpointRefused else 503)
    assert len(world.registry.servers) == 0
    await assert_alike(world)


async def test_a_missing_model_is_told_with_those_that_exist(world):
    world.inspector.listed[URL] = ["a", "b"]
    with pytest.raises(ServerUnreachable, match=f"The server at {URL} lists models a, b but not llama-3-8b") as caught:
        await world.registry.register(OWNER, SPEC)
    assert caught.value.param == "models"
    world.inspector.listed[URL] = ["llama-3-8b"]
    both = (ModelEntry("llama-3-8b", "llama-3-8b"), ModelEntry("b", "b"))
    with pytest.raises(ServerUnreachable, match="but not b"):
        await world.registry.register(OWNER, ServerSpec(URL, models=both))


async def test_without_names_all_models_are_taken(world):
    world.inspector.listed[URL] = [DiscoveredModel("a", 4096), "b"]
    record = await world.registry.register(OWNER, ServerSpec(URL))
    assert record.models == (ModelEntry("a", "a", 4096), ModelEntry("b", "b"))
    assert record.discovers_models


async def test_a_url_of_bad_form_is_never_looked_at(world):
    with pytest.raises(EndpointRefused):
        await world.registry.register(OWNER, ServerSpec("ftp://10.0.0.5"))
    assert world.inspector.looks == []


async def test_roles_hold(world):
    record = await world.registry.register(OWNER, SPEC)
    with pytest.raises(NotAllowed):
        await world.registry.register(USER, ServerSpec(OTHER_URL))
    for principal in (STRANGER, USER):
        for attempt in (
            world.registry.replace(principal, record.id, SPEC),
            world.registry.change(principal, record.id, ServerChange(priority=1)),
            world.registry.remove(principal, record.id),
            world.registry.pause(principal, record.id),
            world.registry.resume(principal, record.id),
            world.registry.drain(principal, record.id),
        ):
            with pytest.raises(NotAllowed):
                await attempt
    for attempt in (world.registry.block(OWNER, record.id), world.registry.unblock(OWNER, record.id)):
        with pytest.raises(NotAllowed):
            await attempt
    assert world.registry.servers[record.id] == record


async def test_a_replaced_server_is_described_anew_as_a_whole(world):
    full = ServerSpec(URL, api_key="key", max_concurrency=4, priority=-3, metadata={"owner": "alice"})
    record = await world.registry.register(OWNER, full)
    await world.registry.pause(OWNER, record.id)
    world.inspector.listed[OTHER_URL] = ["other"]
    after = await world.registry.replace(OWNER, record.id, ServerSpec(OTHER_URL))
    assert (after.id, after.owner, after.endpoint.url) == (record.id, OWNER.key_id, OTHER_URL)
    assert (after.api_key, after.max_concurrency, after.priority, after.metadata) == (None, None, 0, {})
    assert after.models == (ModelEntry("other", "other"),)
    assert after.paused.active
    await assert_alike(world)
    await world.registry.register(OWNER, SPEC)


async def test_a_change_touches_what_it_names_and_checks_only_what_matters(world):
    record = await world.registry.register(OWNER, ServerSpec(URL, api_key="key", max_concurrency=4))
    world.clock.move(minutes=1)
    after = await world.registry.change(OWNER, record.id, ServerChange(max_concurrency=None, weight=2.0))
    assert (after.api_key, after.max_concurrency, after.weight, after.models) == ("key", None, 2.0, record.models)
    assert (after.created_at, after.updated_at) == (START, START + timedelta(minutes=1))
    assert len(world.inspector.looks) == 1
    await world.registry.change(OWNER, record.id, ServerChange(api_key="new"))
    assert world.inspector.looks[1:] == [(URL, "new", ())]
    assert world.routed()[record.id].api_key == "new"
    await assert_alike(world)


async def test_a_change_that_fails_its_check_changes_nothing(world):
    record = await world.registry.register(OWNER, SPEC)
    world.inspector.failing[OTHER_URL] = (CheckFailure.UNREACHABLE, "connection refused")
    with pytest.raises(ServerUnreachable):
        await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=OTHER_URL, priority=-9))
    assert world.registry.servers[record.id] == record
    await assert_alike(world)


@pytest.mark.parametrize(
    ("more", "param"), [({"priority": 1}, "priority"), ({"weight": 10.5}, "weight")], ids=["priority", "weight"]
)
async def test_no_owner_prefers_a_server_of_its_own_and_nothing_is_looked_at_for_it(world, more, param):
    with pytest.raises(FieldsInvalid) as caught:
        await world.registry.register(OWNER, ServerSpec(OTHER_URL, **more))
    assert caught.value.param == param
    record = await world.registry.register(OWNER, SPEC)
    for attempt in (
        world.registry.change(OWNER, record.id, ServerChange(**more)),
        world.registry.replace(OWNER, record.id, ServerSpec(URL, **more)),
    ):
        with pytest.raises(FieldsInvalid, match="admin") as caught:
            await attempt
        assert caught.value.param == param
    assert len(world.inspector.looks) == 1
    await assert_alike(world)


async def test_what_the_operator_gave_a_server_stays_while_its_owner_changes_other_things(world):
    record = await world.registry.register(OWNER, SPEC)
    await world.registry.change(ADMIN, record.id, ServerChange(priority=5, weight=50.0))
    after = await world.registry.change(OWNER, record.id, ServerChange(max_concurrency=2))
    assert (after.priority, after.weight, after.max_concurrency) == (5, 50.0, 2)
    with pytest.raises(FieldsInvalid):
        await world.registry.change(OWNER, record.id, ServerChange(priority=6))
    lowered = await world.registry.change(OWNER, record.id, ServerChange(priority=0, weight=10.0))
    assert (lowered.priority, lowered.weight) == (0, 10.0)
    with pytest.raises(FieldsInvalid):
        await world.registry.change(OWNER, record.id, ServerChange(priority=5))
    assert (await world.registry.register(ADMIN, ServerSpec(OTHER_URL, priority=9, weight=99.0))).priority == 9


@pytest.mark.parametrize("url", ["https://10.0.0.5:8000", "http://10.0.0.66:8000", "http://10.0.0.5:8001"])
async def test_a_stored_key_goes_to_no_other_address(world, url):
    record = await world.registry.register(OWNER, ServerSpec(URL, api_key="secret"))
    with pytest.raises(FieldsInvalid, match="Give api_key again") as caught:
        await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=url, priority=9))
    assert caught.value.param == "api_key"
    assert world.inspector.looks == [(URL, "secret", ())]
    assert world.registry.servers[record.id] == record
    moved = await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=url, api_key="given"))
    assert (moved.endpoint.url, moved.api_key) == (url, "given")
    back = await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=URL, api_key=None))
    assert (back.endpoint.url, back.api_key) == (URL, None)
    await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=url))
    assert [key for _, key, _ in world.inspector.looks] == ["secret", "given", None, None]
    await assert_alike(world)


async def test_a_stored_key_stays_where_only_the_path_changes(world):
    record = await world.registry.register(OWNER, ServerSpec(URL, api_key="secret"))
    after = await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=f"{URL}/llm/v1"))
    assert (after.endpoint.base_path, after.api_key) == ("/llm", "secret")


async def test_a_key_that_cannot_be_read_now_goes_to_no_other_address_either(tmp_path):
    async with registry_world(tmp_path) as world:
        record = await world.registry.register(OWNER, ServerSpec(URL, api_key="secret"))
    async with registry_world(tmp_path, encryption_key=bytes(32)) as world:
        with pytest.raises(FieldsInvalid):
            await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=OTHER_URL))


async def test_a_server_cannot_move_to_a_taken_endpoint(world):
    record = await world.registry.register(OWNER, SPEC)
    await world.registry.register(OWNER, ServerSpec(OTHER_URL))
    with pytest.raises(Conflict):
        await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=OTHER_URL))


async def test_two_that_move_to_one_endpoint_at_once_leave_one_there(world):
    first = await world.registry.register(OWNER, SPEC)
    second = await world.registry.register(OWNER, ServerSpec(OTHER_URL))
    world.inspector.gate = asyncio.Event()
    change = ServerChange(endpoint_url="http://10.0.0.7")
    moves = [asyncio.create_task(world.registry.change(OWNER, one.id, change)) for one in (first, second)]
    await wait_until(lambda: len(world.inspector.looks) == 4)
    world.inspector.gate.set()
    results = await asyncio.gather(*moves, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "ServerRecord"]
    await assert_alike(world)


async def test_a_checked_change_is_healthy_at_once(world):
    record = await world.registry.register(OWNER, SPEC)
    for _ in range(3):
        world.book.record(record.id, Inspection(CheckFailure.UNREACHABLE, "connection refused"), world.clock())
    assert world.routed()[record.id].health is HealthStatus.UNHEALTHY
    await world.registry.change(OWNER, record.id, ServerChange(endpoint_url=OTHER_URL))
    assert world.routed()[record.id].health is HealthStatus.HEALTHY
    assert world.book.state(record.id).reason == ""
    assert len(world.book.history(record.id)) == 5


async def test_a_removed_server_is_gone_at_once_and_its_endpoint_free(world):
    record = await world.registry.register(OWNER, SPEC)
    await world.registry.remove(OWNER, record.id)
    assert world.installed[-1] == ()
    assert world.book.history(record.id) == []
    with pytest.raises(NotFound):
        world.registry.get(record.id)
    with pytest.raises(NotFound):
        await world.registry.remove(OWNER, record.id)
    assert (await world.registry.register(OWNER, SPEC)).id != record.id


async def test_holds_come_and_go(world):
    server_id = (await world.registry.register(OWNER, SPEC)).id
    for act, name in (
        (world.registry.pause, "paused"),
        (world.registry.drain, "draining"),
        (world.registry.block, "blocked"),
    ):
        await act(ADMIN, server_id, reason=name)
        assert getattr(world.routed()[server_id], name)
    await world.registry.resume(OWNER, server_id)
    server = world.routed()[server_id]
    assert (server.paused, server.draining, server.blocked) == (False, False, True)
    await world.registry.unblock(ADMIN, server_id)
    assert world.routed()[server_id].accepts_work
    await assert_alike(world)


async def test_a_hold_ends_by_itself(world):
    server_id = (await world.registry.register(OWNER, SPEC)).id
    await world.registry.pause(OWNER, server_id, until=world.clock() + timedelta(minutes=5))
    published = len(world.installed)
    world.clock.move(minutes=4, seconds=59)
    world.registry.publish_if_due()
    assert len(world.installed) == published
    world.clock.move(seconds=1)
    world.registry.publish_if_due()
    world.registry.publish_if_due()
    assert len(world.installed) == published + 1
    assert world.routed()[server_id].accepts_work


async def test_a_hold_cannot_end_before_it_begins(world):
    server_id = (await world.registry.register(OWNER, SPEC)).id
    with pytest.raises(FieldsInvalid) as caught:
        await world.registry.pause(OWNER, server_id, until=world.clock())
    assert caught.value.param == "until"


async def test_find_meets_every_condition(world):
    first = await world.registry.register(OWNER, ServerSpec(URL, metadata={"owner": "alice"}))
    world.inspector.listed[OTHER_URL] = ["other"]
    second = await world.registry.register(STRANGER, ServerSpec(OTHER_URL))
    assert world.registry.find() == [first, second]
    assert world.registry.find(model="other") == [second]
    assert world.registry.find(owner="alice") == world.registry.find(owner=OWNER.key_id) == [first]
    assert world.registry.find(status=HealthStatus.UNHEALTHY) == []
    assert world.registry.find(status=HealthStatus.HEALTHY, model="llama-3-8b", owner="alice") == [first]
    assert world.registry.find(model="other", owner="alice") == []


async def test_a_pause_does_not_wait_for_an_examination_and_stands_after_it(world):
    record = await world.registry.register(OWNER, SPEC)
    world.inspector.gate = asyncio.Event()
    world.inspector.looking.clear()
    edit = asyncio.create_task(world.registry.change(OWNER, record.id, ServerChange(api_key="new", priority=-7)))
    await world.inspector.looking.wait()
    await world.registry.pause(OWNER, record.id, reason="meanwhile")
    assert world.routed()[record.id].paused
    world.inspector.gate.set()
    after = await edit
    assert (after.paused, after.priority, after.api_key) == (Hold(active=True, reason="meanwhile"), -7, "new")
    await assert_alike(world)


async def test_a_server_removed_during_its_examination_stays_removed(world):
    record = await world.registry.register(OWNER, SPEC)
    world.inspector.gate = asyncio.Event()
    world.inspector.looking.clear()
    edit = asyncio.create_task(world.registry.change(OWNER, record.id, ServerChange(api_key="new")))
    await world.inspector.looking.wait()
    await world.registry.remove(OWNER, record.id)
    world.inspector.gate.set()
    with pytest.raises(NotFound):
        await edit
    await assert_alike(world)


async def test_edits_of_one_server_take_turns(world):
    record = await world.registry.register(OWNER, SPEC)
    changes = [ServerChange(priority=-1), ServerChange(api_key="new"), ServerChange(weight=5.0)]
    await asyncio.gather(*(world.registry.change(OWNER, record.id, change) for change in changes))
    after = world.registry.servers[record.id]
    assert (after.priority, after.api_key, after.weight) == (-1, "new", 5.0)
    await assert_alike(world)


async def test_a_caller_who_goes_away_before_the_write_changes_nothing(world):
    world.inspector.gate = asyncio.Event()
    task = asyncio.create_task(world.registry.register(OWNER, SPEC))
    await world.inspector.looking.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(world.registry.servers) == 0
    await assert_alike(world)


async def test_a_caller_who_goes_away_during_the_write_leaves_all_alike(world):
    async with world.database.write():
        task = asyncio.create_task(world.registry.register(OWNER, SPEC))
        await world.inspector.looking.wait()
        await wait_until(lambda: world.registry._roster._changes.under_way)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    await world.registry.settle()
    assert task.cancelled()
    assert len(world.registry.servers) == 1
    await assert_alike(world)


async def test_a_cancelled_caller_stays_until_the_write_is_done(world, caplog):
    record = await world.registry.register(OWNER, SPEC)
    async with world.database.write():
        pause = asyncio.create_task(world.registry.pause(OWNER, record.id))
        twice = asyncio.create_task(world.registry._roster.drop("gone"))
        await wait_until(lambda: world.registry._roster._changes.under_way == 2)
        pause.cancel()
        twice.cancel()
        await asyncio.sleep(0)
        assert not pause.done()
    await asyncio.wait([pause, twice])
    assert pause.cancelled()
    assert twice.cancelled()
    assert world.routed()[record.id].paused
    assert "caller went away failed" in caplog.text
    await assert_alike(world)


async def test_when_the_database_fails_nothing_changes_and_reads_go_on(world):
    record = await world.registry.register(OWNER, SPEC)
    await world.database.close()
    for attempt in (
        world.registry.register(OWNER, ServerSpec(OTHER_URL)),
        world.registry.change(OWNER, record.id, ServerChange(priority=-1)),
        world.registry.remove(OWNER, record.id),
        world.registry.pause(OWNER, record.id),
    ):
        with pytest.raises(StorageUnavailable):
            await attempt
    assert world.registry.find() == [record]
    assert world.routed()[record.id].accepts_work


async def test_a_discovering_server_follows_its_list(world):
    world.inspector.listed[URL] = ["a"]
    record = await world.registry.register(OWNER, ServerSpec(URL))
    published = len(world.installed)
    await world.registry.apply_discovered(record.id, [DiscoveredModel("a")], "llama.cpp")
    await world.registry.apply_discovered("gone", [DiscoveredModel("a")])
    assert len(world.installed) == published
    await world.registry.apply_discovered(record.id, [DiscoveredModel("b", 4096)], "vllm")
    assert world.routed()[record.id].models == (ModelEntry("b", "b", 4096),)
    assert world.routed()[record.id].engine == "vllm"
    await assert_alike(world)


async def test_a_discovery_that_comes_after_the_removal_is_dropped(world):
    record = await world.registry.register(OWNER, ServerSpec(URL))
    async with world.database.write():
        removal = asyncio.create_task(world.registry.remove(OWNER, record.id))
        await wait_until(world.registry._roster._committing.locked)
        discovery = asyncio.create_task(world.registry.apply_discovered(record.id, [DiscoveredModel("b")]))
        await asyncio.sleep(0)
    await asyncio.gather(removal, discovery)
    assert world.installed[-1] == ()
    await assert_alike(world)


async def test_a_key_that_cannot_be_read_is_told_and_can_be_set_anew(tmp_path, caplog):
    async with registry_world(tmp_path) as world:
        record = await world.registry.register(OWNER, ServerSpec(URL, api_key="old"))
    async with registry_world(tmp_path, encryption_key=bytes(32)) as world:
        assert "cannot be decrypted" in caplog.text
        assert world.routed()[record.id].api_key is None
        paused = await world.registry.pause(OWNER, record.id)
        assert paused.key_unreadable
        after = await world.registry.change(OWNER, record.id, ServerChange(api_key="new"))
        assert (after.api_key, after.key_unreadable) == ("new", False)
    async with registry_world(tmp_path, encryption_key=ENCRYPTION_KEY) as world:
        assert world.registry.servers[record.id].key_unreadable


async def test_purging_leaves_living_servers_alone(world, caplog):
    kept = await world.registry.register(OWNER, SPEC)
    gone = await world.registry.register(OWNER, ServerSpec(OTHER_URL))
    await world.registry.remove(OWNER, gone.id)
    later = world.clock() + timedelta(days=1)
    with caplog.at_level("INFO"):
        await world.registry.purge(removed_before=later, checks_before=START)
    assert "purged" in caplog.text
    assert set(world.registry.servers) == {kept.id}
    await assert_alike(world)


async def test_readers_hold_a_mapping_that_does_not_change_under_them(world):
    await world.registry.register(OWNER, SPEC)
    held = world.registry.servers
    assert world.registry.servers is held
    await world.registry.register(OWNER, ServerSpec(OTHER_URL))
    assert len(held) == 1
    assert len(world.registry.servers) == 2


async def test_what_is_registered_while_the_servers_are_read_again_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registry_world(tmp_path) as world:
        has_read, goes_on = asyncio.Event(), asyncio.Event()
        real_load = world.repository.load

        async def slow_load(_repository: object) -> list[LoadedServer]:
            loaded = await real_load()
            has_read.set()
            await goes_on.wait()
            return loaded

        monkeypatch.setattr(type(world.repository), "load", slow_load)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(world.registry.load())
            await has_read.wait()
            adding = group.create_task(world.registry.register(ADMIN, SPEC))
            await asyncio.wait({adding}, timeout=0.1)
            goes_on.set()
        assert (await adding).id in world.routed()
