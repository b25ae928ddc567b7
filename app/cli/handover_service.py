"""Who watches over this process, and has to be told that another one takes its place?

systemd is told by its own protocol (sd_notify(3)), for which the unit must be of ``Type=notify``. Whoever watches one
process by its number, as Docker does with the first one of a container, would take a replacement for the end.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from app.cli.handover_messages import Refused
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["notify", "ready_words", "refusal_of_watcher", "reloading_words"]

_NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
_STARTED_BY_SYSTEMD: Final = "SYSTEMD_EXEC_PID"

logger = get_logger("gateway")


def refusal_of_watcher(environment: Mapping[str, str], pid: int, *, own_child: bool) -> Refused | None:
    """Say why this process can't be replaced without whoever watches it; None where it can.

    Args:
        environment: of this process.
        pid: its number.
        own_child: whether it started the replacement itself, inside the same service.
    """
    if pid == 1:
        return Refused(
            "the running gateway is process 1 of a container, which ends with it",
            "Start a new container and stop the old one: it drains.",
        )
    notifies = _NOTIFY_SOCKET in environment
    if not notifies and environment.get(_STARTED_BY_SYSTEMD) == str(pid):
        return Refused(
            "systemd runs the gateway and would take its replacement for its end",
            "Set Type=notify in the unit, as deploy/multiverse.service does, then restart it once.",
        )
    if notifies and not own_child:
        return Refused(
            "the running gateway is a service, and a process from elsewhere can't become that",
            f"Use `systemctl reload` on its unit, or `kill -HUP {pid}`.",
        )
    return None


def ready_words(main_pid: int) -> str:
    """What systemd is told once a process serves: which one it is."""
    return f"READY=1\nMAINPID={main_pid}"


def reloading_words() -> str:
    """What systemd is told when a replacement begins."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def notify(words: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell systemd, where it wants to know. That it can't be told is logged and changes nothing."""
    address = environment.get(_NOTIFY_SOCKET)
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(words.encode(), address)
    except OSError as error:
        logger.warning("systemd could not be told how the gateway is", reason=error.strerror)
