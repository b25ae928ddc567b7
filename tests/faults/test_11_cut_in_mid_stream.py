"""A stream is cut, in the middle of an event too: it goes on elsewhere, or ends in an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.talk import COMPLETIONS
from tests.fakes.talker import Talker, Telling, breaking
from tests.faults.reading import expected
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"stream_idle_timeout_seconds": 0.4}

CUTS = ["reset", "eof", "half event", "no finish", "error event"]


@pytest.mark.parametrize(("how", "escapes"), [(how, bool(place % 2)) for place, how in enumerate(CUTS)], ids=CUTS)
async def test_a_chat_goes_on_elsewhere(world: World, how: str, escapes: bool) -> None:
    first, second = await world.pair(escapes=escapes)
    go = asyncio.Event()
    first.script.append(breaking(how, go=go))
    async with world.asking(stream_options={"include_usage": True}) as answer:
        await answer.tokens(3)  # the client has them
        go.set()
        story = await answer.rest()
    assert story.is_whole(expected())
    assert [usage["completion_tokens"] for usage in story.usages] == [12]
    assert b"10.0.0.7" not in answer.body
    assert (len(first.asked), len(second.asked)) == (1, 1)
    for state in (await world.servers()).values():
        assert (state["health_status"], state["in_flight"]) == ("healthy", 0)


async def test_limits_are_lowered_by_what_was_said(world: World) -> None:
    first, second = await world.pair()
    go = asyncio.Event()
    first.script.append(breaking("reset", go=go))
    async with world.asking(max_tokens=8, max_completion_tokens=9) as answer:
        await answer.tokens(3)
        go.set()
        assert (await answer.rest()).is_whole(expected(tokens=8), "length")
    continued = min(first.asked + second.asked, key=lambda seen: seen.json["max_tokens"]).json
    assert (continued["max_tokens"], continued["max_completion_tokens"]) == (5, 6)


async def test_a_completion_goes_on_elsewhere(world: World) -> None:
    first, second = await world.pair()
    go = asyncio.Event()
    first.script.append(breaking("reset", go=go))
    async with world.asking(path=COMPLETIONS) as answer:
        await answer.until(b" 2")
        go.set()
        story = await answer.rest()
    assert (story.text, story.finishes, story.dones, story.errors) == (expected(), ["stop"], 1, [])
    assert (len(first.asked), len(second.asked)) == (1, 1)


async def test_several_deaths_in_one_answer_are_survived(world: World) -> None:
    first, second = await world.pair()
    third = Talker(script=first.script)
    await world.add(third)
    go = asyncio.Event()
    first.script.extend([breaking("reset", go=go), breaking("half event")])
    async with world.asking() as answer:
        await answer.tokens(3)
        go.set()
        assert (await answer.rest()).is_whole(expected())
    assert [len(talker.asked) for talker in (first, second, third)] == [1, 1, 1]


@pytest.mark.parametrize("how", CUTS)
async def test_what_cannot_be_continued_ends_in_an_error(world: World, how: str) -> None:
    first, second = await world.pair()
    go = asyncio.Event()
    first.script.append(breaking(how, go=go))
    async with world.asking(logprobs=True) as answer:
        await answer.tokens(3)
        go.set()
        story = await answer.rest()
    assert story.is_cut("server_misbehaved")
    error = story.errors[0]
    assert (error["retryable"], error["delivered_tokens"]) == (True, 3)
    assert "logprobs" in error["reason"]
    assert story.text == expected(tokens=3)
    assert b"10.0.0.7" not in answer.body
    assert len(first.asked) + len(second.asked) == 1


async def test_with_nobody_left_it_ends_in_an_error(world: World) -> None:
    only = Talker(act=breaking("stall"))
    only_id = await world.add(only)
    async with world.asking() as answer:
        await answer.tokens(3)
        await only.stop()
        story = await answer.rest()
    assert len(story.errors) == 1
    assert (story.text, story.finishes, story.dones) == (expected(tokens=3), [], 0)
    assert story.errors[0]["delivered_tokens"] == 3
    assert (await world.state(only_id))["in_flight"] == 0


async def test_a_server_that_begins_anew_is_not_let_go_on(world: World) -> None:
    """It ignores the text that it was given; nothing of what it would say belongs to this answer."""
    first, second = await world.pair(continues=False)
    go = asyncio.Event()
    first.script.append(breaking("eof", go=go))
    async with world.asking() as answer:
        await answer.tokens(3)
        go.set()
        story = await answer.rest()
    assert len(story.errors) == 1
    assert (story.text, story.dones) == (expected(tokens=3), 0)
    assert len(first.asked) + len(second.asked) == 1


async def test_nothing_but_a_role_was_said(world: World) -> None:
    """Nothing binds: another one answers anew, and the role comes once."""

    async def role_alone(telling: Telling) -> None:
        await telling.head()
        telling.hang_up()

    first, second = await world.pair()
    first.script.append(role_alone)
    async with world.asking(logprobs=True) as answer:
        assert (await answer.rest()).is_whole(expected())
    assert (len(first.asked), len(second.asked)) == (1, 1)
