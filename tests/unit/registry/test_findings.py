"""Is what was found of a server kept for as long as it holds, and no longer, in memory, for routing and on the disk?"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.continuation.ability import UNJUDGED, Ability, Rung
from app.services.core.errors import StorageUnavailable
from app.services.core.network.addresses import parse_endpoint
from app.services.core.types import DiscoveredModel, ModelEntry
from app.services.registry.records import Finding, ServerRecord, still_valid
from app.services.registry.rows import finding_of, finding_row
from app.services.registry.specification import ServerChange, ServerSpec
from app.services.registry.tables import continuation_findings
from tests.fakes.registry import ADMIN, START, World, registry_world

URL = "http://10.0.0.5:8000"
MODEL = "llama-3-8b"
FOUND = Finding(Ability(Rung.TRAILING, Rung.NONE, True, True, "completions: answered 404", "1.0"), START)


async def with_finding(world: World, finding: Finding = FOUND, **spec: object) -> str:
    record = await world.registry.register(ADMIN, ServerSpec(URL, **spec))
    await world.registry.keep_finding(record.id, MODEL, finding)
    return record.id


async def rows(world: World) -> list[tuple[str, str]]:
    async with world.database.read() as connection:
        found = await connection.execute(
            sa.select(continuation_findings.c.server_id, continuation_findings.c.upstream_name)
        )
        return [tuple(row) for row in found]


async def test_a_finding_is_known_routed_and_there_after_a_restart(tmp_path):
    async with registry_world(tmp_path) as world:
        server_id = await with_finding(world)
        assert world.registry.findings(server_id) == {MODEL: FOUND}
        assert world.routed()[server_id].abilities == {MODEL: FOUND.ability}
    async with registry_world(tmp_path) as world:
        assert world.registry.findings(server_id) == {MODEL: FOUND}
        assert world.routed()[server_id].abilities == {MODEL: FOUND.ability}


async def test_a_later_finding_takes_the_place_of_an_earlier_one(tmp_path):
    later = Finding(Ability(chat=Rung.NONE), START + timedelta(hours=1))
    async with registry_world(tmp_path) as world:
        server_id = await with_finding(world)
        await world.registry.keep_finding(server_id, MODEL, later)
        assert await rows(world) == [(server_id, MODEL)]
    async with registry_world(tmp_path) as world:
        assert world.registry.findings(server_id) == {MODEL: later}


async def test_what_judged_nothing_is_shown_but_not_stored(world):
    unclear = Finding(replace(UNJUDGED, reason="chats: not known yet: connection refused"))
    server_id = await with_finding(world, unclear)
    assert world.registry.findings(server_id) == {MODEL: unclear}
    assert await rows(world) == []


async def test_a_finding_of_a_removed_server_is_dropped(world):
    server_id = await with_finding(world)
    await world.registry.remove(ADMIN, server_id)
    await world.registry.keep_finding(server_id, MODEL, FOUND)
    assert world.registry.findings(server_id) == {}
    assert server_id not in world.routed()


async def test_what_was_found_of_a_purged_server_goes_with_it(world):
    server_id = await with_finding(world)
    await world.registry.remove(ADMIN, server_id)
    world.clock.move(days=2)
    await world.registry.purge(removed_before=world.clock(), checks_before=START)
    await world.repository.save_finding(server_id, MODEL, FOUND)
    assert await rows(world) == []


async def test_findings_of_an_engine_that_is_another_by_now_are_dropped_for_good(tmp_path):
    async with registry_world(tmp_path) as world:
        server_id = await with_finding(world)
        await world.registry.drop_findings(server_id)
        assert world.registry.findings(server_id) == {}
        assert world.routed()[server_id].abilities == {}
        assert await rows(world) == []
        published = len(world.installed)
        await world.registry.drop_findings(server_id)
        assert len(world.installed) == published


async def test_a_server_that_moves_is_not_known_any_more(tmp_path):
    async with registry_world(tmp_path) as world:
        server_id = await with_finding(world)
        await world.registry.change(ADMIN, server_id, ServerChange(endpoint_url="http://10.0.0.9:8000"))
        assert world.registry.findings(server_id) == {}
        assert world.routed()[server_id].abilities == {}
    async with registry_world(tmp_path) as world:
        assert world.registry.findings(server_id) == {}


async def test_a_change_that_leaves_the_server_as_it_is_leaves_what_was_found(world):
    server_id = await with_finding(world)
    await world.registry.change(ADMIN, server_id, ServerChange(priority=3, api_key="sk-2"))
    await world.registry.pause(ADMIN, server_id)
    assert world.registry.findings(server_id) == {MODEL: FOUND}
    assert await rows(world) == [(server_id, MODEL)]


async def test_what_was_found_of_a_model_goes_when_the_model_does(world):
    world.inspector.listed[URL] = [MODEL, "other"]
    server_id = await with_finding(world)
    await world.registry.keep_finding(server_id, "other", FOUND)
    await world.registry.apply_discovered(server_id, [DiscoveredModel("other")], "llama.cpp")
    assert world.registry.findings(server_id) == {"other": FOUND}
    assert await rows(world) == [(server_id, "other")]


async def test_an_examination_that_finds_another_version_makes_it_void_and_tells(world):
    told: list[tuple[str, str]] = []
    world.registry.on_version = lambda *what: told.append(what)
    server_id = await with_finding(world)
    inspect = world.inspector.inspect

    async def newer(*arguments):
        return replace(await inspect(*arguments), version="2.0")

    world.inspector.inspect = newer
    await world.registry.change(ADMIN, server_id, ServerChange(priority=1))
    assert world.registry.findings(server_id) == {MODEL: FOUND}
    await world.registry.replace(ADMIN, server_id, ServerSpec(URL))
    assert world.registry.findings(server_id) == {}
    assert told == [(server_id, ""), (server_id, "2.0")]


async def test_a_database_that_fails_keeps_a_finding_in_memory(world, monkeypatch, caplog):
    async def fail(*_arguments, **_options):
        raise StorageUnavailable("The disk is full.")

    monkeypatch.setattr(type(world.repository), "save_finding", fail)
    monkeypatch.setattr(type(world.repository), "drop_findings", fail)
    server_id = await with_finding(world)
    assert world.routed()[server_id].abilities == {MODEL: FOUND.ability}
    assert "A finding is kept in memory alone" in caplog.text
    await world.registry.drop_findings(server_id)
    assert world.routed()[server_id].abilities == {}


async def test_a_finding_and_a_move_at_once_leave_nothing_of_the_old_place(world):
    server_id = (await world.registry.register(ADMIN, ServerSpec(URL))).id
    await asyncio.gather(
        world.registry.keep_finding(server_id, MODEL, FOUND),
        world.registry.change(ADMIN, server_id, ServerChange(endpoint_url="http://10.0.0.9:8000")),
    )
    assert world.registry.findings(server_id) == {}
    assert await rows(world) == []


async def test_of_two_findings_at_once_the_later_is_stored(tmp_path):
    later = Finding(Ability(chat=Rung.NONE), START + timedelta(hours=1))
    async with registry_world(tmp_path) as world:
        server_id = (await world.registry.register(ADMIN, ServerSpec(URL))).id
        await asyncio.gather(*(world.registry.keep_finding(server_id, MODEL, found) for found in (FOUND, later)))
    async with registry_world(tmp_path) as world:
        assert world.registry.findings(server_id) == {MODEL: later}


async def test_what_another_release_stored_and_this_one_can_not_read_is_found_anew(tmp_path, caplog):
    async with registry_world(tmp_path) as world:
        server_id = await with_finding(world)
        async with world.database.write() as connection:
            await connection.execute(sa.update(continuation_findings).values(chat="telepathy"))
    async with registry_world(tmp_path) as world:
        assert world.registry.findings(server_id) == {}
        assert set(world.registry.servers) == {server_id}
    assert "found anew" in caplog.text


RECORD = ServerRecord("id", parse_endpoint(URL), (ModelEntry("a", "up-a"), ModelEntry("b", "up-b")), START, START)
BOTH = {"up-a": FOUND, "up-b": Finding(Ability(chat=Rung.FLAGS))}


@pytest.mark.parametrize(
    ("changes", "version", "kept"),
    [
        ({}, "", {"up-a", "up-b"}),
        ({}, "1.0", {"up-a", "up-b"}),
        ({}, "2.0", {"up-b"}),
        ({"models": (ModelEntry("b", "up-b"),)}, "", {"up-b"}),
        ({"models": (ModelEntry("renamed", "up-a"),)}, "", {"up-a"}),
        ({"engine": "vllm"}, "", set()),
        ({"endpoint": parse_endpoint("http://10.0.0.5:8001")}, "", set()),
        ({"api_key": "another", "priority": 7}, "", {"up-a", "up-b"}),
    ],
)
def test_what_still_holds_after_a_change(changes, version, kept):
    assert set(still_valid(BOTH, RECORD, replace(RECORD, **changes), version)) == kept


@given(
    st.builds(
        Ability,
        chat=st.sampled_from(Rung),
        text=st.sampled_from(Rung),
        thinking_off=st.booleans(),
        trims=st.booleans(),
        reason=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
        version=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    ),
    st.none() | st.datetimes().map(lambda moment: moment.replace(tzinfo=START.tzinfo)),
)
def test_a_finding_is_the_same_as_a_row(ability, probed_at):
    finding = Finding(ability, probed_at)
    row = finding_row(finding)
    assert finding_of(row) == finding
    assert set(row) == {column.name for column in continuation_findings.columns} - {"server_id", "upstream_name"}
    assert {part.name for part in fields(Ability)} < set(row)


def test_what_no_database_takes_as_text_is_replaced():
    row = finding_row(Finding(Ability(reason="a\0b\ud800", version="\0")))
    assert (row["reason"], row["version"]) == ("a?b?", "?")
