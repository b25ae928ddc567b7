"""What do the signals that end a command do to it, in each of its phases?"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from app.cli.exits import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["endings_as_exceptions", "endings_held", "ignore_endings"]


def _ending_signals() -> list[signal.Signals]:
    return (
        [signal.SIGINT, signal.SIGTERM] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    )


@contextlib.contextmanager
def endings_as_exceptions() -> Iterator[None]:
    """Make SIGTERM, and the closing of the terminal, an exception as Ctrl-C is one: every ``finally`` runs then."""

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    def hang_up(_signal_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # to whoever handles that now: the line above, or the gateway's server

    previous = {number: signal.getsignal(number) for number in _ending_signals()}
    signal.signal(signal.SIGTERM, stop)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def endings_held() -> Iterator[None]:
    """Let signals that end a command wait until the block is done; the first of them is then raised anew."""
    came: list[int] = []

    def hold(signal_number: int, _frame: FrameType | None) -> None:
        came.append(signal_number)

    previous = {number: signal.getsignal(number) for number in _ending_signals()}
    for number in previous:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def ignore_endings() -> None:
    """Take no notice of further ones: the end itself must not be cut short."""
    for number in _ending_signals():
        signal.signal(number, signal.SIG_IGN)
