"""Who pauses, blocks, approves and trusts a server, what stays of it, and what does the audit say?"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import time, timedelta

import pytest
import sqlalchemy as sa

from app.services.core.errors import Conflict, FieldsInvalid, GatewayError, NotAllowed, NotFound, StorageUnavailable
from app.services.core.keys import Principal, Role
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.people.principal import Trust
from app.services.core.types import CheckFailure, DiscoveredModel, Inspection
from app.services.registry import service
from app.services.registry.accounting.origin import Origin, coming_from
from app.services.registry.records import reason_of
from app.services.registry.specification import ServerChange, ServerSpec
from app.services.registry.tables import audit_log, server_terms
from app.services.registry.terms import Owners
from tests.fakes.registry import ADMIN, OWNER, START, STRANGER, USER, World, registry_world

URL = "http://10.0.0.5:8000"
OTHER_URL = "http://10.0.0.6:8000"
GROUPS = {OWNER.key_id: "lab", "friend": "lab"}
ROLES = {"admin": Role.ADMIN, OWNER.key_id: Role.OWNER, STRANGER.key_id: Role.OWNER, "friend": Role.OWNER}
MEMBER = replace(OWNER, group="lab")
FRIEND = Principal("friend", "friend", Role.OWNER, group="lab")
LAB_ADMIN = Principal("lab-admin", "lab admin", Role.ADMIN, group="lab")
NIGHTS = Hours("Europe/Berlin", (Window(frozenset(Day), time(18), time(8)),))


@pytest.fixture
def shared(world: World) -> World:
    """A registry that knows whose keys there are."""
    know(world)
    return world


def know(world: World, *, needs_approval: bool = False) -> None:
    owners = Owners(ROLES.get, GROUPS.get)
    world.registry.owners = world.registry._roster._publisher.owners = owners
    world.registry._needs_approval = needs_approval


async def audit(world: World) -> list[sa.RowMapping]:
    async with world.database.read() as connection:
        return list((await connection.execute(sa.select(audit_log).order_by(audit_log.c.id))).mappings())


async def actions(world: World) -> list[str]:
    return [line["action"] for line in await audit(world)]


async def test_routing_learns_whose_a_server_is(shared: World) -> None:
    for url, principal, share, expected in (
        (URL, MEMBER, "group", (OWNER.key_id, "lab", "group", Trust.GROUP)),
        (OTHER_URL, STRANGER, "everyone", (STRANGER.key_id, None, "everyone", Trust.PUBLIC)),
        ("http://10.0.0.7", ADMIN, "everyone", ("admin", None, "everyone", Trust.TRUSTED)),
    ):
        record = await shared.registry.register(principal, ServerSpec(url, share=share))
        seen = shared.routed()[record.id]
        assert (seen.owner, seen.group, seen.share, seen.trust) == expected


async def test_a_key_without_a_group_shares_with_none(shared: World) -> None:
    with pytest.raises(FieldsInvalid, match="share=group"):
        await shared.registry.register(STRANGER, ServerSpec(URL, share="group"))
    record = await shared.registry.register(STRANGER, ServerSpec(URL))
    for principal in (STRANGER, ADMIN):
        with pytest.raises(FieldsInvalid):
            await shared.registry.change(principal, record.id, ServerChange(share="group"))
    assert (await shared.registry.change(STRANGER, record.id, ServerChange(share="me"))).share == "me"


async def test_the_operator_may_share_an_owners_server_with_the_owners_group(shared: World) -> None:
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    assert (await shared.registry.change(ADMIN, record.id, ServerChange(share="group"))).share == "group"


async def test_what_is_not_shared_with_an_owner_is_not_there_for_it(shared: World) -> None:
    registry = shared.registry
    own = await registry.register(MEMBER, ServerSpec(URL, share="me"))
    group = await registry.register(MEMBER, ServerSpec(OTHER_URL, share="group"))
    public = await registry.register(MEMBER, ServerSpec("http://10.0.0.7"))
    assert registry.find(ADMIN) == registry.find(MEMBER) == registry.find() == [own, group, public]
    assert registry.find(FRIEND) == [group, public]
    assert registry.find(STRANGER) == [public]
    for principal, hidden in ((FRIEND, own), (STRANGER, own), (STRANGER, group)):
        for attempt in (
            registry.pause(principal, hidden.id),
            registry.change(principal, hidden.id, ServerChange(priority=1)),
            registry.remove(principal, hidden.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(NotFound):
            registry.seen(principal, hidden.id)
    with pytest.raises(NotAllowed):
        await registry.pause(FRIEND, group.id)
    with pytest.raises(NotAllowed):
        registry.seen(USER, public.id)


async def test_a_server_of_an_owner_waits_for_approval_where_that_is_asked_for(tmp_path) -> None:
    async with registry_world(tmp_path) as world:
        know(world, needs_approval=True)
        record = await world.registry.register(MEMBER, ServerSpec(URL))
        assert record.pending.active
        assert record.id not in world.routed()
        own = await world.registry.register(ADMIN, ServerSpec(OTHER_URL))
        assert not own.pending.active
    async with registry_world(tmp_path) as world:
        know(world, needs_approval=True)
        waiting = world.registry.get(record.id)
        assert waiting == record
        assert "waits for the operator's approval" in reason_of(waiting, world.book.state(record.id), START)
        for principal in (MEMBER, LAB_ADMIN):
            with pytest.raises(NotAllowed):
                await world.registry.approve(principal, record.id)
        await world.registry.resume(MEMBER, record.id)
        await world.registry.unblock(ADMIN, record.id)
        assert world.registry.get(record.id).pending.active
        assert record.id not in world.routed()
        approved = await world.registry.approve(ADMIN, record.id, Trust.TRUSTED)
        assert (approved.pending.active, approved.trust) == (False, Trust.TRUSTED)
        assert world.routed()[record.id].accepts_work
        assert (await world.registry.approve(ADMIN, record.id)).trust is Trust.TRUSTED


async def test_a_server_that_moves_waits_again_and_loses_its_trust(shared: World) -> None:
    know(shared, needs_approval=True)
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    await shared.registry.approve(ADMIN, record.id, Trust.TRUSTED)
    moved = await shared.registry.change(MEMBER, record.id, ServerChange(endpoint_url=OTHER_URL))
    assert (moved.pending.active, moved.trust) == (True, None)
    assert record.id not in shared.routed()
    line = (await audit(shared))[-1]
    assert line["action"] == "server.changed"
    assert (line["before"]["trust"], line["after"]["trust"]) == ("trusted", None)
    await shared.registry.approve(ADMIN, record.id, Trust.TRUSTED)
    by_operator = await shared.registry.change(ADMIN, record.id, ServerChange(endpoint_url=URL))
    assert (by_operator.pending.active, by_operator.trust) == (False, Trust.TRUSTED)


async def test_a_server_whose_engine_is_found_to_be_another_loses_its_trust_once(shared: World) -> None:
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    await shared.registry.trust(ADMIN, record.id, Trust.TRUSTED)
    before = len(await audit(shared))
    await shared.registry.apply_discovered(record.id, [DiscoveredModel("b")], "llama.cpp")
    assert shared.routed()[record.id].trust is Trust.TRUSTED
    assert len(await audit(shared)) == before
    for engine in ("ollama", "vllm"):
        await shared.registry.apply_discovered(record.id, [DiscoveredModel("b")], engine)
        assert shared.routed()[record.id].trust is Trust.PUBLIC
    (line,) = (await audit(shared))[before:]
    assert (line["action"], line["actor_id"]) == ("server.trust_changed", "gateway")
    own = await shared.registry.register(ADMIN, ServerSpec(OTHER_URL))
    await shared.registry.trust(ADMIN, own.id, Trust.TRUSTED)
    await shared.registry.apply_discovered(own.id, [DiscoveredModel("b")], "vllm")
    assert shared.registry.get(own.id).trust is Trust.TRUSTED


async def test_trust_is_the_operators_to_give_and_take(shared: World) -> None:
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    for trust in (Trust.TRUSTED, Trust.GROUP, None):
        assert (await shared.registry.trust(ADMIN, record.id, trust)).trust is trust
    for principal in (MEMBER, LAB_ADMIN, USER):
        with pytest.raises(NotAllowed):
            await shared.registry.trust(principal, record.id, Trust.TRUSTED)
        with pytest.raises(NotAllowed):
            await shared.registry.block(principal, record.id)
    with pytest.raises(NotFound):
        await shared.registry.trust(ADMIN, "gone", None)


async def test_an_owner_gets_out_of_quarantine_and_not_out_of_a_block(shared: World) -> None:
    registry, until = shared.registry, START + timedelta(minutes=10)
    record = await registry.register(MEMBER, ServerSpec(URL))
    assert not await registry.release(record.id, MEMBER)
    await registry.quarantine(record.id, "9 of its last 9 answers were no good", until)
    await registry.block(ADMIN, record.id, reason="abuse")
    assert registry.get(record.id).quarantined.until == until
    await registry.resume(MEMBER, record.id)
    assert shared.routed()[record.id].quarantined
    with pytest.raises(NotAllowed):
        await registry.release(record.id, FRIEND)
    assert await registry.release(record.id, MEMBER)
    assert (shared.routed()[record.id].quarantined, shared.routed()[record.id].blocked) == (False, True)
    assert not await registry.release(record.id)
    await registry.quarantine(record.id, "again", until)
    await registry.unblock(ADMIN, record.id)
    assert shared.routed()[record.id].accepts_work
    await registry.quarantine(record.id, "again", until)
    shared.clock.move(minutes=10)
    registry.publish_if_due()
    assert shared.routed()[record.id].accepts_work
    assert not await registry.release(record.id)
    with pytest.raises(NotFound):
        await registry.quarantine("gone", "x", until)


async def test_hours_are_followed_to_the_second_and_survive_a_restart(tmp_path) -> None:
    async with registry_world(tmp_path) as world:  # it is 01:00 in Berlin
        record = await world.registry.register(OWNER, ServerSpec(URL, hours=NIGHTS))
        assert not world.routed()[record.id].off_hours
    async with registry_world(tmp_path) as world:
        assert world.registry.get(record.id).hours == NIGHTS
        published = len(world.installed)
        for move, off in (
            ({"hours": 6, "minutes": 59, "seconds": 59}, False),
            ({"seconds": 1}, True),
            ({"hours": 10}, False),
        ):
            world.clock.move(**move)
            world.registry.publish_if_due()
            assert world.routed()[record.id].off_hours is off
            assert world.routed()[record.id].accepts_work is not off
        assert len(world.installed) == published + 2
        changed = await world.registry.change(OWNER, record.id, ServerChange(priority=-1))
        assert changed.hours == NIGHTS
        assert (await world.registry.change(OWNER, record.id, ServerChange(hours=None))).hours is None
        assert len(world.inspector.looks) == 0


async def test_an_unknown_zone_is_refused_before_anything_is_looked_at(shared: World) -> None:
    hours = replace(NIGHTS, timezone="Europe/Berln")
    with pytest.raises(FieldsInvalid, match="Europe/Berlin"):
        await shared.registry.register(MEMBER, ServerSpec(URL, hours=hours))
    assert shared.inspector.looks == []
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    with pytest.raises(FieldsInvalid):
        await shared.registry.change(MEMBER, record.id, ServerChange(hours=hours))
    assert shared.registry.get(record.id).hours is None


@pytest.mark.parametrize(
    "spoilt",
    [{"trust": "utterly"}, {"hours": {"timezone": "UTC", "windows": [{"days": ["soon"]}]}}, {"hours": ["x"]}],
    ids=repr,
)
async def test_terms_that_cannot_be_read_lend_nothing_until_somebody_looked(tmp_path, spoilt, caplog) -> None:
    async with registry_world(tmp_path) as world:
        record = await world.registry.register(OWNER, ServerSpec(URL))
        async with world.database.write() as connection:
            await connection.execute(sa.update(server_terms).values(**spoilt))
    async with registry_world(tmp_path) as world:
        assert "cannot be read" in caplog.text
        assert record.id not in world.routed()
        await world.registry.approve(ADMIN, record.id)
        assert world.routed()[record.id].accepts_work


async def test_a_server_of_before_there_were_terms_is_lent_as_it_was(tmp_path) -> None:
    async with registry_world(tmp_path) as world:
        record = await world.registry.register(ADMIN, ServerSpec(URL))
        async with world.database.write() as connection:
            await connection.execute(sa.delete(server_terms))
    async with registry_world(tmp_path) as world:
        assert world.registry.get(record.id) == record
        assert (await world.registry.pause(ADMIN, record.id)).paused.active


async def test_one_owner_cannot_register_without_end(shared: World, monkeypatch) -> None:
    monkeypatch.setattr(service, "MOST_OF_AN_OWNER", 2)
    for number in range(2):
        await shared.registry.register(MEMBER, ServerSpec(f"http://10.0.0.{number + 1}"))
    with pytest.raises(Conflict, match="Remove one first"):
        await shared.registry.register(MEMBER, ServerSpec(URL))
    await shared.registry.register(ADMIN, ServerSpec(URL))


async def test_every_change_leaves_its_line(shared: World) -> None:
    registry = shared.registry
    with coming_from(Origin("192.0.2.7", "request-1")):
        record = await registry.register(MEMBER, ServerSpec(URL, api_key="sk-canary", hours=NIGHTS))
    await registry.change(MEMBER, record.id, ServerChange(max_concurrency=4))
    await registry.change(MEMBER, record.id, ServerChange(api_key="sk-canary-2"))
    await registry.change(MEMBER, record.id, ServerChange(api_key=None))
    await registry.change(MEMBER, record.id, ServerChange(api_key="sk-canary-3"))
    await registry.change(MEMBER, record.id, ServerChange())
    await registry.pause(MEMBER, record.id, reason="moving", until=START + timedelta(hours=1))
    await registry.resume(MEMBER, record.id)
    await registry.resume(MEMBER, record.id)
    await registry.drain(MEMBER, record.id)
    await registry.block(ADMIN, record.id)
    await registry.quarantine(record.id, "fails", START + timedelta(hours=1))
    await registry.release(record.id, MEMBER)
    await registry.unblock(ADMIN, record.id)
    await registry.trust(ADMIN, record.id, Trust.TRUSTED)
    await registry.remove(MEMBER, record.id)
    lines = await audit(shared)
    assert [(line["action"].removeprefix("server."), line["actor_id"]) for line in lines] == [
        ("registered", OWNER.key_id),
        *[("changed", OWNER.key_id)] * 4,
        ("paused", OWNER.key_id),
        ("resumed", OWNER.key_id),
        ("drained", OWNER.key_id),
        ("blocked", "admin"),
        ("quarantined", "gateway"),
        ("released", OWNER.key_id),
        ("unblocked", "admin"),
        ("trust_changed", "admin"),
        ("removed", OWNER.key_id),
    ]
    assert {(line["object_kind"], line["object_id"], line["object_name"]) for line in lines} == {
        ("server", record.id, URL)
    }
    first, last = lines[0], lines[-1]
    assert (first["client"], first["request_id"], first["before"]) == ("192.0.2.7", "request-1", None)
    assert first["after"]["api_key"] == "set"
    assert first["after"]["hours"]["timezone"] == "Europe/Berlin"
    assert (lines[1]["before"], lines[1]["after"]) == ({"max_concurrency": None}, {"max_concurrency": 4})
    assert [line["after"] for line in lines[2:5]] == [{"api_key": word} for word in ("changed", "cleared", "set")]
    assert lines[5]["after"] == {"paused": {"reason": "moving", "until": "2030-01-01T01:00:00+00:00"}}
    assert (last["after"], last["before"]["endpoint_url"]) == (None, URL)
    assert "canary" not in json.dumps([dict(line) for line in lines], default=str)


async def test_a_change_that_is_refused_leaves_no_line_and_one_that_is_not_stored_neither(shared: World) -> None:
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    shared.inspector.failing[OTHER_URL] = Inspection(CheckFailure.UNREACHABLE, "connection refused")
    for attempt in (
        shared.registry.change(MEMBER, record.id, ServerChange(endpoint_url=OTHER_URL)),
        shared.registry.pause(FRIEND, record.id),
        shared.registry.register(MEMBER, ServerSpec(URL)),
    ):
        with pytest.raises(GatewayError):
            await attempt
    assert await actions(shared) == ["server.registered"]
    await shared.database.close()
    with pytest.raises(StorageUnavailable):
        await shared.registry.trust(ADMIN, record.id, Trust.PUBLIC)
    assert shared.routed()[record.id].trust is Trust.PUBLIC
    assert shared.registry.get(record.id).trust is None


async def test_many_models_are_not_all_named(shared: World) -> None:
    shared.inspector.listed[URL] = [f"m{number}" for number in range(150)]
    record = await shared.registry.register(MEMBER, ServerSpec(URL))
    named = tuple(record.models)
    await shared.registry.change(MEMBER, record.id, ServerChange(models=named))
    line = (await audit(shared))[-1]
    assert line["before"] == {"models": "all that it lists"}
    assert line["after"]["models"][-1] == "and 50 more"
