"""Which of several addresses wins, and what becomes of the others?"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from app.services.dataplane.connect_failures import ConnectFailed
from app.services.dataplane.sockets import MAX_ADDRESSES_TRIED, AllFailed, Doorstep, connect_first


class Greeter(asyncio.Protocol):
    """A server that speaks first, if it has anything to say."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.greeting and isinstance(transport, asyncio.Transport):
            transport.write(self.greeting)


@asynccontextmanager
async def listening(address: str, port: int = 0, greeting: bytes = b"") -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Greeter(greeting), address, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextmanager
def black_hole(port: int) -> Iterator[None]:
    """``port`` on ::1 drops every SYN: its queue is full, and nobody accepts."""
    with socket.create_server(("::1", port), family=socket.AF_INET6, backlog=0):
        filler = [socket.socket(socket.AF_INET6) for _position in range(4)]
        for client in filler:
            client.setblocking(False)
            client.connect_ex(("::1", port))
        yield
        for client in filler:
            client.close()


def peer(doorstep: Doorstep) -> str:
    assert doorstep.transport is not None
    return doorstep.transport.get_extra_info("peername")[0]


async def test_the_first_address_wins_where_all_answer() -> None:
    async with listening("127.0.0.1") as port, listening("::1", port):
        for addresses in (["127.0.0.1", "::1"], ["::1", "127.0.0.1"]):
            doorstep = await connect_first(addresses, port)
            assert peer(doorstep) == addresses[0]
            doorstep.abort()


async def test_a_silent_address_delays_the_next_one_by_the_stagger_alone() -> None:
    async with listening("127.0.0.1") as port:
        with black_hole(port):
            async with asyncio.timeout(5):
                doorstep = await connect_first(["::1", "127.0.0.1"], port, stagger_seconds=0.01)
            assert peer(doorstep) == "127.0.0.1"
            doorstep.abort()


async def test_all_errors_are_told_in_order() -> None:
    async with listening("127.0.0.1") as port:
        pass
    with pytest.raises(AllFailed) as failure:
        await connect_first(["127.0.0.1", "::1"], port)
    assert [error.errno for error in failure.value.errors] == [errno.ECONNREFUSED, errno.ECONNREFUSED]


async def test_a_name_with_hundreds_of_addresses_is_knocked_at_a_few_times() -> None:
    async with listening("127.0.0.1") as port:
        pass
    with pytest.raises(AllFailed) as failure:
        await connect_first(["127.0.0.1"] * 300, port)
    assert len(failure.value.errors) == MAX_ADDRESSES_TRIED


async def test_a_name_is_never_resolved_here() -> None:
    with pytest.raises(AllFailed) as failure:
        await connect_first(["localhost"], 9)
    assert isinstance(failure.value.errors[0], socket.gaierror)


async def test_a_server_that_speaks_first_is_no_http_server() -> None:
    async with listening("127.0.0.1", greeting=b"220 mail.example ESMTP\r\n") as port:
        doorstep = Doorstep()
        heard = asyncio.Event()
        receive = doorstep.data_received
        doorstep.data_received = lambda data: (receive(data), heard.set())[0]
        await asyncio.get_running_loop().create_connection(lambda: doorstep, "127.0.0.1", port)
        await heard.wait()
        with pytest.raises(ConnectFailed, match="the server sends before it is asked"):
            doorstep.hand_over(asyncio.Protocol())
        doorstep.abort()


async def test_a_connection_that_is_gone_is_not_handed_over() -> None:
    doorstep = Doorstep()
    with pytest.raises(ConnectionResetError):
        doorstep.hand_over(asyncio.Protocol())
    doorstep.connection_lost(None)
    with pytest.raises(ConnectionResetError, match="closed before it was used"):
        doorstep.hand_over(asyncio.Protocol())
    doorstep.abort()
