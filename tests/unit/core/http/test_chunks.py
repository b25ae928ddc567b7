"""Are whole chunks told from all that a parser has to read?"""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.http.chunks import SIZE_LINES, are_whole_chunks, size_line

DATA = st.binary(min_size=1, max_size=300) | st.integers(1, 70_000).map(bytes)


def chunk_start(data: bytes) -> int:
    """As the connection to a server asks."""
    line = size_line(len(data))
    assert len(data) >= len(SIZE_LINES) or SIZE_LINES[len(data)] == line
    return len(line) if data.startswith(line) and data.endswith(b"\r\n") else 0


class Notes:
    def __init__(self) -> None:
        self.body = b""
        self.chunks = 0

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_chunk_complete(self) -> None:
        self.chunks += 1


def parsed(data: bytes) -> Notes | None:
    """What a parser makes of it behind a head; None when it refuses."""
    notes = Notes()
    parser = httptools.HttpResponseParser(notes)
    parser.feed_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        return None
    return notes


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@given(DATA)
def test_one_chunk_is_seen(data: bytes) -> None:
    whole = chunk(data)
    assert whole[chunk_start(whole) : -2] == data
    assert chunk_start(whole) == whole.find(b"\n") + 1
    assert are_whole_chunks(whole, 0)


@given(st.lists(DATA, max_size=5), st.binary(max_size=20))
def test_a_row_of_chunks_is_seen(parts: list[bytes], before: bytes) -> None:
    assert are_whole_chunks(before + b"".join(map(chunk, parts)), len(before))


@given(st.lists(DATA, min_size=2, max_size=5))
def test_several_are_not_one(parts: list[bytes]) -> None:
    assert not chunk_start(b"".join(map(chunk, parts)))


@given(DATA, st.data())
def test_a_part_of_one_is_none(data: bytes, draw: st.DataObject) -> None:
    whole = chunk(data)
    part = whole[: draw.draw(st.integers(1, len(whole) - 1))]
    assert not chunk_start(part) or parsed(part + whole[len(part) :]) is None
    assert not are_whole_chunks(part, 0)


@given(st.text(alphabet="0123456789abcdefABCDEF\r\n; x_+", max_size=24))
def test_nothing_is_taken_that_a_parser_reads_otherwise(text: str) -> None:
    data = text.encode()
    start = chunk_start(data)
    if start:
        notes = parsed(data)
        assert notes is not None
        assert (notes.body, notes.chunks) == (data[start:-2], 1)
    if data and are_whole_chunks(data, 0):
        notes = parsed(data)
        assert notes is not None
        assert notes.chunks > 0


@pytest.mark.parametrize("length", [*range(30), 261, 262, 263, 4102, 4103, 4104, 65543, 65544])
def test_nothing_begins_with_the_line_of_a_length_that_no_chunk_has(length: int) -> None:
    line = size_line(length)
    sizes = [size for size in range(max(0, length - 12), length) if size and len(b"%x" % size) + size + 4 == length]
    assert (len(line) > length) is (not sizes)
    assert not sizes or line == b"%x\r\n" % sizes[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"none" + b"x" * 15 + b"\r\n",
        b"\r\n",
        b"0\r\n\r\n",
        b"0005\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"5\nhello\n",
        b"6\r\nhello\r\n",
        b"4\r\nhello\r\n",
        b"5\r\nhelloXX",
        b"fffffffffff\r\nhello\r\n",
    ],
)
def test_other_forms_are_left_to_the_parser(data: bytes) -> None:
    assert not chunk_start(data)
    assert not data or not are_whole_chunks(data, 0)
