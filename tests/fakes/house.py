"""A data plane of its own behind a real listener, without database or prober: what the way of a request needs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import httpx2
import uvicorn

from app.services.core.choice.snapshot import build_snapshot
from app.services.core.http.cors import CorsPolicy
from app.services.core.keys import KeyRing
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.reporting.outcome import Outcome
from app.services.core.retry import Failure
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.dataplane.asgi import AsgiDoor
from app.services.dataplane.door import door_factory
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.link import Link, SystemResolver
from app.services.dataplane.plane import DataPlane
from app.services.dataplane.reception import Reception
from app.services.dataplane.sides import Bounds, Limits
from app.services.preparation import Preparation
from app.utils.tasks import TaskKeeper

__all__ = ["ADMIN_KEY", "BOUNDS", "LIMITS", "House", "Told", "open_house", "server", "until"]

ADMIN_KEY = "test-admin-key-0123456789"
LIMITS = Limits(
    request_ticks=6000,
    first_token_ticks=1200,
    idle_ticks=600,
    keepalive_ticks=150,
    queue_ticks=300,
    queue_size=1000,
    max_attempts=3,
    max_json_depth=64,
    hold_bytes=8 * 1024 * 1024,
    max_continuations=0,
)
"""No server here was ever tried for how it goes on, so no stream does."""
BOUNDS = Bounds(header_count=100, header_bytes=16384, body_bytes=1024 * 1024, header_ticks=100, body_ticks=300)


@dataclass
class Told:
    """What the data plane reported."""

    outcomes: list[Outcome] = field(default_factory=list)
    dials: list[tuple[str, str]] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    rejections: list[tuple[str, int]] = field(default_factory=list)
    refused_continuations: list[tuple[str, str]] = field(default_factory=list)
    redials: list[str] = field(default_factory=list)
    ejections: list[tuple[str, int]] = field(default_factory=list)
    crossings: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    alive: bool = True
    """What a silent server's check will find."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def finished(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.changed.set()

    def dial_failed(self, server_id: str, reason: str) -> None:
        self.dials.append((server_id, reason))

    def look_again(self, server_id: str) -> None:
        self.looks.append(server_id)

    def answer_unusable(self, request_id: str, server_id: str, reason: str) -> None:
        del request_id
        self.unusable.append((server_id, reason))

    def rejected(self, server_id: str, status: int, *, asked_at: float) -> None:
        assert asked_at >= 0
        self.rejections.append((server_id, status))

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        del failure, begun, failures
        self.ejections.append((server_id, status))

    def continuation_refused(self, server_id: str, upstream_name: str) -> None:
        self.refused_continuations.append((server_id, upstream_name))

    def crossed(self, request_id: str, server_id: str, words: str) -> None:
        del request_id
        self.crossings.append((server_id, words))

    def redial(self, server_ids: Iterable[str]) -> None:
        self.redials += server_ids

    async def answers(self, server_id: str) -> bool:
        self.doubts.append(server_id)
        return self.alive

    async def outcome(self, count: int = 1) -> Outcome:
        """Wait until so many requests have ended; return the last."""
        async with asyncio.timeout(10):
            while len(self.outcomes) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.outcomes[count - 1]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has come about."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@dataclass
class House:
    """A running gateway without its registry."""

    plane: DataPlane
    told: Told
    port: int
    client: httpx2.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def install(self, *servers: Server) -> None:
        self.plane.install(build_snapshot(servers))

    def tick(self, count: int) -> None:
        """Let time pass: nobody else turns the sweeper."""
        for _turn in range(count):
            self.plane.tick()

    async def chat(
        self, model: str = "m", *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)


def server(server_id: str, url: str, *models: str | ModelEntry, **fields: Any) -> Server:
    """A healthy server of these models."""
    entries = tuple(model if isinstance(model, ModelEntry) else ModelEntry(model, model) for model in models or ("m",))
    known = Server(id=server_id, endpoint=parse_endpoint(url), models=entries, health=HealthStatus.HEALTHY)
    return replace(known, **fields)


class _Spawner(TaskKeeper):
    """The real keeper; the plane's protocol asks for coroutines without results."""

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        return super().spawn(coroutine, name=name)


@contextlib.asynccontextmanager
async def open_house(
    shell: str,
    *,
    limits: Limits = LIMITS,
    bounds: Bounds = BOUNDS,
    origins: Sequence[str] = (),
    require_auth: bool = True,
    connect_timeout_seconds: float = 5.0,
    max_attempt_ratio: float = 0.2,
    keepalive_ticks: int = 40,
) -> AsyncIterator[House]:
    """Serve a data plane through the ``door`` or through plain ``asgi`` on a free port."""
    told, keeper = Told(), _Spawner()
    link = Link(
        AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),)),
        SystemResolver(),
        connect_timeout_seconds=connect_timeout_seconds,
    )
    plane = DataPlane(
        link=link,
        reception=Reception(
            KeyRing.with_admin(ADMIN_KEY),
            CorsPolicy(tuple(origins)),
            require_auth=require_auth,
            max_body_bytes=bounds.body_bytes,
            user_headers=("x-user-email", "x-user-id"),
        ),
        limits=limits,
        bounds=bounds,
        tasks=keeper,
        observer=told,
        preparer=Preparation(Fetcher(link, b"test")),
        pool_keepalive_ticks=keepalive_ticks,
        retry_ratio=max_attempt_ratio,
    )
    config = uvicorn.Config(
        AsgiDoor(plane),
        http=door_factory(plane) if shell == "door" else "httptools",  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    running = uvicorn.Server(config)
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms an answer
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port = listener.getsockname()[1]
    config.load()
    running.lifespan = config.lifespan_class(config)
    await running.startup(sockets=[listener])
    await running.on_tick(0)
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
            yield House(plane, told, port, client)
    finally:
        plane.shut()
        await running.shutdown(sockets=[listener])
        await keeper.close()
