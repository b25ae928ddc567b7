"""A server resets the connection once it has the request: another one answers, and the client sees nothing of it."""

from __future__ import annotations

import pytest

from tests.fakes.talker import Talker, reset
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_it_is_retried_elsewhere(world: World, stream: bool) -> None:
    bad, good = Talker(act=reset), Talker()
    bad_id, good_id = await world.add(bad, priority=10), await world.add(good)
    answer = await world.served(1, stream=stream)
    assert (answer.headers["x-gateway-server-id"], answer.headers["x-gateway-attempts"]) == (good_id, "2")
    assert (len(bad.asked), len(good.asked)) == (1, 1)  # never the same twice
    assert (await world.served(2, stream=stream)).headers["x-gateway-attempts"] == "1"  # it is avoided for a while
    state = await world.state(bad_id)
    assert (state["health_status"], state["in_flight"]) == ("healthy", 0)  # its checks pass
    assert await world.is_well(good_id)


async def test_alone_it_is_a_502(world: World) -> None:
    bad = Talker(act=reset)
    bad_id = await world.add(bad)
    answer = await world.ask()
    assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
    assert (await world.state(bad_id))["in_flight"] == 0
    bad.act = Talker().act
    await world.served()
