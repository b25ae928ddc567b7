"""What holds for every request before a route sees it, and for every answer after?

One pure ASGI class: a request id, bounds on head and body, security headers, and an envelope for what nobody caught.
The body is read here, whole and bounded: routes of the admin API take small JSON documents, nothing streams in.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from app.routers.envelope import error_response
from app.services.core.errors import BodyTooLarge, GatewayError, Internal, RequestTimeout
from app.services.core.http.http_rules import ends_connection, judge_head, judge_head_size
from app.services.core.http.proxies import client_address
from app.services.registry.accounting.origin import Origin, coming_from
from app.utils.logger import bind_request_id, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Network, IPv6Network

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Bounds", "RequestGuard"]

SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_MOST_PARTS: Final = 60_000
_FEW_BYTES: Final = 16_384
_PAGES: Final = "/ui"
"""Forms come to them, and a form says that it is one."""
FRAMED: Final = frozenset({b"content-length", b"transfer-encoding"})

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Sent unless a route says otherwise. A policy for pages comes from the page."""

logger = get_logger(__name__)


class ClientGone(Exception):
    """The client left before its body was whole."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a request may bring, and how long its body may take."""

    body_bytes: int = 1_048_576
    head_bytes: int = 16_384
    headers: int = 100
    body_seconds: float = 30.0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose ``X-Forwarded-For`` is believed, for the address that the audit shows."""


def _no_page(_request: Request, _error: GatewayError) -> None:
    """Nobody looks."""


class RequestGuard:
    """Guards an ASGI application.

    Args:
        app: what is guarded.
        bounds: what a request may bring.
        gate: raises what a stranger is told, before a byte of the body is read, and may name a smaller bound of it.
            Routes ask for their roles besides.
        error_page: tells a person who looks at a page what went wrong; None where the envelope is the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        bounds: Bounds | None = None,
        gate: Callable[[Scope], int | None] | None = None,
        error_page: Callable[[Request, GatewayError], Response | None] = _no_page,
    ) -> None:
        self._app = app
        self._error_page = error_page
        self._gate = gate
        self._bounds = bounds or Bounds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        guarded = _Answer(send, request_id, without_body=scope["method"] == "HEAD")
        origin = Origin(_client(scope, self._bounds.trusted_proxies), request_id)
        with bind_request_id(request_id), coming_from(origin):
            await self._serve(scope, receive, guarded)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        is_head = scope["method"] == "HEAD"  # answered as GET is; what may be told once keeps until somebody reads it
        inner = {**scope, "method": "GET", "nobody_reads": True} if is_head else scope
        try:
            body = await self._body(scope, receive)
            takes_json = body and not scope["path"].startswith(_PAGES)
            await self._app(_declared_json(inner) if takes_json else inner, _Replay(body, receive), answer)
        except ClientGone:
            logger.debug("A client left before its request was whole")
        except GatewayError as error:
            ends = ends_connection(scope["headers"], scope.get("http_version", "1.1"), error.status)
            await self._told(scope, error, {"connection": "close"} if ends else {})(scope, receive, answer)
        except Exception:
            logger.exception("A request failed by a bug of the gateway's", method=scope["method"], path=scope["path"])
            if answer.started:
                raise
            message = f"The gateway failed at this. The operator finds the cause in the log under {answer.request_id}."
            await self._told(scope, Internal(message), {})(scope, receive, answer)

    def _told(self, scope: Scope, error: GatewayError, headers: Mapping[str, str]) -> Response:
        """Make the answer that an error is, for a person or for a program."""
        shown = self._error_page(Request(scope), error)
        if shown is None:
            return error_response(error, headers)
        shown.headers.update(headers)
        return shown

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Judge the head and read the body.

        Raises:
            RequestInvalid, HeadTooLarge, BodyTooLarge, RequestTimeout: a bound was passed.
            NotAuthenticated: the gate is closed to this key.
            ClientGone: nobody is left to answer to.
        """
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        size += sum(len(name) + len(value) + 4 for name, value in headers)
        judge_head_size(len(headers), size, self._bounds.headers, self._bounds.head_bytes)
        judge_head(headers, scope.get("http_version", "1.1"), self._bounds.body_bytes)
        most = self._bounds.body_bytes
        if self._gate is not None:
            most = min(most, self._gate(scope) or most)
        if scope.get("http_version", "1.1").startswith("1") and not any(name in FRAMED for name, _ in headers):
            return b""  # HTTP/1 announces a body (RFC 9112, 6.3); HTTP/2 need not
        try:
            async with asyncio.timeout(self._bounds.body_seconds):
                return _refuse_crowds(await _read(receive, most))
        except TimeoutError as error:
            message = f"The body did not arrive within {self._bounds.body_seconds:g} seconds. Send it again, faster."
            raise RequestTimeout(message) from error


class _Replay:
    """Hands a body on that has been read; after it the connection speaks for itself."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """Sends an answer with the headers that every answer has, and without a body where HEAD asked for none."""

    __slots__ = ("_send", "_without_body", "request_id", "started")

    def __init__(self, send: Send, request_id: str, *, without_body: bool) -> None:
        self._send = send
        self._without_body = without_body
        self.request_id = request_id
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        elif self._without_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _declared_json(scope: Scope) -> Scope:
    """Say of a body that it is JSON, whatever its sender says: the API takes nothing else, and plain `curl -d` works.

    Nothing is opened by it: keys come in headers that a page of another origin cannot send unasked.
    """
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}


def _client(scope: Scope, trusted_proxies: tuple[IPv4Network | IPv6Network, ...]) -> str:
    """Say which address a request comes from, as the request log does."""
    peer = scope.get("client")
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return client_address(peer[0] if peer else "", forwarded, trusted_proxies)


def _request_id(scope: Scope) -> str:
    """Keep a caller's id if it is sane, else make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex


def _refuse_crowds(body: bytes) -> bytes:
    """Take no body of very many parts: to read each would hold up everybody's requests for seconds.

    Raises:
        BodyTooLarge: it has more than any of these routes needs.
    """
    if len(body) > _FEW_BYTES and body.count(b",") > _MOST_PARTS:  # what nests deeply is refused as it is read
        raise BodyTooLarge(f"The body has more than {_MOST_PARTS:,} members and items. Send it in parts.")
    return body


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            error = f"The body is larger than the limit of {limit_bytes} bytes. Send a shorter one."
            raise BodyTooLarge(error)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
