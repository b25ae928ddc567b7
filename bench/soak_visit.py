"""What does one client of a soak do? It asks, checks every byte of the answer, or leaves at a point chosen before."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from bench.soak_answers import Plan, events, request, whole

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "Departure", "End", "Visit", "WrongAnswer", "judge"]

_ERROR_EVENT = b'data: {"error"'
_SHOWN_BYTES = 160


class Departure(StrEnum):
    """When a client goes."""

    AT_THE_END = "at the end"
    IN_THE_HEAD = "in its request's head"
    IN_THE_BODY = "in its request's body"
    BEFORE_AN_ANSWER = "before the answer began"
    IN_THE_ANSWER = "in the answer"
    UNREAD = "with the answer unread"


class End(StrEnum):
    """How a visit ended."""

    WHOLE = "whole"
    LEFT = "left"
    BROKEN = "broken"
    """The model server broke off, and the client was told so."""
    REFUSED = "refused"
    WRONG = "wrong"
    """What came is not what was sent: the gateway is at fault."""


class WrongAnswer(Exception):
    """An answer that can't be read as HTTP."""


class Answer:
    """One answer, read from bytes as they come, by content length or in chunks."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.whole = False
        self._buffer = bytearray()
        self._left: int | None = None
        """Bytes that are still to come of a body with a length; None: it comes in chunks."""

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            WrongAnswer: this is not the HTTP that a gateway speaks.
        """
        self._buffer += data
        if not self.status and not self._read_head():
            return
        if self._left is None:
            self._read_chunks()
        else:
            self.body += self._buffer
            self._left -= len(self._buffer)
            self._buffer.clear()
            self.whole = self._left == 0
            if self._left < 0:
                raise WrongAnswer("more came than was promised")

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status_line, *lines = bytes(self._buffer[:end]).lower().split(b"\r\n")
        del self._buffer[: end + 4]
        if not status_line.startswith(b"http/1.1 "):
            raise WrongAnswer(f"an answer begins with {status_line[:60]!r}")
        self.status = int(status_line[9:12])
        lengths = [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")]
        self._left = lengths[0] if lengths else None
        return True

    def _read_chunks(self) -> None:
        start = 0
        while (line_end := self._buffer.find(b"\r\n", start)) >= 0:
            size = int(self._buffer[start:line_end], 16)
            if len(self._buffer) < line_end + 4 + size:
                break
            self.body += self._buffer[line_end + 2 : line_end + 2 + size]
            start = line_end + 4 + size
            if size == 0:
                self.whole = True
                break
        del self._buffer[:start]


def judge(plan: Plan, answer: Answer) -> tuple[End, str]:
    """Say how an answer ended that was whole or broke off, and what is wrong with it."""
    expected = b"".join(events(plan)) if plan.stream else whole(plan)
    body = bytes(answer.body)
    if answer.status not in (0, 200):
        return End.REFUSED, f"{answer.status} {body[:_SHOWN_BYTES]!r}"
    if answer.whole and body == expected:
        return End.WHOLE, ""
    good = body.partition(_ERROR_EVENT)[0]
    if plan.fragile and expected.startswith(good) and (not answer.whole or len(good) < len(body)):
        return End.BROKEN, ""
    place = next((place for place, pair in enumerate(zip(body, expected, strict=False)) if pair[0] != pair[1]), -1)
    cut = "" if answer.whole else "cut "
    came = body[place : place + _SHOWN_BYTES] if place >= 0 else body[-_SHOWN_BYTES:]
    return End.WRONG, f"a {cut}body of {len(body)} bytes, not the {len(expected)} sent, differs at {place}: {came!r}"


class Visit(asyncio.Protocol):
    """One request on one connection. ``on_end`` is called once, with this visit, its end and what was wrong."""

    def __init__(
        self,
        plan: Plan,
        key: str,
        departure: Departure,
        patience_seconds: float,
        on_end: Callable[[Visit, End, str], None],
    ) -> None:
        self.departure = departure
        self.plan = plan
        self._request = request(plan, key)
        self._patience_seconds = patience_seconds
        self._on_end: Callable[[Visit, End, str], None] | None = on_end
        self._answer = Answer()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask, as far as the client gets."""
        self._transport = cast("asyncio.Transport", transport)
        body_at = self._request.index(b"\r\n\r\n") + 4
        match self.departure:
            case Departure.IN_THE_HEAD:
                self._transport.write(self._request[: body_at // 2])
            case Departure.IN_THE_BODY:
                self._transport.write(self._request[: (body_at + len(self._request)) // 2])
            case _:
                self._transport.write(self._request)
        if self.departure in (Departure.IN_THE_HEAD, Departure.IN_THE_BODY, Departure.BEFORE_AN_ANSWER):
            self._leave_soon()

    def data_received(self, data: bytes) -> None:
        """Read on, or leave."""
        transport = self._transport
        if transport is None:
            return
        if self.departure is Departure.IN_THE_ANSWER and self._timer is None:
            self._leave_soon()
        elif self.departure is Departure.UNREAD and self._timer is None:
            transport.pause_reading()
            self._leave_soon()
        try:
            self._answer.feed(data)
        except (WrongAnswer, ValueError) as error:
            self._finish(End.WRONG, str(error))
            return
        if self._answer.whole:
            self._finish(*judge(self.plan, self._answer))

    def connection_lost(self, exc: Exception | None) -> None:
        """The gateway hung up."""
        del exc
        if self.departure is Departure.AT_THE_END:
            self._finish(*judge(self.plan, self._answer))
        else:
            self._finish(End.LEFT, "")

    def give_up(self) -> None:
        """The soak is over and this visit is not: no answer came in time."""
        self._finish(End.WRONG, f"no end of the answer came in time: {self.departure}, {self.plan}")

    def _leave_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience_seconds, self._finish, End.LEFT, "")

    def _finish(self, end: End, wrong: str) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        on_end(self, end, wrong)
