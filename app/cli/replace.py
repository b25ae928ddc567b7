"""How does a gateway that serves become replaceable: by a process that calls, or by one that it starts on SIGHUP?"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

from app.cli.exits import CommandFailed
from app.cli.handover_messages import HandoverBroken
from app.cli.handover_offer import Offer, tell_failure
from app.cli.handover_place import MeetingPlace
from app.cli.handover_service import notify, ready_words, reloading_words
from app.cli.replace_child import end_child, start_child
from app.cli.replace_hangup import Hangup, Meaning
from app.utils.logger import get_logger
from app.utils.tasks import TaskKeeper

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from app.cli.gateway_process import GatewayServer
    from app.cli.handover_claim import Claim
    from app.duty import Duty

__all__ = ["Replacement"]

logger = get_logger("gateway")


class Replacement:
    """Stands beside a server: lets it take over from the one before, and hand over to the one after.

    Args:
        data_folder: where others find this process.
        hangup: what SIGHUP means here.
        claim: of the process that this one replaces, if any.
    """

    def __init__(self, data_folder: Path, hangup: Hangup, claim: Claim | None) -> None:
        self.failure: CommandFailed | None = None
        """Why this process had to end although it served."""
        self._data_folder = data_folder
        self._hangup = hangup
        self._claim = claim
        self._tasks = TaskKeeper()
        self._place: MeetingPlace | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    def begin(self, server: GatewayServer, duty: Duty, on_serving: Callable[[], None]) -> None:
        """Called in the event loop once requests are answered; ``on_serving`` once they are answered here alone."""
        server.on_ending = self._close
        self._tasks.spawn(self._begin(server, duty, on_serving), name="handover from the process before")

    async def _begin(self, server: GatewayServer, duty: Duty, on_serving: Callable[[], None]) -> None:
        if self._claim is not None:
            try:
                await self._claim.serve()
            except CommandFailed as failure:
                self.failure = failure
                server.stop()
                return
        if sys.platform != "win32":
            offer = Offer(server, duty, self._tasks)
            self._listen_to_callers(offer)
            self._listen_to_hangups(server, offer)
            notify(ready_words(os.getpid()))
        on_serving()

    def _listen_to_callers(self, offer: Offer) -> None:
        try:
            self._place = MeetingPlace(self._data_folder)
        except OSError as error:
            logger.warning(
                "`multiverse serve --replace` will not find this gateway", reason=error.strerror or str(error)
            )
            return
        self._tasks.spawn(offer.receive_callers(self._place.listener), name="calls of other processes")

    def _listen_to_hangups(self, server: GatewayServer, offer: Offer) -> None:
        loop = asyncio.get_running_loop()
        match self._hangup.meaning:
            case Meaning.IGNORED:
                return
            case Meaning.END:
                loop.add_signal_handler(signal.SIGHUP, server.stop)
            case Meaning.REPLACE:
                loop.add_signal_handler(signal.SIGHUP, self._on_hangup, offer)

    def _on_hangup(self, offer: Offer) -> None:
        refusal = offer.refusal(own_child=True)
        if refusal is not None:
            tell_failure(HandoverBroken(refusal.reason, refusal.fix))
            return
        offer.await_child()  # at once: the next signal may come before the task has begun
        self._tasks.spawn(self._replace_by_child(offer), name="replacement by a child")

    async def _replace_by_child(self, offer: Offer) -> None:
        notify(reloading_words())
        child: subprocess.Popen[bytes] | None = None
        try:
            connection, child = await _begin_child()
            self._children.append(child)
            await offer.converse(connection, own_child=True)
        except HandoverBroken as broken:
            tell_failure(broken)
            notify(ready_words(os.getpid()))
        else:
            child = None
        finally:
            offer.child_is_over()
        if child is not None:
            await asyncio.to_thread(end_child, child)
            self._children.remove(child)

    async def _close(self) -> None:
        await self._tasks.close()
        if self._place is not None:
            self._place.close()


async def _begin_child() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process that is to take over; give this one's end of the conversation with it.

    Raises:
        HandoverBroken: the system refuses.
    """
    try:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                return ours, await asyncio.to_thread(start_child, theirs)
        except BaseException:
            ours.close()
            raise
    except OSError as error:
        raise HandoverBroken(f"a new process can't be started: {error.strerror or error}") from error
