"""What stands in for a model server in a soak? A child process that answers as each prompt's plan asks.

``python -m bench.soak_upstream`` prints its port and serves until it is ended. ``POST /pulse`` writes one comment-free
event to every stream that is held, ``POST /finish`` ends them. Where a plan allows it, some answers break off.
"""

from __future__ import annotations

import asyncio
import random
import sys
from functools import lru_cache
from typing import cast

from bench.soak_answers import MODEL_LIST, Plan, events, plan_of, whole

__all__ = ["SoakUpstream", "World", "event_loop_factory"]

BROKEN_RATIO = 0.05
BACKLOG = 8192
_EVENT_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_events = lru_cache(64)(events)
_whole = lru_cache(16)(whole)


class World:
    """What the connections of one server share: the streams that are held, and chance."""

    def __init__(self, seed: int = 0) -> None:
        self.held: set[SoakUpstream] = set()
        self.chance = random.Random(seed)

    def pulse(self) -> int:
        """Write the next event to every held stream; return how many those are."""
        for connection in list(self.held):
            connection.next_event()
        return len(self.held)

    def finish(self) -> int:
        """Write the rest of every held stream; return how many those were."""
        held, self.held = self.held, set()
        for connection in held:
            connection.write_on()
        return len(held)


class SoakUpstream(asyncio.Protocol):
    """One connection: requests one after the other."""

    __slots__ = ("_breaks_at", "_next", "_plan", "_received", "_timer", "_transport", "_world")

    def __init__(self, world: World) -> None:
        self._world = world
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._plan = Plan()
        self._next = 0
        self._breaks_at = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what nobody reads."""
        del exc
        self._transport = None
        self._world.held.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end or len(rest) < _content_length(head):
            return
        self._received = b""
        plan = plan_of(rest)
        if plan is not None:
            self._plan = plan
            self._later(plan.delay_ms, self._begin)
        elif head.startswith(b"POST /pulse "):
            self._write(_answer(b"%d" % self._world.pulse()))
        elif head.startswith(b"POST /finish "):
            self._write(_answer(b"%d" % self._world.finish()))
        else:
            self._write(_answer(MODEL_LIST))

    def next_event(self) -> None:
        """Write the next event of a stream, and see to those after it."""
        all_events, number = _events(self._plan), self._next
        if number == self._breaks_at:
            self._break()
            return
        self._next += 1
        is_last = self._next == len(all_events)
        part = all_events[number]
        self._write(b"%x\r\n%b\r\n%b" % (len(part), part, b"0\r\n\r\n" if is_last else b""))
        if is_last:
            self._world.held.discard(self)
        elif self._plan.held:
            self._world.held.add(self)
        else:
            self._later(self._plan.gap_ms, self.next_event)

    def write_on(self) -> None:
        """Write all that is left of a held stream."""
        rest = _events(self._plan)[self._next :]
        self._write(b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in rest) + b"0\r\n\r\n")

    def _begin(self) -> None:
        plan, chance = self._plan, self._world.chance
        breaks = bool(plan.fragile) and chance.random() < BROKEN_RATIO
        if plan.stream:
            self._next = 0
            self._breaks_at = chance.randrange(plan.events) if breaks else -1
            self._write(_EVENT_HEAD)
            self.next_event()
        elif breaks:
            body = _whole(plan)
            self._write(_answer(body)[: -len(body) // 2])
            self._break()
        else:
            self._write(_answer(_whole(plan)))

    def _break(self) -> None:
        """Break off: half of the time by a reset, else by a close that comes too early."""
        if self._transport is not None:
            (self._transport.abort if self._world.chance.random() < 0.5 else self._transport.close)()

    def _later(self, milliseconds: int, step: object) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(milliseconds / 1000, step)  # type: ignore[arg-type]  # a method without arguments

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def event_loop_factory() -> asyncio.AbstractEventLoop:
    """Make an uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - it is not there on every system
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def _serve() -> None:
    world = World()
    server = await asyncio.get_running_loop().create_server(
        lambda: SoakUpstream(world), "127.0.0.1", 0, backlog=BACKLOG
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    from bench.soak_children import raise_open_files

    raise_open_files()
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        runner.run(_serve())
