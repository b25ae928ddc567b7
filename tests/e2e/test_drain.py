"""Does SIGTERM let running answers end whole, tell load balancers first, and put an end to those that never end?"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

EXIT_CODES = {
    ("door", signal.SIGTERM): 0,
    ("door", signal.SIGINT): 130,
    ("asgi", signal.SIGTERM): -signal.SIGTERM,  # uvicorn raises the signal again once it has shut down
    ("asgi", signal.SIGINT): 0,
}

QUIET = {"health_check_interval_seconds": 600}


class OpenStream:
    """A streamed answer that the server holds after its first word."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._lines = aiter(answer.aiter_lines())
        self.events: list[str] = []

    async def until_held(self) -> None:
        async for line in self._lines:
            self._keep(line)
            if '"one"' in line:
                return

    async def rest(self) -> None:
        """Read to the end; a connection that breaks off is an error here."""
        async for line in self._lines:
            self._keep(line)

    def _keep(self, line: str) -> None:
        if line.startswith("data: "):
            self.events.append(line.removeprefix("data: "))

    @property
    def text(self) -> str:
        deltas = (json.loads(event)["choices"][0]["delta"].get("content") for event in self.events[:-1])
        return "".join(filter(None, deltas))


@asynccontextmanager
async def open_stream(gateway: GatewayProcess) -> AsyncIterator[OpenStream]:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        stream = OpenStream(answer)
        await stream.until_held()
        yield stream


async def register(gateway: GatewayProcess, fake: FakeModelServer) -> None:
    async with gateway.client() as client:
        assert (await client.post("/admin/register", json={"endpoint_url": fake.url})).status_code == 201


async def ready_status(gateway: GatewayProcess) -> int:
    """What a load balancer sees, on a connection of its own each time; 0 when nobody listens."""
    async with gateway.client() as client:
        try:
            return (await client.get("/ready")).status_code
        except httpx2.TransportError:
            return 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_running_stream_ends_whole(tmp_path: Path, shell: str, number: signal.Signals) -> None:
    gate = asyncio.Event()
    async with (
        serving(FakeModelServer(gate=gate)) as (fake,),
        open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway,
    ):
        await register(gateway, fake)
        async with open_stream(gateway) as stream:
            gateway.signal(number)
            await until(lambda: asking_says(gateway, 0), "the listener is closed")
            assert not gateway.ended
            gate.set()
            await stream.rest()
        assert stream.events[-1] == "[DONE]"
        assert stream.text == "one two three"
        assert await asyncio.to_thread(gateway.wait_ended) == EXIT_CODES[shell, number]
        assert "Traceback" not in gateway.output


async def asking_says(gateway: GatewayProcess, status: int) -> bool:
    return await ready_status(gateway) == status


async def test_load_balancers_are_told_before_the_listener_closes(tmp_path: Path, shell: str) -> None:
    gate = asyncio.Event()
    async with (
        serving(FakeModelServer(gate=gate)) as (fake,),
        open_gateway(tmp_path / "gateway", shell, drain_grace_seconds=1.5, **QUIET) as gateway,
    ):
        await register(gateway, fake)
        async with open_stream(gateway) as stream:
            gateway.signal()
            await until(lambda: asking_says(gateway, 503), "/ready says 503")
            async with gateway.client() as client:  # a load balancer that has not noticed yet
                answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": []})
            assert answer.status_code == 200
            seen = [503]
            while seen[-1]:
                seen.append(await ready_status(gateway))
            assert list(dict.fromkeys(seen)) == [503, 0]
            gate.set()
            await stream.rest()
        assert stream.events[-1] == "[DONE]"
        assert await asyncio.to_thread(gateway.wait_ended) == EXIT_CODES[shell, signal.SIGTERM]


async def test_a_stream_that_never_ends_gets_a_typed_error(tmp_path: Path, shell: str) -> None:
    settings = {"drain_timeout_seconds": 0.5, **QUIET}
    async with (
        serving(FakeModelServer(gate=asyncio.Event())) as (fake,),
        open_gateway(tmp_path / "gateway", shell, **settings) as gateway,
    ):
        await register(gateway, fake)
        async with open_stream(gateway) as stream:
            gateway.signal()
            await stream.rest()
        errors = [json.loads(event)["error"] for event in stream.events if '"error"' in event]
        assert [error["code"] for error in errors] == ["shutting_down"]
        assert stream.events[-1] == "[DONE]" or '"error"' in stream.events[-1]
        assert await asyncio.to_thread(gateway.wait_ended) == EXIT_CODES[shell, signal.SIGTERM]
        await asyncio.wait_for(fake.lost.wait(), 5)  # the work upstream stopped too


async def test_an_idle_gateway_ends_at_once(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer()) as (fake,),
        open_gateway(tmp_path / "gateway", shell, drain_timeout_seconds=15, **QUIET) as gateway,
        gateway.client() as client,  # its connection stays open, idle
    ):
        assert (await client.post("/admin/register", json={"endpoint_url": fake.url})).status_code == 201
        answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": []})
        assert answer.status_code == 200
        gateway.signal()
        await until(lambda: gateway.ended, "it ended though a client keeps its connection")
        assert gateway.wait_ended() == EXIT_CODES[shell, signal.SIGTERM]
