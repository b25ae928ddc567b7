"""A server refuses connections: another one answers within 100 ms, and it is out after three."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.talker import Talker
from tests.faults.world import open_world


@pytest.mark.parametrize(("shell", "stream"), [("door", True), ("asgi", False)])
async def test_another_answers_at_once(tmp_path: Path, shell: str, stream: bool) -> None:
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.5) as world:
        dead, good = Talker(), Talker()
        dead_id, good_id = await world.add(dead, priority=10), await world.add(good)
        await dead.stop()
        loop, seconds, extra = asyncio.get_running_loop(), [], 0
        state = await world.state(dead_id)
        while state["health_status"] == "healthy":
            asked_at = loop.time()
            answer = await world.served(len(seconds), stream=stream)
            seconds.append(loop.time() - asked_at)
            extra += int(answer.headers["x-gateway-attempts"]) - 1
            assert answer.headers["x-gateway-server-id"] == good_id
            state = await world.state(dead_id)
        assert 1 <= extra <= 3
        assert min(seconds) < 0.1  # the least: how long it takes, whatever else this machine does
        assert "refused" in state["reason"]
        answer = await world.served()
        assert answer.headers["x-gateway-attempts"] == "1"
        assert await world.is_well(good_id)
        assert len(good.asked) == len(seconds) + 1
