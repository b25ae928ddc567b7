"""When did which part of an answer come? A POST of the gateway's own that is timed, and cut off once it has begun.

On a fresh connection, by the same dial as all traffic.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.verification.asking import Told
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.upstream import Upstream
from app.services.dataplane.wire import own_post_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.core.answer.opening import AnswerHead
    from app.services.core.types import Endpoint
    from app.services.dataplane.link import Link

__all__ = ["Listener", "Listens"]

MOST_ARRIVALS: Final = 1024
"""So many parts of an answer are timed; what comes after is heard, but not timed."""


class Listens(Protocol):
    """Sends a request of the gateway's own and times the answer; ``Listener`` is the one."""

    async def listen(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int,
        only_begin: bool,
    ) -> Told:
        """Send JSON to ``path`` and return the answer.

        Args:
            endpoint: where to.
            path: below it.
            body: the JSON.
            api_key: the server's own key.
            timeout_seconds: for all of it, connecting included.
            limit_bytes: how long the answer may be.
            only_begin: whether an answer of success is cut off when its first event is whole.

        Raises:
            EndpointRefused, ConnectFailed, AnswerBroken: there is none.
        """


class Listener:
    """Listens to servers over one ``Link``, so that the address is judged on each connect.

    Args:
        link: dials.
        via: this gateway's pseudonym, so that it knows itself when it meets itself.
        clock: monotonic seconds.
    """

    def __init__(self, link: Link, via: bytes, clock: Callable[[], float]) -> None:
        self._link = link
        self._via = via
        self._clock = clock

    async def listen(
        self,
        endpoint: Endpoint,
        path: str,
        body: bytes,
        *,
        api_key: str | None,
        timeout_seconds: float,
        limit_bytes: int,
        only_begin: bool,
    ) -> Told:
        """Send JSON and return the answer, as ``Listens`` has it. Times count from when the request was written."""
        head = own_post_head(endpoint, path, api_key, self._via, len(body))
        try:
            async with asyncio.timeout(timeout_seconds):
                upstream = await self._link.dial(endpoint, lambda: Upstream(_forget))
                ear = _Ear(self._clock, limit_bytes, only_begin=only_begin)
                try:
                    upstream.send(ear, head, body)
                    return await ear.done
                finally:
                    upstream.abort()  # this also ends a generation that was cut off
        except TimeoutError:
            raise AnswerBroken(f"no answer within {timeout_seconds:g} s") from None


class _Ear:
    """Hears one answer."""

    def __init__(self, clock: Callable[[], float], limit_bytes: int, *, only_begin: bool) -> None:
        self.done: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._only_begin = only_begin
        self._began = clock()
        self._status = 0
        self._body = bytearray()
        self._arrivals: list[tuple[int, float]] = []

    def on_head(self, head: AnswerHead) -> None:
        self._status = head.status

    def on_body(self, data: bytes) -> None:
        if self.done.done():
            return
        self._body += data
        if len(self._arrivals) < MOST_ARRIVALS:
            self._arrivals.append((len(self._body), self._clock() - self._began))
        if len(self._body) > self._limit_bytes:
            self._fail(f"the answer is larger than {self._limit_bytes // 1024} KiB")
        elif self._only_begin and self._status == HTTPStatus.OK and _holds_event(self._body):
            self.on_end()

    def on_chunk(self, data: bytes, start: int) -> None:
        self.on_body(data[start:-2])

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result(Told(self._status, bytes(self._body), tuple(self._arrivals)))

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        self.on_head(head)
        self.on_body(body)
        self.on_end()

    def on_broken(self, reason: str, *, heard: bool) -> None:
        self._fail(reason if heard else f"{reason} before any answer")

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(AnswerBroken(reason))


def _holds_event(body: bytearray) -> bool:
    """Whether an event is whole that bears data: a comment, sent while a model loads, is no beginning."""
    end = max(body.rfind(b"\n\n"), body.rfind(b"\r\n\r\n"))
    return end >= 0 and (body.startswith(b"data:") or 0 <= body.find(b"\ndata:") < end)


def _forget(_upstream: Upstream, _reusable: bool) -> None:  # noqa: FBT001 - the signature is Upstream's
    """A connection for one answer: it is closed by the one who dialled it."""
