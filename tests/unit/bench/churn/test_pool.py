"""Are engines started, killed, stopped, steered and brought back as the timetable asks, and all ended at the end?"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import httptools
import pytest

from bench.churn.client import Attempt, Caller
from bench.churn.faults import Deed
from bench.churn.judge import Fate, StreamJudge
from bench.churn.network import NoNamespace, drop_packets, network_of_its_own, pass_packets
from bench.churn.pool import Pool
from tests.unit.bench.churn.examples import ask_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
PATIENCE_SECONDS = 20.0
GAP_SECONDS = 0.004


@asynccontextmanager
async def engines(count: int, *, vanishing: bool = False) -> AsyncIterator[Pool]:
    pool = Pool(count, (), Random(), gap_seconds=GAP_SECONDS, vanishing=vanishing)
    try:
        await pool.start()
        yield pool
    finally:
        await pool.close()


async def ask(pool: Pool, number: int, kind: str = "stream", seed: int = 1) -> Attempt:
    return await Caller(pool.running[number].port, Random(seed), PATIENCE_SECONDS)._attempt(ask_of(kind, seed))


class Begun:
    """A stream whose first token has come."""

    def __init__(self, port: int) -> None:
        self._ask = ask_of("stream")
        self._port = port
        self._judge = StreamJudge(self._ask.expected)
        self._parser = httptools.HttpResponseParser(self)
        self._is_whole = False

    async def begin(self) -> None:
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {self._ask.path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(self._ask.body)}\r\n\r\n"
        self.writer.write(head.encode() + self._ask.body)
        while not self._judge.server:
            await self.read()

    async def read(self) -> bytes:
        data = await self._reader.read(65_536)
        self._parser.feed_data(data)
        return data

    async def fate(self) -> Fate:
        while not self._is_whole:
            await self.read()
        return self._judge.verdict(is_whole=True)[0]

    async def fate_within(self, seconds: float) -> Fate | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.fate()
        return None

    def on_body(self, body: bytes) -> None:
        self._judge.feed(body, 0.0)

    def on_message_complete(self) -> None:
        self._is_whole = True


@asynccontextmanager
async def begun_stream(pool: Pool) -> AsyncIterator[Begun]:
    begun = Begun(pool.running[0].port)
    await begun.begin()
    try:
        yield begun
    finally:
        begun.writer.transport.abort()
        with suppress(ConnectionError):
            await begun.writer.wait_closed()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.005)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_engines_answer_die_and_come_back_on_their_ports() -> None:
    async with engines(3) as pool:
        before = pool.running
        assert len({running.port for running in before}) == pool.count == 3
        for number, kind in enumerate(("stream", "plain", "text")):
            assert (await ask(pool, number, kind)).fate is Fate.EXACT
        pool.do(Deed.KILL, 0)
        assert not is_there(before[0].pid)
        assert (await ask(pool, 0)).fate is Fate.UNREACHED
        assert pool.backs() == []
        pool.do(Deed.START, 0)
        assert await pool.settled()
        asked = await ask(pool, 0)
        assert (asked.fate, asked.server) == (Fate.EXACT, "vllm-0-1")
        pool.do(Deed.REPLACE, 1)
        assert await pool.settled()
        first, second = pool.backs()
        assert first.asked_seconds is not None
        assert first.ready_seconds < first.asked_seconds < time.monotonic()
        assert second.asked_seconds is None
        assert [running.port for running in pool.running] == [running.port for running in before]
        assert pool.fallen() == []
        pids = [running.pid for running in pool.running]
    assert not [pid for pid in pids if is_there(pid)]


@pytest.mark.parametrize(
    ("deed", "fate", "whole"),
    [
        (Deed.RESET, Fate.CUT, Fate.CUT),
        (Deed.EOF, Fate.CUT, Fate.CUT),
        (Deed.ERROR, Fate.TOLD, Fate.TOLD),
    ],
)
async def test_an_engine_breaks_answers_as_it_is_told_and_is_well_again(deed: Deed, fate: Fate, whole: Fate) -> None:
    async with engines(1) as pool:
        assert (await ask(pool, 0)).fate is Fate.EXACT
        pool.do(deed, 0)
        assert await fates_until(fate, pool, "stream") <= {Fate.EXACT, fate}
        assert await fates_until(whole, pool, "plain") == {whole}  # it has read by now what it was told
        pool.do(Deed.STEADY, 0)
        await fates_until(Fate.EXACT, pool, "plain")  # from now on it is steady
        assert (await ask(pool, 0)).fate is Fate.EXACT


async def fates_until(fate: Fate, pool: Pool, kind: str) -> set[Fate]:
    """Ask until it comes out so; an answer may end before the place at which it would break."""
    seen: set[Fate] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while fate not in seen:
            seen.add((await ask(pool, 0, kind)).fate)
    return seen


async def test_a_dripping_engine_is_slow_and_right() -> None:
    async with engines(1) as pool, begun_stream(pool) as stream:
        pool.do(Deed.DRIP, 0)
        while len(await stream.read()) > 24:
            pass
        pool.do(Deed.STEADY, 0)
        assert await stream.fate() is Fate.EXACT


async def test_a_stopped_engine_stands_still_and_goes_on() -> None:
    async with engines(1) as pool, begun_stream(pool) as stream:
        pool.do(Deed.STOP, 0)
        await until(lambda: state_of(pool.running[0].pid) == "T")
        assert await stream.fate_within(0.1) is None
        pool.do(Deed.GO_ON, 0)
        assert await stream.fate() is Fate.EXACT


async def test_one_that_ends_by_itself_is_told() -> None:
    async with engines(1) as pool:
        os.kill(pool.running[0].pid, 9)
        pool.running[0].child.wait()
        assert pool.fallen() == ["engine 0 ended by itself, exit code -9"]


async def drop_and_pass() -> None:
    async with engines(1, vanishing=True) as pool, begun_stream(pool) as stream:
        pool.do(Deed.DROP, 0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.open_connection("127.0.0.1", pool.running[0].port)
        assert await stream.fate_within(0.1) is None
        pool.do(Deed.RELEASE, 0)
        assert await pool.settled()
        assert (await ask(pool, 0)).fate is Fate.EXACT
        assert await stream.fate_within(0.1) is None  # nothing tells it that the other side is gone


def test_packets_are_dropped_in_a_network_of_its_own_alone() -> None:
    before = Path("/proc/self/ns/net").readlink()
    try:
        with network_of_its_own():
            assert Path("/proc/thread-self/ns/net").readlink() != before
            asyncio.run(drop_and_pass())
    except NoNamespace as error:
        assert "rights of root" in str(error) or "iproute2" in str(error)  # noqa: PT017 - not every machine gives one
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_without_the_command_no_namespace_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoNamespace, match="iproute2"), network_of_its_own():
        pass
    for act in (drop_packets, pass_packets):
        with pytest.raises(NoNamespace, match="failed"):
            act(1)
