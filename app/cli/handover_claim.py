"""How does a new process take over from the gateway that runs?

Everything that may fail is done while the old one still serves: settings, code, certificates, then the database, which
the old one closes for it. Only once requests are answered here does the old one stop taking connections.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from app.cli.exits import CommandFailed, ExitCode
from app.cli.handover_channel import EarlyChannel
from app.cli.handover_messages import (
    Ask,
    DatabaseFree,
    Failed,
    HandoverBroken,
    Leaving,
    Listeners,
    NeedDatabase,
    Serving,
)
from app.cli.handover_place import call
from app.cli.listener import bind_listeners
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HANDOVER_VARIABLE", "Claim", "claim_running", "inherited_claim"]

HANDOVER_VARIABLE: Final = "MULTIVERSE_HANDOVER_FD"
"""Where a gateway that was told to replace itself leaves its end of the conversation for its child."""

ANSWER_SECONDS: Final = 30.0
LEAVE_SECONDS: Final = 10.0
_NOT_REPLACED: Final = "The running gateway was not replaced: {reason}."

logger = get_logger("gateway")


class Claim:
    """The new process's side, step by step: listeners, database, serving; or ``fail`` at any of them."""

    __slots__ = ("_channel", "pid")

    def __init__(self, connection: socket.socket) -> None:
        self._channel = EarlyChannel(connection, ANSWER_SECONDS)
        self.pid = 0
        """Of the process that is replaced, once its listeners are here."""

    def listeners(self, host: str, port: int) -> list[socket.socket]:
        """Ask for the listeners; take those that the settings still want, and bind what they want beside them.

        Raises:
            CommandFailed: the running gateway refuses, or an address can't be bound.
        """
        try:
            self._channel.send(Ask(os.getpid()))
            answer, given = self._channel.receive(Listeners)
        except HandoverBroken as broken:
            raise _refused(broken) from broken
        self.pid = answer.pid
        ports = {listener.getsockname()[1] for listener in given}
        try:
            return bind_listeners(host, port, given)
        except CommandFailed as failure:
            if port not in ports:
                raise
            raise CommandFailed(
                f"{failure.message} The running gateway listens with this port on another address.",
                fix="To change HOST and keep PORT, stop it and start with `multiverse serve`.",
            ) from failure

    def take_database(self) -> None:
        """Let the running gateway close its database; from here on this process has to be quick.

        Raises:
            CommandFailed: it does not.
        """
        try:
            self._channel.send(NeedDatabase())
            self._channel.receive(DatabaseFree)
        except HandoverBroken as broken:
            raise _refused(broken) from broken

    async def serve(self) -> None:
        """Say that requests are answered here, and wait until the old process has stopped taking connections.

        Raises:
            CommandFailed: the old process has given this one up, and serves; this one must end.
        """
        channel = self._channel.in_loop()
        try:
            channel.send_if_heard(Serving())  # one that gave this process up has left word, and closed
            await channel.receive(Leaving, LEAVE_SECONDS)
        except HandoverBroken as broken:
            if broken.by_other:
                raise _refused(broken) from broken
            logger.warning("The process that is replaced has not said that it leaves", pid=self.pid, reason=str(broken))
        finally:
            self._channel.close()

    def fail(self, failure: CommandFailed) -> None:
        """Tell the running gateway why this process can't take its place; without effect once that has happened."""
        try:
            self._channel.send(Failed(failure.message))
        except HandoverBroken as broken:
            logger.debug("The running gateway did not hear the reason", reason=str(broken))
        self._channel.close()


def claim_running(data_folder: Path) -> Claim | None:
    """Find the gateway that runs on this data folder; None where none does.

    Raises:
        CommandFailed: it may not be spoken to, or this system can't hand listeners over.
    """
    if sys.platform == "win32":
        raise CommandFailed(
            "On Windows a running gateway can't be replaced.",
            fix="Stop it with Ctrl-C, then run `multiverse serve`.",
            code=ExitCode.USAGE,
        )
    connection = call(data_folder)
    return None if connection is None else Claim(connection)


def inherited_claim() -> Claim | None:
    """Find the gateway that started this process to be replaced by it; None where that is not so.

    Raises:
        CommandFailed: the variable leads to no gateway.
    """
    descriptor = os.environ.pop(HANDOVER_VARIABLE, "")
    if not descriptor:
        return None
    try:
        connection = socket.socket(fileno=int(descriptor))
        connection.set_inheritable(False)
    except (ValueError, OverflowError, OSError) as error:
        raise CommandFailed(
            f"{HANDOVER_VARIABLE}={descriptor} leads to no gateway that started this process.",
            fix=f"Only a gateway that replaces itself sets it: `unset {HANDOVER_VARIABLE}`, then start it again.",
            code=ExitCode.USAGE,
        ) from error
    return Claim(connection)


def _refused(broken: HandoverBroken) -> CommandFailed:
    return CommandFailed(_NOT_REPLACED.format(reason=broken), fix=broken.fix)
