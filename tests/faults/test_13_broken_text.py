"""A server's bytes are odd: invalid JSON, characters split between chunks, a line of 10 MB. Unharmed, or an error."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, chunk, event
from tests.fakes.talker import Talker, Telling, saying
from tests.faults.reading import story_of
from tests.faults.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = {"stream_idle_timeout_seconds": 0.5, "max_continuations": 0}

MEBIBYTE = 1024 * 1024
LONG_LINE_BYTES = 10 * MEBIBYTE
MOST_BUFFERED_BYTES = 6 * MEBIBYTE
"""256 KiB in the gateway, and what the kernel keeps between two sockets."""
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def said(text: str, finish_reason: str | None = None) -> dict[str, object]:
    return {**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


async def test_characters_split_between_chunks_arrive_whole(world: World) -> None:
    text = "漢字 é \N{GRINNING FACE} \N{FAMILY} жд"
    events = [f"data: {json.dumps(said(letter), ensure_ascii=False)}\n\n".encode() for letter in text]
    events.append(b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    whole = b"".join(events)
    act = saying(EVENT_HEAD, *[chunk(whole[place : place + 1]) for place in range(len(whole))], LAST_CHUNK)
    server_id = await world.add(Talker(act=act))
    answer = await world.ask(stream=True)
    assert (answer.status, answer.body) == (200, whole)
    assert story_of(answer.body).text == text
    assert await world.is_well(server_id)


ODD = {
    "half of JSON": b'data: {"choices":[{"delta":{"content":"half\n\n',
    "no JSON": b"data: not JSON\n\n",
    "no UTF-8": b"data: \xff\n\n",
}


@pytest.mark.parametrize("name", ODD)
async def test_an_event_that_is_no_json(world: World, name: str) -> None:
    """It goes out as it is, or it is where the stream ends with an error; what came before is unharmed."""
    go = asyncio.Event()

    async def odd(telling: Telling) -> None:
        await telling.write(EVENT_HEAD)
        await telling.event(said("good"))
        await go.wait()
        await telling.write(chunk(ODD[name]))
        await telling.event(said("", "stop"))
        await telling.write(event(b"[DONE]") + LAST_CHUNK)

    server_id = await world.add(Talker(act=odd))
    async with world.asking() as answer:
        await answer.until(b"good")
        assert answer.story.text == "good"
        first = len(answer.body)
        go.set()
        await answer.until_end()
    rest = answer.body[first:]
    if rest.startswith(ODD[name]):
        assert rest.endswith(b"\n\ndata: [DONE]\n\n")
    else:
        assert story_of(rest).is_cut("server_misbehaved")
    assert (await world.state(server_id))["health_status"] == "healthy"


@pytest.mark.parametrize("begun", [True, False], ids=["in mid-stream", "as the first event"])
async def test_a_line_of_10_mb_is_a_bounded_error(world: World, begun: bool) -> None:
    written = 0

    async def long_line(telling: Telling) -> None:
        nonlocal written
        await telling.write(EVENT_HEAD)
        if begun:
            await telling.event(said("good"))
        await telling.write(chunk(b'data: {"x":"'))
        while written < LONG_LINE_BYTES:
            await telling.write(chunk(b"x" * 65536))
            written += 65536
        await telling.event("the end of the line")

    server_id = await world.add(Talker(act=long_line))
    answer = await world.ask(stream=True)
    if answer.status == 200:
        story = story_of(answer.body)
        assert (story.text, len(story.errors), story.dones) == ("good" if begun else "", 1, 0)
    else:
        assert (answer.status, answer.error["code"]) == (502, "server_misbehaved")
    assert len(answer.body) < 4096
    assert written < MOST_BUFFERED_BYTES
    assert (await world.state(server_id))["in_flight"] == 0
