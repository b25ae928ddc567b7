"""The gateway's own event loop is blocked for a second: no server is found guilty of that."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakes.gateway_process import until
from tests.faults.processes import talker_process
from tests.faults.reading import expected
from tests.faults.world import open_world

BLOCKED_SECONDS = 1.0
TOKENS = 260
HURRY = {
    "health_check_interval_seconds": 0.3,
    "health_check_timeout_seconds": 0.3,
    "connect_timeout_seconds": 0.3,
    "stall_suspect_seconds": 0.3,
    "stream_idle_timeout_seconds": 0.6,
    "first_token_timeout_seconds": 0.6,
}
"""Each of them shorter than the block, so that all of them run out during it."""


@pytest.mark.parametrize("shell", ["door"])
async def test_no_server_is_blamed(tmp_path: Path, shell: str) -> None:
    async with (
        talker_process("--tokens", str(TOKENS), "--pace-seconds", "0.01") as talker,
        open_world(tmp_path, shell, **HURRY) as world,
    ):
        server_id = await world.register(talker.url)
        await world.judged()
        async with world.asking(1) as running, world.asking(2) as beginning:
            await running.tokens(3)
            checks = len((await world.state(server_id))["history"])
            for _time in range(2):
                block()
                await running.tokens(1)
            assert (await running.rest()).is_whole(expected(1, TOKENS))
            assert (await beginning.rest()).is_whole(expected(2, TOKENS))

        async def is_checked() -> bool:
            return len((await world.state(server_id))["history"]) >= checks + 3

        await until(is_checked, "it was checked again")
        state = await world.state(server_id)
        assert [check["reason"] for check in state["history"] if not check["ok"]] == []
        assert await world.is_well(server_id)
        assert world.plane.board.lane(server_id).ejections == 0


def block() -> None:
    """Hold up everything in this process."""
    time.sleep(BLOCKED_SECONDS)
