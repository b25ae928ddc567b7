"""What stands in for a model server that may die? A process: ``python -m bench.churn.engine --port P --make vllm ...``.

It prints ``ready`` when it listens and ``asked`` when the benchmark's first request came, each with the time by the
clock of `time.monotonic`, and takes on its stdin, a line each, how it is to behave from now on: a word of `Behaviour`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import time
from random import Random
from typing import cast

import httptools

from bench.churn.answering import Make, Refusal, Script, Signature, listing, script_for
from bench.churn.delivery import GAP_SECONDS, Behaviour, Delivery, error_body, send_nothing_after_closing
from bench.churn.words import MARK, count_tokens
from bench.upstream import event_loop_factory

__all__ = ["Connection", "Engine", "serve"]

_BIND_SECONDS = 5.0


class Engine:
    """What all connections of one engine share.

    Args:
        make: what it says it is.
        slot: its place in the pool.
        life: how often it was started before.
        gap_seconds: between two tokens.
        vanishing: whether its connections go at once when it dies, with all that was not sent yet.
    """

    def __init__(
        self, make: Make, slot: int, life: int, *, gap_seconds: float = GAP_SECONDS, vanishing: bool = False
    ) -> None:
        self.gap_seconds = gap_seconds
        self.vanishing = vanishing
        self.make = make
        self.behaviour = Behaviour.STEADY
        self.random = Random(slot * 1000 + life)
        self.fingerprint = f"{make.value}-{slot}-{life}"
        self._was_asked = False

    def signature(self) -> Signature:
        """What one more answer bears."""
        return Signature(self.make, self.fingerprint, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))

    def asked(self, body: bytes) -> None:
        """Tell of the first request of the benchmark."""
        if not self._was_asked and MARK.encode() in body:
            self._was_asked = True
            tell("asked")


class Connection(asyncio.Protocol):
    """One connection, one request after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""
        self._body = b""
        self._transport: asyncio.Transport | None = None
        self._delivery: Delivery | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)
        if self._engine.vanishing:
            send_nothing_after_closing(self._transport)

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Stop what is under way: a client that left wants no more of it."""
        if self._delivery is not None:
            self._delivery.cancel()
        self._transport = None

    def on_url(self, url: bytes) -> None:
        """A request begins."""
        self._path, self._body = url.decode("latin-1").partition("?")[0], b""

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """It is whole: answer."""
        transport = self._transport
        if transport is None:
            return
        if self._parser.get_method() != b"POST":
            known = {"/v1/models": listing(self._engine.make), "/health": b"{}", "/version": b'{"version":"1.0"}'}
            found = known.get(self._path)
            transport.write(self._plain(200 if found else 404, found or error_body("there is nothing here", 404)))
        elif self._path == "/tokenize":
            transport.write(self._plain(200, _tokenized(self._body)))
        elif self._path in {"/v1/chat/completions", "/v1/completions"}:
            self._engine.asked(self._body)
            self._answer(transport, script_for(self._path, self._body, self._engine.signature()))
        else:
            transport.write(self._plain(404, error_body("there is nothing here", 404)))

    def _answer(self, transport: asyncio.Transport, script: Script | Refusal) -> None:
        if isinstance(script, Refusal):
            transport.write(self._plain(script.status, error_body(script.message, script.status)))
            return
        head = self._head(200, b"text/event-stream", None) if script.streams else b""
        self._delivery = Delivery(transport, script, self._engine, head, self._plain)
        self._delivery.begin()

    def _plain(self, status: int, body: bytes) -> bytes:
        return self._head(status, b"application/json", len(body)) + body

    def _head(self, status: int, kind: bytes, length: int | None) -> bytes:
        server = b"server: llama.cpp\r\n" if self._engine.make is Make.LLAMACPP else b""
        framing = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        return b"HTTP/1.1 %d X\r\n%bcontent-type: %b\r\n%b\r\n\r\n" % (status, server, kind, framing)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _tokenized(body: bytes) -> bytes:
    """The tokens of a text, as vLLM (``prompt``) and llama.cpp (``content``) are asked."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    asked = asked if isinstance(asked, dict) else {}
    count = count_tokens(str(asked.get("prompt") or asked.get("content") or ""))
    return json.dumps({"count": count, "max_model_len": 32_768, "tokens": list(range(count))}).encode()


def tell(word: str) -> None:
    """Tell the pool something, with the time."""
    sys.stdout.write(f"{word} {time.monotonic():.6f}\n")
    sys.stdout.flush()


async def serve(engine: Engine, port: int) -> None:
    """Listen on a port of this machine, and answer until cancelled.

    Raises:
        OSError: the port is not free.
    """
    server = await _listen(engine, port)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    tell("ready")
    async with server:
        while line := await reader.readline():
            engine.behaviour = Behaviour(line.decode().strip())
        await server.serve_forever()


async def _listen(engine: Engine, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BIND_SECONDS
    while True:
        try:
            return await loop.create_server(lambda: Connection(engine), "127.0.0.1", port, backlog=4096)
        except OSError:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(0.05)  # the process before may not be gone yet


def main() -> None:
    """Run one engine as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.churn.engine", description="One engine of the benchmark.")
    parser.add_argument("--port", type=int, required=True, help="where it listens, on 127.0.0.1")
    parser.add_argument("--make", type=Make, choices=list(Make), default=Make.VLLM, help="what it says it is")
    parser.add_argument("--slot", type=int, default=0, help="its place in the pool")
    parser.add_argument("--life", type=int, default=0, help="how often it was started before")
    parser.add_argument("--gap", type=float, default=GAP_SECONDS, help="seconds between two tokens")
    parser.add_argument("--vanishing", action="store_true", help="leave nothing in the kernel when it dies")
    options = parser.parse_args()
    numbers = (options.slot, options.life)
    engine = Engine(options.make, *numbers, gap_seconds=options.gap, vanishing=options.vanishing)
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        runner.run(serve(engine, options.port))


if __name__ == "__main__":
    main()
