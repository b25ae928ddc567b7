"""Does the load client of the benchmarks take right answers, and find one wrong byte?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.answers import SHAPES, Shape, request
from bench.client import AnswerReader, AnswerWrong, run_load
from bench.upstream import Upstream

KEY = "a-key"


def sent(shape: Shape) -> bytes:
    """An answer of this shape as an upstream sends it."""
    if not shape.streams:
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(shape.body), shape.body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in shape.parts)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_right_answers_are_taken_however_they_are_cut(shape: Shape, size: int) -> None:
    reader, answer = AnswerReader(shape.body), sent(shape)
    for _time in range(2):
        ends = [reader.feed(answer[start : start + size]) for start in range(0, len(answer), size)]
        assert ends == [False] * (len(ends) - 1) + [True]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(part=st.integers(0), place=st.integers(0), change=st.integers(1, 255))
def test_one_wrong_byte_of_a_body_is_found(shape: Shape, part: int, place: int, change: int) -> None:
    parts = [bytearray(one) for one in shape.parts]
    chosen = parts[part % len(parts)]
    chosen[place % len(chosen)] ^= change
    wrong = Shape(shape.name, shape.streams, tuple(map(bytes, parts)))
    with pytest.raises(AnswerWrong):
        AnswerReader(shape.body).feed(sent(wrong))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}",
        sent(SHAPES[0]) + b"x",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_other_answers_are_wrong(answer: bytes) -> None:
    with pytest.raises(AnswerWrong):
        AnswerReader(SHAPES[0].body).feed(answer)


class Corrupting(Upstream):
    """Changes one byte of what it sends last."""

    def _write(self, data: bytes) -> None:
        super()._write(data.replace(b'"created":1', b'"created":2'))


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_a_run_counts_right_answers_and_ends_at_a_wrong_one(shape: Shape) -> None:
    asked = request(shape, KEY)
    async with listening(Upstream) as port:
        load = await run_load([port], asked, shape.body, connections=3, seconds=0.05)
    assert load.answers >= 3
    async with listening(Corrupting) as port:
        with pytest.raises(AnswerWrong, match="differs"):
            await run_load([port], asked, shape.body, connections=3, seconds=30)
