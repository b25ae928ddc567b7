"""Is what all held answers take together bounded?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.fakes.house import LIMITS, open_house, server, until
from tests.fakes.model_server import FakeModelServer, Seen, serving

HALF = 100_000
ANSWER = b'{"choices":[],"text":"%b"}' % (b"x" * 2 * HALF)


class InTwoHalves:
    """Sends the first half of its answer at once and the second when it is let."""

    def __init__(self, status: str = "200 OK") -> None:
        self.go_on = asyncio.Event()
        self.status = status.encode()

    async def __call__(self, fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del fake, seen
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % (self.status, len(ANSWER)) + ANSWER[:HALF])
        await self.go_on.wait()
        writer.write(ANSWER[HALF:])


async def test_beyond_the_bound_answers_are_relayed_as_they_come(shell: str) -> None:
    halves = InTwoHalves()
    limits = replace(LIMITS, held_bytes=int(2.5 * HALF))
    async with serving(FakeModelServer(behaviours={"*": halves})) as (fake,), open_house(shell, limits=limits) as house:
        house.install(server("s1", fake.url))
        first = [asyncio.ensure_future(house.chat()) for _number in range(2)]
        await until(lambda: house.plane.held_bytes == 2 * HALF)
        request = {"model": "m", "messages": []}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as third:
            assert third.status_code == 200  # it begins before its answer is whole
            assert "content-length" not in third.headers
            assert house.plane.held_bytes == 2 * HALF
            halves.go_on.set()
            assert await third.aread() == ANSWER
        for held in await asyncio.gather(*first):
            assert held.content == ANSWER
        assert house.plane.held_bytes == 0


async def test_what_slow_clients_have_not_read_counts(shell: str) -> None:
    halves = InTwoHalves()
    limits = replace(LIMITS, held_bytes=int(1.5 * HALF))
    async with serving(FakeModelServer(behaviours={"*": halves})) as (fake,), open_house(shell, limits=limits) as house:
        house.install(server("s1", fake.url))
        house.plane.unread_bytes = HALF
        async with house.client.stream("POST", "/v1/chat/completions", json={"model": "m", "messages": []}) as answer:
            assert "content-length" not in answer.headers
            halves.go_on.set()
            assert await answer.aread() == ANSWER


async def test_a_refusal_is_held_all_the_same(shell: str) -> None:
    """It is put into the one envelope, for which it has to be whole."""
    halves = InTwoHalves("400 Bad Request")
    async with (
        serving(FakeModelServer(behaviours={"*": halves})) as (fake,),
        open_house(shell, limits=replace(LIMITS, held_bytes=1)) as house,
    ):
        house.install(server("s1", fake.url))
        asked = asyncio.ensure_future(house.chat())
        await until(lambda: house.plane.held_bytes == HALF)
        halves.go_on.set()
        answer = await asked
        assert (answer.status_code, set(answer.json()["error"])) == (400, {"message", "type", "param", "code"})
        assert house.plane.held_bytes == 0


async def test_a_client_that_leaves_takes_its_part_along(shell: str) -> None:
    halves = InTwoHalves()
    async with serving(FakeModelServer(behaviours={"*": halves})) as (fake,), open_house(shell) as house:
        house.install(server("s1", fake.url))
        asked = asyncio.ensure_future(house.chat())
        await until(lambda: house.plane.held_bytes == HALF)
        asked.cancel()
        await until(lambda: house.plane.held_bytes == 0)
        halves.go_on.set()
