"""What do the process that serves and the one that replaces it say to each other?

Lines of JSON on a Unix socket, each a message with its ``type``::

    new                                            old
    ask            who wants to take over      ->
                                               <-  listeners       with their descriptors (SCM_RIGHTS), or refused
    need_database  all is loaded but the start ->
                                               <-  database_free   what its checks found is in it, and it is closed
    serving        requests are answered       ->
                                               <-  leaving         it accepts no more connections, and finishes

Whatever breaks off before ``serving`` leaves the old one as it was: ``failed`` says why, and a connection that ends
says it too. ``refused`` may come in place of any answer. The two may be of different releases, so a message only ever
gains fields: unknown ones are passed over.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "ENDED",
    "LONGEST_LINE_BYTES",
    "MOST_LISTENERS",
    "Ask",
    "DatabaseFree",
    "Failed",
    "HandoverBroken",
    "Leaving",
    "Lines",
    "Listeners",
    "Message",
    "NeedDatabase",
    "Refused",
    "Serving",
    "encode",
]

LONGEST_LINE_BYTES: Final = 65_536
MOST_LISTENERS: Final = 64
ENDED: Final = "the other process ended before it was done; what it said on its own output tells why"


class HandoverBroken(Exception):
    """The handover came to nothing; the message says why.

    ``fix`` says what to do where that is known. ``by_other`` tells that the other process decided so, and lives.
    """

    def __init__(self, message: str, fix: str = "", *, by_other: bool = False) -> None:
        super().__init__(message)
        self.fix = fix
        self.by_other = by_other


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A process wants to take over."""

    pid: int


class Listeners(msgspec.Struct, frozen=True, tag="listeners"):
    """Process ``pid`` listens on as many sockets as came along."""

    pid: int


class NeedDatabase(msgspec.Struct, frozen=True, tag="need_database"):
    """The next step is to open the database."""


class DatabaseFree(msgspec.Struct, frozen=True, tag="database_free"):
    """The database is closed and its lock is free."""


class Serving(msgspec.Struct, frozen=True, tag="serving"):
    """Requests are answered by the new process."""


class Leaving(msgspec.Struct, frozen=True, tag="leaving"):
    """The old process accepts no more connections."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The old process does not hand over, or no longer."""

    reason: str
    fix: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The new process can't start."""

    reason: str


Message = Ask | Listeners | NeedDatabase | DatabaseFree | Serving | Leaving | Refused | Failed

_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Give the line that says it."""
    return msgspec.json.encode(message) + b"\n"


class Lines:
    """Cuts what comes in into messages, however it was split on the way."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Take in what was read.

        Raises:
            HandoverBroken: it was the end, or a line longer than any of ours.
        """
        if not data:
            raise HandoverBroken(ENDED)
        self._buffer += data
        if len(self._buffer) > LONGEST_LINE_BYTES:
            raise HandoverBroken("The other process does not speak the language of a handover.")

    def next(self) -> Message | None:
        """Give the next message, or None where none is whole yet.

        Raises:
            HandoverBroken: it is none that this release knows.
        """
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            return None
        self._buffer = rest
        try:
            return _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise HandoverBroken(f"The other process said what this release does not understand: {error}.") from error
