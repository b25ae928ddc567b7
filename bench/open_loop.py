"""How long does an answer take at a fixed rate? An open loop: requests come when they are due, answered or not.

A latency is counted from the moment at which its request was due, not from when it could be sent: a gateway that stops
for a while is charged with all that came meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from bench.reader import AnswerReader
from bench.ticker import Ticker
from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.answers import Answer

__all__ = ["OpenLoop", "RateNotHeld"]

_CONNECTIONS = 64
_PATIENCE_SECONDS = 3.0
_LEAD_SECONDS = 0.02
_LONGEST_BACKLOG_SECONDS = 1.0


class RateNotHeld(Exception):
    """A gateway answers more slowly than requests come, and how far it got."""


class OpenLoop:
    """Requests at a rate to one port of this machine.

    Attributes:
        latencies: of answers in seconds, in the order in which they came.
        answers: how many answers were right.
        wrong: how many were wrong or broke off, ``first_wrong`` what the first of them was.
    """

    def __init__(
        self, port: int, answer: Answer, requests: Iterator[bytes], rate: float, *, rewritten: bool = False
    ) -> None:
        self.latencies: list[float] = []
        self.answers = 0
        self.wrong = 0
        self.first_wrong = ""
        self.next_request = requests.__next__
        self.clock = time.monotonic  # uvloop's own clock stands still between two looks at the sockets
        self._port = port
        self._answer = answer
        self._rewritten = rewritten
        self._rate = rate
        self._start = 0.0
        self._due_count = 0
        self._total = 0
        self._backlog: deque[float] = deque()
        self._free: list[_Caller] = []
        self._all: list[_Caller] = []
        self._ended = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Ask for so long, and wait for the last answers.

        Raises:
            AnswerWrong: no connection could be made.
            RateNotHeld: more than a second's requests are waiting, or the last answers did not come.
        """
        self._total = int(self._rate * seconds)
        try:
            for _number in range(_CONNECTIONS):
                await self._connect()
            self._start = self.clock() + _LEAD_SECONDS
            async with Ticker(self._rate, self._start, self._on_ticks):
                with contextlib.suppress(TimeoutError):  # what is missing is counted next
                    await asyncio.wait_for(self._ended.wait(), seconds + _PATIENCE_SECONDS)
            if self.answers + self.wrong < self._total and not self.wrong:
                held = self.answers / (self.clock() - self._start)
                raise RateNotHeld(f"holds {held:.0f} of {self._rate:g} requests/s")
        finally:
            for caller in tuple(self._all):
                caller.close()

    def answered(self, caller: _Caller, due: float) -> None:
        """Note an answer; the connection takes the next request."""
        self.latencies.append(self.clock() - due)
        self.answers += 1
        if self._backlog:
            caller.ask(self._backlog.popleft())
            return
        self._free.append(caller)
        if self.answers + self.wrong >= self._total:
            self._ended.set()

    def failed(self, caller: _Caller, reason: str, *, asked: bool) -> None:
        """Note a connection that is lost."""
        if caller in self._free:
            self._free.remove(caller)
        self._all.remove(caller)
        if asked or not self._all:
            self.wrong += 1
            self.first_wrong = self.first_wrong or reason
            self._ended.set()  # a latency of what is left would mean nothing

    def _on_ticks(self, count: int) -> None:
        for _tick in range(min(count, self._total - self._due_count)):
            due = self._start + self._due_count / self._rate
            self._due_count += 1
            if self._free:
                self._free.pop().ask(due)
            else:
                self._backlog.append(due)
        if len(self._backlog) > self._rate * _LONGEST_BACKLOG_SECONDS:
            self._ended.set()

    async def _connect(self) -> None:
        reader = AnswerReader(self._answer, rewritten=self._rewritten)
        loop = asyncio.get_running_loop()
        try:
            _transport, caller = await loop.create_connection(lambda: _Caller(self, reader), "127.0.0.1", self._port)
        except OSError as error:
            raise AnswerWrong(f"no connection could be made: {error}") from error
        self._all.append(caller)
        self._free.append(caller)


class _Caller(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, loop: OpenLoop, reader: AnswerReader) -> None:
        self._loop = loop
        self._reader = reader
        self._due = -1.0
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def ask(self, due: float) -> None:
        """Send a request that was due then."""
        self._due = due
        self._write(self._loop.next_request())

    def data_received(self, data: bytes) -> None:
        try:
            if not self._reader.feed(data):
                return
        except AnswerWrong as error:
            self._lost(str(error))
            return
        due, self._due = self._due, -1.0
        self._loop.answered(self, due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(f"the connection was closed ({exc or 'cleanly'})")

    def close(self) -> None:
        """Close at once."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def _lost(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._loop.failed(self, reason, asked=self._due >= 0)
