"""What does the kernel say of a process: its memory, its processor time, its descriptors, its sockets? Linux only."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

__all__ = ["Process"]

_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}
"""TCP states as /proc/net/tcp writes them (include/net/tcp_states.h)."""
_SOCKET = "socket:["


class Process:
    """One process, read from /proc. Each call raises ``FileNotFoundError`` once it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._folder = Path(f"/proc/{pid}")

    def rss_bytes(self) -> int:
        """Memory that is in RAM now. From smaps_rollup: ``status`` counts per thread and lags behind."""
        return _kibibytes(self._read("smaps_rollup"), "Rss:")

    def peak_rss_bytes(self) -> int:
        """The most that was in RAM since the start or the last ``forget_peak``."""
        return _kibibytes(self._read("status"), "VmHWM:")

    def forget_peak(self) -> None:
        """Let the peak begin at what is in RAM now (proc_pid_clear_refs(5))."""
        (self._folder / "clear_refs").write_text("5", encoding="ascii")

    def cpu_seconds(self) -> float:
        """User and system time taken so far."""
        fields = self._read("stat").rpartition(")")[2].split()  # the name, in parentheses, may hold blanks
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc_pid_stat(5)

    def descriptors(self) -> int:
        """How many descriptors are open."""
        return sum(1 for _link in (self._folder / "fd").iterdir())

    def sockets(self) -> Counter[str]:
        """How many TCP sockets the process holds, by state. Those that it has let go are not among them."""
        held = self._held_sockets()
        states: Counter[str] = Counter()
        for table in ("tcp", "tcp6"):
            for line in self._read(f"net/{table}").splitlines()[1:]:
                fields = line.split()
                if fields[9] in held:
                    states[_STATES.get(fields[3], fields[3])] += 1
        return states

    def _held_sockets(self) -> set[str]:
        """The inodes of its sockets."""
        inodes = set()
        for link in (self._folder / "fd").iterdir():
            try:
                target = str(link.readlink())
            except FileNotFoundError:  # closed since it was listed
                continue
            if target.startswith(_SOCKET):
                inodes.add(target[len(_SOCKET) : -1])
        return inodes

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="ascii", errors="replace")


def _kibibytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {name} in what the kernel said")
