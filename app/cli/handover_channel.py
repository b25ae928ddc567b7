"""How do messages and listeners get from one process to the other, without holding up the event loop?"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, Self, TypeVar

from app.cli.handover_messages import ENDED, MOST_LISTENERS, Failed, HandoverBroken, Lines, Message, Refused, encode
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Channel", "EarlyChannel"]

logger = get_logger("gateway")

_RECEIVE_BYTES: Final = 16_384
_LISTENERS_MISSING: Final = "the listeners did not all arrive: this process may not open enough files"
_MORE_FILES: Final = "Raise its limit: `ulimit -n 65536` in this shell, or LimitNOFILE= in the systemd unit."

Wanted = TypeVar("Wanted", bound=Message)


class Channel:
    """One end of a conversation inside an event loop. Its socket must not block."""

    __slots__ = ("_connection", "_lines")

    def __init__(self, connection: socket.socket, lines: Lines | None = None) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._lines = lines or Lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something, and give copies of descriptors along with it.

        Raises:
            HandoverBroken: the other process is gone.
        """
        try:
            socket.send_fds(self._connection, [encode(message)], descriptors)
        except OSError as error:
            raise HandoverBroken(ENDED) from error

    def send_if_heard(self, message: Message) -> None:
        """Say something that changes nothing where nobody hears it."""
        try:
            self.send(message)
        except HandoverBroken as broken:
            logger.debug("The other process did not hear the last word", reason=str(broken))

    async def receive(self, wanted: type[Wanted], timeout_seconds: float) -> Wanted:
        """Wait for the one message that may come now.

        Raises:
            HandoverBroken: it did not come, in time or at all, or another one did.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while (message := self._lines.next()) is None:
                    self._lines.feed(await asyncio.get_running_loop().sock_recv(self._connection, _RECEIVE_BYTES))
        except TimeoutError as error:
            raise HandoverBroken(f"the other process said nothing for {timeout_seconds:g} s") from error
        except OSError as error:
            raise HandoverBroken(ENDED) from error
        return expected(message, wanted)


class EarlyChannel:
    """The new process's end before it has an event loop: everything blocks, with a deadline."""

    __slots__ = ("_connection", "_lines")

    def __init__(self, connection: socket.socket, timeout_seconds: float) -> None:
        connection.settimeout(timeout_seconds)
        self._connection = connection
        self._lines = Lines()

    def send(self, message: Message) -> None:
        """Say something.

        Raises:
            HandoverBroken: the other process is gone.
        """
        try:
            self._connection.sendall(encode(message))
        except OSError as error:
            raise HandoverBroken(ENDED) from error

    def receive(self, wanted: type[Wanted]) -> tuple[Wanted, list[socket.socket]]:
        """Wait for the one message that may come now, and for the sockets that come along with it.

        Raises:
            HandoverBroken: it did not come, in time or at all, or another one did.
        """
        sockets: list[socket.socket] = []
        try:
            while (message := self._lines.next()) is None:
                data, descriptors, flags, _address = socket.recv_fds(self._connection, _RECEIVE_BYTES, MOST_LISTENERS)
                sockets += [_own(descriptor) for descriptor in descriptors]
                _refuse_missing(flags)
                self._lines.feed(data)
            return expected(message, wanted), sockets
        except TimeoutError as error:
            _close(sockets)
            raise HandoverBroken("the running gateway does not answer") from error
        except OSError as error:
            _close(sockets)
            raise HandoverBroken(ENDED) from error
        except HandoverBroken:
            _close(sockets)
            raise

    def in_loop(self) -> Channel:
        """Go on with the conversation inside the event loop."""
        return Channel(self._connection, self._lines)

    def close(self) -> None:
        """End the conversation."""
        self._connection.close()


def expected(message: Message, wanted: type[Wanted]) -> Wanted:
    """Give the message if it is the one that may come now.

    Raises:
        HandoverBroken: it is another one; the reason is the other process's if it gave one.
    """
    if isinstance(message, wanted):
        return message
    if isinstance(message, Refused):
        raise HandoverBroken(message.reason, message.fix, by_other=True)
    if isinstance(message, Failed):
        raise HandoverBroken(message.reason, by_other=True)
    raise HandoverBroken(f"the other process said {type(message).__name__} where {wanted.__name__} was due")


def _refuse_missing(flags: int) -> None:
    """Go on only with all that was given; the system drops what finds no room in this process (recvmsg(2)).

    Raises:
        HandoverBroken: some is missing.
    """
    if flags & socket.MSG_CTRUNC:
        raise HandoverBroken(_LISTENERS_MISSING, _MORE_FILES)


def _own(descriptor: int) -> socket.socket:
    """Take what came in; unlike what Python opens itself, it would go on to every process that is started here."""
    received = socket.socket(fileno=descriptor)
    received.set_inheritable(False)
    return received


def _close(sockets: list[socket.socket]) -> None:
    for received in sockets:
        received.close()
