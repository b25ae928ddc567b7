"""What becomes of clients that find no room, and of those that keep their answer waiting?"""

from __future__ import annotations

import pytest

from app.services.dataplane.door_call import DoorCall
from tests.fakes.house import House, open_house, until
from tests.fakes.http_shapes import chat_body, post
from tests.fakes.memory_wires import open_memory
from tests.fakes.raw_http import RawConnection


async def refused(house: House) -> RawConnection:
    connection = await RawConnection.open(house.port)
    answer = await connection.answer()
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert answer.headers["connection"] == "close"
    assert "x-request-id" in answer.headers
    return connection


async def test_a_client_without_room_is_told_before_it_asks() -> None:
    async with open_house("door") as house:
        house.plane.descriptors.clients_below = 0
        connection = await refused(house)
        await connection.send(post(chat_body("x")))  # it asks nonetheless, and is not reset for a while
        house.tick(10)
        assert await connection.rest() == b""
        assert house.plane.descriptors.felt_lately
        assert house.told.outcomes == []  # nothing was asked
        connection.abort()


async def test_where_room_is_very_short_it_has_to_go_at_once() -> None:
    async with open_house("door") as house:
        house.plane.descriptors.clients_below = house.plane.descriptors.farewells_below = 0
        connection = await refused(house)
        assert await connection.rest() == b""
        connection.abort()
        await until(lambda: not house.plane.client_connections)
        assert house.plane.unread == {}


async def test_there_is_room_again_once_the_limit_was_looked_at() -> None:
    async with open_house("door") as house:
        house.plane.descriptors.clients_below = 0
        (await refused(house)).abort()
        house.tick(10)
        assert (await house.client.get("/v1/models")).status_code == 200


async def test_one_who_asked_for_the_end_is_forgotten_with_its_connection() -> None:
    """A connection that closes is watched until all was read, and not a moment longer."""
    async with open_memory("door") as memory:
        caller = memory.connect()
        assert (await caller.say(post(chat_body("x"), b"Connection: close")))[0].status == 200
        assert caller.closed
        await memory.settle()
        memory.plane.tick()
        assert memory.plane.unread == {}
        assert memory.plane.unread_bytes == 0


@pytest.mark.parametrize(("sizes", "writes"), [((10, 10), []), ((40_000, 40_000), [80_000]), ((70_000, 5), [70_000])])
async def test_much_is_written_before_the_turn_ends(sizes: tuple[int, ...], writes: list[int]) -> None:
    """One turn may read megabytes, and reading stops only once they were written."""
    async with open_memory("door") as memory:
        caller = memory.connect()
        await memory.settle()
        call = DoorCall(memory.protocols[0], None, keep_alive=True, chunked=False, head_only=False)
        written: list[int] = []
        caller.wire._on_sent = lambda data: written.append(len(data))
        for size in sizes:
            call.write(b"x" * size)
        assert written == writes
        await memory.settle()
        assert sum(written) == sum(sizes)
