"""A server's name fails, changes or turns to a forbidden address: it is looked up and judged again on each connect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.name_server import NameServer, NameServerResolver
from tests.fakes.talker import Talker
from tests.faults.remains import IDLE_TICKS
from tests.faults.world import World, open_world

NAME = "box.rebind.example"
TURNS = {
    "forbidden": (["169.254.169.254"], "endpoint"),
    "both kinds": (["127.0.0.1", "169.254.169.254"], "endpoint"),
    "nothing": ([], "name"),
}


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with NameServer() as running:
        yield running


def forget_connections(world: World) -> None:
    for _tick in range(IDLE_TICKS):
        world.plane.pool.tick()


@pytest.mark.parametrize("shell", ["door"])
@pytest.mark.parametrize("turn", TURNS)
async def test_it_is_judged_again(tmp_path: Path, shell: str, name_server: NameServer, turn: str) -> None:
    name_server.publish(NAME, ["127.0.0.1"])
    at_once = {"unhealthy_threshold": 1, "healthy_threshold": 1, "health_check_interval_seconds": 0.3}
    settings = {"resolver": NameServerResolver(name_server), **at_once}
    async with open_world(tmp_path, shell, **settings) as world:
        talker = Talker()
        await world.start(talker)
        server_id = await world.register(f"http://{NAME}:{talker.port}")
        await world.judged()
        await world.served()
        forget_connections(world)
        seen = len(talker.requests)
        name_server.publish(NAME, TURNS[turn][0])
        answer = await world.ask(2)
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert "169.254" not in answer.body.decode()
        state = await world.until_state(server_id, health_status="unhealthy")
        assert state["reason"]
        assert len(talker.asked) == 1
        assert len(talker.requests) <= seen + 1  # but for a check that was under way
        name_server.publish(NAME, ["127.0.0.1"])
        await world.until_state(server_id, health_status="healthy")
        await world.served(3)


async def test_another_address_is_followed(tmp_path: Path, shell: str, name_server: NameServer) -> None:
    name_server.publish(NAME, ["127.0.0.1"])
    async with open_world(tmp_path, shell, resolver=NameServerResolver(name_server)) as world:
        talker = Talker()
        await world.start(talker)
        server_id = await world.register(f"http://{NAME}:{talker.port}")
        await world.judged()
        name_server.publish(NAME, ["127.0.0.2", "127.0.0.1"])  # nobody listens on the first
        forget_connections(world)
        await world.served()
        assert name_server.resolutions[NAME] >= 1
        assert await world.is_well(server_id)
