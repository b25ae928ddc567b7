"""What happens when the gateway may open no more files? It keeps serving whom it has, blames nobody, and recovers.

The limit is lowered while the gateway runs, to a few more than it has open, and clients take what is left. The door
turns clients away before that, so that those inside can be served; another ASGI server takes as many as there are.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import RawAnswer, RawConnection, exchange, request

if sys.platform == "linux":
    import resource
else:
    pytest.skip("only Linux can lower the limit of another process", allow_module_level=True)

pytestmark = pytest.mark.e2e

KEY = ("X-API-Key", ADMIN_KEY)
LEFT = 48
"""How many descriptors are left: at the door some of them are for clients, the others for connections to servers."""
BEYOND = 40
"""How many more clients come than there is room for."""
QUIET = {"health_check_interval_seconds": 600, "continuation_enabled": False, "verification_enabled": False}


def ask(*, stream: bool = False) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}).encode()
    return request("POST", "/v1/chat/completions", [KEY, ("Content-Type", "application/json")], body)


@dataclass
class Crowded:
    """A gateway without a free descriptor for clients. ``inside``: the connections that it has taken."""

    shell: str
    gateway: GatewayProcess
    server_id: str
    process: Process
    limit: tuple[int, int]
    inside: list[RawConnection] = field(default_factory=list)
    outside: list[RawConnection] = field(default_factory=list)

    async def fill(self) -> None:
        """Leave a few descriptors, and let more clients come than these allow."""
        await until(lambda: set(self.process.sockets()) == {"LISTEN"}, "only the listener is open")
        room = self.process.descriptors() + LEFT
        self.set_limit(room)
        if self.shell == "door":
            await until(self.turns_one_away, "a client is turned away")
        else:
            for _number in range(LEFT):
                assert (await self.come_in()).status == 200
            await until(lambda: self.process.descriptors() == room, "every descriptor is taken")
        self.outside += [await RawConnection.open(self.gateway.port) for _number in range(BEYOND)]

    async def turns_one_away(self) -> bool:
        """Let clients come until one is turned away; none is until the gateway, which looks once a second, has seen."""
        for _number in range(LEFT * 3 // 4):
            answer = await self.come_in()
            if answer.status == 503:
                assert (answer.error["code"], answer.headers["retry-after"]) == ("unavailable", "5")
                self.outside.append(self.inside.pop())
                assert len(self.inside) > LEFT // 3
                return True
            assert answer.status == 200
        await self.free()
        return False

    async def come_in(self) -> RawAnswer:
        connection = await RawConnection.open(self.gateway.port)
        self.inside.append(connection)
        await connection.send(request("GET", "/v1/models", [KEY]))
        return await connection.answer()

    def set_limit(self, descriptors: int) -> None:
        resource.prlimit(self.gateway.pid, resource.RLIMIT_NOFILE, (descriptors, self.limit[1]))

    async def chat(self) -> RawAnswer:
        """Ask on a connection that was taken before; the server must be dialled for it, at first at least."""
        await self.inside[0].send(ask())
        return await self.inside[0].answer()

    async def server(self) -> dict[str, Any]:
        """The server as the admin API shows it, asked for on a connection that was taken before."""
        await self.inside[1].send(request("GET", f"/admin/servers/{self.server_id}", [KEY]))
        return dict((await self.inside[1].answer()).json)

    async def free(self) -> None:
        """Let every client go, and wait until the gateway has noticed; the limit stays."""
        self.drop()
        await until(lambda: set(self.process.sockets()) == {"LISTEN"}, "only the listener is open")

    def drop(self) -> None:
        for connection in (*self.inside, *self.outside):
            connection.abort()
        self.inside, self.outside = [], []


@asynccontextmanager
async def crowded(folder: Path, shell: str, url: str, **settings: Any) -> AsyncIterator[Crowded]:
    async with open_gateway(folder / "gateway", shell, **{**QUIET, **settings}) as gateway:
        async with gateway.client() as client:
            answer = await client.post("/admin/register", json={"endpoint_url": url})
            assert answer.status_code == 201, answer.text
        limit = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
        world = Crowded(shell, gateway, answer.json()["registration_id"], Process(gateway.pid), limit)
        try:
            yield world
        finally:
            world.drop()


async def serves_again(world: Crowded) -> None:
    """A new client is served at once, by a server that must be dialled."""
    answer = await exchange(world.gateway.port, ask())
    assert answer.status == 200, answer.body


async def test_whom_it_has_is_served_and_no_server_is_blamed(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer()) as (fake,),
        crowded(tmp_path, shell, fake.url) as world,
    ):
        await world.fill()
        for _again in range(5):
            answer = await world.chat()
            if shell == "door":
                assert answer.status == 200
            else:
                assert (answer.status, answer.error["code"]) == (503, "unavailable")
        seen = await world.server()
        assert (seen["health_status"], seen["consecutive_failures"], seen["in_flight"]) == ("healthy", 0, 0)
        await world.inside[2].send(request("POST", f"/admin/servers/{world.server_id}/pause", [KEY], b""))
        assert (await world.inside[2].answer()).status == 200  # the database is open already
        assert (await world.server())["paused"]
        await world.free()
        answer = await exchange(
            world.gateway.port, request("POST", f"/admin/servers/{world.server_id}/resume", [KEY], b"")
        )
        assert answer.status == 200
        await serves_again(world)
        assert "Traceback" not in world.gateway.output


async def test_streams_that_run_end_whole(tmp_path: Path, shell: str) -> None:
    gate = asyncio.Event()
    async with (
        serving(FakeModelServer(gate=gate)) as (fake,),
        crowded(tmp_path, shell, fake.url) as world,
    ):
        running = await RawConnection.open(world.gateway.port)
        await running.send(ask(stream=True))
        await until(lambda: fake.inference, "the stream has begun")
        world.set_limit(world.process.descriptors())
        world.outside += [await RawConnection.open(world.gateway.port) for _number in range(BEYOND)]
        gate.set()
        answer = await running.answer()
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert answer.body.count(b"data: ") == 6
        running.abort()
        world.set_limit(world.process.descriptors() + LEFT)
        await world.free()
        await serves_again(world)


async def test_it_waits_without_spinning(tmp_path: Path, shell: str) -> None:
    """Clients that find no room are sent away or left waiting; neither takes processor time as long as it lasts."""
    async with (
        serving(FakeModelServer()) as (fake,),
        crowded(tmp_path, shell, fake.url, health_check_interval_seconds=0.5) as world,
    ):
        await world.fill()
        output = world.gateway.output

        def checks() -> int:
            """At the door checks find a descriptor; elsewhere they tell that there is none."""
            return len(fake.requests) if shell == "door" else world.gateway.output.count("could not be checked")

        before, cpu_before = checks(), world.process.cpu_seconds()
        started = asyncio.get_running_loop().time()
        await until(lambda: checks() >= before + 3, "three checks were made")
        seconds = asyncio.get_running_loop().time() - started
        assert world.process.cpu_seconds() - cpu_before < 0.1 + 0.2 * seconds
        if shell == "asgi":
            assert "out of file descriptors; raise its limit (ulimit -n)" in world.gateway.output[len(output) :]
        assert (await world.server())["health_status"] == "healthy"
        await world.free()
        await serves_again(world)


async def test_the_log_says_that_clients_are_turned_away(tmp_path: Path, shell: str) -> None:
    async with (
        serving(FakeModelServer()) as (fake,),
        crowded(tmp_path, shell, fake.url) as world,
    ):
        await world.fill()
        await until(lambda: "file descriptors" in world.gateway.output, "the log says so", seconds=3)
        lines = [line for line in world.gateway.output.splitlines() if "file descriptors" in line]
        assert len(lines) < 5  # once in a while, not once a client
        assert "LimitNOFILE=" in lines[0]


async def test_a_name_that_cannot_be_looked_up_is_no_fault_of_the_servers(tmp_path: Path, shell: str) -> None:
    """Without a descriptor the resolver can't read its files, and says that there is no such name."""
    async with (
        serving(FakeModelServer()) as (fake,),
        crowded(
            tmp_path, shell, f"http://localhost:{fake.port}", allowed_server_networks="127.0.0.0/8,::1/128"
        ) as world,
    ):
        await world.fill()
        for _again in range(5):
            assert (await world.chat()).status == (200 if shell == "door" else 503)
            await world.inside[2].send(request("POST", f"/admin/servers/{world.server_id}/check", [KEY], b""))
            assert (await world.inside[2].answer()).status == 200
        seen = await world.server()
        assert (seen["health_status"], seen["consecutive_failures"]) == ("healthy", 0), seen["reason"]
        await world.free()
        await serves_again(world)
