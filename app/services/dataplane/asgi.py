"""The plain way in: the same data plane behind an ASGI application, for any ASGI server.

Slower than the door by the cost of ASGI's messages, alike in everything else: the tests of both are the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from app.services.core.errors import BodyTooLarge, GatewayError, RequestTimeout
from app.services.core.http.http_rules import ends_connection, judge_head_size
from app.services.dataplane.known_caller import KnownCaller
from app.services.dataplane.patience import Patience, unsent_bytes
from app.services.dataplane.plane import TICK_SECONDS
from app.services.dataplane.reception import Call, Reply, error_reply, stranger_reply
from app.services.dataplane.sides import BODY_BYTES_PER_SECOND

if TYPE_CHECKING:
    from app.services.core.keys import Principal
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.reception import Reception

__all__ = ["AsgiDoor"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_PAUSE_AT_BYTES = 65536
"""As uvicorn's own high-water mark."""
_PIECE_BYTES = 65536
"""What is handed on at a time: ASGI servers take any amount at once, and hold what the client does not read."""


class _Left(Exception):
    """The client closed before its request was whole."""


class _AsgiCall:
    """The client's side of an exchange: messages wait here until the ASGI server takes them."""

    def __init__(self, *, head_only: bool) -> None:
        self._head_only = head_only
        self._messages: deque[Message] = deque()
        self._waiting_bytes = 0
        self._ready = asyncio.Event()
        self._sending = False
        self._taken = 0
        self._ended = False
        self._paused = False
        self._pumping: asyncio.Timeout | None = None
        self._transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None

    def respond(self, status: int, lines: bytes, body: bytes, *, more: bool) -> None:
        headers = [_header(line) for line in lines.split(b"\r\n") if line]
        if not more and status != 204:
            headers.append((b"content-length", str(len(body)).encode()))
        self._put({"type": "http.response.start", "status": status, "headers": headers})
        self._ended = not more
        if more:
            self.write(b"" if self._head_only else body)
        else:
            self._put_body(b"" if self._head_only else body, more=False)

    def write(self, data: bytes) -> None:
        self._put_body(data, more=True)
        if not self._paused and self._waiting_bytes > _PAUSE_AT_BYTES and self.exchange is not None:
            self._paused = True
            self.exchange.pause()

    def write_chunk(self, data: bytes, start: int) -> None:
        self.write(data[start:-2])

    def end(self, data: bytes = b"") -> None:
        self._ended = True
        self._put_body(data, more=False)

    def cut(self) -> None:
        self._ended = True  # without a last message the ASGI server closes the connection
        self._ready.set()
        pumping, self._pumping = self._pumping, None
        if pumping is not None:
            pumping.reschedule(asyncio.get_running_loop().time())  # it may wait for a client that never reads

    def tick_unread(self, patience: Patience, limit_ticks: int) -> int:
        """Give up a client for whom nothing could be handed on for too long."""
        if not self._sending:
            patience.renew()
        elif patience.is_over(limit_ticks, self._progress):
            if self.exchange is not None:
                self.exchange.stalled()
            self.cut()
        return self._waiting_bytes

    def _progress(self) -> tuple[int, int]:
        return self._taken, 0 if self._transport is None else unsent_bytes(self._transport)

    def left(self) -> None:
        """The client closed: drop what waits, stop the work upstream."""
        self._messages.clear()
        self._ended = True
        self._ready.set()
        if self.exchange is not None:
            self.exchange.left()

    async def pump(self, receive: Receive, send: Send) -> None:
        """Hand the messages on until the last one, or until it is given up while the client does not read."""
        self._transport = _transport_of(receive)
        pumping = self._pumping = asyncio.timeout(None)
        try:
            async with pumping:
                await self._hand_on(send)
        except TimeoutError:
            if not pumping.expired():
                raise
            if self._transport is not None:
                self._transport.abort()  # ASGI has no word for that, and closes only once everything was read
        finally:
            self._pumping = None

    async def _hand_on(self, send: Send) -> None:
        while True:
            while self._messages:
                message = self._messages.popleft()
                body = message.get("body", b"")
                self._sending = True
                await send(message if len(body) <= _PIECE_BYTES else await self._hand_on_pieces(send, message, body))
                self._sending = False
                self._taken += 1
                self._waiting_bytes -= len(body)
            if self._paused and self.exchange is not None:
                self._paused = False
                self.exchange.resume()
            if self._ended and not self._messages:
                return
            self._ready.clear()
            await self._ready.wait()

    async def _hand_on_pieces(self, send: Send, message: Message, body: bytes) -> Message:
        """Hand on all of a large body but its last piece, which comes back."""
        last = (len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES
        for start in range(0, last, _PIECE_BYTES):
            await send({**message, "body": body[start : start + _PIECE_BYTES], "more_body": True})
            self._taken += 1
        return {**message, "body": body[last:]}

    def _put_body(self, data: bytes, *, more: bool) -> None:
        self._waiting_bytes += len(data)
        self._put({"type": "http.response.body", "body": data, "more_body": more})

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        self._ready.set()


class AsgiDoor:
    """An ASGI application for every path under ``/v1/``.

    Args:
        plane: where requests go.
        reception: what judges their heads; that of the plane when left out.
    """

    def __init__(self, plane: DataPlane, reception: Reception | None = None) -> None:
        self._plane = plane
        self._reception = reception or plane.reception
        self._bounds = plane.bounds

    async def serve_as(self, principal: Principal, path: str, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request that came in by a page, for a caller who is known already.

        It is judged, counted and limited as if it had come with its key to ``path``. The headers that a browser adds,
        cookies among them, are not looked at and go nowhere.

        Args:
            principal: who calls.
            path: the route under ``/v1/`` that is meant.
            scope: the page's, whose own path and query are put aside.
            receive: the body, as ASGI has it.
            send: takes the answer.
        """
        meant = {**scope, "path": path, "raw_path": path.encode(), "query_string": b""}
        await AsgiDoor(self._plane, KnownCaller(self._plane.reception, principal))(meant, receive, send)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        side = _AsgiCall(head_only=scope["method"] == "HEAD")
        peer = scope["client"][0] if scope.get("client") else ""
        try:
            admitted = self._receive_head(scope, peer)
            reply = await self._serve_call(admitted, side, receive, send) if isinstance(admitted, Call) else admitted
        except GatewayError as error:
            reply = stranger_reply(error, peer)
        except _Left:
            return
        if reply is None:
            return
        self._plane.replied(reply)
        ends = ends_connection(scope["headers"], scope.get("http_version", "1.1"), reply.status)
        lines = reply.lines + (b"connection: close\r\n" if ends else b"")
        side.respond(reply.status, lines, reply.body, more=False)
        await self._pump(side, receive, send)

    async def _serve_call(self, call: Call, side: _AsgiCall, receive: Receive, send: Send) -> Reply | None:
        """Read the body and serve; a body that is refused comes back as the reply to send."""
        try:
            body = await self._read_body(receive)
        except GatewayError as error:
            return error_reply(error, call.lines, path=call.path, client=call.client, request_id=call.request_id)
        await self._serve(call, body, side, receive, send)
        return None

    def _receive_head(self, scope: Message, peer: str) -> Reply | Call:
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        size_bytes = len(path) + bool(query) + len(query)
        size_bytes += sum(len(name) + len(value) + 4 for name, value in headers)
        judge_head_size(len(headers), size_bytes, self._bounds.header_count, self._bounds.header_bytes)
        version = scope.get("http_version", "1.1")
        if version in ("2", "3"):  # they have no Host header of their own
            headers = [(name, value) for name, value in headers if name != b"transfer-encoding"]
            version = "1.0"
        method, text = scope["method"].encode(), path.partition(b"?")[0].decode("latin-1")
        return self._reception.receive(method, text, headers, version, peer, self._plane.snapshot)

    async def _read_body(self, receive: Receive) -> bytes:
        parts, size_bytes, limit = [], 0, self._bounds.body_bytes
        deadline = asyncio.get_running_loop().time() + self._bounds.body_ticks * TICK_SECONDS
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Left
                    parts.append(message.get("body", b""))
                    size_bytes += len(parts[-1])
                    if size_bytes > limit:
                        raise BodyTooLarge(f"The body is larger than the limit of {limit} bytes. Send a shorter one.")
                    if not message.get("more_body", False):
                        return b"".join(parts)
                    timeout.reschedule(deadline + size_bytes / BODY_BYTES_PER_SECOND)
        except TimeoutError:
            raise RequestTimeout("The request's body did not come in time.") from None

    async def _serve(self, call: Call, body: bytes, side: _AsgiCall, receive: Receive, send: Send) -> None:
        side.exchange = self._plane.begin(call, body, side)
        watch = asyncio.create_task(_watch(receive, side), name="watch for the client's leaving")
        try:
            await self._pump(side, receive, send)
        finally:
            watch.cancel()
            if side.exchange is not None:
                side.exchange.left()  # nothing, if it has ended; else the server was cancelled under us

    async def _pump(self, side: _AsgiCall, receive: Receive, send: Send) -> None:
        self._plane.unread[side] = Patience()
        try:
            await side.pump(receive, send)
        finally:
            del self._plane.unread[side]


async def _watch(receive: Receive, side: _AsgiCall) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    side.left()


def _transport_of(receive: Receive) -> asyncio.Transport | None:
    """What a client's connection is written to: it tells how much waits there, and can be aborted.

    uvicorn's ``receive`` is a method of what holds it (0.54; a test holds it). None behind another server: there only
    what is handed on counts as read, and a client that was given up stays connected until it goes.
    """
    transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport if hasattr(transport, "get_write_buffer_size") else None


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value
