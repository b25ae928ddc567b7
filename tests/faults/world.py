"""What do the tests of faults share? A gateway of this process, and the servers that it is given.

The gateway listens on both of its ways in; ``World.shell`` is the one that a test speaks to. Talkers are the servers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.services.dataplane.plane import DataPlane
from app.services.dataplane.resolver import Resolver
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.raw_http import RawAnswer, exchange
from tests.fakes.talk import CHAT, ask_body
from tests.fakes.talker import Talker
from tests.faults.reading import OpenAnswer, expected, post, story_of
from tests.faults.remains import nothing_left, sockets_of_ours

__all__ = ["KEY", "QUIET", "World", "lent", "open_world", "running_world", "talking"]

KEY = ("X-API-Key", ADMIN_KEY)
QUIET: dict[str, Any] = {"health_check_interval_seconds": 600, "upstream_keepalive_seconds": 60}
"""No check but those that something calls for; connections to servers are kept until ``nothing_left`` lets them go."""


@dataclass
class World:
    """A gateway, and the way in that is spoken to."""

    gateway: GatewayInProcess
    shell: str
    stack: AsyncExitStack
    tasks_at_rest: int
    sockets_at_rest: int = 0
    talkers: list[Talker] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.gateway.ports[self.shell]

    @property
    def plane(self) -> DataPlane:
        plane: DataPlane = self.gateway.app.state.plane
        return plane

    async def add(self, talker: Talker, **fields: Any) -> str:
        """Start a server, register it, wait until the gateway knows all about it, and return its id."""
        await self.start(talker)
        server_id = await self.register(talker.url, **fields)
        await self.judged()
        return server_id

    async def start(self, talker: Talker) -> None:
        """Start a server, which is gone at the test's end."""
        await talker.start()
        self.stack.push_async_callback(talker.stop)
        self.talkers.append(talker)

    async def register(self, url: str, **fields: Any) -> str:
        answer = await self.gateway.register(url, **fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["registration_id"])

    async def pair(self, **fields: Any) -> tuple[Talker, Talker]:
        """Two servers of one script, so that it does not matter which is asked first."""
        first = Talker(**fields)
        second = Talker(**{**fields, "script": first.script})
        for talker in (first, second):
            await self.add(talker)
        return first, second

    async def judged(self) -> None:
        """Wait until the gateway knows of each server whether and how it goes on with an answer."""

        async def is_so() -> bool:
            return all(
                "unjudged" not in (detail["continuation"]["chat"], detail["continuation"]["text"])
                for server in (await self.servers()).values()
                for detail in server["model_details"]
            )

        await until(is_so, "each server was tried")

    async def servers(self) -> dict[str, dict[str, Any]]:
        """All servers as the admin API shows them, by id."""
        answer = await self.gateway.client.get("/admin/servers")
        assert answer.status_code == 200, answer.text
        return {server["registration_id"]: server for server in answer.json()["servers"]}

    async def state(self, server_id: str) -> dict[str, Any]:
        """One of them, with its last checks."""
        answer = await self.gateway.client.get(f"/admin/servers/{server_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until_state(self, server_id: str, **wanted: Any) -> dict[str, Any]:
        """Wait until a server's fields are so; return it as it is then."""

        async def is_so() -> dict[str, Any] | None:
            state = await self.state(server_id)
            return state if all(state[name] == value for name, value in wanted.items()) else None

        state = await until(is_so, f"the server is {wanted}")
        assert state is not None
        return state

    async def is_well(self, server_id: str) -> bool:
        """Whether nothing was held against a server."""
        state = await self.state(server_id)
        assert (state["health_status"], state["consecutive_failures"], state["reason"]) == ("healthy", 0, ""), state
        assert not any(state[hold] for hold in ("quarantined", "paused", "blocked", "draining"))
        return True

    async def ask(self, number: int = 1, *, stream: bool = False, **fields: Any) -> RawAnswer:
        """Ask a question on a connection of its own and read the whole answer."""
        return await exchange(self.port, post(ask_body(number, stream=stream, **fields)))

    async def served(self, number: int = 1, *, stream: bool = False, **fields: Any) -> RawAnswer:
        """Ask a question and see that the answer is right."""
        answer = await self.ask(number, stream=stream, **fields)
        assert answer.status == 200, answer
        if stream:
            assert story_of(answer.body).is_whole(expected(number))
        else:
            assert answer.json["choices"][0]["message"]["content"] == expected(number)
        return answer

    @asynccontextmanager
    async def asking(self, number: int = 1, *, path: str = CHAT, **fields: Any) -> AsyncIterator[OpenAnswer]:
        """Ask for a stream; the connection is gone at the end."""
        answer = await OpenAnswer.ask(self.port, post(ask_body(number, path=path, **fields), path))
        try:
            yield answer
        finally:
            answer.leave()

    async def check(self, server_id: str) -> dict[str, Any]:
        """Have a server checked now, and return it."""
        answer = await self.gateway.client.post(f"/admin/servers/{server_id}/check")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@asynccontextmanager
async def open_world(
    folder: Path, shell: str, *, resolver: Resolver | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Start a gateway that checks only when it has a reason. What a test leaves behind fails it."""
    async with running_world(folder, shell, resolver=resolver, **settings) as world, lent(world):
        yield world


@asynccontextmanager
async def running_world(
    folder: Path, shell: str, *, resolver: Resolver | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Start a gateway for several tests, each of which has it ``lent``."""
    async with open_in_process(folder, resolver=resolver, **{**QUIET, **settings}) as gateway:
        tasks = gateway.app.state.plane.tasks
        yield World(gateway, shell, AsyncExitStack(), tasks_at_rest=len(tasks))


@asynccontextmanager
async def lent(world: World) -> AsyncIterator[World]:
    """Let one test have the gateway. At its end nothing may be left, and its servers are removed."""
    world.talkers = []
    await world.servers()  # which opens the admin's connection
    world.sockets_at_rest = sockets_of_ours()
    async with AsyncExitStack() as world.stack:
        try:
            yield world
            await nothing_left(world)
        finally:
            for server_id in await world.servers():
                await world.gateway.client.delete(f"/admin/register/{server_id}")


@asynccontextmanager
async def talking(*talkers: Talker) -> AsyncIterator[None]:
    """Run servers for a gateway that is a process of its own."""
    async with AsyncExitStack() as stack:
        for talker in talkers:
            await talker.start()
            stack.push_async_callback(talker.stop)
        yield
