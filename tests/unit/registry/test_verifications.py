"""Is what was found of servers' claims there after a restart, and gone with what it was found of?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import StorageUnavailable
from app.services.core.verification.findings import (
    MAX_DETAIL_CHARACTERS,
    Judgement,
    Subject,
    Verdict,
    VerificationFinding,
)
from app.services.registry.finding_store import FindingStore
from app.services.registry.specification import ServerSpec
from app.services.registry.tables import verification_findings
from app.services.registry.verifications import Verifications
from tests.fakes.registry import ADMIN, START, World, registry_world

URL = "http://10.0.0.5:8000"
NAME = VerificationFinding(Subject.NAME, Verdict.OK, "answers under its name", None, START)
SPEED = VerificationFinding(Subject.SPEED, Verdict.OK, "", 41.5, START)
CONTEXT = VerificationFinding(Subject.CONTEXT, Verdict.MISMATCH, "\ud800 has 2048\0", 2048.0, START)


async def opened(world: World) -> Verifications:
    known = Verifications(FindingStore(world.database))
    await known.load()
    return known


async def registered(world: World, url: str = URL) -> str:
    return (await world.registry.register(ADMIN, ServerSpec(url))).id


async def rows(world: World) -> int:
    async with world.database.read() as connection:
        count = await connection.scalar(sa.select(sa.func.count()).select_from(verification_findings))
        return count or 0


async def test_what_was_found_is_known_at_once_and_after_a_restart(tmp_path):
    async with registry_world(tmp_path) as world:
        server_id = await registered(world)
        known = await opened(world)
        known.keep(server_id, "m", [SPEED, NAME])
        known.keep(server_id, "n", [CONTEXT])
        assert known.of(server_id) == {"m": (NAME, SPEED), "n": (CONTEXT,)}
        assert await known.flush()
    async with registry_world(tmp_path) as world:
        told = replace(CONTEXT, detail="? has 2048?")
        assert (await opened(world)).of(server_id) == {"m": (NAME, SPEED), "n": (told,)}


async def test_a_later_verdict_takes_the_place_of_an_earlier_one_of_its_subject_alone(world):
    server_id = await registered(world)
    known = await opened(world)
    known.keep(server_id, "m", [NAME, SPEED])
    await known.flush()
    later = replace(NAME, verdict=Verdict.MISMATCH, found_at=START + timedelta(days=1))
    known.keep(server_id, "m", [later])
    await known.flush()
    assert (await opened(world)).of(server_id) == {"m": (later, SPEED)}
    assert await rows(world) == 2


async def test_what_is_not_served_any_more_is_forgotten(world):
    one, other = await registered(world), await registered(world, "http://10.0.0.6:8000")
    known = await opened(world)
    for server_id in (one, other):
        known.keep(server_id, "m", [NAME])
        known.keep(server_id, "n", [NAME])
    await known.flush()
    known.retain({one: frozenset({"n", "o"})})
    assert (known.of(one), known.of(other)) == ({"n": (NAME,)}, {})
    await known.flush()
    assert await rows(world) == 1
    known.forget((one, "nobody"))
    await known.flush()
    assert await rows(world) == 0


async def test_nothing_is_stored_or_loaded_of_a_server_that_was_removed_or_never_was(world):
    server_id = await registered(world)
    known = await opened(world)
    known.keep(server_id, "m", [NAME])
    known.keep("nobody", "m", [NAME])
    await known.flush()
    assert await rows(world) == 1
    await world.registry.remove(ADMIN, server_id)
    assert (await opened(world)).of(server_id) == {}
    known.keep(server_id, "m", [SPEED])
    await known.flush()
    assert await rows(world) == 0


async def test_rows_of_another_release_are_passed_over(world, caplog):
    server_id = await registered(world)
    known = await opened(world)
    known.keep(server_id, "m", [NAME, SPEED])
    await known.flush()
    async with world.database.write() as connection:
        strange = sa.update(verification_findings).where(verification_findings.c.subject == "speed")
        await connection.execute(strange.values(verdict="splendid"))
    assert (await opened(world)).of(server_id) == {"m": (NAME,)}
    assert "found anew" in caplog.text


async def test_what_the_database_refuses_is_written_the_next_time(world, monkeypatch, caplog):
    server_id = await registered(world)
    known = await opened(world)

    async def fail(*_arguments: object) -> None:
        raise StorageUnavailable("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(FindingStore, "replace", fail)
        known.keep(server_id, "m", [NAME])
        assert not await known.flush()
    assert known.of(server_id) == {"m": (NAME,)}
    assert "The disk is full." in caplog.text
    assert await rows(world) == 0
    assert await known.flush()
    assert await rows(world) == 1


async def test_a_write_that_is_cancelled_is_made_the_next_time(world, monkeypatch):
    server_id = await registered(world)
    known = await opened(world)

    async def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    known.keep(server_id, "m", [NAME])
    with monkeypatch.context() as broken:
        broken.setattr(FindingStore, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            await known.flush()
    await known.flush()
    assert await rows(world) == 1


async def test_two_names_that_the_database_can_not_tell_apart_are_no_error(world):
    server_id = await registered(world)
    known = await opened(world)
    known.keep(server_id, "\ud800", [NAME])
    known.keep(server_id, "?", [NAME])
    assert await known.flush()
    assert await rows(world) == 1


@given(st.text(max_size=2000))
def test_a_detail_is_bounded(detail):
    finding = VerificationFinding.of(Judgement(Subject.NAME, Verdict.UNCLEAR, detail), START)
    assert len(finding.detail) <= MAX_DETAIL_CHARACTERS
    assert detail.startswith(finding.detail)
