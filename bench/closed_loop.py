"""How much can be done at once? A closed loop: each connection asks again when it was answered.

Nothing is counted per connection while it runs but answers and events; whoever measures looks at the counts before and
after. An answer that is wrong, or does not come, is counted as such, and the connection is made anew.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, cast

from bench.reader import AnswerReader
from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from bench.answers import Answer

__all__ = ["ClosedLoop", "until"]

_CONNECT_SECONDS = 20.0
_POLL_SECONDS = 0.02
_MOST_WRONG = 50
"""Past this many wrong answers nothing is asked any more: the figures are worth nothing anyway."""


async def until(is_so: Callable[[], bool], patience_seconds: float) -> bool:
    """Wait until something is so; False if it was not for so long. It is polled: telling it would cost the load."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while not is_so():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


class ClosedLoop:
    """So many connections to one port of this machine.

    Attributes:
        wrong: how many answers were wrong.
        first_wrong: what the first of them was; empty if none.
        reconnects: connections that were closed between two answers, as HTTP allows, and made anew.
    """

    def __init__(
        self,
        port: int,
        answer: Answer,
        requests: Iterator[bytes],
        connections: int,
        *,
        rewritten: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.wrong = 0
        self.first_wrong = ""
        self.reconnects = 0
        self.answers = 0
        self.next_request = requests.__next__
        self._ended_events = 0
        self._port = port
        self._answer = answer
        self._connections = connections
        self._rewritten = rewritten
        self._tls = tls
        self._callers: set[_Caller] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        """Start with nothing open: `open_all` comes next."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self._closing = True
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for caller in tuple(self._callers):
            caller.close()

    @property
    def events(self) -> int:
        """How many whole events came so far."""
        return self._ended_events + sum([caller.events for caller in self._callers])

    def progress(self) -> dict[object, int]:
        """How many events came on each connection so far."""
        return {caller: caller.events for caller in self._callers}

    def stalled(self, before: dict[object, int], least_mean: int) -> int:
        """How many connections got nothing since, though the others got so many on the mean."""
        gained = [caller.events - before[caller] for caller in self._callers if caller in before]
        return gained.count(0) if sum(gained) >= least_mean * len(gained) else 0

    def with_events(self, count: int) -> int:
        """How many connections got at least so many events."""
        return sum([caller.events >= count for caller in self._callers])

    async def open_all(self, ramp_seconds: float) -> None:
        """Open the connections, spread over this time, each asking at once.

        Raises:
            AnswerWrong: they can't be opened.
        """
        started = asyncio.get_running_loop().time()
        for number in range(self._connections):
            due = started + ramp_seconds * number / self._connections - asyncio.get_running_loop().time()
            if due > 0:
                await asyncio.sleep(due)
            await self._connect()

    def gone(self, caller: _Caller, failure: str | None) -> None:
        """Count what became of a connection, and replace it."""
        if caller not in self._callers:
            return
        self._callers.discard(caller)
        self._ended_events += caller.events
        if self._closing:
            return
        if failure is None:
            self.reconnects += 1
        else:
            self.wrong += 1
            self.first_wrong = self.first_wrong or failure
        if self.wrong < _MOST_WRONG:
            task = asyncio.get_running_loop().create_task(self._connect_again())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect_again(self) -> None:
        try:
            await self._connect()
        except AnswerWrong as error:
            self.wrong += 1
            self.first_wrong = self.first_wrong or str(error)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        reader = AnswerReader(self._answer, rewritten=self._rewritten)
        making = loop.create_connection(
            lambda: _Caller(self, reader),
            "127.0.0.1",
            self._port,
            ssl=self._tls,
            server_hostname="localhost" if self._tls else None,
        )
        try:
            _transport, caller = await asyncio.wait_for(making, _CONNECT_SECONDS)
        except (OSError, TimeoutError) as error:
            raise AnswerWrong(f"no connection could be made: {str(error) or 'it took too long'}") from error
        self._callers.add(caller)
        caller.ask()


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: ClosedLoop, reader: AnswerReader) -> None:
        self._loop = loop
        self._reader = reader
        self._feed = reader.feed
        self._next_request = loop.next_request
        self._transport: asyncio.Transport | None = None

    @property
    def events(self) -> int:
        """Whole events that came here."""
        return self._reader.events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._write = self._transport.write

    def ask(self) -> None:
        """Send a request."""
        self._write(self._next_request())

    def data_received(self, data: bytes) -> None:
        try:
            if not self._feed(data):
                return
        except AnswerWrong as error:
            self.close(str(error))
            return
        self._loop.answers += 1
        self._write(self._next_request())

    def connection_lost(self, exc: Exception | None) -> None:
        broke_off = f"the connection was closed in the middle of an answer ({exc or 'cleanly'})"
        self._loop.gone(self, broke_off if self._reader.begun else None)

    def close(self, failure: str | None = None) -> None:
        """Close at once."""
        self._loop.gone(self, failure)
        if self._transport is not None:
            self._transport.abort()
