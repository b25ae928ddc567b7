"""A model server that writes as fast as the other side takes it, and a client that reads only as much as it is told.

What is written depends on nothing but the size, so that the client can compare every byte. An answer's connection says
how far it has come and whether it is held up: ``paused`` is the transport's own word that its buffer is full.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Self, cast

from tests.fakes.gateway_process import until
from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, chunk, json_answer

__all__ = ["SteppingReader", "Torrent", "TorrentAnswer", "body_of", "flowing"]

PIECE_BYTES = 16 * 1024
PIECES_PER_TURN = 64
STILL_POLLS = 20
LIST = json_answer({"object": "list", "data": [{"id": "m", "object": "model"}]})


def pieces(size_bytes: int, *, stream: bool) -> Iterator[bytes]:
    """The pieces of a chat answer of about so many bytes: events, or parts of one JSON object. Each has a number."""
    begin, end = _stream_frame() if stream else (b"", b"")
    if not stream:
        yield b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"'
    for number in range(size_bytes // PIECE_BYTES):
        yield begin + b"%08d " % number + b"x" * (PIECE_BYTES - 9 - len(begin) - len(end)) + end
    if stream:
        yield b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        yield b"data: [DONE]\n\n"
    else:
        yield b'"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'


def _stream_frame() -> tuple[bytes, bytes]:
    return b'data: {"choices":[{"index":0,"delta":{"content":"', b'"},"finish_reason":null}]}\n\n'


def body_of(size_bytes: int, *, stream: bool) -> bytes:
    """The whole body, as a client must receive it."""
    return b"".join(pieces(size_bytes, stream=stream))


class TorrentAnswer(asyncio.Protocol):
    """One connection to the server: lists the model, or answers one POST with a torrent.

    Each answer has a connection of its own: one that was read fast keeps a large buffer in the kernel.
    """

    def __init__(self, torrent: Torrent) -> None:
        self._torrent = torrent
        self._received = b""
        self._pieces: Iterator[bytes] = iter(())
        self._frame: Callable[[bytes], bytes] = chunk
        self._last = b""
        self._transport: asyncio.Transport | None = None
        self.written_bytes = 0
        self.paused = False
        self.done = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        asyncio.get_running_loop().call_soon(self._write)  # asyncio's transport is not to be closed inside this call

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"GET"):
            self._received = b""
            self._transport.write(LIST)
        elif len(body) >= _content_length(head):
            self._received = b""
            self._torrent.answers.append(self)
            self._answer(stream=bool(json.loads(body).get("stream")))

    def _answer(self, *, stream: bool) -> None:
        assert self._transport is not None
        size_bytes = self._torrent.size_bytes
        self._pieces = pieces(size_bytes, stream=stream)
        self._frame = chunk if stream else bytes
        self._last = LAST_CHUNK if stream else b""
        whole = len(body_of(size_bytes, stream=False))
        plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % whole
        self._transport.write((EVENT_HEAD if stream else plain).replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
        self._write()

    def _write(self) -> None:
        """Write until the transport's buffer is full; now and then give the event loop a turn."""
        assert self._transport is not None
        for _count in range(PIECES_PER_TURN):
            if self.paused or self.done or self.lost:
                return
            piece = next(self._pieces, None)
            if piece is None:
                self.done = True
                self._transport.write(self._last)
                self._transport.close()
                return
            self.written_bytes += len(piece)
            self._transport.write(self._frame(piece))
        asyncio.get_running_loop().call_soon(self._write)

    async def until_held_up(self, polls: int = STILL_POLLS) -> None:
        """Wait until nothing more can be written, and nothing more was in a while."""
        seen, still = -1, 0

        def is_still() -> bool:
            nonlocal seen, still
            still = still + 1 if self.paused and self.written_bytes == seen else 0
            seen = self.written_bytes
            return still > polls

        await until(is_still, "the server is held up")


class Torrent:
    """The server. ``answers``: the connection of each answer that was asked for, in order."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.answers: list[TorrentAnswer] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def flowing(torrent: Torrent) -> AsyncIterator[Torrent]:
    """Serve it, and reset what is open at the end."""
    made: list[TorrentAnswer] = []

    def connection() -> TorrentAnswer:
        made.append(TorrentAnswer(torrent))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, backlog=1024)
    torrent.port = server.sockets[0].getsockname()[1]
    try:
        yield torrent
    finally:
        server.close()
        for one in made:
            if one._transport is not None and not one.lost:
                one._transport.abort()
        await server.wait_closed()


class SteppingReader:
    """A client whose kernel buffer is small and who reads exactly as many bytes as it is told."""

    PATIENCE_SECONDS = 30.0

    def __init__(self, plug: socket.socket) -> None:
        self._plug = plug
        self.received = bytearray()

    @classmethod
    async def open(cls, port: int, receive_buffer_bytes: int = 32 * 1024) -> Self:
        plug = socket.socket()
        plug.setblocking(False)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", port))
        return cls(plug)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._plug, data)

    async def read(self, count: int) -> None:
        """Read so many bytes, waiting for them."""
        wanted = len(self.received) + count
        async with asyncio.timeout(self.PATIENCE_SECONDS):
            while len(self.received) < wanted:
                await self._receive(wanted - len(self.received))

    async def body(self) -> bytes:
        """Read on to the end of the answer; return its body without framing."""
        async with asyncio.timeout(self.PATIENCE_SECONDS):
            while b"\r\n\r\n" not in self.received:
                await self._receive(1024)
            head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), self.received[:500]
            start = len(self.received) - len(rest)
            if b"\r\ncontent-length: " in head:
                whole = start + _content_length(head)
                while len(self.received) < whole:
                    await self._receive(65536)
                return bytes(self.received[start:])
            while not self.received.endswith(b"\r\n0\r\n\r\n"):
                await self._receive(65536)
            return _without_chunks(self.received, start)

    async def end(self) -> bytes:
        """Read until the other side is gone, by a close or by a reset; return all that came."""
        async with asyncio.timeout(self.PATIENCE_SECONDS):
            try:
                while data := await asyncio.get_running_loop().sock_recv(self._plug, 65536):
                    self.received += data
            except ConnectionResetError:
                return bytes(self.received)
            return bytes(self.received)

    def close(self) -> None:
        self._plug.close()

    async def _receive(self, most: int) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._plug, most)
        if not data:
            message = f"the gateway hung up after {len(self.received)} bytes"
            raise AssertionError(message)
        self.received += data


def _without_chunks(data: bytearray, start: int) -> bytes:
    parts: list[bytes] = []
    while True:
        line_end = data.index(b"\r\n", start)
        size = int(data[start:line_end], 16)
        if not size:
            return b"".join(parts)
        parts.append(bytes(data[line_end + 2 : line_end + 2 + size]))
        start = line_end + 2 + size + 2


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
