"""Where do two processes of one gateway meet? At a Unix socket in its data folder that only its user may open."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.cli.exits import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HANDOVER_SOCKET", "MeetingPlace", "call"]

HANDOVER_SOCKET: Final = "handover.sock"

_LONGEST_ADDRESS_BYTES: Final = 100
"""A socket's path may have 107 bytes on Linux, 103 on macOS (unix(7), sys/un.h)."""
_CALLERS: Final = 8
_CALL_SECONDS: Final = 5.0


class MeetingPlace:
    """The listening end, at a path; one that was there before, of a process that ended or is replaced, goes.

    Raises:
        OSError: there can't be a socket at this path.
    """

    __slots__ = ("_identity", "_path", "listener")

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder.absolute() / HANDOVER_SOCKET
        mine = self._path.with_name(f"{HANDOVER_SOCKET}.{os.getpid()}")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mine.unlink(missing_ok=True)
            with _address(mine) as address:
                self.listener.bind(address)
            mine.chmod(0o600)  # before it listens: until then nobody can connect
            self.listener.listen(_CALLERS)
            self.listener.setblocking(False)
            status = mine.stat()
            self._identity = (status.st_dev, status.st_ino)
            mine.replace(self._path)
        except OSError:
            self.listener.close()
            mine.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Take no more callers; the path goes if it still leads here."""
        self.listener.close()
        with suppress(OSError):  # the folder is gone, and the socket with it
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()


def call(folder: Path) -> socket.socket | None:
    """Connect to the gateway that runs on a data folder; None where none does.

    Raises:
        CommandFailed: it may not be spoken to.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CALL_SECONDS)
    path = folder.absolute() / HANDOVER_SOCKET
    try:
        with _address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        fix = "Run the command as the user who runs the gateway."
        if error.errno is None:  # Python's own: the path is too long
            fix = "Give GATEWAY_DATA_DIR a shorter path; until then send SIGHUP to the running gateway."
        raise CommandFailed(
            f"The running gateway can't be reached at {path}: {error.strerror or error}.", fix=fix
        ) from error
    return connection


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give what to bind or connect to. Linux reaches a path that is too long through its folder's descriptor."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES or sys.platform != "linux":
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
