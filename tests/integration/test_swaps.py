"""Two models on one laptop with memory for one: whose turn is it, and does anybody wait in vain?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from app.services.core.live.residence import LONGEST_WAIT_SECONDS, Residence
from tests.fakes.house import House, open_house, server, until
from tests.fakes.laptop import Laptop
from tests.fakes.model_server import serving

Asked = asyncio.Task[httpx2.Response]


class HandClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def pool(shell: str, laptop: Laptop) -> AsyncIterator[tuple[House, HandClock]]:
    """A gateway before one laptop, under a clock that is turned by hand."""
    clock = HandClock()
    async with serving(laptop), open_house(shell) as house:
        house.plane.clock = clock
        house.install(server("laptop", laptop.url, *laptop.models, swaps_models=True))
        yield house, clock


def turn(house: House, clock: HandClock, seconds: float) -> None:
    """Let time pass, a tick after the other."""
    for _tick in range(round(seconds * 10)):
        clock.now += 0.1
        house.tick(1)


def ask(house: House, model: str, **fields: object) -> Asked:
    return asyncio.ensure_future(house.chat(model, **fields))


def residence_of(house: House) -> Residence:
    residence = house.plane.board.lane("laptop").residence
    assert residence is not None
    return residence


async def until_served(house: House, laptop: Laptop, clock: HandClock, count: int) -> None:
    """Let time pass until so many requests have ended."""
    async with asyncio.timeout(10):
        while len(house.told.outcomes) < count:
            turn(house, clock, 0.1)
            await asyncio.sleep(0)


async def answered(asked: list[Asked]) -> None:
    for answer in await asyncio.gather(*asked):
        assert answer.status_code == 200, answer.text


async def test_requests_in_turn_make_one_load_each(shell: str) -> None:
    laptop = Laptop()
    laptop.may_load.clear()
    async with pool(shell, laptop) as (house, clock):
        asked = [ask(house, model) for model in "abababab"]
        await until(lambda: house.plane.open_exchanges == len(asked) and laptop.loads)
        laptop.may_load.set()
        await until_served(house, laptop, clock, len(asked))
        await answered(asked)
        assert len(laptop.loads) == 2
        assert laptop.served in (list("aaaabbbb"), list("bbbbaaaa"))
        assert laptop.stood_in_line == 0


async def test_without_swaps_nobody_waits(shell: str) -> None:
    laptop = Laptop(room=2)
    async with pool(shell, laptop) as (house, clock):
        del clock
        residence_of(house).told(frozenset("ab"), 1000.0)
        await answered([ask(house, model) for model in "ababab"])
        assert house.plane.queued == 0


async def test_that_both_fit_is_learnt(shell: str) -> None:
    laptop = Laptop(room=2)
    async with pool(shell, laptop) as (house, clock):
        await answered([ask(house, "a")])
        waiting = ask(house, "b")
        await until_served(house, laptop, clock, 2)
        await answered([waiting])
        residence_of(house).told(frozenset(laptop.in_memory), clock.now + 1.0)
        await answered([ask(house, model) for model in "ababab"])
        assert laptop.loads == ["a", "b"]


async def test_a_busy_model_gives_way_in_the_end(shell: str) -> None:
    laptop = Laptop(gate=asyncio.Event())
    assert laptop.gate is not None
    async with pool(shell, laptop) as (house, clock):
        first = ask(house, "a", stream=True)
        await until(lambda: laptop.served == ["a"])
        turn(house, clock, 10.0)
        other = ask(house, "b", stream=True)
        await until(lambda: house.plane.queued == 1)
        turn(house, clock, LONGEST_WAIT_SECONDS - 1.0)
        second = ask(house, "a", stream=True)
        await until(lambda: laptop.served == ["a", "a"])
        turn(house, clock, 1.2)
        late = ask(house, "a", stream=True)
        await until(lambda: house.plane.queued == 2)
        assert laptop.loads == ["a"]
        laptop.gate.set()
        await until_served(house, laptop, clock, 4)
        await answered([first, second, other, late])
        assert laptop.served == ["a", "a", "b", "a"]
        assert laptop.stood_in_line == 0


async def test_one_that_waits_for_a_turn_is_more_patient_than_one_that_waits_for_a_place(shell: str) -> None:
    laptop = Laptop(gate=asyncio.Event())
    assert laptop.gate is not None
    async with pool(shell, laptop) as (house, clock):
        first = ask(house, "a", stream=True)
        await until(lambda: laptop.served == ["a"])
        other = ask(house, "b")
        await until(lambda: house.plane.queued == 1)
        turn(house, clock, 45.0)  # a place is waited for 30 s
        assert house.plane.queued == 1
        laptop.gate.set()
        await until_served(house, laptop, clock, 2)
        await answered([first, other])


async def test_a_client_that_left_holds_nobody_up(shell: str) -> None:
    laptop = Laptop(gate=asyncio.Event())
    assert laptop.gate is not None
    async with pool(shell, laptop) as (house, clock):
        first = ask(house, "a", stream=True)
        await until(lambda: laptop.served == ["a"])
        other = ask(house, "b")
        await until(lambda: house.plane.queued == 1)
        turn(house, clock, LONGEST_WAIT_SECONDS + 5.0)
        other.cancel()
        await until(lambda: house.plane.queued == 0)
        turn(house, clock, 1.5)
        second = ask(house, "a", stream=True)
        await until(lambda: laptop.served == ["a", "a"])
        laptop.gate.set()
        await answered([first, second])
        assert laptop.loads == ["a"]


async def test_a_load_that_fails_leaves_the_memory_to_the_next(shell: str) -> None:
    laptop = Laptop()
    laptop.load_error = "not enough memory"
    async with pool(shell, laptop) as (house, clock):
        answer = await ask(house, "a")
        assert answer.status_code == 502
        laptop.load_error = None
        other = ask(house, "b")
        await until_served(house, laptop, clock, 2)
        await answered([other])
        assert laptop.loads == ["a", "b"]


async def test_a_server_that_keeps_its_models_has_no_turns(shell: str) -> None:
    laptop = Laptop(room=2)
    async with serving(laptop), open_house(shell) as house:
        house.install(server("laptop", laptop.url, "a", "b"))
        assert house.plane.board.lane("laptop").residence is None
        await answered([ask(house, model) for model in "abab"])


async def test_of_two_laptops_one_loads(shell: str) -> None:
    laptops = Laptop(), Laptop()
    for laptop in laptops:
        laptop.may_load.clear()
    async with serving(*laptops), open_house(shell) as house:
        house.install(
            *(server(f"s{number}", laptop.url, "a", "b", swaps_models=True) for number, laptop in enumerate(laptops))
        )
        asked = [ask(house, "a")]
        await until(lambda: laptops[0].loads + laptops[1].loads)
        asked += [ask(house, "a") for _request in range(4)]
        await until(lambda: len(laptops[0].inference) + len(laptops[1].inference) == len(asked))
        for laptop in laptops:
            laptop.may_load.set()
        await answered(asked)
        assert laptops[0].loads + laptops[1].loads == ["a"]
