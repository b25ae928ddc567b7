"""A stream stalls: it goes on elsewhere, at once if its server answers nothing any more, else at the idle limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.fakes.talker import Talker, breaking
from tests.faults.reading import expected
from tests.faults.world import open_world

SUSPECT_SECONDS = 0.3
IDLE_SECONDS = 0.8
SILENT_SERVER_SECONDS = 5.0
"""Within which a server that went silent is to be found out."""


def who_is_asked(first: Talker, second: Talker) -> tuple[Talker, Talker]:
    """The one that answers now, and the other."""
    return (first, second) if first.asked else (second, first)


async def test_a_server_that_answers_its_checks_has_until_the_idle_limit(tmp_path: Path, shell: str) -> None:
    settings = {"stall_suspect_seconds": SUSPECT_SECONDS, "stream_idle_timeout_seconds": IDLE_SECONDS}
    async with open_world(tmp_path, shell, **settings) as world:
        first, second = await world.pair()
        first.script.append(breaking("stall"))
        async with world.asking() as answer:
            await answer.tokens(3)
            stalled, other = who_is_asked(first, second)
            loop, checks = asyncio.get_running_loop(), stalled.checks
            stalled_at = loop.time()
            assert (await answer.rest()).is_whole(expected())
            assert IDLE_SECONDS <= loop.time() - stalled_at + 0.2 < SILENT_SERVER_SECONDS
        assert stalled.checks > checks  # it was asked beside the stream
        assert stalled.lost.is_set()
        assert (len(stalled.asked), len(other.asked)) == (1, 1)
        for state in (await world.servers()).values():
            assert (state["health_status"], state["in_flight"]) == ("healthy", 0)


@pytest.mark.parametrize("shell", ["asgi"])
async def test_a_server_that_went_silent_is_left_long_before_that(tmp_path: Path, shell: str) -> None:
    settings = {"stall_suspect_seconds": SUSPECT_SECONDS, "health_check_interval_seconds": 0.5}
    async with open_world(tmp_path, shell, health_check_timeout_seconds=0.3, **settings) as world:
        first, second = await world.pair()
        ids = dict(zip((first.url, second.url), await world.servers(), strict=True))
        first.script.append(breaking("stall"))
        async with world.asking(stream_options={"include_usage": True}) as answer:
            await answer.tokens(3)
            silent, other = who_is_asked(first, second)
            silent.deaf = True
            loop = asyncio.get_running_loop()
            silent_at = loop.time()
            story = await answer.rest()
            assert loop.time() - silent_at < SILENT_SERVER_SECONDS
            assert story.is_whole(expected())
            assert [usage["completion_tokens"] for usage in story.usages] == [12]
        state = await world.state(ids[silent.url])
        assert state["health_status"] == "unhealthy"
        assert state["reason"]
        assert await world.is_well(ids[other.url])
        assert (await world.served(2, stream=True)).headers["x-gateway-attempts"] == "1"
        silent.deaf = False
        await world.until_state(ids[silent.url], health_status="healthy", reason="")  # it comes back by itself
