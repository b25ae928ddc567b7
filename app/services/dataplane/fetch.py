"""One small request of the gateway's own to a model server: on a fresh connection, by the same dial as all traffic."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.services.dataplane.upstream import Upstream
from app.services.dataplane.wire import get_head, own_post_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.answer.opening import AnswerHead
    from app.services.core.types import Endpoint
    from app.services.dataplane.link import Link

__all__ = ["AnswerBroken", "FetchedAnswer", "Fetcher", "Posts"]

_MEBIBYTE = 1_048_576
DEFAULT_LIMIT_BYTES = 4 * _MEBIBYTE


class AnswerBroken(Exception):
    """The server was reached, but its answer is unusable. ``reason`` is in words for its owner."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FetchedAnswer:
    """A whole answer. Header names are in lower case; of a repeated header the last one stands."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float


class Posts(Protocol):
    """Sends a request of the gateway's own; ``Fetcher`` is the one."""

    async def post(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int = ...,
    ) -> FetchedAnswer:
        """Send JSON and return the whole answer.

        Raises:
            EndpointRefused, ConnectFailed, AnswerBroken: there is none.
        """


class _Collector:
    """Gathers one answer into a future."""

    def __init__(self, limit_bytes: int) -> None:
        self.done: asyncio.Future[tuple[int, dict[str, str], bytes]] = asyncio.get_running_loop().create_future()
        self._limit_bytes = limit_bytes
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def on_head(self, head: AnswerHead) -> None:
        self._status = head.status
        self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._limit_bytes:
            self._fail(f"the answer is larger than {_size(self._limit_bytes)}")

    def on_chunk(self, data: bytes, start: int) -> None:
        self.on_body(data[start:-2])

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result((self._status, self._headers, bytes(self._body)))

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        self.on_head(head)
        self.on_body(body)
        self.on_end()

    def on_broken(self, reason: str, *, heard: bool) -> None:
        self._fail(reason if heard else f"{reason} before any answer")

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(AnswerBroken(reason))


class Fetcher:
    """Fetches from servers over one ``Link``, so that the address is judged on each connect."""

    def __init__(self, link: Link, via: bytes) -> None:
        """Args: link: dials; via: this gateway's pseudonym, so that it knows itself when it meets itself."""
        self._link = link
        self._via = via

    async def get(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> FetchedAnswer:
        """Fetch ``path`` (from the root of the endpoint, such as ``/v1/models``). Redirects are never followed.

        Raises:
            EndpointRefused: the address may not be dialled.
            ConnectFailed: no connection.
            AnswerBroken: no whole, valid answer within the timeout and the limit.
        """
        head = get_head(endpoint, path, api_key, self._via)
        return await self._exchange(endpoint, head, b"", timeout_seconds, limit_bytes)

    async def post(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> FetchedAnswer:
        """Send JSON to ``path`` and return the answer once it is whole, events too. Raises as ``get`` does.

        Whoever gives up waiting closes the connection, which also stops a generation.
        """
        head = own_post_head(endpoint, path, api_key, self._via, len(body))
        return await self._exchange(endpoint, head, body, timeout_seconds, limit_bytes)

    async def _exchange(
        self, endpoint: Endpoint, head: bytes, body: bytes, timeout_seconds: float, limit_bytes: int
    ) -> FetchedAnswer:
        started = time.monotonic()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        try:
            async with asyncio.timeout_at(deadline):
                upstream = await self._link.dial(endpoint, lambda: Upstream(_forget))
                collector = _Collector(limit_bytes)
                try:
                    upstream.send(collector, head, body)
                    status, headers, answer = await collector.done
                finally:
                    upstream.abort()
        except TimeoutError:
            raise AnswerBroken(f"no answer within {timeout_seconds:g} s") from None
        return FetchedAnswer(status, headers, answer, (time.monotonic() - started) * 1000)


def _forget(_upstream: Upstream, _reusable: bool) -> None:  # noqa: FBT001 - the signature is Upstream's
    """A connection for one answer: it is closed by the one who dialled it."""


def _size(size_bytes: int) -> str:
    return f"{size_bytes // _MEBIBYTE} MiB" if size_bytes >= _MEBIBYTE else f"{size_bytes // 1024} KiB"
