"""How are packets of one engine dropped? In a network namespace of this process, where 127.0.0.1 is another.

Engines, gateway and load all run inside, so that nothing else is touched. What an engine sends is thrown away by a
routing rule on its port: connections hang, established or new, and nobody is told (ip-rule(8), ``blackhole``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NoNamespace", "drop_packets", "network_of_its_own", "pass_packets"]

_CLONE_NEWNET = 0x40000000
_OWN = Path("/proc/self/ns/net")
_BEFORE_LOCAL = "10"


class NoNamespace(Exception):
    """This system gives no network namespace, and why."""


@contextmanager
def network_of_its_own() -> Iterator[None]:
    """Stand in a new network for a while, with all processes that are started meanwhile.

    Raises:
        NoNamespace: it takes Linux, the command ``ip`` and the rights of root.
    """
    if sys.platform != "linux" or shutil.which("ip") is None:
        raise NoNamespace("a network namespace takes Linux and the command `ip` (iproute2)")
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open(_OWN, os.O_RDONLY)
    try:
        if library.unshare(_CLONE_NEWNET):
            raise NoNamespace(f"a network namespace takes the rights of root: {os.strerror(ctypes.get_errno())}")
        try:
            _ip("link", "set", "lo", "up")
            _ip("rule", "add", "pref", "100", "lookup", "local")  # behind the rules below, which else come too late
            _ip("rule", "del", "pref", "0")
            yield
        finally:
            if library.setns(before, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "the way back to the machine's network is closed")
    finally:
        os.close(before)


def drop_packets(port: int) -> None:
    """Throw away what is sent from a port of this network."""
    _ip("rule", "add", *_rule(port))


def pass_packets(port: int) -> None:
    """Let it pass again."""
    _ip("rule", "del", *_rule(port))


def _rule(port: int) -> tuple[str, ...]:
    return ("pref", _BEFORE_LOCAL, "ipproto", "tcp", "sport", str(port), "blackhole")


def _ip(*words: str) -> None:
    try:
        subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        raise NoNamespace(f"`ip {' '.join(words)}` failed: {told.strip()}") from error
