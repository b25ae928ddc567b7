"""One of three servers is ten times slower than the others: its share of the traffic falls within ten seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.talker import Talker
from tests.faults.world import open_world

REQUESTS = 110
CLIENTS = 9
PACE_SECONDS = 0.004
EVEN_SHARE = 1 / 3


@pytest.mark.parametrize("shell", ["door"])
async def test_its_share_falls(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell) as world:
        slow = Talker(pace_seconds=10 * PACE_SECONDS)
        slow_id = await world.add(slow)
        for _number in range(2):
            await world.add(Talker(pace_seconds=PACE_SECONDS))
        by: list[str] = []
        numbers = iter(range(REQUESTS))

        async def ask_on() -> None:
            for number in numbers:
                answer = await world.served(number, stream=True)
                by.append(answer.headers["x-gateway-server-id"])

        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await asyncio.gather(*(ask_on() for _client in range(CLIENTS)))
        assert loop.time() - began_at < 10
        later = Counter(by[REQUESTS // 2 :])
        assert later[slow_id] / later.total() < EVEN_SHARE / 2, later
        for server_id in await world.servers():
            assert await world.is_well(server_id)  # slow is no fault
