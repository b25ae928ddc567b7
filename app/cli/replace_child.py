"""How does a gateway start the process that is to replace it? With its own command line, in a fresh interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from app.cli.handover_claim import HANDOVER_VARIABLE

if TYPE_CHECKING:
    import socket

__all__ = ["end_child", "start_child"]

END_SECONDS: Final = 10.0


def start_child(connection: socket.socket) -> subprocess.Popen[bytes]:
    """Start it: code and ``.env`` as they are now; environment, folder and output those of this process.

    Args:
        connection: its end of the conversation.

    Raises:
        OSError: the system refuses.
    """
    descriptor = connection.fileno()
    return subprocess.Popen(  # noqa: S603 - the command is the one that this process was started with
        [sys.executable, *sys.orig_argv[1:]],
        pass_fds=(descriptor,),
        env={**os.environ, HANDOVER_VARIABLE: str(descriptor)},
    )


def end_child(child: subprocess.Popen[bytes]) -> None:
    """See that one that failed is gone. Blocks, for half a minute at most."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            child.send_signal(number)
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
