"""A way in and its model servers, joined by wires that exist in memory alone: every read is of the test's choosing.

The protocols, the data plane and uvicorn's parts are the real ones; only the sockets are not. A wire does what the
transports of asyncio do: it delivers one piece a turn of the loop and none while reading is paused, drops what is
written after a close, and reports the loss of a connection later, never from inside a call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from app.services.core.choice.snapshot import build_snapshot
from app.services.core.http.cors import CorsPolicy
from app.services.core.keys import KeyRing, Principal, Role, digest
from app.services.dataplane.asgi import AsgiDoor
from app.services.dataplane.descriptors import Descriptors
from app.services.dataplane.door import door_factory
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.plane import DataPlane
from app.services.dataplane.reception import Reception
from app.services.dataplane.sides import Bounds, Limits
from app.services.preparation import Preparation
from app.utils.tasks import TaskKeeper
from tests.fakes.house import ADMIN_KEY, BOUNDS, LIMITS, Told, server
from tests.fakes.read_answers import Answer, read_answers
from tests.fakes.wiretap import Answering, Asked, Tap, answer_echo

__all__ = ["ADMIN_KEY", "OTHER_KEY", "Caller", "Memory", "Wire", "open_memory"]

OTHER_KEY = "another-key-0123456789"
QUIET_TURNS = 25
"""So many turns of the loop without a byte mean that nobody has anything left to say."""


class Wire(asyncio.Transport):
    """One end of a connection: the protocol's. ``sent`` is what the protocol wrote, ``deliver`` what it will read."""

    def __init__(self, pulse: list[int], on_sent: Callable[[bytes], None] | None = None) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 8000)})
        self._pulse = pulse
        self._on_sent = on_sent
        self._waiting: deque[bytes] = deque()
        self._reading = True
        self._closing = self._lost = False
        self._pumping = False
        self._protocol: Any = None
        self.sent = bytearray()
        self.ended = False

    def join(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def deliver(self, *pieces: bytes) -> None:
        """Let the protocol read these pieces, each by itself."""
        self._waiting.extend(piece for piece in pieces if piece)
        self._pump_soon()

    @property
    def pending(self) -> bool:
        """Whether something waits to be read."""
        return bool(self._waiting) and not self._closing

    def _pump_soon(self) -> None:
        if not self._pumping and self._waiting and self._reading and not self._closing:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._waiting and self._reading and not self._closing:
            self._pulse[0] += 1
            self._protocol.data_received(self._waiting.popleft())
            self._pump_soon()

    # -- asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost:  # as uvloop has it
            raise RuntimeError("unable to perform operation on a transport; the handler is closed")
        if not self._closing:
            self._pulse[0] += 1
            self.sent += data
            if self._on_sent is not None:
                self._on_sent(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered here."""

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._pump_soon()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._pulse[0] += 1
            asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        self._lost = True
        self._protocol.connection_lost(None)

    def abort(self) -> None:
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


class Caller:
    """A client on a connection of its own."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.wire = Wire(memory.pulse)
        self._read = 0

    @property
    def closed(self) -> bool:
        return self.wire.is_closing() or self.wire.ended

    async def say(self, *pieces: bytes, heads: Sequence[bool] = ()) -> list[Answer]:
        """Send pieces, each read by itself, wait until all is quiet, and return what was answered meanwhile."""
        self.wire.deliver(*pieces)
        await self._memory.settle()
        return self.heard(heads)

    def heard(self, heads: Sequence[bool] = ()) -> list[Answer]:
        """The answers since the last call. ``heads``: which of them are to HEAD, and so have no body."""
        data = bytes(self.wire.sent[self._read :])
        found, rest = read_answers(data, heads, ended=self.closed)
        self._read = len(self.wire.sent) - len(rest)
        return found


@dataclass
class MemoryLink:
    """Where the data plane dials: every connection is a tap."""

    pulse: list[int]
    answering: Answering
    taps: list[Tap] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    descriptors: Descriptors = field(default_factory=Descriptors)

    async def dial(self, endpoint: Any, protocol_factory: Callable[[], Any]) -> Any:
        del endpoint
        tap, protocol = Tap(), protocol_factory()
        wire = Wire(self.pulse, lambda data: self._took(tap, wire, data))
        self.taps.append(tap)
        self.wires.append(wire)
        wire.join(protocol)
        return protocol

    def _took(self, tap: Tap, wire: Wire, data: bytes) -> None:
        for asked in tap.feed(data):
            wire.deliver(*self.answering(asked))


@dataclass
class Memory:
    """A data plane behind one way in."""

    shell: str
    plane: DataPlane
    told: Told
    link: MemoryLink
    pulse: list[int]
    principals: dict[bytes, Principal]
    state: ServerState
    make_protocol: Callable[[], Any]
    protocols: list[Any] = field(default_factory=list)

    def connect(self) -> Caller:
        caller = Caller(self)
        self.protocols.append(self.make_protocol())
        caller.wire.join(self.protocols[-1])
        return caller

    async def settle(self) -> None:
        """Let the loop turn until nobody says anything any more."""
        quiet, seen = 0, self.pulse[0]
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet, seen = (quiet + 1, seen) if self.pulse[0] == seen else (0, self.pulse[0])

    async def pass_time(self, ticks: int) -> None:
        for _tick in range(ticks):
            self.plane.tick()
        await self.settle()

    def revoke(self, key: str) -> None:
        """Swap the ring of keys for one without this key."""
        self.principals.pop(digest(key))
        self.plane.reception.key_ring = KeyRing(dict(self.principals))

    @property
    def asked(self) -> list[Asked]:
        return [one for tap in self.link.taps for one in tap.asked]

    def assert_clean(self) -> None:
        """No server got a byte that was not the gateway's own making."""
        for tap in self.link.taps:
            assert tap.whole, (tap.violations, bytes(tap.received[-2000:]))


async def _plain_application(scope: Any, receive: Any, send: Any) -> None:
    """Stands where FastAPI does: says which path was asked for and how long the body was, that of /early unread."""
    size_bytes, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = f"{scope['method']} {scope['path']} {size_bytes}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def open_memory(
    shell: str,
    *,
    answering: Answering = answer_echo,
    bounds: Bounds = BOUNDS,
    limits: Limits = LIMITS,
    keep_alive_seconds: float = 3600.0,
) -> AsyncIterator[Memory]:
    """Build a data plane behind ``door`` or plain ``asgi``. Two keys are good: ``ADMIN_KEY`` and ``OTHER_KEY``."""
    pulse, told, keeper = [0], Told(), TaskKeeper()
    principals = {
        digest(key): Principal(name, name, role)
        for key, name, role in ((ADMIN_KEY, "admin", Role.ADMIN), (OTHER_KEY, "other", Role.USER))
    }
    link: Any = MemoryLink(pulse, answering)
    reception = Reception(
        KeyRing(dict(principals)), CorsPolicy(("https://a.test",)), require_auth=True, max_body_bytes=bounds.body_bytes
    )
    plane = DataPlane(
        link=link,
        reception=reception,
        limits=limits,
        bounds=bounds,
        tasks=keeper,
        observer=told,
        preparer=Preparation(Fetcher(link, b"test")),
        pool_keepalive_ticks=10_000,
        retry_ratio=0.2,
    )
    plane.install(build_snapshot([server("s1", "http://127.0.0.1:9")]))
    inference = AsgiDoor(plane)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        chosen = inference if scope["path"].startswith("/v1/") else _plain_application
        await chosen(scope, receive, send)

    config = uvicorn.Config(
        app,
        http=door_factory(plane) if shell == "door" else "httptools",  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_seconds,  # type: ignore[arg-type]
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
    loop = asyncio.get_running_loop()

    def make_protocol() -> Any:
        made: Any = config.http_protocol_class
        return made(config=config, server_state=state, app_state={}, _loop=loop)

    memory = Memory(shell, plane, told, link, pulse, principals, state, make_protocol)
    try:
        yield memory
    finally:
        plane.shut()
        for protocol in memory.protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
            protocol._unset_keepalive_if_required()
        await memory.settle()
        for task in list(state.tasks):
            task.cancel()
        await keeper.close()
