"""What becomes of requests while the only server of their model is still loading, by both ways in?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.services.core.types import HealthStatus, Server
from tests.fakes.house import LIMITS, House, open_house, server, until
from tests.fakes.model_server import FakeModelServer, serving


@pytest.fixture
async def patient(shell: str) -> AsyncIterator[House]:
    async with open_house(shell, limits=replace(LIMITS, queue_ticks=100, return_ticks=9)) as house:
        yield house


def away(fake: FakeModelServer, *, loading: bool) -> Server:
    return server("s1", fake.url, health=HealthStatus.UNHEALTHY, loading=loading)


async def test_a_server_that_loads_is_waited_for_and_asked_whether_it_is_back(patient: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        patient.install(away(fake, loading=True))
        asking = asyncio.create_task(patient.chat())
        await until(lambda: patient.plane.queued)
        patient.tick(60)
        assert not asking.done()
        assert "s1" in patient.told.redials
        patient.install(server("s1", fake.url))
        answer = await asking
    assert answer.status_code == 200


async def test_one_that_is_down_is_not_waited_for_so_long(patient: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        patient.install(away(fake, loading=False))
        asking = asyncio.create_task(patient.chat())
        await until(lambda: patient.plane.queued)
        patient.tick(10)
        answer = await asking
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_patience_ends(patient: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        patient.install(away(fake, loading=True))
        asking = asyncio.create_task(patient.chat())
        await until(lambda: patient.plane.queued)
        patient.tick(101)
        answer = await asking
    assert answer.status_code == 503


async def test_a_stream_hears_what_it_waits_for(shell: str) -> None:
    async with open_house(shell) as house, serving(FakeModelServer()) as (fake,):
        moment = house.plane.clock()
        house.plane.clock = lambda: moment
        house.install(away(fake, loading=True))
        asking = asyncio.create_task(house.chat(stream=True))
        await until(lambda: house.plane.queued)
        for _second in range(8):
            moment += 1.0
            house.tick(10)
        house.install(server("s1", fake.url))
        answer = await asking
    assert re.findall(r"^: (.*)$", answer.text, re.MULTILINE) == ["loading the model, this can take a minute"] * 2
    assert answer.text.endswith("data: [DONE]\n\n")
