"""A stream never ends: it is cut at the cap of a request, with an error that says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fakes.talker import Talker, Telling
from tests.faults.world import open_world

REQUEST_SECONDS = 0.6


async def endless(telling: Telling) -> None:
    """Say a token every few milliseconds, until the other side closes."""
    await telling.head()
    gone = asyncio.ensure_future(telling.until_gone())
    while not gone.done():
        await telling.delta({"content": "again "})
        await asyncio.wait([gone], timeout=0.02)
    await gone


async def test_it_is_cut_at_the_cap(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, request_timeout_seconds=REQUEST_SECONDS) as world:
        talker = Talker(act=endless)
        server_id = await world.add(talker)
        other_id = await world.add(Talker(act=endless))
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with world.asking() as answer:
            story = await answer.rest()
        assert REQUEST_SECONDS <= loop.time() - asked_at < REQUEST_SECONDS + 2
        assert story.text.startswith("again again ")
        assert story.is_cut("timeout")
        assert sum(len(one.asked) for one in world.talkers) == 1  # it is no fault, and goes on nowhere
        for one in (server_id, other_id):
            assert await world.is_well(one)
