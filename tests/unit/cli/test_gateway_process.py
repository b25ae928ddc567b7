"""Does the server drain before it closes, and end by its signals?"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn

from app.cli.gateway_process import GatewayServer
from app.cli.listener import bind_listeners, port_of

ROOT = Path(__file__).resolve().parents[3]


async def small_app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def server_of(**options) -> tuple[GatewayServer, list]:
    sockets = bind_listeners("127.0.0.1", 0)
    config = uvicorn.Config(small_app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_of_open_files_is_raised() -> None:
    program = (
        "import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "from app.cli.gateway_process import raise_open_file_limit; raise_open_file_limit();"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 1048576))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
