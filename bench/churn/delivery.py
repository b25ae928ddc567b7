"""How does an answer go out of an engine, token by token, and how may it break? One object for each answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from bench.churn.answering import error_event
from bench.churn.words import LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from bench.churn.answering import Script

__all__ = ["GAP_SECONDS", "Behaviour", "Delivery", "Mood", "error_body", "send_nothing_after_closing"]

GAP_SECONDS = 0.02
"""Between two tokens, and between two pieces of a dripping event."""
_DRIP_BYTES = 24
_SPLIT_SECONDS = 0.002
"""Between half an event and the reset behind it, so that the half is on its way."""
_LINGER_NOT = struct.pack("ii", 1, 0)


class Behaviour(StrEnum):
    """How an engine treats answers from now on."""

    STEADY = "steady"
    RESET = "reset"
    """The connection is reset behind half an event."""
    EOF = "eof"
    """The answer ends as if it were whole, without a reason of the end and without ``[DONE]``."""
    ERROR = "error"
    """An error under status 200: the first event of new answers, and the next one of those under way."""
    DRIP = "drip"
    """24 bytes every 20 ms."""


class Mood(Protocol):
    """What a delivery knows of its engine."""

    behaviour: Behaviour
    random: Random
    gap_seconds: float


class Delivery:
    """One answer on its way. Where the engine misbehaves, it breaks at a place drawn before it began.

    Args:
        transport: the way out.
        script: what is said.
        engine: how it behaves now.
        head: of a stream; empty for a whole answer.
        plain: makes a whole answer of a status and a body.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        script: Script,
        engine: Mood,
        head: bytes,
        plain: Callable[[int, bytes], bytes],
    ) -> None:
        self._transport = transport
        self._script = script
        self._engine = engine
        self._head = head
        self._plain = plain
        self._loop = asyncio.get_running_loop()
        self._place = 0
        self._dripping = b""
        self._breaks_at = engine.random.randrange(LENGTH)
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Answer from now on."""
        if self._script.streams:
            self._step()
        else:
            self._wait(self._engine.gap_seconds * LENGTH, self._tell_whole)

    def cancel(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, seconds: float, callback: Callable[[], None]) -> None:
        """Go on later; an engine that was stopped meanwhile does not hurry afterwards."""
        self._due = max(self._due + seconds, self._loop.time())
        self._timer = self._loop.call_at(self._due, callback)

    def _step(self) -> None:
        steps = self._script.steps
        step = steps[self._place] if steps else b""
        is_last = self._place >= len(steps) - 1
        data = _chunk(step + self._script.tail) + b"0\r\n\r\n" if is_last else _chunk(step)
        behaviour = self._engine.behaviour
        is_new_error = behaviour is Behaviour.ERROR and self._place == 0
        breaks = behaviour not in {Behaviour.STEADY, Behaviour.DRIP}
        if is_new_error or (breaks and self._place >= self._breaks_at):
            self._break(behaviour, data)
            return
        self._place += 1
        self._write(self._take_head() + data, is_last=is_last)

    def _take_head(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def _write(self, data: bytes, *, is_last: bool) -> None:
        if self._engine.behaviour is Behaviour.DRIP:
            self._dripping = data
            self._drip(is_last=is_last)
            return
        self._transport.write(data)
        if not is_last:
            self._wait(self._engine.gap_seconds, self._step)

    def _drip(self, *, is_last: bool) -> None:
        self._transport.write(self._dripping[:_DRIP_BYTES])
        self._dripping = self._dripping[_DRIP_BYTES:]
        if self._dripping:
            self._wait(self._engine.gap_seconds, lambda: self._drip(is_last=is_last))
        elif not is_last:
            self._wait(self._engine.gap_seconds, self._step)

    def _break(self, behaviour: Behaviour, data: bytes) -> None:
        head = self._take_head()
        if behaviour is Behaviour.RESET:
            self._transport.write(head + data[: len(data) // 2])
            self._timer = self._loop.call_later(_SPLIT_SECONDS, self._reset)
            return
        self._transport.write(head + (_chunk(error_event()) if behaviour is Behaviour.ERROR else b"") + b"0\r\n\r\n")
        self._transport.close()

    def _tell_whole(self) -> None:
        behaviour, answer = self._engine.behaviour, self._plain(200, self._script.body)
        if behaviour is Behaviour.ERROR:
            answer = self._plain(200, error_body("the engine has died", 500))
        if behaviour in {Behaviour.RESET, Behaviour.EOF}:
            self._transport.write(answer[: len(answer) // 2])
            ending = self._reset if behaviour is Behaviour.RESET else self._transport.close
            self._timer = self._loop.call_later(_SPLIT_SECONDS, ending)
            return
        self._write(answer, is_last=True)

    def _reset(self) -> None:
        """Close with a reset in place of an end."""
        send_nothing_after_closing(self._transport)
        self._transport.abort()


def send_nothing_after_closing(transport: asyncio.Transport) -> None:
    """Let a connection end in a reset, and forget what was not sent (socket(7), ``SO_LINGER``)."""
    with contextlib.suppress(OSError):  # the other side was faster
        own_socket = transport.get_extra_info("socket")
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def error_body(message: str, code: int) -> bytes:
    """An error in place of an answer."""
    return json.dumps({"error": {"message": message, "type": "engine_error", "code": code}}).encode()
