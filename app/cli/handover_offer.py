"""How does a running gateway hand over to the process that replaces it?

Its listeners are given away as copies, so nothing is refused at any moment: both hold the same queue of connections,
and the old process takes from it until the new one serves. Whatever goes wrong before that leaves the old one at work.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

from app.cli.handover_channel import Channel
from app.cli.handover_messages import (
    Ask,
    DatabaseFree,
    HandoverBroken,
    Leaving,
    Listeners,
    NeedDatabase,
    Refused,
    Serving,
)
from app.cli.handover_service import notify, ready_words, refusal_of_watcher
from app.services.core.errors import StorageUnavailable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.duty import Duty
    from app.utils.tasks import TaskKeeper

__all__ = ["Offer", "Serves"]

ASK_SECONDS: Final = 5.0
START_SECONDS: Final = 120.0
"""How long a new process may take from one step to the next: a large database may have to be migrated."""
ACCEPT_AGAIN_SECONDS: Final = 1.0

logger = get_logger("gateway")


class Serves(Protocol):
    """The server that is handed over; ``gateway_process.GatewayServer`` is the one."""

    stopped_by: int | None

    @property
    def listeners(self) -> Sequence[socket.socket]:
        """What it listens on."""

    def leave(self) -> None:
        """Accept no more connections, answer what is there, and end."""


class Offer:
    """The old process's side. One handover at a time, and after one that succeeded no more.

    Args:
        server: what is handed over.
        duty: its checks and its database.
        tasks: where conversations run.
    """

    __slots__ = ("_awaits_child", "_duty", "_server", "_successor", "_tasks", "_with")

    def __init__(self, server: Serves, duty: Duty, tasks: TaskKeeper) -> None:
        self._server = server
        self._duty = duty
        self._tasks = tasks
        self._awaits_child = False
        self._with: int | None = None
        self._successor: int | None = None

    @property
    def handed_over(self) -> bool:
        """Whether another process has taken this one's place."""
        return self._successor is not None

    async def receive_callers(self, listener: socket.socket) -> None:
        """Speak to whoever connects, each on its own; until cancelled. Callers wait while none can be accepted."""
        loop = asyncio.get_running_loop()
        failing = False
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor is free, mostly
                if not failing:
                    logger.warning(
                        "`multiverse serve --replace` can't be answered now; it is tried again every second",
                        reason=error.strerror or str(error),
                    )
                failing = True
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
            else:
                failing = False
                self._tasks.spawn(self._answer(connection), name="handover to another process")

    def await_child(self) -> None:
        """Refuse everyone but the child that is about to be started, until ``child_is_over``."""
        self._awaits_child = True

    def child_is_over(self) -> None:
        """The child has taken over, or failed."""
        self._awaits_child = False

    def refusal(self, *, own_child: bool) -> Refused | None:
        """Say why a handover can't begin now; None where it can."""
        if self._awaits_child:
            return Refused("a process that it has started is replacing it right now", "Wait until that is done.")
        return self._lasting_refusal(own_child=own_child)

    def _lasting_refusal(self, *, own_child: bool) -> Refused | None:
        me = os.getpid()
        if self._successor is not None:
            return Refused(f"process {self._successor} has just replaced it", "Try again.")
        if self._server.stopped_by is not None:
            return Refused(f"it is stopping (process {me})", "Wait until it has ended, then run `multiverse serve`.")
        if self._with is not None:
            return Refused(f"process {self._with} is replacing it right now", "Wait until that is done.")
        return refusal_of_watcher(os.environ, me, own_child=own_child)

    async def converse(self, connection: socket.socket, *, own_child: bool) -> None:
        """Hand over to whoever asks on this connection.

        Raises:
            HandoverBroken: it came to nothing; this process goes on as before.
        """
        with Channel(connection) as channel:
            asker = await channel.receive(Ask, ASK_SECONDS if not own_child else START_SECONDS)
            refusal = self._lasting_refusal(own_child=True) if own_child else self.refusal(own_child=False)
            if refusal is not None:
                channel.send(refusal)
                raise HandoverBroken(refusal.reason, refusal.fix)
            self._with = asker.pid
            try:
                await self._hand_over(channel, asker.pid)
            finally:
                self._with = None

    async def _answer(self, connection: socket.socket) -> None:
        try:
            await self.converse(connection, own_child=False)
        except HandoverBroken as broken:
            tell_failure(broken)

    async def _hand_over(self, channel: Channel, successor: int) -> None:
        logger.info("Another process is about to take over", pid=successor)
        channel.send(Listeners(os.getpid()), [listener.fileno() for listener in self._server.listeners])
        await channel.receive(NeedDatabase, START_SECONDS)
        try:
            await self._duty.lend()
        except StorageUnavailable as error:
            channel.send(Refused(error.message))
            raise HandoverBroken(error.message) from error
        try:
            channel.send(DatabaseFree())
            await channel.receive(Serving, START_SECONDS)
        except HandoverBroken:
            channel.send_if_heard(Refused("the running gateway has waited too long and goes on"))
            await self._duty.take_back()
            raise
        self._leave(successor)
        channel.send_if_heard(Leaving())

    def _leave(self, successor: int) -> None:
        self._successor = successor
        self._duty.give_away()
        self._server.leave()
        notify(ready_words(successor))
        logger.info("Another process serves now; this one finishes what it has begun, and ends", pid=successor)


def tell_failure(broken: HandoverBroken) -> None:
    """Log that this process was not replaced, and why."""
    fix = {"fix": broken.fix} if broken.fix else {}
    logger.error("The gateway was not replaced; this process goes on", reason=str(broken), **fix)
