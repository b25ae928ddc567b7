"""Does a request go to the server that has room for its prompt, or knows its beginning, by both ways in?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.services.core.choice.classes import ModelClass
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.types import HealthStatus, ModelEntry
from tests.fakes.house import LIMITS, House, open_house, server, until
from tests.fakes.model_server import FakeModelServer, serving

TURNS = 12
LONG = "Some words that everybody says. " * 100
"""About 800 tokens, too long for 512 and short of 8,192."""


def said(*turns: str) -> dict[str, object]:
    """The messages of a conversation so far."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": turn} for place, turn in enumerate(turns)]}


async def test_a_long_prompt_goes_to_the_server_that_holds_it(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (small, large):
        house.install(
            server("small", small.url, ModelEntry("m", "m", 512)),
            server("large", large.url, ModelEntry("m", "m", 8192)),
        )
        for _turn in range(TURNS):
            answer = await house.chat(**said(LONG))
            assert answer.headers["x-gateway-server-id"] == "large"
    assert not small.inference


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_fits_nowhere_gets_the_figures(house: House, *, stream: bool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (small, other):
        house.install(
            server("small", small.url, ModelEntry("m", "m", 512)),
            server("other", other.url, ModelEntry("roomy", "roomy", 32768)),
        )
        answer = await house.chat(stream=stream, **said(LONG * 4))
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "512" in error["message"]
    assert "'roomy' (32,768 tokens)" in error["message"]
    assert not small.inference
    assert not other.inference


async def test_the_member_that_is_too_long_is_named(house: House) -> None:
    async with serving(FakeModelServer()) as (small,):
        house.install(server("small", small.url, ModelEntry("m", "m", 512)))
        for path, member in (("/v1/completions", "prompt"), ("/v1/embeddings", "input")):
            answer = await house.client.post(path, json={"model": "m", member: LONG * 4})
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == member


async def test_an_answer_that_may_be_long_goes_where_it_has_room(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (small, large):
        house.install(
            server("small", small.url, ModelEntry("m", "m", 512)),
            server("large", large.url, ModelEntry("m", "m", 8192)),
        )
        for _turn in range(TURNS):
            answer = await house.chat(max_tokens=4000)
            assert answer.headers["x-gateway-server-id"] == "large"


async def test_a_session_stays_where_it_began(house: House) -> None:
    async with serving(*(FakeModelServer() for _place in range(4))) as fakes:
        house.install(*(server(str(place), fake.url) for place, fake in enumerate(fakes)))
        served = set()
        for turn in range(TURNS):
            answer = await house.chat(headers={"x-session-id": "alpha"}, **said(f"turn {turn}"))
            served.add(answer.headers["x-gateway-server-id"])
        assert len(served) == 1
        others = [await house.chat(headers={"x-session-id": f"other-{turn}"}) for turn in range(4 * TURNS)]
    assert len({answer.headers["x-gateway-server-id"] for answer in others}) > 1


async def test_a_conversation_stays_where_its_beginning_is_known(house: House) -> None:
    async with serving(*(FakeModelServer() for _place in range(4))) as fakes:
        house.install(*(server(str(place), fake.url) for place, fake in enumerate(fakes)))
        turns = [LONG]
        first = (await house.chat(**said(*turns))).headers["x-gateway-server-id"]
        for turn in range(TURNS):
            turns += [f"answer {turn} " * 20, f"question {turn} " * 20]
            answer = await house.chat(**said(*turns))
            assert answer.headers["x-gateway-server-id"] == first


async def test_home_is_left_when_it_is_gone(house: House) -> None:
    async with serving(*(FakeModelServer() for _place in range(3))) as fakes:
        house.install(*(server(str(place), fake.url) for place, fake in enumerate(fakes)))
        first = (await house.chat(**said(LONG))).headers["x-gateway-server-id"]
        await fakes[int(first)].stop()
        answer = await house.chat(**said(LONG, "well", LONG))
    assert answer.status_code == 200
    assert answer.headers["x-gateway-server-id"] != first


async def test_an_answer_says_on_request_why_it_came_from_there(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (one, two):
        house.install(server("s1", one.url), server("s2", two.url))
        first = await house.chat(headers={"x-gateway-route": "why"}, **said(LONG))
        second = await house.chat(headers={"x-gateway-route": "why"}, stream=True, **said(LONG, "well", "and?"))
        silent = await house.chat(**said(LONG))
    home = first.headers["x-gateway-server-id"]
    assert second.headers["x-gateway-server-id"] == home
    assert "prefix" in second.headers["x-gateway-route"]
    assert home in second.headers["x-gateway-route"]
    assert "x-gateway-route" not in silent.headers


async def test_an_error_says_on_request_why_nobody_was_asked(house: House) -> None:
    async with serving(FakeModelServer()) as (small,):
        house.install(server("s1", small.url, ModelEntry("m", "m", 512)))
        answer = await house.chat(headers={"x-gateway-route": "why"}, **said(LONG * 4))
    assert answer.status_code == 400
    assert "context" in answer.headers["x-gateway-route"]
    assert small.url not in answer.headers["x-gateway-route"]


async def test_a_stream_that_was_opened_by_a_comment_says_later_why(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        full = server("s1", fake.url, max_concurrency=1)
        house.install(full)
        house.plane.board.lane("s1").in_flight = 1
        asking = asyncio.create_task(house.chat(stream=True, headers={"x-gateway-route": "why"}))
        await until(lambda: house.plane.queued)
        house.tick(LIMITS.keepalive_ticks + 1)
        house.plane.board.lane("s1").in_flight = 0
        house.tick(1)
        answer = await asking
    assert answer.headers["x-gateway-route"] == "queued; passed over: 1 full"
    assert answer.text.startswith(": waiting, position 1 of 1 for this model\n: route: only; server=s1\n")


async def test_a_server_that_was_down_is_no_home(house: House) -> None:
    async with serving(*(FakeModelServer() for _place in range(2))) as fakes:
        servers = [server(str(place), fake.url) for place, fake in enumerate(fakes)]
        house.install(*servers)
        first = int((await house.chat(**said(LONG))).headers["x-gateway-server-id"])
        away = replace(servers[first], health=HealthStatus.UNHEALTHY)
        house.install(*(away if place == first else known for place, known in enumerate(servers)))
        house.install(*servers)
        answer = await house.chat(headers={"x-gateway-route": "why"}, **said(LONG, "well", "and?"))
    assert not answer.headers["x-gateway-route"].startswith("prefix")


async def test_a_prompt_counts_for_its_own_key_alone() -> None:
    async with open_house("door", require_auth=False) as house, serving(FakeModelServer(), FakeModelServer()) as fakes:
        house.install(*(server(str(place), fake.url) for place, fake in enumerate(fakes)))
        await house.chat(**said(LONG))
        asked = {"x-gateway-route": "why"}
        mine = await house.chat(headers=asked, **said(LONG, "well", "and?"))
        theirs = await house.chat(headers={**asked, "authorization": "Bearer a-stranger"}, **said(LONG, "well", "and?"))
    assert mine.headers["x-gateway-route"].startswith("prefix")
    assert "known" not in theirs.headers["x-gateway-route"]


async def test_a_long_prompt_that_waits_holds_up_no_short_one(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (small, large):
        house.install(
            server("small", small.url, ModelEntry("m", "m", 512), max_concurrency=1),
            server("large", large.url, ModelEntry("m", "m", 8192), max_concurrency=1),
        )
        lanes = {name: house.plane.board.lane(name) for name in ("small", "large")}
        for lane in lanes.values():
            lane.in_flight = 1
        long = asyncio.create_task(house.chat(**said(LONG)))
        await until(lambda: house.plane.queued == 1)
        short = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued == 2)
        lanes["small"].in_flight = 0
        house.tick(1)
        assert (await short).headers["x-gateway-server-id"] == "small"
        assert not long.done()
        lanes["large"].in_flight = 0
        house.tick(1)
        assert (await long).headers["x-gateway-server-id"] == "large"


async def test_a_session_goes_home_under_each_name_of_its_model(house: House) -> None:
    names = ("llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct")
    async with serving(*(FakeModelServer() for _place in range(4))) as fakes:
        servers = [server(str(place), fake.url, names[place % 2]) for place, fake in enumerate(fakes)]
        house.plane.install(build_snapshot(servers, [ModelClass("llama", frozenset(names))]))
        served = set()
        for turn in range(TURNS):
            answer = await house.chat((*names, "llama")[turn % 3], headers={"x-session-id": "alpha"})
            assert answer.json()["model"] == (*names, "llama")[turn % 3]
            served.add(answer.headers["x-gateway-server-id"])
    assert len(served) == 1
