"""A server is slow, a token in four seconds: it is asked whether it lives, and its answer is waited for."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.gateway_process import until
from tests.fakes.talker import Telling, breaking
from tests.faults.reading import expected
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"stall_suspect_seconds": 0.1}

CHECKS = 3
"""How many checks beside the stream it answers before it goes on: many times the silence that makes it suspect."""


@pytest.mark.parametrize("silence", ["before the first token", "in mid-stream"])
async def test_it_survives(world: World, silence: str) -> None:
    first, second = await world.pair()
    go = asyncio.Event()

    async def late(telling: Telling) -> None:
        await go.wait()
        await telling.head()
        await telling.say()
        await telling.finish()

    first.script.append(breaking("pause", go=go) if silence == "in mid-stream" else late)
    async with world.asking() as answer:
        await until(lambda: first.asked or second.asked, "a server was asked")
        slow = first if first.asked else second
        checks = slow.checks
        await until(lambda: slow.checks >= checks + CHECKS, "it was asked whether it lives")
        go.set()
        assert (await answer.rest()).is_whole(expected())
    assert len(first.asked) + len(second.asked) == 1
    for server_id in await world.servers():
        assert await world.is_well(server_id)
        assert world.plane.board.lane(server_id).ejections == 0
