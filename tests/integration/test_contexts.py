"""Is a prompt ever cut in silence, or refused though a server holds it? By both ways in."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from app.services.core.types import ModelEntry, Server
from tests.fakes.house import House, open_house, server
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, ordinary, serving

TURNS = 12
REFUSAL = "This model's maximum context length is {} tokens. However, your prompt contains {} input tokens."


def chinese(tokens: int) -> dict[str, object]:
    """A chat of so many tokens, three bytes each: fewer by a quarter than they are taken for."""
    return {"messages": [{"role": "user", "content": "字" * tokens}]}


def english(tokens: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "word" * tokens}]}


class Counting(FakeModelServer):
    """Counts a token for each character beyond ASCII and four of those within, and refuses what is too long for it."""

    def __init__(self, context: int) -> None:
        super().__init__(behaviours={"*": self._answer})
        self.context = context
        self.answered = 0

    async def _answer(self, fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(seen.body)
        text = "".join(message["content"] for message in asked["messages"])
        tokens = sum(1 if ord(letter) > 127 else 0.25 for letter in text) + asked.get("max_tokens", 0)
        if tokens > self.context:
            error = {"message": REFUSAL.format(self.context, tokens), "type": "BadRequestError", "code": 400}
            writer.write(json_answer({"error": error}, "400 Bad Request"))
            return
        self.answered += 1
        await ordinary(fake, seen, writer)


def of(server_id: str, fake: FakeModelServer, context: int | None, **fields: object) -> Server:
    return server(server_id, fake.url, ModelEntry("m", "m", context), **{"engine": "vllm", **fields})


# -- cold models


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_a_cold_model_is_sent_nothing_that_would_be_cut(house: House, engine: str) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (cold, refusing):
        house.install(
            of("cold", cold, None, engine=engine, loaded=frozenset({"other"}), swaps_models=True),
            of("refusing", refusing, 8192),
        )
        answer = await house.chat(**english(30_000))
        short = await house.chat(**english(6000))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert short.headers["x-gateway-server-id"] == "refusing"
    assert not cold.inference


async def test_a_cold_model_takes_what_its_owner_declared_where_nobody_else_does(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (cold, large):
        declared = of("cold", cold, 32_768, engine="ollama", loaded=frozenset(), swaps_models=True)
        house.install(declared, of("large", large, 65_536))
        for _turn in range(TURNS):
            assert (await house.chat(**english(10_000))).headers["x-gateway-server-id"] == "large"
        house.install(declared)
        assert (await house.chat(**english(10_000))).headers["x-gateway-server-id"] == "cold"
        house.install(replace(declared, contexts={"m": 4096}))
        assert (await house.chat(**english(10_000))).status_code == 400


# -- refusals


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_is_too_small_is_not_the_last_word(house: House, *, stream: bool) -> None:
    async with serving(Counting(4096), Counting(32_768)) as (small, large):
        house.install(of("small", small, 4096), of("large", large, 32_768))
        for _turn in range(TURNS):
            answer = await house.chat(stream=stream, **chinese(4535))
            assert answer.status_code == 200
    assert (small.answered, large.answered) == (0, TURNS)
    assert {outcome.error_code for outcome in house.told.outcomes} == {None}
    lane = house.plane.board.lane("small")
    assert not lane.is_shut(house.plane.clock())


async def test_a_server_of_another_kind_that_would_cut_is_not_the_way_out(house: House) -> None:
    async with serving(Counting(4096), FakeModelServer()) as (small, cutting):
        house.install(of("small", small, 4096, priority=1), of("cutting", cutting, 4096, engine="ollama"))
        answer = await house.chat(**chinese(4535))
    assert answer.status_code == 400
    assert not cutting.inference


async def test_where_no_server_is_larger_the_engine_has_the_last_word(house: House) -> None:
    async with serving(Counting(4096), Counting(4096)) as fakes:
        house.install(*(of(str(place), fake, 4096) for place, fake in enumerate(fakes)))
        answer = await house.chat(**chinese(4535))
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
    assert "4096" in error["message"]
    assert sum(len(fake.inference) for fake in fakes) == 1
    assert house.told.outcomes[-1].error_code == "context_length_exceeded"


async def test_an_unknown_context_is_asked_after_a_refusal(house: House) -> None:
    async with serving(Counting(4096), Counting(32_768)) as (small, large):
        house.install(of("small", small, None, priority=1), of("large", large, None))
        assert (await house.chat(**chinese(4535))).headers["x-gateway-server-id"] == "large"


async def test_a_prompt_that_was_too_long_needs_no_retry_budget(shell: str) -> None:
    async with (
        serving(Counting(4096), Counting(32_768)) as (small, large),
        open_house(shell, max_attempt_ratio=0.0) as house,
    ):
        house.install(of("small", small, 4096, priority=1), of("large", large, 32_768))
        assert (await house.chat(**chinese(4535))).status_code == 200


async def test_other_refusals_are_passed_on_at_once(house: House) -> None:
    async def refuse(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            json_answer({"error": {"message": "temperature must be at most 2", "code": 400}}, "400 Bad Request")
        )

    async with serving(FakeModelServer(behaviours={"*": refuse}), FakeModelServer()) as (one, two):
        house.install(of("one", one, 4096, priority=1), of("two", two, 8192))
        answer = await house.chat(temperature=3)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "400")
    assert not two.inference


# -- others' texts, the client's own wish, and the answer


async def test_what_others_send_refuses_nobody(house: House) -> None:
    async with serving(FakeModelServer()) as (one,):
        house.install(of("one", one, 8192))
        rates = house.plane.demands._rates  # what a day of hexadecimal would teach
        for _turn in range(1000):
            rates.note("m", 12_000, 6000)
        assert (await house.chat(**english(6012))).status_code == 200


async def test_a_client_that_wants_its_prompt_cut_is_no_matter_of_length(house: House) -> None:
    async with serving(FakeModelServer()) as (one,):
        house.install(of("one", one, 4096))
        assert (await house.chat(truncate_prompt_tokens=4000, **english(30_000))).status_code == 200
        assert (await house.chat(truncate_prompt_tokens=None, **english(30_000))).status_code == 400


async def test_the_length_of_the_answer_does_not_outrank_the_owner(house: House) -> None:
    async with serving(FakeModelServer(), FakeModelServer(), FakeModelServer()) as (near, far, twin):
        house.install(of("near", near, 4096, priority=1), of("far", far, 131_072))
        for _turn in range(TURNS):
            assert (await house.chat(max_tokens=4096)).headers["x-gateway-server-id"] == "near"
        house.install(of("near", near, 4096), of("twin", twin, 8192))
        for _turn in range(TURNS):
            assert (await house.chat(max_tokens=4096)).headers["x-gateway-server-id"] == "twin"
