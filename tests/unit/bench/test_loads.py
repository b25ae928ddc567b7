"""Do the load generators count right answers, find one wrong byte on the way, and charge a gateway with its pauses?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from bench import measuring
from bench.answers import CUT, IDENTIFIED, PLAIN, STREAM, Answer
from bench.closed_loop import ClosedLoop, until
from bench.measuring import Target, measure
from bench.open_loop import OpenLoop, RateNotHeld
from bench.requests import SHORT_PROMPT, distinct_requests, equal_requests
from bench.upstream import Heads, Pace, Upstream
from bench.works import Kind, Work

KEY = "a-key"
PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def upstream() -> AsyncIterator[int]:
    paces, heads = {STREAM.model: Pace(1), CUT.model: Pace(3)}, Heads()
    async with listening(lambda: Upstream(paces, heads)) as port:
        yield port


class Corrupter(asyncio.Protocol):
    """A relay that changes one byte of an answer: the last of ``mark``, once it has come so often."""

    def __init__(self, port: int, mark: bytes, skip: int) -> None:
        self.port, self.mark, self.skip = port, mark, skip
        self.waiting: list[bytes] = []
        self.other: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.client = cast("asyncio.Transport", transport)
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        relay = self

        class Back(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                relay.client.write(relay.corrupted(data))

        loop = asyncio.get_running_loop()
        transport, _back = await loop.create_connection(Back, "127.0.0.1", self.port)
        self.other = transport
        transport.writelines(self.waiting)

    def corrupted(self, data: bytes) -> bytes:
        if self.mark in data:
            self.skip -= 1
            if self.skip < 0:
                return data.replace(self.mark, self.mark[:-1] + bytes([self.mark[-1] ^ 1]), 1)
        return data

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.waiting.append(data)
        else:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connecting.cancel()
        if self.other is not None:
            self.other.abort()


def work(kind: Kind, answer: Answer = PLAIN, rate: float = 0) -> Work:
    return Work("tried", "tried", kind, answer, 0.1, 0.1, ramp_seconds=0.01, connections=3, rate=rate)


@pytest.mark.parametrize("answer", [PLAIN, IDENTIFIED, STREAM, CUT], ids=lambda answer: answer.model)
async def test_a_closed_loop_counts_right_answers(upstream: int, answer: Answer) -> None:
    requests = equal_requests(answer, KEY, "bench", SHORT_PROMPT)
    async with ClosedLoop(upstream, answer, requests, 3) as load:
        await load.open_all(0)
        assert await until(lambda: load.answers >= 6 and load.with_events(1) == 3, PATIENCE_SECONDS)
        assert (load.wrong, load.first_wrong) == (0, "")
        assert load.events >= 6 * len(answer.events)


async def test_no_two_distinct_requests_are_alike_and_all_are_answered(upstream: int) -> None:
    requests = distinct_requests(PLAIN, KEY, "bench", seed=1)
    some = [next(requests) for _number in range(200)]
    assert len(set(some)) == 200
    assert len({len(request) for request in some}) > 50
    async with ClosedLoop(upstream, PLAIN, requests, 2) as load:
        await load.open_all(0)
        assert await until(lambda: load.answers >= 50, PATIENCE_SECONDS)
        assert load.first_wrong == ""


@pytest.mark.parametrize(
    ("kind", "answer", "rate", "mark"),
    [
        (Kind.SATURATION, PLAIN, 0, b'"created":1764000000'),
        (Kind.STREAMS, STREAM, 0, b"word57"),
        (Kind.RATE, PLAIN, 200, b'"created":1764000000'),
    ],
)
async def test_one_corrupted_byte_fails_the_round(
    upstream: int, kind: Kind, answer: Answer, rate: float, mark: bytes
) -> None:
    async with listening(lambda: Corrupter(upstream, mark, skip=1)) as port:
        sample = await measure(work(kind, answer, rate), Target("relay", port, None), 1, 0.4)
    assert sample.wrong >= 1
    assert "differs" in sample.first_wrong
    async with listening(lambda: Corrupter(upstream, b"never in an answer", skip=0)) as port:
        sample = await measure(work(kind, answer, rate), Target("relay", port, None), 1, 0.4)
    assert (sample.wrong, sample.first_wrong) == (0, "")
    assert sample.figures


async def test_a_port_where_nobody_listens_is_wrong_not_fast(unused_tcp_port: int) -> None:
    for kind in (Kind.SATURATION, Kind.RATE):
        sample = await measure(work(kind, rate=100), Target("nobody", unused_tcp_port, None), 1, 0.1)
        assert sample.wrong == 1
        assert "no connection" in sample.first_wrong


class Pausing(Upstream):
    """Answers nothing for a while, then all that waits: everything that came meanwhile was late."""

    until = 0.0

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self.until:
            loop.call_at(self.until, Upstream.data_received, self, data)
        else:
            super().data_received(data)


async def test_a_pause_is_charged_to_all_requests_that_were_due_in_it() -> None:
    def protocol() -> Pausing:
        made = Pausing({}, heads)
        made.until = until_time
        return made

    heads = Heads()
    until_time = asyncio.get_running_loop().time() + 0.5
    async with listening(protocol) as port:
        load = OpenLoop(port, PLAIN, equal_requests(PLAIN, KEY, "bench", SHORT_PROMPT), rate=500)
        await load.run(0.8)
    assert load.answers == len(load.latencies) == 400
    late = [latency for latency in load.latencies if latency > 0.2]
    assert len(late) > 64  # more than there are connections: those that had to wait for one are counted from their time
    assert min(load.latencies) < 0.2


class Silent(asyncio.Protocol):
    """Takes everything, answers nothing."""


async def test_a_rate_that_is_not_held_is_said_so() -> None:
    async with listening(Silent) as port:
        load = OpenLoop(port, PLAIN, equal_requests(PLAIN, KEY, "bench", SHORT_PROMPT), rate=2000)
        with pytest.raises(RateNotHeld, match="holds 0 of 2000"):
            await load.run(1.2)


async def test_silence_is_wrong_where_a_gateway_does_nothing_and_noted_where_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measuring, "_FIRST_SECONDS", 0.05)
    works = [sys.executable, "-uc", "print('begun')\nwhile True: pass"]
    busy = subprocess.Popen(works, stdout=subprocess.PIPE)  # noqa: ASYNC220 - starting it blocks nobody here
    idle = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # noqa: ASYNC220 - as above
    try:
        assert busy.stdout.readline() == b"begun\n"
        async with listening(Silent) as port:
            lost = await measure(work(Kind.SATURATION), Target("silent", port, idle.pid), 1, 0.3)
            slow = await measure(work(Kind.SATURATION), Target("silent", port, busy.pid), 1, 0.3)
    finally:
        for child in (busy, idle):
            with child:
                child.kill()
    assert (lost.wrong, lost.first_wrong) == (1, "nothing came within 0.3 s, and the gateway did nothing")
    assert (slow.wrong, slow.note) == (0, "nothing came within 0.3 s")
    assert lost.figures == slow.figures == {}


class Leaving(Upstream):
    """Closes each connection after an answer, as HTTP allows."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        assert self._transport is not None
        self._transport.close()


async def test_a_connection_that_is_closed_between_answers_is_made_anew() -> None:
    heads = Heads()
    async with listening(lambda: Leaving({}, heads)) as port:
        requests = equal_requests(PLAIN, KEY, "bench", SHORT_PROMPT)
        async with ClosedLoop(port, PLAIN, requests, 2) as load:
            await load.open_all(0)
            assert await until(lambda: load.answers >= 6, PATIENCE_SECONDS)
            assert load.wrong == 0
            assert load.reconnects >= 4
