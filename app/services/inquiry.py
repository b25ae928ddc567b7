"""How is a server asked whether it does what it says? Its examination is carried through, request by request.

Never beyond what the server takes, and not on when it takes no work any more or has put the model out of memory. What
goes wrong on the way is told to the examination; what the server says is told without the server's key.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from app.services.core.errors import EndpointRefused
from app.services.core.verification.asking import Look, Lost, Told
from app.services.core.verification.rota import may_be_asked
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed

if TYPE_CHECKING:
    from app.services.canary import Places
    from app.services.core.types import Server
    from app.services.core.verification.asking import Ask, Examination, Examined, Inconclusive, Reply, Say
    from app.services.core.verification.rota import Duty
    from app.services.inspector import SmallGet
    from app.services.listening import Listens
    from app.services.pulse import Clock

__all__ = ["Inquiry", "PutOffError"]

ANSWER_SECONDS: Final = 60.0
BEGIN_SECONDS: Final = 10.0
"""How long it may take until an answer begins that is cut off there, or is refused."""
MAX_ANSWER_BYTES: Final = 262_144
MAX_LOOK_BYTES: Final = 1_048_576
ROOM_SECONDS: Final = 0.25
"""How soon a server that was full is looked at again."""
PATIENCE_SECONDS: Final = 30.0
"""How long an examination that has begun waits for room, before it is put off."""
REDACTED: Final = b"[redacted]"
MIN_SECRET_LENGTH: Final = 6


class PutOffError(Exception):
    """An examination can't go on now, for no fault of the server's."""


class Inquiry:
    """Asks servers.

    Args:
        listens: sends the questions, on the way that traffic takes.
        gets: fetches what engines say of themselves.
        places: what servers take.
        clock: time, and waiting in it.
    """

    def __init__(self, listens: Listens, gets: SmallGet, places: Places, clock: Clock) -> None:
        self._listens = listens
        self._gets = gets
        self._places = places
        self._clock = clock

    async def carry_through(self, duty: Duty, examination: Examination) -> Examined | Inconclusive:
        """Ask all that an examination wants to know.

        Raises:
            PutOffError: the server became full, takes no work any more, or put the model out of memory.
        """
        ask = next(examination)
        while True:
            await self._wait_for_room(duty)
            try:
                ask = examination.send(await self._ask(duty, ask))
            except StopIteration as end:
                outcome: Examined | Inconclusive = end.value
                return outcome

    async def _ask(self, duty: Duty, ask: Ask) -> Reply:
        server = duty.server
        try:
            told = await self._look(server, ask.path) if isinstance(ask, Look) else await self._say(duty, ask)
        except EndpointRefused as error:
            return Lost(error.message)
        except (ConnectFailed, AnswerBroken) as error:
            return Lost(error.reason)
        return Told(told.status, _without_key(told.body, server.api_key), told.arrivals)

    async def _say(self, duty: Duty, ask: Say) -> Told:
        server = duty.server
        with self._places.hold(server.id, duty.upstream_name) as answered:
            told = await self._listens.listen(
                server.endpoint,
                ask.path,
                ask.body,
                api_key=server.api_key,
                timeout_seconds=BEGIN_SECONDS if ask.only_begin else ANSWER_SECONDS,
                limit_bytes=MAX_ANSWER_BYTES,
                only_begin=ask.only_begin,
            )
            if told.status == HTTPStatus.OK:
                answered()
            return told

    async def _look(self, server: Server, path: str) -> Told:
        answer = await self._gets.get(
            server.endpoint, path, api_key=server.api_key, timeout_seconds=BEGIN_SECONDS, limit_bytes=MAX_LOOK_BYTES
        )
        return Told(answer.status, answer.body)

    async def _wait_for_room(self, duty: Duty) -> None:
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while not self._places.has_room(duty.server, duty.upstream_name):
            if not may_be_asked(duty.server) or self._clock.monotonic() >= until:
                raise PutOffError
            await self._clock.wait(asyncio.Event(), ROOM_SECONDS)
        if not may_be_asked(duty.server):
            raise PutOffError


def _without_key(body: bytes, api_key: str | None) -> bytes:
    """Take the server's key out of its words, which its owner is shown."""
    if api_key is None or len(api_key) < MIN_SECRET_LENGTH:
        return body
    return body.replace(api_key.encode(), REDACTED)
