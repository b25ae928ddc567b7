"""What does a client hear whose model has to be loaded first, and how long is its server given?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tests.fakes.house import LIMITS, House, open_house, server, until
from tests.fakes.laptop import Laptop
from tests.fakes.model_server import serving

LOAD_TICKS = 3000
REQUEST = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@dataclass
class Heard:
    """What a client of a stream has read so far."""

    status: int = 0
    text: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def comments(self) -> list[str]:
        return re.findall(r"^: (.*)$", self.text, re.MULTILINE)


@dataclass
class Place:
    """A gateway before one laptop whose loads take as long as the test says, under a clock turned by hand."""

    house: House
    laptop: Laptop
    now: float = 1000.0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def turn(self, seconds: float) -> None:
        for _tick in range(round(seconds * 10)):
            self.now += 0.1
            self.house.tick(1)

    def listen(self) -> Heard:
        heard = Heard()
        self.tasks.add(asyncio.ensure_future(self._listen(heard)))
        return heard

    async def _listen(self, heard: Heard) -> None:
        async with self.house.client.stream("POST", "/v1/chat/completions", json=REQUEST) as answer:
            heard.status = answer.status_code
            async for text in answer.aiter_text():
                heard.text += text
        heard.ended.set()

    async def loading(self) -> Heard:
        """A client whose model is being loaded."""
        self.laptop.may_load.clear()
        count = len(self.laptop.loads)
        heard = self.listen()
        await until(lambda: len(self.laptop.loads) == count + 1)
        return heard

    async def loaded(self, heard: Heard) -> None:
        self.laptop.may_load.set()
        await heard.ended.wait()


@asynccontextmanager
async def place(shell: str, **limits: int) -> AsyncIterator[Place]:
    chosen = replace(LIMITS, model_load_ticks=LOAD_TICKS, **limits)
    laptop = Laptop()
    async with serving(laptop), open_house(shell, limits=chosen) as house:
        found = Place(house, laptop)
        house.plane.clock = lambda: found.now
        house.install(server("laptop", laptop.url, "a", "b", swaps_models=True))
        yield found
        await asyncio.gather(*found.tasks)


async def test_a_client_is_told_after_two_seconds_and_every_five(shell: str) -> None:
    async with place(shell) as at:
        heard = await at.loading()
        at.turn(1.9)
        assert heard.status == 0
        at.turn(0.2)
        await until(lambda: len(heard.comments) == 1)
        assert heard.status == 200
        at.turn(4.8)
        at.turn(0.3)
        await until(lambda: len(heard.comments) == 2)
        assert heard.comments == ["loading the model, this can take a minute"] * 2
        await at.loaded(heard)
        assert '"content":" three"' in heard.text
        assert heard.text.endswith("data: [DONE]\n\n")
        assert ": loading" in heard.text.split("data: ")[0]
        assert "minute\n\n" not in heard.text  # an empty line would make an event of it


async def test_the_next_time_it_is_known_how_long_it_takes(shell: str) -> None:
    async with place(shell) as at:
        heard = await at.loading()
        at.turn(40.0)
        await at.loaded(heard)
        at.laptop.in_memory.clear()
        at.turn(60.0)
        at.house.plane.board.lane("laptop").residence.told(frozenset(), at.now)
        heard = await at.loading()
        at.turn(56.0)
        await at.loaded(heard)
        seconds = [int(number) for number in re.findall(r"about (\d+) s", heard.text)]
        assert seconds[0] in (38, 39)
        assert len(seconds) == 8
        assert all(4 <= earlier - later <= 6 for earlier, later in pairwise(seconds))
        so_far = [int(number) for number in re.findall(r"still loading the model, (\d+) s so far", heard.text)]
        assert len(so_far) == 3
        assert 40 <= so_far[0] <= 45


async def test_a_model_in_memory_is_not_said_to_be_loading(shell: str) -> None:
    async with place(shell) as at:
        at.laptop.in_memory.append("a")
        at.laptop.gate = asyncio.Event()
        at.house.plane.board.lane("laptop").residence.told(frozenset("a"), at.now)
        heard = at.listen()
        await until(lambda: at.laptop.served == ["a"])
        at.turn(14.0)
        at.laptop.gate.set()
        await heard.ended.wait()
        assert heard.comments == []


async def test_one_that_does_not_stream_hears_nothing_and_is_answered(shell: str) -> None:
    async with place(shell) as at:
        at.laptop.may_load.clear()
        asked = asyncio.ensure_future(at.house.chat("a"))
        await until(lambda: at.laptop.loads)
        at.turn(50.0)
        at.laptop.may_load.set()
        answer = await asked
        assert answer.status_code == 200
        assert answer.json()["choices"][0]["message"]["content"] == "one two three"


async def test_those_that_come_meanwhile_gather_behind_one_load(shell: str) -> None:
    async with place(shell) as at:
        first = await at.loading()
        at.turn(10.0)
        others = [at.listen() for _each in range(3)]
        await until(lambda: len(at.laptop.inference) == 4)
        at.turn(3.0)
        for heard in others:
            await until(lambda heard=heard: heard.comments)
        at.laptop.may_load.set()
        for heard in (first, *others):
            await heard.ended.wait()
            assert "[DONE]" in heard.text
        assert at.laptop.loads == ["a"]


async def test_one_whose_model_waits_for_its_turn_hears_that(shell: str) -> None:
    async with place(shell) as at:
        at.laptop.gate = asyncio.Event()
        busy = asyncio.ensure_future(at.house.chat("b", stream=True))
        await until(lambda: at.laptop.served == ["b"])
        heard = at.listen()
        await until(lambda: at.house.plane.queued == 1)
        at.turn(2.5)
        await until(lambda: heard.comments)
        assert re.fullmatch(r"waiting for another model to leave the memory, [23] s so far", heard.comments[0])
        at.laptop.gate.set()
        await busy
        while not heard.ended.is_set():
            at.turn(0.1)
            await asyncio.sleep(0)
        assert "[DONE]" in heard.text


class TestHowLongIsWaited:
    async def test_a_load_may_take_longer_than_a_first_token(self, shell: str) -> None:
        async with place(shell) as at:
            heard = await at.loading()
            at.turn(200.0)
            await at.loaded(heard)
            assert "[DONE]" in heard.text

    async def test_but_not_for_ever(self, shell: str) -> None:
        async with place(shell) as at:
            heard = await at.loading()
            at.turn(LOAD_TICKS / 10 + 1)
            await heard.ended.wait()
            assert '"error"' in heard.text
            assert "[DONE]" not in heard.text

    async def test_a_model_in_memory_is_given_the_usual_time(self, shell: str) -> None:
        async with place(shell, keepalive_ticks=10_000) as at:
            at.house.plane.board.lane("laptop").residence.told(frozenset("a"), at.now)
            heard = await at.loading()  # that it has gone from there, nobody told
            at.turn(121.0)
            await heard.ended.wait()
            assert heard.status == 504

    async def test_a_check_that_is_missed_during_a_load_is_made_again(self, shell: str) -> None:
        """A laptop that reads gigabytes from its disk is slow to answer anything."""
        async with place(shell) as at:
            at.house.told.alive = False
            heard = await at.loading()
            at.turn(3.1)
            await until(lambda: len(at.house.told.doubts) == 1)
            await asyncio.sleep(0)
            at.house.told.alive = True
            at.turn(20.0)
            await at.loaded(heard)
            assert "[DONE]" in heard.text

    async def test_two_in_a_row_are_missed_by_the_dead(self, shell: str) -> None:
        async with place(shell) as at:
            at.house.told.alive = False
            heard = await at.loading()
            for _check in range(2):
                at.turn(3.1)
                await until(lambda: not at.house.plane._doubts._asked)
            await heard.ended.wait()
            assert '"error"' in heard.text


async def test_a_load_does_not_count_as_a_slow_first_token(shell: str) -> None:
    async with place(shell) as at:
        heard = await at.loading()
        at.turn(40.0)
        await at.loaded(heard)
        assert at.house.plane.board.lane("laptop").first_token_ewma_seconds < 1.0
