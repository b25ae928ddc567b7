"""A gateway process that others take the place of: which one serves now, and are those before it gone?"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.fakes.gateway_process import ADMIN_KEY, GatewayProcess, free_port, until

__all__ = ["SERVE", "SETTINGS", "Replaceable", "is_gone", "running"]

SERVE = ("-m", "app.cli", "serve")
SETTINGS = {"ADMIN_API_KEY": ADMIN_KEY, "HEALTH_CHECK_INTERVAL_SECONDS": "600"}


@dataclass
class Replaceable(GatewayProcess):
    """A gateway without a terminal, and all that came from it by SIGHUP: one session, ended together."""

    arguments: tuple[str, ...] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def spawn(self, command: Sequence[str] = ()) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                command or [sys.executable, *SERVE, *self.arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(self._process)

    def close(self) -> None:
        for process in self.started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def pid_after(self, pid: int) -> int | None:
        """The process that took over from ``pid``, once it has."""
        lines = self.output.splitlines()
        for line, later in pairwise(lines):
            if line.startswith(f"Process {pid} was replaced") and later.startswith("Multiverse"):
                taken = re.findall(r"Another process serves now.*\bpid=(\d+)", self.output)
                return int(taken[-1])
        return None

    async def hang_up(self, pid: int) -> int:
        """Send SIGHUP to the process that serves; return the one that serves then."""
        os.kill(pid, signal.SIGHUP)
        return await until(lambda: self.pid_after(pid), "SIGHUP replaced it", seconds=20)

    async def replace(self, pid: int) -> tuple[subprocess.Popen[bytes], int]:
        """Run ``serve --replace``; return the process that was known before, and the pid of the new one."""
        before = self._running()
        self.arguments = ("--replace",)
        self.spawn()
        return before, await until(lambda: self.pid_after(pid), "--replace replaced it", seconds=20)

    def attempt(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``serve`` where it is expected to give up. Blocks."""
        return subprocess.run(
            [sys.executable, *SERVE, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            start_new_session=True,
        )


@asynccontextmanager
async def running(
    folder: Path, *arguments: str, tls: ssl.SSLContext | None = None, **settings: str
) -> AsyncIterator[Replaceable]:
    gateway = Replaceable(
        folder / "gateway", "door", {**SETTINGS, **settings}, free_port(), tls=tls, arguments=arguments
    )
    try:
        await asyncio.to_thread(gateway.start)
        await until(lambda: "Stop:" in gateway.output, "it can be replaced")
        yield gateway
    finally:
        await asyncio.to_thread(gateway.close)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False
    return state == "Z"
