"""Who takes over a broken answer where servers differ, and is it said that it had to cross, by both ways in?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.types import ModelEntry, Server
from tests.fakes.house import LIMITS, House, open_house, server
from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, FakeModelServer, Seen, serving, stream_events

GOES_ON = Ability(chat=Rung.TRAILING, text=Rung.TEXT)
Q4, Q8 = "llama-3.1-8b-instruct-q4_K_M", "llama-3.1-8b-instruct-q8_0"


@pytest.fixture
async def onward(shell: str) -> AsyncIterator[House]:
    async with open_house(shell, limits=replace(LIMITS, max_continuations=3)) as house:
        yield house


async def breaking(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Begin an answer and break off; go on with another's."""
    if seen.json["messages"][-1]["role"] == "assistant":
        writer.write(EVENT_HEAD + b"".join(stream_events("m", [" and the rest"], usage=False)) + LAST_CHUNK)
        await writer.drain()
        return
    del fake
    writer.write(EVENT_HEAD + b"".join(stream_events("m", ["The beginning"], usage=False)[:2]))
    await writer.drain()
    writer.transport.abort()


def able(name: str, fake: FakeModelServer, upstream_name: str, engine: str = "ollama") -> Server:
    fake.behaviours["/v1/chat/completions"] = breaking
    entry = ModelEntry("llama", upstream_name)
    return server(name, fake.url, entry, engine=engine, abilities={upstream_name: GOES_ON})


async def test_the_same_quantization_takes_over_and_nothing_is_said(onward: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer(), FakeModelServer()) as (one, two, three):
        onward.install(able("one", one, Q4), able("two", two, Q4), able("three", three, Q8))
        for _answer in range(8):
            onward.told.crossings.clear()
            answer = await onward.chat("llama", stream=True, headers={"x-gateway-route": "why"})
            first = answer.headers["x-gateway-server-id"]
            crossed = onward.told.crossings
            assert "The beginning" in answer.text
            assert " and the rest" in answer.text
            assert bool(crossed) is (first == "three")
            assert (": goes on elsewhere: quantization" in answer.text) is (first == "three")


async def test_who_has_to_cross_says_what_differs(onward: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (one, two):
        onward.install(able("one", one, Q4), able("two", two, Q8, engine="vllm"))
        quiet = await onward.chat("llama", stream=True)
        asked = await onward.chat("llama", stream=True, headers={"x-gateway-route": "why"})
    told = [words for _server_id, words in onward.told.crossings]
    assert len(told) == 2
    ways = {
        "one": "quantization Q4_K_M -> Q8_0, engine ollama -> vllm",
        "two": "quantization Q8_0 -> Q4_K_M, engine vllm -> ollama",
    }
    assert told[1] == ways[asked.headers["x-gateway-server-id"]]
    assert f": goes on elsewhere: {told[1]}\n" in asked.text
    assert ": goes on" not in quiet.text
    assert asked.text.count("[DONE]") == 1
