"""The whole gateway with its keys, and one model server with two models, for tests of what keys may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from app.services.core import keys as core_keys
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving

__all__ = ["CHAT", "UNKNOWN", "KeyedGateway", "ask", "bearer", "chat", "keyed_gateway", "own_header"]

CHAT = "/v1/chat/completions"
UNKNOWN = core_keys.mint(bytes(range(core_keys.RANDOM_BYTES)))
"""A key that is well-formed, and nobody's."""


@dataclass
class KeyedGateway:
    gateway: GatewayInProcess
    server: FakeModelServer

    def url(self, shell: str) -> str:
        return f"http://127.0.0.1:{self.gateway.ports[shell]}"

    async def admin(self, method: str, path: str, status: int = 200, key: str = ADMIN_KEY, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.gateway.client.request(method, path, headers=headers, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def make(self, key: str = ADMIN_KEY, **fields: Any) -> dict[str, Any]:
        made: dict[str, Any] = await self.admin("POST", "/admin/keys", 201, key, json={"name": "some key"} | fields)
        return made

    async def records(self) -> list[dict[str, Any]]:
        """All keys as they are shown, in order."""
        return list((await self.admin("GET", "/admin/keys"))["keys"])


@asynccontextmanager
async def keyed_gateway(folder: Path) -> AsyncIterator[KeyedGateway]:
    async with (
        serving(FakeModelServer(models=["m", "other"])) as (server,),
        open_in_process(
            folder,
            metrics_key="metrics-key-0123456789",
            continuation_enabled=False,
            verification_enabled=False,
            log_level="DEBUG",
            public_url="https://gateway.example",
        ) as gateway,
    ):
        assert (await gateway.register(server.url)).status_code == 201
        yield KeyedGateway(gateway, server)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def own_header(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def chat(model: str = "m", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


async def ask(house: KeyedGateway, shell: str, key: str, model: str = "m", **fields: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=house.url(shell), timeout=20) as client:
        return await client.post(CHAT, json=chat(model, **fields), headers=bearer(key))
