"""Does the client ask again exactly where openai-python would, and know what became of each attempt?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from bench.churn.client import Caller, Fared
from bench.churn.judge import Fate
from bench.churn.kinds import Ask
from tests.unit.bench.churn.examples import ask_of, events_of, script_of

Reply = Callable[[asyncio.StreamWriter], None]
STREAM, PLAIN = ask_of("stream"), ask_of("plain")


def status(code: int, body: bytes = b"{}", **fields: str) -> bytes:
    told = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {code} X\r\n{told}content-length: {len(body)}\r\n\r\n".encode() + body


def stream(ask: Ask, count: int | None = None, *, end: bool = True) -> bytes:
    events = events_of(ask)[:count]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + (b"0\r\n\r\n" if end else b"")


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that gives each connection the next answer and closes; an empty one means: say nothing, stay open."""
    left, asked = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        asked.append(head + await reader.readexactly(size))
        answer = left.pop(0)
        if not answer:
            await reader.read()  # until the client leaves
        writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(lambda *pair: tasks.append(asyncio.create_task(serve(*pair))), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        await asyncio.gather(*tasks)


async def asked(ask: Ask, *answers: bytes, patience_seconds: float = 5.0) -> tuple[Fared, int]:
    async with answering(*answers) as (port, requests):
        caller = Caller(port, Random(1), patience_seconds)
        caller._pause_seconds = lambda _attempt, _retries: 0.0  # type: ignore[method-assign]
        fared = await caller.ask(ask, 1.5)
        assert all(request.endswith(ask.body) for request in requests)
        return fared, len(requests)


async def test_what_is_exact_is_asked_once() -> None:
    for ask, answer in ((STREAM, stream(STREAM)), (PLAIN, status(200, script_of(PLAIN).body))):
        fared, count = await asked(ask, answer)
        assert fared.first.fate is Fate.EXACT
        assert fared.last is fared.first
        assert (count, fared.attempts, fared.due_seconds) == (1, 1, 1.5)


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504])
async def test_a_refusal_that_may_pass_is_asked_again(code: int) -> None:
    fared, count = await asked(STREAM, status(code), stream(STREAM))
    assert (fared.first.fate, fared.first.status) == (Fate.REFUSED, code)
    assert (fared.last.fate, count) == (Fate.EXACT, 2)


async def test_it_is_asked_again_twice_at_most() -> None:
    fared, count = await asked(STREAM, *[status(503)] * 4)
    assert (fared.last.fate, fared.attempts, count) == (Fate.REFUSED, 3, 3)


@pytest.mark.parametrize("code", [400, 401, 404, 422])
async def test_a_refusal_for_good_is_not_asked_again(code: int) -> None:
    fared, count = await asked(STREAM, status(code, b"no"), stream(STREAM))
    assert (fared.last.fate, fared.last.reason, count) == (Fate.REFUSED, "no", 1)


async def test_a_lost_connection_is_asked_again_unless_a_stream_has_begun() -> None:
    before, count = await asked(STREAM, b"HTTP/1.1 20", stream(STREAM))
    assert (before.first.fate, before.last.fate, count) == (Fate.UNREACHED, Fate.EXACT, 2)
    begun, count = await asked(STREAM, stream(STREAM, 9, end=False), stream(STREAM))
    assert (begun.last.fate, count) == (Fate.CUT, 1)
    whole = status(200, script_of(PLAIN).body)
    half, count = await asked(PLAIN, whole[:-20], whole)
    assert (half.first.fate, half.last.fate, count) == (Fate.CUT, Fate.EXACT, 2)


async def test_a_stream_that_ends_early_in_order_is_cut() -> None:
    fared, _count = await asked(STREAM, stream(STREAM, 9))
    assert fared.first.fate is Fate.CUT


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    fared, _count = await asked(STREAM, b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(events_of(STREAM)))
    assert fared.first.fate is Fate.EXACT


async def test_what_is_no_http_is_no_answer() -> None:
    fared, _count = await asked(STREAM, b"SSH-2.0-x\r\n", b"\0", b"SSH-2.0-x\r\n")
    assert fared.last.fate is Fate.UNREACHED
    assert "no HTTP" in fared.last.reason


async def test_patience_ends() -> None:
    fared, count = await asked(STREAM, b"", patience_seconds=0.05)
    assert (fared.last.fate, count) == (Fate.LATE, 1)


async def test_nobody_there_is_unreached(unused_tcp_port: int) -> None:
    caller = Caller(unused_tcp_port, Random(1), 1.0)
    caller._pause_seconds = lambda _attempt, _retries: 0.0  # type: ignore[method-assign]
    fared = await caller.ask(STREAM, 0.0)
    assert (fared.first.fate, fared.attempts) == (Fate.UNREACHED, 3)


async def test_pauses_are_those_of_openai_python() -> None:
    fared, _count = await asked(STREAM, status(503, retry_after="7"), status(503, retry_after="120"), status(500))
    caller = Caller(1, Random(1), 1.0)
    assert caller._pause_seconds(fared.first, 0) == 7
    for retries, most in ((0, 0.5), (1, 1.0), (9, 8.0)):
        assert 0.75 * most <= caller._pause_seconds(fared.last, retries) <= most
