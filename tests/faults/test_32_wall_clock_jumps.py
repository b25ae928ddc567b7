"""The wall clock jumps by an hour: streams, pauses and checks go by a clock that never jumps."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.services.pulse import SystemClock
from tests.fakes.gateway_process import until
from tests.fakes.talker import Talker, breaking, pretend
from tests.faults.reading import expected
from tests.faults.world import World, open_world

HOUR_SECONDS = 3600.0
INTERVAL_SECONDS = 0.3
CHECKS = 3


def jump(world: World, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Set the machine's clock: every reading of date and time that the gateway takes."""
    now, by = time.time, timedelta(seconds=seconds)
    monkeypatch.setattr(time, "time", lambda: now() + seconds)
    monkeypatch.setattr(world.plane, "wall_clock", time.time)
    monkeypatch.setattr(SystemClock, "now", lambda _clock: datetime.now(UTC) + by)
    monkeypatch.setattr(world.gateway.app.state.gateway, "now", lambda: datetime.now(UTC) + by)


@pytest.mark.parametrize("shell", ["asgi"])
@pytest.mark.parametrize("seconds", [HOUR_SECONDS, -HOUR_SECONDS], ids=["forward", "back"])
async def test_nothing_ends_early_or_late(
    tmp_path: Path, shell: str, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    settings = {"stream_idle_timeout_seconds": 5, "request_timeout_seconds": 10}
    async with open_world(tmp_path, shell, health_check_interval_seconds=INTERVAL_SECONDS, **settings) as world:
        go = asyncio.Event()
        talker = Talker(act=breaking("pause", go=go))
        server_id = await world.add(talker)
        busy = Talker(models=["n"], act=pretend("429 Too Many Requests", extra="retry-after: 60\r\n"))
        busy_id = await world.add(busy)
        assert (await world.ask(model="n")).status == 429
        async with world.asking() as answer:
            await answer.tokens(3)
            jump(world, monkeypatch, seconds)
            loop, checks = asyncio.get_running_loop(), talker.checks
            jumped_at = loop.time()
            await until(lambda: talker.checks >= checks + CHECKS, "checks go on")
            assert loop.time() - jumped_at > INTERVAL_SECONDS * (CHECKS - 1) * 0.8  # and do not come all at once
            go.set()
            assert (await answer.rest()).is_whole(expected())
        cooled = await world.ask(model="n")
        assert (cooled.status, len(busy.asked)) == (503, 1)
        assert 1 <= int(cooled.headers["retry-after"]) <= 60
        for one in (server_id, busy_id):
            assert await world.is_well(one)
