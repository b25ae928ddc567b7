"""A scriptable model server for faults that a real one can't be told to make.

It speaks just enough HTTP/1.1 over plain asyncio streams, so that every byte, pause and reset can be chosen. What it
was asked is kept in ``requests``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FakeModelServer", "Seen", "event", "json_answer", "serving", "stream_events", "until_gone"]


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[["FakeModelServer", Seen, asyncio.StreamWriter], Awaitable[None]]


def json_answer(value: Any, status: str = "200 OK", extra: str = "", content_type: str = "application/json") -> bytes:
    """A whole answer with Content-Length."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def event(value: Any) -> bytes:
    """One server-sent event as an HTTP chunk."""
    text = (
        b"data: " + (value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()) + b"\n\n"
    )
    return chunk(text)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


EVENT_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def stream_events(model: str, words: Sequence[str], *, usage: bool) -> list[bytes]:
    """The events of a chat answer as vLLM 0.33 and llama.cpp write them, each as an HTTP chunk."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}

    def choice(delta: dict[str, str], finish: str | None) -> bytes:
        return event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    events = [choice({"role": "assistant", "content": ""}, None)]
    events += [choice({"content": word}, None) for word in words]
    events.append(choice({}, "stop"))
    if usage:
        figures = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
        events.append(event({**base, "choices": [], "usage": figures}))
    events.append(event(b"[DONE]"))
    return events


@dataclass
class FakeModelServer:
    """One server. ``behaviours`` maps a path to what happens there; ``*`` is the rest.

    ``gate``: when set to an Event, streamed answers wait for it after their first word.
    """

    models: list[str] = field(default_factory=lambda: ["m"])
    words: list[str] = field(default_factory=lambda: ["one", " two", " three"])
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: dict[asyncio.StreamWriter, asyncio.StreamReader] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def inference(self) -> list[Seen]:
        """The requests of clients: no checks, and not what the gateway asks to find out how a server continues."""
        return [seen for seen in self.requests if seen.method == "POST" and "x-request-id" in seen.headers]

    @property
    def trials(self) -> list[Seen]:
        """What the gateway asked to find out how a server continues."""
        return [seen for seen in self.requests if seen.method == "POST" and "x-request-id" not in seen.headers]

    def reader_of(self, writer: asyncio.StreamWriter) -> asyncio.StreamReader:
        return self._writers[writer]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=64 * 1024 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: refuse connections and reset those that are open.

        A connection that asyncio has accepted, but made no transport for yet, is lost unclosed where its server is
        closed first (CPython 3.11, ``Server._attach``): so no more are accepted, those become known, then it closes.
        """
        if self._server is not None:
            loop = asyncio.get_running_loop()
            for listener in self._server.sockets:
                loop.remove_reader(listener.fileno())
            for _turn in range(10):
                await asyncio.sleep(0)
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        """Know of a connection at once: who stops in the same turn must find it."""
        self.connections += 1
        self._writers[writer] = reader
        return self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                seen = await _read_request(reader)
                if seen is None:
                    return
                self.requests.append(seen)
                behaviour = self.behaviours.get(seen.path) or self.behaviours.get("*") or ordinary
                await behaviour(self, seen, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            self._writers.pop(writer, None)
            writer.transport.abort()


async def ordinary(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answer as a good server does."""
    if seen.path.endswith("/v1/models"):
        writer.write(
            json_answer({"object": "list", "data": [{"id": name, "object": "model"} for name in server.models]})
        )
    elif seen.method == "POST":
        await answer_chat(server, seen, writer)
    else:
        writer.write(json_answer({"error": "not found"}, "404 Not Found"))


async def answer_chat(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    wanted = seen.json
    if not wanted.get("stream"):
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(server.words)},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 7, "completion_tokens": len(server.words), "total_tokens": 7 + len(server.words)}
        writer.write(
            json_answer(
                {
                    "id": "c1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": wanted["model"],
                    "choices": [choice],
                    "usage": usage,
                }
            )
        )
        return
    wants_usage = bool((wanted.get("stream_options") or {}).get("include_usage"))
    writer.write(EVENT_HEAD)
    for index, block in enumerate(stream_events(wanted["model"], server.words, usage=wants_usage)):
        writer.write(block)
        await writer.drain()
        if index == 1 and server.gate is not None:
            await _gate_or_loss(server, writer)
    writer.write(LAST_CHUNK)


async def until_gone(server: FakeModelServer, writer: asyncio.StreamWriter) -> None:
    """Wait until the other side closes; then ``lost`` is set."""
    await server.reader_of(writer).read()
    server.lost.set()
    raise ConnectionResetError


async def _gate_or_loss(server: FakeModelServer, writer: asyncio.StreamWriter) -> None:
    """Wait for the gate, or for the client to leave."""
    gate = asyncio.ensure_future(server.gate.wait()) if server.gate else None
    gone = asyncio.ensure_future(until_gone(server, writer))
    waits = [task for task in (gate, gone) if task is not None]
    done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = request_line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)


@asynccontextmanager
async def serving(*servers: FakeModelServer) -> AsyncIterator[tuple[FakeModelServer, ...]]:
    """Start servers and stop them."""
    for server in servers:
        await server.start()
    try:
        yield servers
    finally:
        for server in servers:
            await server.stop()
