"""Does the plain way in hold little of an answer that its client does not read, and let such a client go?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.services.dataplane.asgi import AsgiDoor
from tests.fakes.house import ADMIN_KEY, until
from tests.fakes.memory_wires import Memory, open_memory

ANSWER = b'{"choices":[],"text":"%b"}' % (b"x" * 300_000)
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SCOPE = {
    "type": "http", "method": "POST", "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions",
    "query_string": b"", "http_version": "1.1", "client": ("127.0.0.1", 5),
    "headers": [(b"host", b"gateway.test"), (b"authorization", b"Bearer " + ADMIN_KEY.encode())],
}  # fmt: skip


class Transport:
    """What uvicorn's connection has."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def abort(self) -> None:
        self.aborted = True


class Client:
    """An ASGI server's side, whose client reads the first ``reads`` messages and no more."""

    def __init__(self, body: bytes, reads: int) -> None:
        self.body: bytes | None = body
        self.messages: list[dict[str, Any]] = []
        self.reads = reads
        self.stuck = asyncio.Event()
        self.transport = Transport()

    async def receive(self) -> dict[str, Any]:
        body, self.body = self.body, None
        if body is None:
            return await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": body}

    async def send(self, message: Any) -> None:
        if len(self.messages) == self.reads:
            self.stuck.set()
            await asyncio.get_running_loop().create_future()
        self.messages.append(message)

    @property
    def parts(self) -> list[bytes]:
        return [message["body"] for message in self.messages if message["type"] == "http.response.body"]


def whole(_asked: object) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
    return [head + ANSWER]


def endless(_asked: object) -> list[bytes]:
    return [STREAM_HEAD + b"%x\r\n%b\r\n" % (len(EVENT) * 1000, EVENT * 1000)]


def ask(memory: Memory, client: Client, receive: Callable[..., Any] | None = None) -> asyncio.Task[None]:
    door = AsgiDoor(memory.plane)
    return asyncio.ensure_future(door(dict(SCOPE), receive or client.receive, client.send))


async def test_a_large_answer_is_handed_on_in_pieces() -> None:
    async with open_memory("asgi", answering=whole) as memory:
        client = Client(b'{"model":"m"}', reads=100)
        await ask(memory, client)
    assert b"".join(client.parts) == ANSWER
    assert max(map(len, client.parts)) <= 65536
    assert [message["more_body"] for message in client.messages[1:]] == [True] * (len(client.parts) - 1) + [False]
    assert (b"content-length", b"%d" % len(ANSWER)) in client.messages[0]["headers"]


@pytest.mark.parametrize(("answering", "stream"), [(whole, False), (endless, True)])
async def test_a_client_that_reads_nothing_is_let_go(answering: Any, *, stream: bool) -> None:
    async with open_memory("asgi", answering=answering) as memory:
        client = Client(b'{"model":"m","stream":%b}' % (b"true" if stream else b"false"), reads=1)
        served = ask(memory, client)
        await client.stuck.wait()
        for _tick in range(memory.plane.limits.idle_ticks):
            memory.plane.tick()
        assert not served.done()
        assert memory.plane.unread_bytes > 0
        await memory.pass_time(memory.plane.limits.idle_ticks // 2)
        await served
        assert client.transport.aborted
        assert memory.plane.unread == {}
        assert memory.told.outcomes[0].error_code == ("client_stalled" if stream else None)
        assert memory.plane.board.in_flight("s1") == 0


async def test_one_that_reads_from_the_servers_buffer_is_not_stuck() -> None:
    async with open_memory("asgi", answering=whole) as memory:
        client = Client(b'{"model":"m"}', reads=1)
        client.transport.waiting_bytes = 10_000
        served = ask(memory, client)
        await client.stuck.wait()
        for tick in range(4 * memory.plane.limits.idle_ticks):
            client.transport.waiting_bytes -= tick % 100 == 0
            memory.plane.tick()
        await memory.settle()
        assert not served.done()
        served.cancel()
        await until(served.done)


async def test_behind_another_server_it_is_let_go_as_well() -> None:
    async with open_memory("asgi", answering=whole) as memory:
        client = Client(b'{"model":"m"}', reads=1)

        async def receive() -> dict[str, Any]:
            return await client.receive()

        served = ask(memory, client, receive)
        await client.stuck.wait()
        await memory.pass_time(2 * memory.plane.limits.idle_ticks)
        await served
        assert not client.transport.aborted


async def test_an_error_of_the_servers_own_is_not_taken_for_ours() -> None:
    async def send(_message: Any) -> None:
        raise TimeoutError("the server's own")

    async with open_memory("asgi", answering=whole) as memory:
        client = Client(b'{"model":"m"}', reads=0)
        with pytest.raises(TimeoutError, match="the server's own"):
            await AsgiDoor(memory.plane)(dict(SCOPE), client.receive, send)
        assert memory.plane.unread == {}
