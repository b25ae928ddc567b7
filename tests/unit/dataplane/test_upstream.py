"""One connection to a server: however the bytes are cut, the same answer is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer.opening import AnswerHead
from app.services.dataplane.upstream import MAX_HEAD_BYTES, Upstream


class Transport:
    """What a connection asks of its transport."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.aborted = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0


class Listener:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.ends: list[str] = []

    def on_head(self, head: AnswerHead) -> None:
        assert not self.status
        self.status, self.headers = head.status, dict(head.headers)

    def on_body(self, data: bytes) -> None:
        assert self.status
        assert data
        self.body += data

    def on_chunk(self, data: bytes, start: int) -> None:
        self.on_body(data[start:-2])

    def on_end(self) -> None:
        self.ends.append("end")

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        self.on_head(head)
        self.on_body(body)
        self.on_end()

    def on_broken(self, reason: str, *, heard: bool) -> None:
        self.ends.append(f"{reason} ({'heard' if heard else 'unheard'})")


def connect() -> tuple[Upstream, Transport, Listener, list[bool]]:
    freed: list[bool] = []
    upstream = Upstream(lambda _upstream, reusable: freed.append(reusable))
    transport: Any = Transport()
    upstream.connection_made(transport)
    listener = Listener()
    upstream.send(listener, b"HEAD", b"BODY")
    return upstream, transport, listener, freed


def feed(upstream: Upstream, data: bytes, cuts: list[int]) -> None:
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        if cut > start:
            upstream.data_received(data[start:cut])
            start = cut


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes, list[int]]:
    """An answer's bytes, its body, and where to cut."""
    body = draw(st.binary(max_size=200))
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 3))
    if draw(st.booleans()):
        framed = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: b\r\n\r\n%b" % (len(body), body)
    else:
        sizes = draw(st.lists(st.integers(1, 50), max_size=10))
        framed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
        rest = body
        for size in (*sizes, 10_000):
            piece, rest = rest[:size], rest[size:]
            if piece:
                framed += b"%x\r\n%b\r\n" % (len(piece), piece)
        framed += b"0\r\n\r\n"
    data = interim + framed
    return data, body, draw(st.lists(st.integers(0, len(data)), max_size=8))


@given(answers())
def test_any_split_of_the_bytes_tells_the_same_answer(answer: tuple[bytes, bytes, list[int]]) -> None:
    data, body, cuts = answer
    upstream, transport, listener, freed = connect()
    feed(upstream, data, cuts)
    assert (listener.status, listener.headers[b"x-a"], listener.body) == (200, b"b", body)
    assert listener.ends == ["end"]
    assert freed == [True]
    assert upstream.usable
    assert transport.written == b"HEADBODY"


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_rubbish_breaks_once_or_waits_for_more(data: bytes, cuts: list[int]) -> None:
    upstream, transport, listener, freed = connect()
    feed(upstream, data, cuts)
    if listener.ends:
        assert len(listener.ends) == 1
        assert transport.aborted or freed
    upstream.connection_lost(None)
    assert len(listener.ends) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nx-a: b\r\n folded: c\r\n\r\n",
        b"HTTP/1.1 200 OK\nx-a: b\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9,
        b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * MAX_HEAD_BYTES,
        b"<html>",
    ],
)
def test_ambiguous_or_invalid_answers_break(data: bytes) -> None:
    _upstream, transport, listener, _freed = connect()
    feed(_upstream, data, [])
    assert len(listener.ends) == 1
    assert listener.ends[0].endswith("(heard)")
    assert transport.aborted


@pytest.mark.parametrize(
    "extra", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"rubbish", b"\r\nHTTP/1.1 500 No\r\n\r\n", b"\0"]
)
def test_bytes_after_the_end_end_the_connection_but_not_the_answer(extra: bytes) -> None:
    upstream, transport, listener, freed = connect()
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + extra)
    assert (listener.body, listener.ends) == (b"{}", ["end"])
    assert freed == [False]
    assert transport.is_closing()


def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    upstream, transport, listener, _freed = connect()
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert transport.aborted
    assert listener.ends == ["end"]


def test_an_answer_without_length_ends_with_the_connection() -> None:
    upstream, _transport, listener, _freed = connect()
    upstream.data_received(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nab")
    upstream.data_received(b"cd")
    assert listener.ends == []
    upstream.connection_lost(None)
    assert (listener.body, listener.ends) == (b"abcd", ["end"])


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (b"", None, "the connection was closed (unheard)"),
        (b"", ConnectionResetError(), "the connection was reset (unheard)"),
        (b"HTTP/1.1 200 OK\r\n", None, "the connection was closed (heard)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", None, "the connection was closed (heard)"),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nab", ConnectionResetError(), "the connection was reset (heard)"),
    ],
)
def test_a_lost_connection_is_told(data: bytes, error: Exception | None, reason: str) -> None:
    upstream, _transport, listener, freed = connect()
    if data:
        upstream.data_received(data)
    upstream.connection_lost(error)
    assert listener.ends == [reason]
    assert freed == [False]


def test_http_1_0_and_close_are_not_reused() -> None:
    for head in (b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n"):
        upstream, transport, listener, freed = connect()
        upstream.data_received(head + b"content-length: 2\r\n\r\n{}")
        assert listener.ends == ["end"]
        assert freed == [False]
        assert transport.closed


def test_an_aborted_exchange_is_told_nothing_more() -> None:
    upstream, transport, listener, freed = connect()
    upstream.abort()
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    upstream.connection_lost(None)
    assert (listener.status, listener.ends, transport.aborted, freed) == (0, [], True, [False])


def test_a_connection_that_was_paused_is_not_reused() -> None:
    upstream, transport, listener, freed = connect()
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")
    upstream.pause()
    upstream.data_received(b"}")
    assert (listener.ends, freed, transport.closed) == (["end"], [False], True)


def test_reading_pauses_only_while_an_answer_is_awaited() -> None:
    upstream, transport, _listener, _freed = connect()
    upstream.pause()
    assert not transport.reading
    upstream.resume()
    assert transport.reading
    upstream.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    upstream.pause()
    assert transport.reading
