"""How does a request of the playground go the way of all requests: streamed to a script, or whole into a page?

It is served as any client's is, for the key that signed in. Of what the browser sent along only what frames the body
and says where it comes from goes in; nothing of it goes on to a model server.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import Response

from app.services.core.http.surfaces import CHAT
from app.services.dataplane.asgi import AsgiDoor
from app.services.registry.accounting.origin import current_origin

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from fastapi import Request
    from starlette.types import Receive, Scope, Send

    from app.services.core.people.principal import Principal
    from app.services.dataplane.plane import DataPlane

__all__ = ["MOST_ANSWER_BYTES", "AnswerTooLarge", "ChatAnswer", "ask_whole"]

MOST_ANSWER_BYTES: Final = 4 * 1024 * 1024
_KEPT: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"expect", b"x-forwarded-for", b"x-gateway-route"}
)
_ABOUT_BODY: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class AnswerTooLarge(Exception):
    """An answer is longer than a page takes whole."""


class ChatAnswer(Response):
    """The answer of the data plane to the request that came in, as it comes.

    Args:
        plane: where it goes.
        principal: whose it is.
    """

    def __init__(self, plane: DataPlane, principal: Principal) -> None:
        super().__init__()
        self._plane = plane
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        meant = {**scope, "headers": _headers(scope["headers"])}
        await AsgiDoor(self._plane).serve_as(self._principal, CHAT, meant, receive, send)


async def ask_whole(
    request: Request, plane: DataPlane, principal: Principal, body: bytes
) -> tuple[int, dict[str, str], bytes, float]:
    """Ask, and wait for the whole answer. Who leaves meanwhile ends the work upstream.

    Returns:
        The status, the headers by name in lower case, the body, and how many seconds it took.

    Raises:
        AnswerTooLarge: it is longer than ``MOST_ANSWER_BYTES``.
    """
    kept = [header for header in _headers(request.scope["headers"]) if header[0] not in _ABOUT_BODY]
    kept += [(b"content-length", b"%d" % len(body)), (b"x-gateway-route", b"why")]
    collected = _Collected(body, request.receive)
    began_at = time.monotonic()
    meant = {**request.scope, "headers": kept}
    await AsgiDoor(plane).serve_as(principal, CHAT, meant, collected.receive, collected.send)
    return collected.status, collected.headers, bytes(collected.body), time.monotonic() - began_at


class _Collected:
    """Stands in for an ASGI server: it sends one body, and keeps the answer."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._asked: bytes | None = body
        self._receive = receive
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def receive(self) -> MutableMapping[str, Any]:
        """Give the body, then what becomes of the browser's connection."""
        asked, self._asked = self._asked, None
        if asked is None:
            return await self._receive()
        return {"type": "http.request", "body": asked, "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Keep a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            return
        self.body += message.get("body", b"")
        if len(self.body) > MOST_ANSWER_BYTES:
            raise AnswerTooLarge


def _headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """What of a browser's headers counts; the id is the one that this request has in the log already."""
    kept = [(name, value) for name, value in headers if name in _KEPT]
    return [*kept, (b"x-request-id", current_origin().request_id.encode("latin-1", "replace"))]
