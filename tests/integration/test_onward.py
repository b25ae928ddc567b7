"""What becomes of begun streams in odd moments, on both ways in, where tests turn the clock themselves?"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from app.services.core.continuation.ability import Ability, Rung
from app.services.core.types import Server
from tests.fakes.house import LIMITS, House, open_house, server, until
from tests.fakes.model_server import (
    EVENT_HEAD,
    LAST_CHUNK,
    FakeModelServer,
    Seen,
    event,
    json_answer,
    serving,
    stream_events,
    until_gone,
)

GOES_ON = {"m": Ability(chat=Rung.TRAILING, text=Rung.TEXT)}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
Behaviour = Callable[[FakeModelServer, Seen, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def onward(shell: str) -> AsyncIterator[House]:
    async with open_house(shell, limits=replace(LIMITS, max_continuations=3, idle_ticks=20, suspect_ticks=12)) as house:
        yield house


def able(server_id: str, fake: FakeModelServer, **fields: Any) -> Server:
    return server(server_id, fake.url, abilities=GOES_ON, **fields)


def telling(*words: str, finish: bool = False, then_error: bool = False) -> Behaviour:
    """Say these, and why it ended, or not; then break off, or fall silent."""

    async def behaviour(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        events = stream_events("m", words, usage=False)[: len(words) + 1 + finish]
        writer.write(EVENT_HEAD + b"".join(events))
        if then_error and fake.gate is not None:
            await fake.gate.wait()
            writer.write(event({"error": {"message": "boom"}}))
        await writer.drain()
        if finish and not then_error:
            await until_gone(fake, writer)
        writer.transport.abort()

    return behaviour


def going_on(*words: str) -> Behaviour:
    """Say the rest and end, as a server that continues."""

    async def behaviour(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert seen.json["messages"][-1]["role"] == "assistant"
        del fake
        writer.write(EVENT_HEAD + b"".join(stream_events("m", words, usage=False)) + LAST_CHUNK)
        await writer.drain()

    return behaviour


def refusing(status: str) -> Behaviour:
    async def behaviour(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del fake, seen
        writer.write(json_answer({"error": "not now"}, status))
        await writer.drain()

    return behaviour


async def ask(house: House, **fields: Any) -> list[Any]:
    """The events of one answer; ``[DONE]`` as it stands."""
    reply = await house.client.post("/v1/chat/completions", json={**ASKED, **fields})
    return parsed(reply.text)


def parsed(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def said(events: list[Any]) -> str:
    choices = [choice for told in events if told != "[DONE]" for choice in told.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def reasons(events: list[Any]) -> list[str]:
    choices = [choice for told in events if told != "[DONE]" for choice in told.get("choices", ())]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


async def turned(house: House, asking: asyncio.Task[Any], ticks: int) -> int:
    """Turn the clock until the answer is there; return how many ticks that took, at most so many."""
    for turn in range(ticks):
        if asking.done():
            return turn
        house.plane.tick()
        for _turn in range(30):
            await asyncio.sleep(0)
    return ticks


async def test_another_goes_on_and_the_client_reads_one_stream(onward: House) -> None:
    first, second = FakeModelServer(behaviours={"*": telling("one", " two")}), FakeModelServer()
    second.behaviours["*"] = going_on(" three")
    async with serving(first, second):
        onward.install(able("s1", first, priority=1), able("s2", second))
        events = await ask(onward)
    assert (said(events), reasons(events), events[-1]) == ("one two three", ["stop"], "[DONE]")
    assert second.inference[0].json["messages"][-1] == {"role": "assistant", "content": "one two"}
    outcome = await onward.told.outcome()
    assert (outcome.status, outcome.attempts, outcome.continuations) == (200, 2, 1)


def comments(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.startswith(": continued")]


async def test_who_asks_is_told_where_the_seam_is(onward: House) -> None:
    first, second = FakeModelServer(behaviours={"*": telling("one", " two")}), FakeModelServer()
    second.behaviours["*"] = going_on(" three")
    async with serving(first, second):
        onward.install(able("s1", first, priority=1), able("s2", second))
        asked = await onward.client.post("/v1/chat/completions", json=ASKED, headers={"x-gateway-route": "why"})
    (seam,) = comments(asked.text)
    assert re.fullmatch(r": continued, server s2, after \d+ ms", seam)
    before, after = asked.text.split(seam)
    assert (said(parsed(before)), said(parsed(after))) == ("one two", " three")
    events = parsed(asked.text)
    assert (reasons(events), events[-1]) == (["stop"], "[DONE]")


async def test_who_does_not_ask_reads_no_word_of_it(onward: House) -> None:
    first, second = FakeModelServer(behaviours={"*": telling("one")}), FakeModelServer()
    second.behaviours["*"] = going_on(" two")
    async with serving(first, second):
        onward.install(able("s1", first, priority=1), able("s2", second))
        quiet = await onward.client.post("/v1/chat/completions", json=ASKED)
    assert said(parsed(quiet.text)) == "one two"
    assert all(line.startswith("data: ") for line in quiet.text.split("\n") if line)


def slow(seconds: float, clock: list[float], behaviour: Behaviour) -> Behaviour:
    """Take so long, on the gateway's clock, before doing that."""

    async def slowly(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        clock[0] += seconds
        await behaviour(fake, seen, writer)

    return slowly


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Do another thing each time."""
    waiting = list(behaviours)

    async def next_one(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        await waiting.pop(0)(fake, seen, writer)

    return next_one


async def test_each_seam_is_told_with_its_own_time(onward: House) -> None:
    clock = [100.0]
    onward.plane.clock = lambda: clock[0]
    first = FakeModelServer(behaviours={"*": in_turn(telling("one"), slow(0.5, clock, going_on(" three")))})
    second = FakeModelServer(behaviours={"*": slow(1.25, clock, telling(" two"))})
    async with serving(first, second):
        onward.install(able("s1", first, priority=1), able("s2", second))
        asked = await onward.client.post("/v1/chat/completions", json=ASKED, headers={"x-gateway-route": "why"})
    assert said(parsed(asked.text)) == "one two three"
    assert comments(asked.text) == [": continued, server s2, after 1250 ms", ": continued, server s1, after 500 ms"]


async def test_the_time_of_one_that_did_not_take_over_counts(onward: House) -> None:
    clock = [100.0]
    onward.plane.clock = lambda: clock[0]
    first = FakeModelServer(behaviours={"*": telling("one")})
    second = FakeModelServer(behaviours={"*": slow(2.0, clock, refusing("500 Internal Server Error"))})
    third = FakeModelServer(behaviours={"*": slow(0.5, clock, going_on(" two"))})
    async with serving(first, second, third):
        servers = [able(f"s{rank}", fake, priority=4 - rank) for rank, fake in enumerate((first, second, third), 1)]
        onward.install(*servers)
        asked = await onward.client.post("/v1/chat/completions", json=ASKED, headers={"x-gateway-route": "why"})
    assert said(parsed(asked.text)) == "one two"
    assert comments(asked.text) == [": continued, server s3, after 2500 ms"]


async def test_an_answer_that_said_why_it_ended_is_whole_though_its_server_falls_silent(onward: House) -> None:
    silent, other = FakeModelServer(behaviours={"*": telling("all", finish=True)}), FakeModelServer()
    async with serving(silent, other):
        onward.install(able("s1", silent, priority=1), able("s2", other))
        onward.told.alive = False
        asking = asyncio.create_task(ask(onward))
        await until(lambda: silent.inference)
        await turned(onward, asking, 400)
        events = await asking
    assert (said(events), reasons(events), events[-1]) == ("all", ["stop"], "[DONE]")
    assert not other.inference
    assert onward.told.doubts == ["s1"]


async def test_an_error_behind_the_end_harms_nothing(onward: House) -> None:
    late = FakeModelServer(behaviours={"*": telling("all", finish=True, then_error=True)}, gate=asyncio.Event())
    other = FakeModelServer()
    async with serving(late, other):
        onward.install(able("s1", late, priority=1), able("s2", other))
        async with onward.client.stream("POST", "/v1/chat/completions", json=ASKED) as answer:
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if '"stop"' in text and late.gate is not None:
                    late.gate.set()
    events = parsed(text)
    assert (said(events), reasons(events), events[-1]) == ("all", ["stop"], "[DONE]")
    assert not other.inference


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_a_begun_stream_waits_for_one_that_is_overloaded_as_long_as_it_may_be_silent(
    onward: House, status: str
) -> None:
    dying, full = FakeModelServer(behaviours={"*": telling("one")}), FakeModelServer()
    full.behaviours["*"] = refusing(status)
    async with serving(dying, full):
        onward.install(able("s1", dying, priority=1), able("s2", full))
        asking = asyncio.create_task(ask(onward))
        await until(lambda: full.inference)
        await dying.stop()
        onward.install(able("s2", full))
        ticks = await turned(onward, asking, 100)
        events = await asking
    assert ticks >= 15  # of 20, less those that passed while it was served
    assert said(events) == "one"
    error = events[-1]["error"]
    assert (error["retryable"], error["delivered_tokens"]) == (True, 1)
    assert "in time" in error["reason"]
    assert (await onward.told.outcome()).usage.completion_tokens == 1


async def test_a_server_that_fails_continuations_alone_keeps_its_other_work(onward: House) -> None:
    dying, picky = FakeModelServer(behaviours={"*": telling("one")}), FakeModelServer()
    picky.behaviours["*"] = refusing("500 Internal Server Error")
    async with serving(dying, picky):
        onward.install(able("s1", dying, priority=1), server("s2", picky.url, abilities=GOES_ON))
        asking = asyncio.create_task(ask(onward))
        await until(lambda: onward.told.refused_continuations)
        asking.cancel()
        await onward.told.outcome()
    assert onward.told.refused_continuations == [("s2", "m")]
    assert onward.plane.board.lane("s2").failures_in_a_row == 0


async def test_several_choices_tell_how_much_was_delivered(onward: House) -> None:
    dying, other = FakeModelServer(behaviours={"*": telling("one", " two")}), FakeModelServer()
    async with serving(dying, other):
        onward.install(able("s1", dying, priority=1), able("s2", other))
        events = await ask(onward, n=2)
    error = events[-1]["error"]
    assert error["delivered_tokens"] >= 2
    assert "several choices" in error["reason"]
    assert not other.inference
