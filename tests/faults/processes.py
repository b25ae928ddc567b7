"""Servers that are processes of their own, to be stopped, continued and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.fakes.gateway_process import REPOSITORY

__all__ = ["TalkerProcess", "talker_process"]


@dataclass
class TalkerProcess:
    """A talker as a child process."""

    process: subprocess.Popen[bytes]
    url: str

    def stop(self) -> None:
        """SIGSTOP: its connections stay open, the kernel accepts new ones, and nothing is ever answered."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, which a stopped process takes too."""
        self.process.kill()


@asynccontextmanager
async def talker_process(*arguments: str) -> AsyncIterator[TalkerProcess]:
    """Start a talker; it is gone at the end."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it is started, not waited for
        [sys.executable, "-m", "tests.fakes.talker", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        assert line, "the talker did not start"
        yield TalkerProcess(process, line.decode().strip())
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        process.stdout.close()
