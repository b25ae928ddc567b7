"""The whole gateway inside this process, on both of its ways in at once: one port is the door, one is plain ASGI."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from app.cli.gateway_process import make_config
from app.main import create_app
from app.services.dataplane.resolver import Resolver
from app.utils.config import Settings
from tests.fakes.house import ADMIN_KEY
from tests.fakes.migrated import put_database

__all__ = ["ADMIN_KEY", "SHELLS", "GatewayInProcess", "open_in_process"]

SHELLS = ("door", "asgi")


@dataclass
class GatewayInProcess:
    """A running gateway. ``client`` speaks to the door with the admin key."""

    app: FastAPI
    settings: Settings
    ports: Mapping[str, int]
    client: httpx2.AsyncClient

    @property
    def log(self) -> str:
        """All that was logged so far."""
        return self.settings.log_file.read_text()

    async def register(self, url: str, **fields: Any) -> httpx2.Response:
        return await self.client.post("/admin/register", json={"endpoint_url": url, **fields})

    async def chat(self, model: str = "m", **fields: Any) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.client.post("/v1/chat/completions", json=body)


@asynccontextmanager
async def open_in_process(
    folder: Path, *, resolver: Resolver | None = None, **settings: Any
) -> AsyncIterator[GatewayInProcess]:
    """Start a gateway whose files lie in ``folder``. The environment is not asked; ``settings`` win over defaults.

    For a fixture of a whole module both its scope and its loop's scope must be the module's.
    """
    if "database_url" not in settings:
        put_database(folder)
    listeners = {shell: _listener() for shell in SHELLS}
    ports = {shell: listener.getsockname()[1] for shell, listener in listeners.items()}
    chosen = Settings(
        _env_file=None,  # type: ignore[call-arg]  # these two are pydantic-settings' own
        _env_prefix="NOT_IN_ANY_ENVIRONMENT_",  # type: ignore[call-arg]
        **{
            "port": ports["door"],
            "database_url": f"sqlite:///{folder}/gateway.db",
            "log_file": folder / "gateway.log",
            "gateway_data_dir": folder / "data",
            "admin_api_key": ADMIN_KEY,
            "allowed_server_networks": "127.0.0.0/8",
            **settings,
        },
    )
    async with AsyncExitStack() as stack:
        stack.enter_context(_logging_put_back())
        app = create_app(chosen, resolver=resolver)
        await stack.enter_async_context(app.router.lifespan_context(app))
        for shell, listener in listeners.items():
            await stack.enter_async_context(_served(app, chosen, listener, door=shell == "door"))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{ports['door']}",
                headers={"authorization": f"Bearer {ADMIN_KEY}"},
                timeout=20,
            )
        )
        yield GatewayInProcess(app, chosen, ports, client)


@contextmanager
def _logging_put_back() -> Iterator[None]:
    """Leave the log as it was: the gateway sets up that of the whole process."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
            handler.close()


def _listener() -> socket.socket:
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # else asyncio leaves Nagle on: 40 ms an answer
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


@asynccontextmanager
async def _served(app: FastAPI, settings: Settings, listener: socket.socket, *, door: bool) -> AsyncIterator[None]:
    config = make_config(app, app, settings)
    config.lifespan = "off"
    config.timeout_graceful_shutdown = 1
    if not door:
        config.http = "httptools"
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    try:
        yield
    finally:
        await server.shutdown(sockets=[listener])
