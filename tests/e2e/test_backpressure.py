"""What does a client cost that reads slowly, or not at all, while its server writes as fast as it can?

Clients here read exactly what a test lets them; the server says whether it is held up. Memory and processor time are
what the kernel says of a gateway that runs as a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.soak_kernel import Process
from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, open_gateway, until
from tests.fakes.house import ADMIN_KEY as HOUSE_KEY
from tests.fakes.house import LIMITS, open_house, server
from tests.fakes.raw_http import exchange
from tests.fakes.raw_http import request as http_request
from tests.fakes.torrent import SteppingReader, Torrent, TorrentAnswer, body_of, flowing

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel tells of memory on Linux only"),
]

MEBIBYTE = 1024 * 1024
STEP_BYTES = 1024
LARGE_BYTES = 48 * MEBIBYTE
"""More than the kernel keeps for two connections, so that the rest must wait in the server."""
HELD_BYTES = 6 * MEBIBYTE
"""Below the bound up to which an answer without streaming is held until it is whole."""
SLOW_COUNT = 50
QUIET = {"health_check_interval_seconds": 600, "continuation_enabled": False, "verification_enabled": False}
"""The torrent answers whoever asks, so the gateway itself must not."""


def ask(key: str = ADMIN_KEY, *, stream: bool) -> bytes:
    body = json.dumps({"model": "m", "messages": [], "stream": stream}).encode()
    return http_request(
        "POST", "/v1/chat/completions", [("X-API-Key", key), ("Content-Type", "application/json")], body
    )


@dataclass
class Slow:
    """A gateway whose one server is a torrent, warmed up: what it takes once for its first answer is taken."""

    gateway: GatewayProcess
    torrent: Torrent
    process: Process
    clients: AsyncExitStack

    async def read_whole(self, *, stream: bool) -> None:
        reader = await self.reader()
        await reader.send(ask(stream=stream))
        assert await reader.body() == body_of(self.torrent.size_bytes, stream=stream)
        reader.close()

    async def reader(self) -> SteppingReader:
        reader = await SteppingReader.open(self.gateway.port)
        self.clients.callback(reader.close)
        return reader

    async def begun(self, *, stream: bool) -> tuple[SteppingReader, TorrentAnswer]:
        """Ask, and read the first bytes of the answer."""
        reader, count = await self.reader(), len(self.torrent.answers)
        await reader.send(ask(stream=stream))
        await reader.read(STEP_BYTES)
        return reader, self.torrent.answers[count]

    async def in_flight(self) -> float:
        """How many requests run on the server, as /metrics has it."""
        answer = await exchange(self.gateway.port, http_request("GET", "/metrics", [("X-API-Key", ADMIN_KEY)]))
        lines = answer.body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("multiverse_in_flight{"))


@asynccontextmanager
async def slow(folder: Path, shell: str, torrent: Torrent, *, stream: bool, **settings: Any) -> AsyncIterator[Slow]:
    async with (
        flowing(torrent),
        open_gateway(folder / "gateway", shell, **{**QUIET, **settings}) as gateway,
        AsyncExitStack() as clients,
    ):
        async with gateway.client() as client:
            assert (await client.post("/admin/register", json={"endpoint_url": torrent.url})).status_code == 201
        world = Slow(gateway, torrent, Process(gateway.pid), clients)
        await world.read_whole(stream=stream)
        yield world


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "relayed"])
async def test_a_slow_reader_costs_less_than_a_mebibyte(tmp_path: Path, shell: str, *, stream: bool) -> None:
    torrent = Torrent(LARGE_BYTES)
    async with slow(tmp_path, shell, torrent, stream=stream, max_answer_hold_bytes=65536) as world:
        process = world.process
        rss_before = process.rss_bytes()
        process.forget_peak()
        reader, answer = await world.begun(stream=stream)
        await answer.until_held_up()
        for _step in range(64):
            await reader.read(STEP_BYTES)
        cpu_before = process.cpu_seconds()
        await answer.until_held_up()
        assert process.cpu_seconds() - cpu_before < 0.1  # it waits, and does not look again and again
        assert not answer.done
        assert process.peak_rss_bytes() - rss_before < MEBIBYTE
        assert await world.in_flight() == 1
        assert await reader.body() == body_of(LARGE_BYTES, stream=stream)
        await until_none_in_flight(world)
        assert process.peak_rss_bytes() - rss_before < MEBIBYTE


async def until_none_in_flight(world: Slow) -> None:
    async def none_is() -> bool:
        return not await world.in_flight()

    await until(none_is, "nothing is in flight")


async def test_many_slow_readers_cost_as_little_each(tmp_path: Path, shell: str) -> None:
    torrent = Torrent(LARGE_BYTES)
    async with slow(tmp_path, shell, torrent, stream=True) as world:
        process = world.process
        rss_before = process.rss_bytes()
        process.forget_peak()
        begun = [await world.begun(stream=True) for _number in range(SLOW_COUNT)]
        for _reader, answer in begun:
            await answer.until_held_up(polls=2)
        assert not any(answer.done for _reader, answer in begun)
        assert await world.in_flight() == SLOW_COUNT
        for _step in range(4):
            for reader, _answer in begun:
                await reader.read(STEP_BYTES)
        await world.read_whole(stream=True)  # others are not held up
        assert process.peak_rss_bytes() - rss_before < SLOW_COUNT * MEBIBYTE
        whole = body_of(torrent.size_bytes, stream=True)
        for reader, _answer in (begun[0], begun[-1]):
            assert await reader.body() == whole
        for reader, _answer in begun:
            reader.close()
        await until_none_in_flight(world)


async def test_a_slow_reader_of_a_held_answer_holds_no_server(tmp_path: Path, shell: str) -> None:
    """The answer is whole before the client sees a byte: it waits here, and the place on the server is free."""
    async with slow(tmp_path, shell, Torrent(HELD_BYTES), stream=False) as world:
        process = world.process
        rss_before = process.rss_bytes()
        process.forget_peak()
        reader, answer = await world.begun(stream=False)
        assert answer.done
        await until_none_in_flight(world)
        for _step in range(64):
            await reader.read(STEP_BYTES)
        assert process.peak_rss_bytes() - rss_before < 3 * HELD_BYTES + MEBIBYTE
        assert await reader.body() == body_of(HELD_BYTES, stream=False)
        await reader.send(ask(stream=False))  # the connection serves on
        reader.received.clear()
        assert await reader.body() == body_of(HELD_BYTES, stream=False)
        await until(lambda: process.rss_bytes() - rss_before < HELD_BYTES / 2, "the memory is given back")


NEVER_READ = {
    "stream": (True, LARGE_BYTES, 8 * MEBIBYTE),
    "relayed": (False, LARGE_BYTES, 65536),
    "held": (False, HELD_BYTES, 8 * MEBIBYTE),
}


@pytest.mark.parametrize("kind", NEVER_READ)
async def test_one_who_never_reads_is_let_go(tmp_path: Path, shell: str, kind: str) -> None:
    stream, size_bytes, hold_bytes = NEVER_READ[kind]
    settings = {"stream_idle_timeout_seconds": 0.5, "keepalive_timeout_seconds": 1, "max_answer_hold_bytes": hold_bytes}
    async with slow(tmp_path, shell, Torrent(size_bytes), stream=stream, **settings) as world:
        reader, _answer = await world.begun(stream=stream)
        process = world.process
        await until(lambda: set(process.sockets()) == {"LISTEN"}, "every connection is closed", seconds=5)
        assert len(await reader.end()) < size_bytes  # and the client can tell that it has not got all
        assert await world.in_flight() == 0


async def test_one_who_reads_slowly_and_steadily_is_not_given_up(shell: str) -> None:
    """The deadline is for clients that read nothing: here one reads a little between any two ticks."""
    limits = replace(LIMITS, idle_ticks=10)
    async with flowing(Torrent(LARGE_BYTES)) as torrent, open_house(shell, limits=limits) as house:
        house.install(server("s1", torrent.url))
        reader = await SteppingReader.open(house.port)
        try:
            await reader.send(ask(HOUSE_KEY, stream=True))
            await reader.read(STEP_BYTES)
            await torrent.answers[0].until_held_up()
            for _tick in range(5 * limits.idle_ticks):
                await reader.read(64 * STEP_BYTES)
                house.tick(1)
            assert not house.told.outcomes
            assert await reader.body() == body_of(LARGE_BYTES, stream=True)
            assert (await house.told.outcome()).status == 200
        finally:
            reader.close()


async def test_one_who_reads_a_held_answer_slowly_gets_all_of_it(shell: str) -> None:
    """For the gateway the answer is over; it is watched all the same, and not given up while it moves."""
    limits = replace(LIMITS, idle_ticks=10)
    async with flowing(Torrent(HELD_BYTES)) as torrent, open_house(shell, limits=limits) as house:
        house.install(server("s1", torrent.url))
        reader = await SteppingReader.open(house.port)
        try:
            await reader.send(ask(HOUSE_KEY, stream=False))
            await reader.read(STEP_BYTES)
            assert (await house.told.outcome()).status == 200
            for _tick in range(5 * limits.idle_ticks):
                await reader.read(64 * STEP_BYTES)
                house.tick(1)
            assert await reader.body() == body_of(HELD_BYTES, stream=False)
        finally:
            reader.close()


async def test_one_who_stops_reading_is_given_up_in_time(shell: str) -> None:
    limits = replace(LIMITS, idle_ticks=10)
    async with flowing(Torrent(LARGE_BYTES)) as torrent, open_house(shell, limits=limits) as house:
        house.install(server("s1", torrent.url))
        reader = await SteppingReader.open(house.port)
        try:
            await reader.send(ask(HOUSE_KEY, stream=True))
            await reader.read(STEP_BYTES)
            await torrent.answers[0].until_held_up()
            house.tick(limits.idle_ticks)
            assert not house.told.outcomes
            house.tick(limits.idle_ticks + 2)
            assert house.told.outcomes[0].error_code == "client_stalled"
            assert not (await reader.end()).endswith(b"0\r\n\r\n")
        finally:
            reader.close()
