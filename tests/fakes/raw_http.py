"""An HTTP/1.1 client that sends exactly the bytes it is told, and reads answers strictly.

Client libraries refuse to send what an attacker sends. This one sends anything, and believes nothing: an answer that is
not framed as RFC 9112 asks is an error of the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["RawAnswer", "RawConnection", "connected", "exchange", "request"]

PATIENCE_SECONDS = 10.0
LONGEST_LINE_BYTES = 64 * 1024


@dataclass(frozen=True)
class RawAnswer:
    """One answer as it came. ``headers`` by lower-case name; none that the gateway sends may come twice."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's inside; anything that is not exactly the envelope fails the test."""
        assert self.headers.get("content-type") == "application/json", (self.headers, self.body[:300])
        whole = self.json
        assert list(whole) == ["error"], whole
        assert set(whole["error"]) == {"message", "type", "param", "code"}, whole
        assert whole["error"]["message"].endswith((".", "!", "?")), whole
        return dict(whole["error"])

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class RawConnection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST_LINE_BYTES)
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        """Send bytes. A peer that has hung up already is no error: its answer may still be there to read."""
        self._writer.write(data)
        try:
            await asyncio.wait_for(self._writer.drain(), PATIENCE_SECONDS)
        except (ConnectionError, TimeoutError):
            return

    async def end_sending(self) -> None:
        self._writer.write_eof()

    async def answer(self, *, head_only: bool = False) -> RawAnswer:
        """Read one final answer; interim ones are passed over (``interim`` reads them)."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status, headers = await self._head()
                if status >= 200:
                    return RawAnswer(status, headers, await self._body(status, headers, head_only=head_only))

    async def interim(self) -> int:
        """Read one answer's head and return its status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self._head())[0]

    async def rest(self) -> bytes:
        """Read until the other side closes; a reset counts as a close."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            gathered = b""
            try:
                while data := await self._reader.read(65536):
                    gathered += data
            except ConnectionError:
                pass
            return gathered

    async def answers(self) -> list[RawAnswer]:
        """Read answers until the other side closes."""
        found = []
        while await self._more():
            found.append(await self.answer())
        return found

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _more(self) -> bool:
        """Whether another byte comes before the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                data = await self._reader.readexactly(1)
            except (asyncio.IncompleteReadError, ConnectionError):
                return False
        self._reader._buffer[:0] = data  # type: ignore[attr-defined]  # put back: streams have no peek
        return True

    async def _head(self) -> tuple[int, dict[str, str]]:
        version, status, *_phrase = (await self._line()).split(" ", 2)
        assert version == "HTTP/1.1", version
        headers: dict[str, str] = {}
        while line := await self._line():
            name, colon, value = line.partition(":")
            assert colon, line
            assert name == name.strip(), line
            assert name.lower() not in headers, f"{name} comes twice"
            headers[name.lower()] = value.strip()
        return int(status), headers

    async def _line(self) -> str:
        line = await self._reader.readuntil(b"\r\n")
        assert line.count(b"\n") == 1, line
        return line[:-2].decode("latin-1")

    async def _body(self, status: int, headers: dict[str, str], *, head_only: bool) -> bytes:
        if head_only or status in {204, 304}:
            return b""
        if "transfer-encoding" in headers:
            assert "content-length" not in headers, headers
            return await self._chunked()
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        assert headers.get("connection") == "close", headers
        return await self.rest()

    async def _chunked(self) -> bytes:
        body = b""
        while size := int((await self._line()), 16):
            body += await self._reader.readexactly(size)
            assert await self._line() == ""
        assert await self._line() == ""
        return body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawConnection]:
    """Open a connection, and drop it at the end."""
    connection = await RawConnection.open(port)
    try:
        yield connection
    finally:
        connection.abort()


async def exchange(port: int, data: bytes) -> RawAnswer:
    """Send bytes on a connection of their own and read the first answer."""
    async with connected(port) as connection:
        await connection.send(data)
        return await connection.answer()


def request(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    version: str = "HTTP/1.1",
    host: str | None = "gateway.test",
) -> bytes:
    """Write a request: Host and Content-Length are added unless ``headers`` bring their own or they are None."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (body or b"")
