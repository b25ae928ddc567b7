"""Many clients at once: some idle after one request, some with a stream that stays open. Is every byte right?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

from bench.soak_answers import MODEL, Plan, events, request
from bench.soak_visit import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Crowd", "CrowdFailed", "control"]

PATIENCE_SECONDS = 60.0
AT_ONCE = 200
"""How many clients connect at the same time: fewer than a listener's backlog."""


class CrowdFailed(Exception):
    """A client was refused, hung up on or told something wrong; in words."""


class _Client(asyncio.Protocol):
    """One connection with one request."""

    __slots__ = ("answer", "asked", "changed", "lost", "transport")

    def __init__(self, asked: bytes) -> None:
        self.asked = asked
        self.answer = Answer()
        self.lost = False
        self.transport: asyncio.Transport | None = None
        self.changed: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.asked)

    def data_received(self, data: bytes) -> None:
        self.answer.feed(data)
        if self.changed is not None:
            self.changed()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True
        if self.changed is not None:
            self.changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the answer has come as far as ``condition`` asks."""
        turned = asyncio.Event()
        self.changed = turned.set
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    if self.lost:
                        said = bytes(self.answer.body[:300])
                        raise CrowdFailed(f"the gateway hung up: status {self.answer.status}, {said!r}")
                    turned.clear()
                    await turned.wait()
        except TimeoutError:
            raise CrowdFailed(f"nothing came for {PATIENCE_SECONDS:g} s") from None
        finally:
            self.changed = None


class Crowd:
    """The clients of one gateway. ``control`` speaks to the model servers on ports of their own."""

    def __init__(self, port: int, key: str, plan: Plan) -> None:
        self._port = port
        self._key = key
        self._plan = plan
        self._idle: list[_Client] = []
        self._streams: list[_Client] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_failure: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Drop every connection."""
        for client in (*self._idle, *self._streams):
            if client.transport is not None:
                client.transport.abort()
        self._idle, self._streams = [], []

    async def add_idle(self, count: int) -> None:
        """Open so many connections that ask for the list of models and stay.

        Raises:
            CrowdFailed: one was refused.
        """
        asked = f"GET /v1/models HTTP/1.1\r\nhost: soak\r\nauthorization: Bearer {self._key}\r\n\r\n".encode()
        self._idle += await self._add(count, asked, lambda client: client.answer.whole)
        for client in self._idle:
            if client.answer.status != 200 or MODEL.encode() not in client.answer.body:
                raise CrowdFailed(f"the list of models was answered with {client.answer.status}")

    async def add_streams(self, count: int) -> None:
        """Open so many streams, and wait until each has its first event.

        Raises:
            CrowdFailed: one was refused.
        """
        asked, first = request(self._plan, self._key), len(events(self._plan)[0])
        self._streams += await self._add(count, asked, lambda client: len(client.answer.body) >= first)

    async def each_has(self, event_count: int) -> None:
        """Wait until each stream has so many events, byte for byte; all of them end it.

        Raises:
            CrowdFailed: one has something else.
        """
        expected = b"".join(events(self._plan)[:event_count])
        ended = event_count == self._plan.events
        for client in self._streams:
            answer = client.answer
            await client.until(lambda answer=answer: len(answer.body) >= len(expected) and answer.whole >= ended)  # type: ignore[misc]
            if bytes(answer.body) != expected:
                raise CrowdFailed(f"a stream has {bytes(answer.body[-300:])!r}, which is not what was sent")

    @property
    def lost(self) -> int:
        """How many connections the gateway has closed."""
        return sum(client.lost for client in (*self._idle, *self._streams))

    async def _add(self, count: int, asked: bytes, there: Callable[[_Client], bool]) -> list[_Client]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one() -> _Client:
            async with turn:
                loop = asyncio.get_running_loop()
                try:
                    _, client = await loop.create_connection(lambda: _Client(asked), "127.0.0.1", self._port)
                except OSError as error:
                    raise CrowdFailed(f"the gateway could not be reached: {error}") from error
                await client.until(lambda: there(client))
                return client

        return list(await asyncio.gather(*(one() for _number in range(count))))


async def control(port: int, command: str) -> int:
    """Tell a model server to ``pulse`` or to ``finish``; return how many streams it held.

    Raises:
        CrowdFailed: it did not answer.
    """
    asked = f"POST /{command} HTTP/1.1\r\nhost: soak\r\ncontent-length: 0\r\n\r\n".encode()
    _, client = await asyncio.get_running_loop().create_connection(lambda: _Client(asked), "127.0.0.1", port)
    await client.until(lambda: client.answer.whole)
    if client.transport is not None:
        client.transport.abort()
    return int(client.answer.body)
