"""One key floods a full server: its own requests wait and are turned away; those of other keys are hardly held back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from app.services.core.keys import KeyRing, Principal, Role, digest
from tests.fakes.gateway_in_process import ADMIN_KEY
from tests.fakes.gateway_process import until
from tests.fakes.raw_http import RawAnswer, exchange
from tests.fakes.talk import ask_body
from tests.fakes.talker import Talker, breaking
from tests.faults.reading import post
from tests.faults.world import World, open_world

FLOODER, OTHER = "flooding-key-0123456789", "another-key-0123456789"
WAITING = 10


def let_in(world: World) -> None:
    """Give out two keys beside the admin's."""
    ring = KeyRing(
        {
            digest(ADMIN_KEY.encode()): Principal("admin", "operator", Role.ADMIN),
            digest(FLOODER.encode()): Principal("flooder", "flooder", Role.USER),
            digest(OTHER.encode()): Principal("other", "other", Role.USER),
        }
    )
    world.plane.reception.key_ring = ring


def ask(world: World, key: str, number: int) -> asyncio.Task[RawAnswer]:
    return asyncio.ensure_future(exchange(world.port, post(ask_body(number, stream=False), key=key)))


async def test_only_that_key_is_held_back(tmp_path: Path, shell: str) -> None:
    async with open_world(tmp_path, shell, queue_max_size=WAITING) as world:
        let_in(world)
        talker, go = Talker(), asyncio.Event()
        talker.script.append(breaking("pause", go=go))
        server_id = await world.add(talker, max_concurrency=1)
        async with world.asking() as running:
            await running.tokens(3)
            flood = []
            for number in range(WAITING):
                flood.append(ask(world, FLOODER, 100 + number))
                await until(lambda: world.plane.queued == len(flood), "it waits")
            turned_away = await ask(world, FLOODER, 200)
            assert (turned_away.status, turned_away.error["code"]) == (429, "rate_limited")
            assert int(turned_away.headers["retry-after"]) >= 1
            other = ask(world, OTHER, 300)
            late = await flood.pop()  # the newest of those that have the most makes room
            assert late.status == 429
            assert not other.done()
            assert (await world.state(server_id))["in_flight"] == 1
            go.set()
            await running.rest()
        assert (await other).status == 200
        assert [answer.status for answer in await asyncio.gather(*flood)] == [200] * len(flood)
        order = [seen.json["messages"][0]["content"].rpartition(" ")[2] for seen in talker.asked]
        assert order.index("300") <= 2  # behind the one that ran, and one of the flood's at most
        assert [number for number in order if number != "300"] == ["1", *map(str, range(100, 100 + len(flood)))]
        assert await world.is_well(server_id)
