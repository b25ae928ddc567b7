"""The whole API over a real registry and a real SQLite file; only the model servers are a table."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from fastapi import FastAPI

from app.routers.api import create_api
from app.routers.deps import Gateway, Phase
from app.services.core.keys import KeyRing, Principal, Role, digest
from app.services.core.live.board import Board
from app.services.core.types import Inspection
from app.services.registry.service import Registry
from tests.fakes.registry import World, registry_world

ADMIN_KEY = "admin-key-canary-0123456789"
USER_KEY = "user-key-canary-0123456789"
METRICS_KEY = "metrics-key-0123456789"


class FakePlane:
    def __init__(self) -> None:
        self.board = Board()
        self.clock = time.monotonic


class FakeChecker:
    """Looks once, as the prober does, and takes in what was found."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.wanted: list[str] = []

    async def check_now(self, server_id: str) -> Inspection:
        registry: Registry = self._world.registry
        record = registry.servers[server_id]
        expected = [model.upstream_name for model in record.models]
        inspection = await self._world.inspector.inspect(record.endpoint, record.api_key, expected)
        self._world.book.record(server_id, inspection, self._world.clock())
        return inspection

    def check_soon(self, server_id: str) -> None:
        self.wanted.append(server_id)


@dataclass
class Api:
    app: FastAPI
    client: httpx2.AsyncClient
    world: World
    gateway: Gateway

    async def register(self, url: str = "http://10.0.0.5:8000", **body) -> str:
        answer = await self.client.post("/admin/register", json={"endpoint_url": url} | body)
        assert answer.status_code == 201, answer.text
        return answer.json()["registration_id"]


@asynccontextmanager
async def api_world(folder: Path) -> AsyncIterator[Api]:
    async with registry_world(folder) as world:
        principals = {
            digest(ADMIN_KEY): Principal("admin", "operator", Role.ADMIN),
            digest(USER_KEY): Principal("key-of-user", "user", Role.USER),
        }
        app = create_api("1.2.3")
        app.state.gateway = gateway = Gateway(
            registry=world.registry,
            book=world.book,
            prober=FakeChecker(world),
            database=world.database,
            key_ring=KeyRing(principals),
            plane=FakePlane(),
            render_metrics=lambda: b"requests_total 1\n",
            version="1.2.3",
            metrics_key=METRICS_KEY,
            now=world.clock,
            phase=Phase.READY,
        )
        transport = httpx2.ASGITransport(app=app)
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            yield Api(app, client, world, gateway)
