"""What happens to registered servers is remembered, for the operator and for whose servers they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.services.core.reporting.happenings import Kind, sentence
from app.services.core.reporting.series import POOL
from app.services.core.types import CheckFailure, Inspection
from app.services.happenings import MOST_KEPT, Happenings
from app.services.registry.specification import ServerSpec
from tests.fakes.registry import ADMIN, OWNER, World, registry_world


@dataclass
class Here:
    world: World
    happenings: Happenings

    def kinds(self, *owners: str) -> list[Kind]:
        return [one.kind for one in self.happenings.of(owners or (POOL,))]

    def sentences(self, *owners: str) -> list[str]:
        return [sentence(one) for one in self.happenings.of(owners or (POOL,))]


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    async with registry_world(tmp_path) as world:
        happenings = Happenings(
            snapshot=lambda: world.installed[-1],
            servers=lambda: world.registry.servers,
            state=world.book.state,
            now=world.clock,
        )
        yield Here(world, happenings)


async def test_what_happens_is_told_newest_first(here: Here) -> None:
    record = await here.world.registry.register(OWNER, ServerSpec("http://10.0.0.5:8000"))
    here.happenings.tick()
    await here.world.registry.pause(OWNER, record.id, reason="rehearsal")
    here.happenings.tick()
    here.happenings.tick()
    await here.world.registry.resume(OWNER, record.id)
    here.happenings.tick()
    await here.world.registry.remove(OWNER, record.id)
    here.happenings.tick()
    name = record.endpoint.url.partition("://")[2]
    assert here.sentences() == [
        f"{name} was removed.",
        f"{name} was resumed.",
        f"{name} was paused: rehearsal.",
        f"{name} was registered.",
        "The gateway started.",
    ]
    assert here.sentences(OWNER.key_id) == here.sentences()[:-1]
    assert here.sentences("somebody else") == []


async def test_why_a_server_became_unhealthy_is_told_without_what_turns_text_around(here: Here) -> None:
    record = await here.world.registry.register(ADMIN, ServerSpec("http://10.0.0.5:8000"))
    here.happenings.tick()
    refusal = Inspection(CheckFailure.CREDENTIALS, f"answered 401: \N{RIGHT-TO-LEFT OVERRIDE}{'x' * 1000}")
    here.world.book.record(record.id, refusal, here.world.clock())
    here.world.registry.publish()
    here.happenings.tick()
    assert here.kinds()[0] is Kind.REFUSES_KEY
    assert len(here.sentences()[0]) < 400
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in here.sentences()[0]
    assert "answered 401" in here.sentences()[0]


async def test_one_owners_noise_pushes_out_nothing_of_anothers(here: Here) -> None:
    here.happenings.continued({POOL: 1, "ann": 1})
    for _time in range(MOST_KEPT + 5):
        here.happenings.continued({POOL: 2, "ben": 2})
    assert len(here.kinds()) == MOST_KEPT
    assert here.sentences("ann") == ["1 broken answer was carried on elsewhere."]
    together = here.happenings.of(("ann", "ben"), 200)
    assert [one.id for one in together] == sorted((one.id for one in together), reverse=True)
    assert len(together) == MOST_KEPT + 1
