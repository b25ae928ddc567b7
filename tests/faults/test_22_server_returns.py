"""A server comes back: it is given little at first and its full share half a minute later."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fakes.talker import Talker
from tests.faults.world import World, open_world

ASKED = 60
RAMP_SECONDS = 30


async def share(world: World, server_id: str) -> float:
    by = Counter([(await world.served(number)).headers["x-gateway-server-id"] for number in range(ASKED)])
    return by[server_id] / ASKED


@pytest.mark.parametrize("shell", ["asgi"])
async def test_it_is_ramped(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.2) as world:
        world.plane.random = Random(7).random
        returning, good = Talker(), Talker()
        returning_id, good_id = await world.add(returning), await world.add(good)
        assert 0.3 < await share(world, returning_id) < 0.7
        await returning.stop()
        while (await world.state(returning_id))["health_status"] != "unhealthy":
            await world.served()
        await returning.start(returning.port)
        await world.until_state(returning_id, health_status="healthy")
        assert await share(world, returning_id) < 0.25
        now = world.plane.clock
        world.plane.clock = lambda: now() + RAMP_SECONDS
        assert 0.3 < await share(world, returning_id) < 0.7
        assert await world.is_well(good_id)
        assert await world.is_well(returning_id)
