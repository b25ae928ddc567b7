"""A client leaves: the work upstream stops within a second, its place is free, and no server is blamed."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.gateway_process import until
from tests.fakes.talker import Act, Talker, breaking, hang, tell
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHEN: dict[str, tuple[bool, Act]] = {
    "in mid-stream": (True, breaking("stall")),
    "before the first token": (True, hang),
    "before a whole answer": (False, hang),
}


@pytest.mark.parametrize("when", WHEN)
async def test_the_work_stops(world: World, when: str) -> None:
    stream, act = WHEN[when]
    talker = Talker(act=act)
    server_id = await world.add(talker, max_concurrency=1)
    async with world.asking(stream=stream) as answer:
        await until(lambda: talker.asked, "the server was asked")
        if when == "in mid-stream":
            await answer.tokens(3)
        assert (await world.state(server_id))["in_flight"] == 1
        answer.leave()
        async with asyncio.timeout(1):
            await talker.lost.wait()
    await world.until_state(server_id, in_flight=0)
    assert await world.is_well(server_id)
    assert world.plane.board.lane(server_id).ejections == 0
    talker.act = tell
    await world.served(2)  # the one place is free


async def test_one_who_waits_in_the_queue_leaves_it(world: World) -> None:
    talker, go = Talker(), asyncio.Event()
    talker.script.append(breaking("pause", go=go))
    server_id = await world.add(talker, max_concurrency=1)
    async with world.asking() as running:
        await running.tokens(3)
        async with world.asking(2):
            await until(lambda: world.plane.queued == 1, "the second one waits")
        await until(lambda: world.plane.queued == 0, "it waits no more")
        go.set()
        await running.rest()
    assert len(talker.asked) == 1
    assert await world.is_well(server_id)
