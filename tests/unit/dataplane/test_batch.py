"""Are events that were put off written, in order, whatever becomes of one of their clients?"""

from __future__ import annotations

import asyncio
from typing import Any

from app.services.dataplane.batch import MOST_TOGETHER, Batch
from tests.fakes.http_shapes import chat_body, post
from tests.fakes.memory_wires import open_memory


class Transport:
    """As uvloop's: it can't be written to once it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)


class Stream:
    def __init__(self, late: bytes) -> None:
        self.late = late
        self.transport: Any = Transport()


async def turn() -> None:
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(done.set_result, None)
    await done


async def test_all_are_written_at_the_end_of_the_turn() -> None:
    batch, streams = Batch(), [Stream(b"%d" % number) for number in range(5)]
    for stream in streams:
        batch.add(stream)
    assert all(not stream.transport.written for stream in streams)
    await turn()
    assert [stream.transport.written for stream in streams] == [[b"%d" % number] for number in range(5)]
    assert all(stream.late == b"" for stream in streams)
    batch.add(streams[0])
    await turn()
    assert streams[0].transport.written == [b"0"]


async def test_many_do_not_wait_for_each_other() -> None:
    batch, streams = Batch(), [Stream(b"x") for _number in range(MOST_TOGETHER)]
    for stream in streams:
        batch.add(stream)
    assert all(stream.transport.written for stream in streams)


async def test_one_that_was_lost_keeps_nobody_waiting() -> None:
    batch, streams = Batch(), [Stream(b"x") for _number in range(3)]
    for stream in streams:
        batch.add(stream)
    streams[0].transport.closed = True
    await turn()
    assert [stream.transport.written for stream in streams] == [[], [b"x"], [b"x"]]


EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_client_that_leaves_in_the_turn_of_an_event_stalls_no_other() -> None:
    async with open_memory("door") as memory:
        memory.link.answering = lambda _asked: [HEAD]
        callers = [memory.connect() for _number in range(3)]
        request = post(chat_body("x", stream=True))
        for caller in callers:
            assert await caller.say(request) == []
        chunk = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
        for round_ in range(3):
            for wire in memory.link.wires:
                wire.deliver(chunk)
            if round_ == 1:
                callers[0].wire.close()
            await memory.settle()
        assert [bytes(caller.wire.sent).count(EVENT) for caller in callers[1:]] == [3, 3]
