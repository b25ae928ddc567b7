"""A server answers 429 with Retry-After: it is left alone for as long, and nothing is held against it."""

from __future__ import annotations

import pytest

from tests.fakes.talker import Talker, pretend
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUSY = pretend("429 Too Many Requests", extra="retry-after: 7\r\n")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_that_server_cools_and_others_answer(world: World, stream: bool) -> None:
    busy, good = Talker(act=BUSY), Talker()
    busy_id, good_id = await world.add(busy, priority=10), await world.add(good)
    answer = await world.served(stream=stream)
    assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "2")
    for number in range(10):
        assert (await world.served(number, stream=stream)).headers["x-gateway-attempts"] == "1"
    assert len(busy.asked) == 1
    assert await world.is_well(busy_id)
    assert world.plane.board.lane(busy_id).ejections == 0


async def test_alone_the_client_is_told_how_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Talker(act=BUSY)
    busy_id = await world.add(busy)
    first = await world.ask()
    assert (first.status, first.headers["retry-after"], first.error["code"]) == (429, "7", "rate_limited")
    second = await world.ask()
    assert (second.status, second.error["code"]) == (503, "unavailable")
    assert 1 <= int(second.headers["retry-after"]) <= 7
    assert len(busy.asked) == 1
    assert await world.is_well(busy_id)
    now = world.plane.clock
    monkeypatch.setattr(world.plane, "clock", lambda: now() + 7)
    busy.act = Talker().act
    await world.served()
