"""A server sends its headers and then nothing: at the deadline of the first token another one answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.model_server import EVENT_HEAD
from tests.fakes.talker import Act, Talker, Telling, hang
from tests.faults.reading import expected, story_of
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST_TOKEN_SECONDS = 0.5
SETTINGS = {"first_token_timeout_seconds": FIRST_TOKEN_SECONDS, "sse_keepalive_seconds": 0.2}


async def headers_alone(telling: Telling) -> None:
    await telling.write(EVENT_HEAD)
    await telling.until_gone()


SILENCES: dict[str, Act] = {"headers alone": headers_alone, "not even headers": hang}


@pytest.mark.parametrize("silence", SILENCES)
async def test_another_answers(world: World, silence: str) -> None:
    mute, good = Talker(act=SILENCES[silence]), Talker()
    mute_id, good_id = await world.add(mute, priority=10), await world.add(good)
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    answer = await world.ask(stream=True)
    assert FIRST_TOKEN_SECONDS <= loop.time() - asked_at < FIRST_TOKEN_SECONDS + 2
    assert answer.body.startswith(b": ping\n")  # it was kept alive meanwhile
    assert b": ping\n\n" not in answer.body
    assert story_of(answer.body).is_whole(expected())
    await world.served(2, stream=True)
    assert (len(mute.asked), len(good.asked)) == (1, 2)
    assert mute.lost.is_set()  # its connection was closed
    assert (await world.state(mute_id))["in_flight"] == 0
    assert await world.is_well(good_id)


async def test_alone_it_is_an_error_in_time(world: World) -> None:
    mute = Talker(act=headers_alone)
    mute_id = await world.add(mute)
    answer = await world.ask(stream=True)
    assert answer.body.startswith(b": ping\n")  # the status is out
    assert story_of(answer.body).is_cut("timeout")
    assert (await world.state(mute_id))["in_flight"] == 0
