"""A protocol of uvicorn's own on a wire in memory, and what the door puts where uvicorn keeps its cycle."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.fakes.memory_wires import Wire

__all__ = ["GET", "POST", "Kit", "StrictCycle", "application", "turns"]

GET = b"GET /path?a=b HTTP/1.1\r\nHost: x\r\nX-Mixed: Case\r\n\r\n"
POST = b"POST /path HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive())["body"]
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class StrictCycle:
    """What the door puts in place of a cycle: these attributes and no others."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, *, response_complete: bool) -> None:
        self.disconnected = False
        self.keep_alive = True
        self.message_event = asyncio.Event()
        self.response_complete = response_complete


class Kit:
    """A protocol of uvicorn's own on a wire in memory."""

    def __init__(self, kind: type[HttpToolsProtocol] = HttpToolsProtocol) -> None:
        config = uvicorn.Config(application, http="httptools", lifespan="off", log_config=None, access_log=False)
        config.load()
        self.state = ServerState()
        self.pulse = [0]
        self.wire = Wire(self.pulse)
        self.protocol: Any = kind(
            config=config, server_state=self.state, app_state={}, _loop=asyncio.get_running_loop()
        )
        self.wire.join(self.protocol)

    def put_cycle(self, *, response_complete: bool) -> StrictCycle:
        self.protocol.cycle = StrictCycle(response_complete=response_complete)
        return self.protocol.cycle

    def close(self) -> None:
        """Leave no timer and no task behind."""
        self.wire.abort()
        if self.protocol.timeout_keep_alive_task is not None:
            self.protocol.timeout_keep_alive_task.cancel()
        for task in list(self.state.tasks):
            task.cancel()


async def turns(count: int = 20) -> None:
    for _turn in range(count):
        await asyncio.sleep(0)
