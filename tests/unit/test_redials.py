"""Whose turn it is among the servers that requests wait for."""

from __future__ import annotations

import asyncio
from collections import Counter

from app.services.redials import GAP_SECONDS, MOST_BESIDE, Redials


class Desk:
    """Looks that last until a test ends them."""

    def __init__(self, places: int = 64) -> None:
        self.redials = Redials(places, self._start)
        self.started: list[str] = []
        self.open: dict[asyncio.Task[None], tuple[str, asyncio.Event]] = {}

    def _start(self, server_id: str) -> asyncio.Task[None]:
        self.started.append(server_id)
        end = asyncio.Event()
        look = asyncio.create_task(self._look(end))
        self.open[look] = (server_id, end)
        look.add_done_callback(self.open.pop)
        return look

    async def _look(self, end: asyncio.Event) -> None:
        await end.wait()

    @property
    def running(self) -> Counter[str]:
        return Counter(server_id for server_id, _ in self.open.values())

    async def end_all(self) -> None:
        for _, end in self.open.values():
            end.set()
        while self.open:
            await asyncio.sleep(0)

    async def ask(self, *server_ids: str, at: float) -> list[str]:
        """Ask, let cancelled looks end, and tell whose look began."""
        before = len(self.started)
        self.redials.ask(server_ids, at)
        for _ in range(3):
            await asyncio.sleep(0)
        return self.started[before:]


async def test_a_server_is_looked_at_every_250_ms() -> None:
    desk = Desk()
    for at, begun in ((0.0, ["a"]), (0.1, []), (0.24, []), (GAP_SECONDS, ["a"]), (0.3, []), (0.5, ["a"])):
        assert await desk.ask("a", "a", at=at) == begun
        await desk.end_all()


async def test_beside_a_hanging_look_another_begins_after_a_second() -> None:
    desk = Desk()
    assert await desk.ask("a", at=0.0) == ["a"]
    assert await desk.ask("a", at=0.9) == []
    assert await desk.ask("a", at=1.0) == ["a"]
    assert await desk.ask("a", at=1.9) == []
    assert desk.running == {"a": 2}
    await desk.end_all()


async def test_the_fifth_look_takes_the_place_of_the_first() -> None:
    desk = Desk()
    looks = []
    for second in range(4):
        await desk.ask("a", at=float(second))
        looks.append(list(desk.open)[-1])
    assert desk.running == {"a": MOST_BESIDE}
    assert await desk.ask("a", at=4.0) == ["a"]
    assert looks[0].cancelled()
    assert not any(look.done() for look in looks[1:])
    assert desk.running == {"a": MOST_BESIDE}
    await desk.end_all()
    assert await desk.ask("a", at=4.2) == []
    assert await desk.ask("a", at=4.25) == ["a"]
    await desk.end_all()


async def test_when_all_places_are_taken_those_that_waited_longest_come_first() -> None:
    desk = Desk(places=2)
    names = ("a", "b", "c", "d", "e")
    begun = [await desk.ask(*names, at=at) for at in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)]
    assert begun == [["a", "b"], [], ["c", "d"], [], ["e", "a"], ["b", "c"]]
    assert sum(desk.running.values()) == 2
    await desk.end_all()


async def test_a_second_look_takes_nobody_elses_place() -> None:
    desk = Desk(places=2)
    await desk.ask("a", "b", at=0.0)
    assert await desk.ask("a", "b", at=2.0) == []
    await desk.end_all()


async def test_a_servers_last_turn_is_remembered_for_a_minute() -> None:
    desk = Desk(places=1)
    for at, begun in ((0.0, "a"), (60.0, "new"), (121.0, "a")):
        assert await desk.ask("a", "new", at=at) == [begun]
        await desk.end_all()
