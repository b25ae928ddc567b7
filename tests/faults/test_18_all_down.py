"""All servers are down: 503 within a second, and answers again as soon as one is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.gateway_process import until
from tests.fakes.talker import Talker
from tests.faults.reading import expected, story_of
from tests.faults.world import open_world

REFUSED_SECONDS = 1.5
"""One second, and what a busy machine takes."""


@pytest.mark.parametrize(("shell", "stream"), [("door", True), ("asgi", False)])
async def test_it_is_a_503_until_one_is_back(tmp_path: Path, shell: str, stream: bool) -> None:
    async with open_world(tmp_path, shell, health_check_interval_seconds=0.5) as world:
        talkers = [Talker(), Talker()]
        ids = [await world.add(talker) for talker in talkers]
        for talker in talkers:
            await talker.stop()
        loop = asyncio.get_running_loop()
        for _again in range(2):
            asked_at = loop.time()
            answer = await world.ask(stream=stream)
            assert loop.time() - asked_at < REFUSED_SECONDS
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        for server_id in ids:
            await world.until_state(server_id, health_status="unhealthy", in_flight=0)
        await talkers[0].start(talkers[0].port)
        await world.served(stream=stream)
        await world.until_state(ids[0], health_status="healthy")
        assert (await world.state(ids[1]))["health_status"] == "unhealthy"


async def test_one_who_waits_is_served_by_the_first_that_is_back(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell) as world:
        talker = Talker()
        server_id = await world.add(talker)
        await talker.stop()
        for _time in range(3):
            await world.ask()
        await world.until_state(server_id, health_status="unhealthy")
        asking = asyncio.ensure_future(world.ask(7, stream=True))
        await until(lambda: world.plane.open_exchanges, "the request waits")
        await talker.start(talker.port)
        answer = await asking
        assert answer.status == 200, answer
        assert story_of(answer.body).is_whole(expected(7))
        await world.until_state(server_id, health_status="healthy")
