"""A server's process is stopped: it accepts and never answers. Others take over, and it is back once it goes on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.fakes.talk import ask_body
from tests.faults.processes import talker_process
from tests.faults.reading import OpenAnswer, expected, post
from tests.faults.world import open_world

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")

TOKENS = 100
FOUND_OUT_SECONDS = 5.0
PACED = ("--tokens", str(TOKENS), "--pace-seconds", "0.006")
SETTINGS = {"stall_suspect_seconds": 0.3, "health_check_interval_seconds": 0.5, "health_check_timeout_seconds": 0.4}


@pytest.mark.parametrize("shell", ["door"])
async def test_streams_in_the_middle_and_new_ones_are_served_by_another(tmp_path: Path, shell: str) -> None:
    async with (
        talker_process(*PACED) as stopped,
        talker_process(*PACED) as good,
        open_world(tmp_path, shell, **SETTINGS) as world,
    ):
        stopped_id, good_id = await world.register(stopped.url, priority=10), await world.register(good.url)
        await world.judged()
        async with world.asking(1) as running:
            await running.tokens(5)
            assert running.server_id == stopped_id
            stopped.stop()
            loop = asyncio.get_running_loop()
            stopped_at = loop.time()
            new = await OpenAnswer.ask(world.port, post(ask_body(2)))
            assert (await running.rest()).is_whole(expected(1, TOKENS))
            assert (await new.rest()).is_whole(expected(2, TOKENS))
            assert loop.time() - stopped_at < FOUND_OUT_SECONDS
            new.leave()
        state = await world.until_state(stopped_id, health_status="unhealthy", in_flight=0)
        assert state["reason"]
        assert await world.is_well(good_id)
        answer = await world.ask(3, stream=True)
        assert (answer.status, answer.headers["x-gateway-attempts"]) == (200, "1")
        stopped.go_on()
        await world.until_state(stopped_id, health_status="healthy", reason="")
