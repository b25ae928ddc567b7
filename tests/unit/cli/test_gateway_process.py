"""Does the server drain before it closes, and end by its signals?"""

from __future__ import annotations

import asyncio
import signal

import pytest
import uvicorn

from app.cli.gateway_process import GatewayServer
from app.cli.listener import bind_listeners, port_of


async def small_app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def server_of(app=small_app, **options) -> tuple[GatewayServer, list]:
    sockets = bind_listeners("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    return GatewayServer(config, **options), sockets


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_serves_through_the_grace_and_closes_then() -> None:
    started, draining = asyncio.Event(), asyncio.Event()
    server, sockets = server_of(grace_seconds=0.4, begin_drain=draining.set, on_started=started.set)
    port = port_of(sockets)
    running = asyncio.create_task(server.serve(sockets))
    async with asyncio.timeout(10):
        await started.wait()
        server.stop()
        await draining.wait()
        assert (await ask(port)).endswith(b"ok")
        await running
    assert server.stopped_by == signal.SIGTERM
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await ask(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_is_not_raised_again(number: signal.Signals) -> None:
    started = asyncio.Event()
    server, sockets = server_of(on_started=started.set)
    before = signal.getsignal(number)
    running = asyncio.create_task(server.serve(sockets))
    async with asyncio.timeout(10):
        await started.wait()
        signal.raise_signal(number)
        await running
    assert server.stopped_by == number
    assert signal.getsignal(number) is before


async def test_a_second_ctrl_c_does_not_wait() -> None:
    started = asyncio.Event()
    server, sockets = server_of(on_started=started.set, grace_seconds=3600)
    running = asyncio.create_task(server.serve(sockets))
    async with asyncio.timeout(10):
        await started.wait()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        await running
    assert server.force_exit


class SlowApp:
    """Holds each request until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            self.asked.set()
            await self.go_on.wait()
        await small_app(scope, receive, send)


class KeptConnection:
    """A client that keeps its connection."""

    async def open(self, port: int) -> None:
        self.reader, self._writer = await asyncio.open_connection("127.0.0.1", port)

    def send(self) -> None:
        self._writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    async def answer(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert await self.reader.readexactly(2) == b"ok"
        return head

    async def close(self) -> None:
        assert await self.reader.read() == b""
        self._writer.close()
        await self._writer.wait_closed()


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.gateway_process.LINGER_SECONDS", 1)


@pytest.mark.usefixtures("short_linger")
async def test_a_server_that_leaves_answers_what_is_there_and_ends() -> None:
    started, app = asyncio.Event(), SlowApp()
    server, sockets = server_of(on_started=started.set, app=app)
    kept_listening = sockets[0].dup()  # as the process has it that takes over
    port = port_of(sockets)
    running = asyncio.create_task(server.serve(sockets))
    busy, idle, silent = KeptConnection(), KeptConnection(), KeptConnection()
    async with asyncio.timeout(20):
        await started.wait()
        app.go_on.set()
        for client in (idle, silent):
            await client.open(port)
            client.send()
            assert b"connection: close" not in await client.answer()
        app.go_on.clear()
        app.asked.clear()
        await busy.open(port)
        busy.send()
        await app.asked.wait()

        server.leave()
        idle.send()
        app.go_on.set()
        assert b"connection: close" not in await busy.answer()  # it was promised to stay open
        assert b"connection: close" in await idle.answer()
        busy.send()
        assert b"connection: close" in await busy.answer()
        for client in (busy, idle, silent):
            await client.close()
        await running
    assert server.stopped_by is None
    late = await asyncio.open_connection("127.0.0.1", port)  # never refused: it waits for the other process
    late[1].close()
    kept_listening.close()


@pytest.mark.usefixtures("short_linger")
async def test_a_server_that_leaves_cuts_what_takes_longer_than_any_answer_may() -> None:
    started, app, draining = asyncio.Event(), SlowApp(), asyncio.Event()
    server, sockets = server_of(on_started=started.set, app=app, answer_seconds=0.1, begin_drain=draining.set)
    running = asyncio.create_task(server.serve(sockets))
    stuck = KeptConnection()
    async with asyncio.timeout(20):
        await started.wait()
        await stuck.open(port_of(sockets))
        stuck.send()
        await app.asked.wait()
        server.leave()
        await draining.wait()
        app.go_on.set()
        await stuck.answer()
        await stuck.close()
        await running
    assert server.stopped_by == signal.SIGTERM
