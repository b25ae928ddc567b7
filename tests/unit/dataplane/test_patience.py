"""When is a client given up that reads nothing, and is one that reads a little ever given up?"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from app.services.dataplane.patience import Patience, unsent_bytes

LIMITS = st.integers(1, 700)


@given(limit=LIMITS, left=st.integers(0, 10))
def test_one_who_reads_nothing_is_given_up_soon_after_the_limit(limit: int, left: int) -> None:
    patience, ticks = Patience(), 1
    while not patience.is_over(limit, lambda: left):
        ticks += 1
    assert limit < ticks <= limit + 2 * max(1, limit // 8) + 1


@given(limit=LIMITS, data=st.data())
def test_one_who_reads_within_each_limit_never_is(limit: int, data: st.DataObject) -> None:
    patience, unread = Patience(), list(range(20))
    for pause in data.draw(st.lists(st.integers(1, limit), max_size=20)):
        for _tick in range(pause):
            assert not patience.is_over(limit, unread.__len__)
        unread.pop()


def test_a_new_wait_begins_at_nothing() -> None:
    patience = Patience()
    for _tick in range(8):
        assert not patience.is_over(8, lambda: 0)
    patience.renew()
    for _tick in range(8):
        assert not patience.is_over(8, lambda: 0)


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what waits in the kernel")
@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_other_side_takes_from_the_kernel_counts(loop: str) -> None:
    async def scenario() -> None:
        ours, theirs = tcp_pair()
        theirs.setblocking(False)
        transport, _protocol = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        transport.write(bytes(16 * 1024 * 1024))  # more than the kernel keeps
        await settled(transport.get_write_buffer_size)
        buffered, unsent = transport.get_write_buffer_size(), unsent_bytes(transport)
        assert 0 < buffered < unsent < 16 * 1024 * 1024
        received = 0
        while received < 256 * 1024:
            received += len(await asyncio.get_running_loop().sock_recv(theirs, 65536))
        await settled(lambda: unsent_bytes(transport))
        assert unsent_bytes(transport) < unsent
        transport.abort()
        theirs.close()
        await asyncio.sleep(0)
        assert unsent_bytes(transport) >= 0  # one that is gone is no error

    run(scenario, loop)


def run(scenario: Callable[[], Coroutine[object, object, None]], loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario())


async def settled(figure: Callable[[], int]) -> None:
    """Let the loop turn until a figure stays what it is."""
    same, seen = 0, -1
    async with asyncio.timeout(10):
        while same < 50:
            await asyncio.sleep(0)
            same, seen = (same + 1, seen) if figure() == seen else (0, figure())


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _address = listener.accept()
    return ours, theirs
