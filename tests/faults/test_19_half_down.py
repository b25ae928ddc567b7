"""Half of the servers fail at full load: every answer is right, and servers get at most a fifth more requests."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.talker import Talker, pretend, reset, tell
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = 300
CLIENTS = 20
MOST = 1.2
FAILURES = {"500": pretend("500 Internal Server Error"), "reset": reset}


@pytest.mark.parametrize("failure", FAILURES)
async def test_retries_stay_a_fifth_of_the_traffic(world: World, failure: str) -> None:
    talkers = [Talker(act=act) for act in (tell, FAILURES[failure]) * 2]
    ids = [await world.add(talker) for talker in talkers]
    numbers = iter(range(REQUESTS))

    async def ask_on() -> None:
        for number in numbers:
            await world.served(number, stream=number % 2 == 0)

    await asyncio.gather(*(ask_on() for _client in range(CLIENTS)))
    assert REQUESTS < sum(len(talker.asked) for talker in talkers) <= MOST * REQUESTS
    for server_id in ids[::2]:
        assert await world.is_well(server_id)
