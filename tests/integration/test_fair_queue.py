"""Whose turn is it when every server is full, what is a client told that waits, and when should it come again?"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx2

from app.services.core.keys import KeyRing, Principal, Role, digest
from tests.fakes.house import ADMIN_KEY, LIMITS, House, open_house, server, until
from tests.fakes.model_server import (
    EVENT_HEAD,
    LAST_CHUNK,
    FakeModelServer,
    Seen,
    event,
    json_answer,
    serving,
    stream_events,
)

PEOPLE = ("ann", "ben", "cid", "dan")
SECOND = 10
"""In ticks."""


def key_of(person: str) -> str:
    return f"key-of-{person}-0123456789"


@dataclass
class Bench:
    """A gateway before one server with few places, which answers when the test says, under a clock turned by hand."""

    house: House
    fake: FakeModelServer
    go: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    now: float = 1000.0
    ended: list[str] = field(default_factory=list)

    def turn(self, ticks: int) -> None:
        for _tick in range(ticks):
            self.now += 0.1
            self.house.tick(1)

    async def answer(self, fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        """Answer once it may, with as many tokens as the request wants."""
        del fake
        await self.go.acquire()
        tokens = seen.json.get("max_tokens", 50)
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        if seen.json.get("stream"):
            writer.write(EVENT_HEAD)
            for block in stream_events("m", ["one"], usage=False)[:-1]:
                writer.write(block)
            writer.write(event({"choices": [], "usage": usage}))
            writer.write(stream_events("m", ["one"], usage=False)[-1] + LAST_CHUNK)
        else:
            message = {"role": "assistant", "content": "one"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            writer.write(json_answer({"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}))
        await writer.drain()

    def ask(self, person: str, number: int = 0, **fields: object) -> asyncio.Task[httpx2.Response]:
        return asyncio.ensure_future(self._ask(person, number, fields))

    async def _ask(self, person: str, number: int, fields: dict[str, object]) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key_of(person)}"}
        content = {"messages": [{"role": "user", "content": f"{person} {number}"}]}
        body = {"model": "m", **content, **fields}
        answer = await self.house.client.post("/v1/chat/completions", json=body, headers=headers)
        self.ended.append(f"{person} {number}")
        return answer

    async def waiting(self, person: str, number: int = 0, **fields: object) -> asyncio.Task[httpx2.Response]:
        """Ask, and see it wait."""
        before = self.house.plane.queued
        asking = self.ask(person, number, **fields)
        await until(lambda: self.house.plane.queued == before + 1)
        return asking

    async def running(self, person: str, number: int = 0, **fields: object) -> asyncio.Task[httpx2.Response]:
        """Ask, and see it arrive at the server."""
        before = len(self.fake.inference)
        asking = self.ask(person, number, **fields)
        await until(lambda: len(self.fake.inference) == before + 1)
        return asking

    async def one_ends(self) -> None:
        """Let one answer go, and see the next request arrive, if one waits."""
        queued, seen, done = self.house.plane.queued, len(self.fake.inference), len(self.ended)
        self.go.release()
        await until(lambda: len(self.ended) == done + 1 and len(self.fake.inference) == seen + min(queued, 1))

    async def all_at_once(self, *asking: asyncio.Task[httpx2.Response]) -> None:
        """Let every answer go, also of those whose clients have left."""
        for _request in range(len(self.fake.inference) + self.house.plane.queued):
            self.go.release()
        await asyncio.gather(*asking)

    @property
    def order(self) -> list[str]:
        """Who was served, in order."""
        return [seen.json["messages"][0]["content"] for seen in self.fake.inference]


@asynccontextmanager
async def bench(
    shell: str, places: int = 1, principals: dict[str, Principal] | None = None, **limits: int
) -> AsyncIterator[Bench]:
    fake = FakeModelServer()
    async with serving(fake), open_house(shell, limits=replace(LIMITS, **limits)) as house:
        found = Bench(house, fake)
        fake.behaviours["*"] = found.answer
        house.plane.clock = lambda: found.now
        known = {person: Principal(person, person, Role.USER, person=person) for person in PEOPLE} | (principals or {})
        ring = {digest(key_of(person).encode()): principal for person, principal in known.items()}
        house.plane.reception.key_ring = KeyRing({digest(ADMIN_KEY.encode()): Principal("a", "a", Role.ADMIN), **ring})
        house.install(server("s1", fake.url, "m", max_concurrency=places))
        house.tick(1)
        yield found
        for _answer in range(1000):
            found.go.release()


async def all_end(at: Bench, *asking: asyncio.Task[httpx2.Response]) -> list[httpx2.Response]:
    while at.house.plane.open_exchanges:
        await at.one_ends()
    return list(await asyncio.gather(*asking))


async def test_one_person_with_many_requests_does_not_hold_up_another_with_one(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("ann", number) for number in range(1, 20)]
        asking.append(await at.waiting("ben"))
        await at.one_ends()
        assert at.order[-1] == "ben 0", "after one service"
        answers = await all_end(at, *asking)
        assert [answer.status_code for answer in answers] == [200] * 21
        assert [name for name in at.order if name.startswith("ann")] == [f"ann {number}" for number in range(20)]


async def test_it_is_tokens_that_are_shared(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("cid")]
        asking += [await at.waiting("ann", number, max_tokens=900) for number in range(4)]
        asking += [await at.waiting("ben", number, max_tokens=90) for number in range(40)]
        for _service in range(24):
            await at.one_ends()
        served = Counter(name.split()[0] for name in at.order[1:])
        assert served["ann"] <= 3
        assert served["ben"] >= 18
        await all_end(at, *asking)


async def test_weights_count(shell: str) -> None:
    heavy = {"ben": Principal("ben", "ben", Role.USER, person="ben", weight=3.0)}
    async with bench(shell, principals=heavy) as at:
        asking = [await at.running("cid")]
        for number in range(20):
            asking += [await at.waiting(person, number) for person in ("ann", "ben")]
        for _service in range(20):
            await at.one_ends()
        served = Counter(name.split()[0] for name in at.order[1:])
        assert served["ben"] in (14, 15, 16)
        await all_end(at, *asking)


async def test_the_background_is_served_when_nobody_else_waits(shell: str) -> None:
    titles = {"dan": Principal("dan", "dan", Role.USER, person="dan", background=True)}
    async with bench(shell, principals=titles) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("dan", number) for number in range(3)]
        asking += [await at.waiting("ann", number) for number in range(1, 4)]
        await all_end(at, *asking)
        assert at.order == ["ann 0", "ann 1", "ann 2", "ann 3", "dan 0", "dan 1", "dan 2"]


async def test_a_place_that_came_free_unnoticed_goes_to_who_waits_and_not_to_who_comes(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann"), await at.waiting("ann", 1)]
        at.house.plane.board.lane("s1").in_flight -= 1
        asking.append(at.ask("ben"))
        await until(lambda: len(at.fake.inference) == 2)
        assert at.order == ["ann 0", "ann 1"]
        await until(lambda: at.house.plane.queued == 1)
        at.house.plane.board.lane("s1").in_flight += 1
        await at.all_at_once(*asking)


async def test_who_streams_hears_its_position_when_it_changes(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("ann", number) for number in range(1, 4)]
        asking.append(await at.waiting("ann", 4, stream=True))
        at.turn(3 * SECOND)
        await at.one_ends()
        at.turn(1 * SECOND)
        await at.one_ends()
        at.turn(10 * SECOND)
        answers = await all_end(at, *asking)
        comments = re.findall(r"^:(.*)$", answers[-1].text, re.MULTILINE)
        assert comments == [" waiting, position 4 of 4 for this model", " waiting, position 2 of 2 for this model"]
        head = answers[-1].text.partition("data:")[0]
        assert "\n\n" not in head, "an empty line would make an event of it for some clients"
        assert answers[-1].status_code == 200
        assert answers[-1].text.endswith("data: [DONE]\n\n")
        assert all(":" not in answer.text.partition("{")[0] for answer in answers[:-1]), "no words in whole answers"


async def test_nobody_hears_more_than_every_five_seconds(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("ann", number) for number in range(1, 8)]
        asking.append(await at.waiting("ann", 8, stream=True))
        for _service in range(6):
            at.turn(round(1.5 * SECOND))
            await at.one_ends()
        answers = await all_end(at, *asking)
        assert len(re.findall(r"^: waiting, position", answers[-1].text, re.MULTILINE)) == 2


async def test_the_position_says_nothing_of_others(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann"), await at.waiting("ben"), await at.waiting("cid", stream=True)]
        at.turn(3 * SECOND)
        answers = await all_end(at, *asking)
        assert answers[-1].text.startswith(": waiting, position 2 of 2 for this model\ndata: ")
        assert not re.search("ann|ben|key-of", answers[-1].text)


async def test_who_should_come_again_is_told_when_by_how_fast_the_queue_moves(shell: str) -> None:
    async with bench(shell, queue_size=10) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("ann", number) for number in range(1, 11)]
        first = await at.ask("ann", 99)
        assert (first.status_code, first.headers["retry-after"]) == (429, "5"), "nobody knows yet"
        for number in range(11, 31):  # one place in two seconds
            at.turn(2 * SECOND)
            await at.one_ends()
            asking.append(await at.waiting("ann", number))
        refused = await at.ask("ann", 99)
        wait = int(refused.headers["retry-after"])
        assert refused.status_code == 429
        assert 20 <= wait <= 24, "eleven places at two seconds each"
        assert f"Try again in {wait} seconds" in refused.json()["error"]["message"]
        await all_end(at, *asking)


async def test_who_waits_too_long_is_told_the_same(shell: str) -> None:
    async with bench(shell, queue_ticks=20 * SECOND) as at:
        asking = [await at.running("ann")]
        asking += [await at.waiting("ben"), await at.waiting("cid", stream=True)]
        at.turn(21 * SECOND)
        late = await asking[1]
        assert late.status_code == 429
        assert 15 <= int(late.headers["retry-after"]) <= 21, "in twenty seconds no place came free"
        streamed = await asking[2]
        assert streamed.status_code == 200
        assert '"code":"rate_limited"' in streamed.text
        assert re.search(r"Try again in [34]\d seconds", streamed.text), "it was the second"
        assert at.house.plane.queued == 0
        await all_end(at, asking[0])


async def test_an_answer_that_is_aborted_costs_what_it_used(shell: str) -> None:
    async with bench(shell) as at:
        asking = [await at.running("ann"), await at.waiting("ben", 0, max_tokens=200), await at.waiting("cid", 0)]
        asking[0].cancel()
        await until(lambda: len(at.fake.inference) == 2)
        use = at.house.plane.people
        assert use.pending("ben") > 50
        asking[1].cancel()
        await until(lambda: len(at.fake.inference) == 3)
        assert use.pending("ben") == 0.0
        assert use.tokens("ben") < 50
        await at.all_at_once(asking[2])
