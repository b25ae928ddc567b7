"""How does someone who watches the demo see each request: what came of it, how long it took, and who answered?

The gateway's own line about a request is long, for it is meant to be searched. The demo's console shows the part of it
that makes a failover visible.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from app.utils.log_sinks import ConsoleSink

__all__ = ["RequestEcho", "replace_console", "short_line"]

_LINE: Final = re.compile(
    r"request finished status=(?P<status>\d+)(?: error_code=\S+)? path=(?P<path>\S+) "
    r'model=(?:"(?:[^"\\]|\\.)*"|\S+)'
    r"(?: server_id=(?P<server>\S+))? attempts=(?P<attempts>\d+) stream=\S+ duration_ms=(?P<milliseconds>[\d.]+)"
)
_MILLISECONDS: Final = 1000


class RequestEcho(ConsoleSink):
    """A console that shows warnings as they are and, once it knows the ``servers`` by id, a short line a request."""

    def __init__(self) -> None:
        super().__init__()
        self.setLevel(logging.WARNING)
        self.servers: dict[str, str] = {}

    def write_lines(self, data: bytes) -> None:
        """Write the short form of lines of the request log."""
        if self.servers:
            told = [short_line(line, self.servers) for line in data.decode("utf-8", "replace").splitlines()]
            super().write_lines("".join(f"{line}\n" for line in told if line).encode())


def replace_console() -> RequestEcho:
    """Put an echo in the place of the console that the log was configured with."""
    echo, root = RequestEcho(), logging.getLogger()
    for console in [handler for handler in root.handlers if isinstance(handler, ConsoleSink)]:
        echo.setFormatter(console.formatter)
        root.removeHandler(console)
    root.addHandler(echo)
    return echo


def short_line(line: str, servers: dict[str, str]) -> str:
    """One line of the request log in short; empty for any other line. ``servers`` are URLs by id."""
    found = _LINE.search(line)
    if found is None:
        return ""
    server = servers.get(found["server"] or "", "no server")
    failed = int(found["attempts"]) - (found["server"] is not None)
    after = f", after {failed} that failed" if failed > 0 else ""
    seconds = float(found["milliseconds"]) / _MILLISECONDS
    return f"{found['path']}: {found['status']} in {seconds:.2f} s from {server}{after}"
