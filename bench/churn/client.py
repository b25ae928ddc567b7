"""How does a request fare? One connection each, judged as it comes; asked again as openai-python would ask."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

from bench.churn.judge import Fate, StreamJudge, judge_whole
from bench.sites import KEY

if TYPE_CHECKING:
    from random import Random

    from bench.churn.judge import Seam
    from bench.churn.kinds import Ask

__all__ = ["Attempt", "Caller", "Fared"]

_CONNECT_SECONDS = 10.0
_RETRIES = 2
_RETRIED_STATUSES = frozenset({408, 409, 429})
_MOST_RETRY_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a request was sent.

    Attributes:
        fate: what became of it, ``reason`` why.
        status: of the answer; 0 if none came.
        first_seconds: from sending to the first token; None if none came.
        seconds: from sending to the end.
        seams: where it went on elsewhere.
        server: the engine process that wrote the last token; empty if none did.
        retry_after_seconds: as the answer said.
    """

    fate: Fate
    reason: str
    status: int
    first_seconds: float | None
    seconds: float
    seams: tuple[Seam, ...] = ()
    server: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fared:
    """How a request fared: ``first`` is what a client without retries has, ``last`` one with two.

    Attributes:
        ask: what was asked.
        due_seconds: when, counted from the start of the run.
        attempts: how often it was sent in all.
    """

    ask: Ask
    due_seconds: float
    first: Attempt
    last: Attempt
    attempts: int


class Caller:
    """Asks one gateway.

    Args:
        port: where it listens, on 127.0.0.1.
        random: where the jitter of retries comes from.
        patience_seconds: how long an attempt may take.
        is_rewritten: whether the gateway writes answers anew.
    """

    def __init__(self, port: int, random: Random, patience_seconds: float, *, is_rewritten: bool = False) -> None:
        self._port = port
        self._random = random
        self._patience_seconds = patience_seconds
        self._is_rewritten = is_rewritten

    async def ask(self, ask: Ask, due_seconds: float) -> Fared:
        """Send a request, and again where openai-python would: at most twice, and never once a stream has begun."""
        first = last = await self._attempt(ask)
        attempts = 1
        while attempts <= _RETRIES and _is_retried(last, ask):
            await asyncio.sleep(self._pause_seconds(last, attempts - 1))
            last = await self._attempt(ask)
            attempts += 1
        return Fared(ask, due_seconds, first, last, attempts)

    def _pause_seconds(self, attempt: Attempt, retries: int) -> float:
        """As openai-python 3.54 waits: as long as it was told, up to a minute, else 0.5 s, doubling to 8 s."""
        told = attempt.retry_after_seconds
        if told is not None and 0 < told <= _MOST_RETRY_AFTER_SECONDS:
            return told
        return min(0.5 * 2.0**retries, 8.0) * (1 - 0.25 * self._random.random())

    async def _attempt(self, ask: Ask) -> Attempt:
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = _Answer(ask, is_rewritten=self._is_rewritten)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                transport, _protocol = await loop.create_connection(lambda: answer, "127.0.0.1", self._port)
        except (OSError, TimeoutError) as error:
            return Attempt(Fate.UNREACHED, f"no connection: {error}", 0, None, loop.time() - began)
        transport.write(_request(ask, self._port))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_seconds):
                await answer.ended.wait()
        attempt = answer.attempt(began, loop.time())
        transport.abort()
        await answer.lost.wait()
        return attempt


class _Answer(asyncio.Protocol):
    """One answer, read by httptools."""

    def __init__(self, ask: Ask, *, is_rewritten: bool) -> None:
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self._ask = ask
        self._is_rewritten = is_rewritten
        self._parser = httptools.HttpResponseParser(self)
        self._judge = StreamJudge(ask.expected, is_rewritten=is_rewritten)
        self._loop = asyncio.get_running_loop()
        self._fields: dict[bytes, bytes] = {}
        self._status = 0
        self._body: list[bytes] = []
        self._is_whole = False
        self._problem = ""

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._problem = f"no HTTP: {error}"
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        framed = b"content-length" in self._fields or b"transfer-encoding" in self._fields
        if exc is None and self._status and not framed:
            self._is_whole = True  # RFC 9112, 6.3: such a body ends with the connection
        self._problem = self._problem or f"closed: {exc or 'cleanly'}"
        self.ended.set()
        self.lost.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._ask.kind.streams and self._status == 200:
            self._judge.feed(body, self._loop.time())
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._is_whole = True
        self.ended.set()

    def attempt(self, began: float, now: float) -> Attempt:
        """What became of it by now."""
        fate, reason = self._verdict()
        first = self._judge.first_text_at
        return Attempt(
            fate,
            reason,
            self._status,
            None if first is None else first - began,
            now - began,
            tuple(self._judge.seams),
            self._judge.server,
            _number(self._fields.get(b"retry-after", b"")),
        )

    def _verdict(self) -> tuple[Fate, str]:
        if not self._status:
            return (Fate.UNREACHED, self._problem) if self._problem else (Fate.LATE, "no answer")
        if self._status != 200:
            return Fate.REFUSED, b"".join(self._body)[:200].decode("utf-8", "replace")
        is_late = not self._is_whole and not self._problem
        if self._ask.kind.streams:
            fate, reason = self._judge.verdict(is_whole=self._is_whole)
            return (Fate.LATE, "it never ended") if is_late and fate is Fate.CUT else (fate, reason)
        if self._is_whole:
            return judge_whole(b"".join(self._body), self._ask.expected, is_rewritten=self._is_rewritten)
        return (Fate.LATE, "no answer") if is_late else (Fate.CUT, self._problem)


def _is_retried(attempt: Attempt, ask: Ask) -> bool:
    """Whether openai-python asks again: after a lost connection before the answer's end was awaited, and by status."""
    if attempt.fate is Fate.REFUSED:
        return attempt.status in _RETRIED_STATUSES or attempt.status >= 500
    is_unread = attempt.fate is Fate.CUT and not ask.kind.streams and not attempt.reason.startswith("the body")
    return attempt.fate is Fate.UNREACHED or is_unread


def _request(ask: Ask, port: int) -> bytes:
    head = (
        f"POST {ask.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
        "accept: application/json\r\ncontent-type: application/json\r\nuser-agent: AsyncOpenAI/Python 3.54.0\r\n"
        f"Content-Length: {len(ask.body)}\r\n\r\n"
    )
    return head.encode() + ask.body


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
