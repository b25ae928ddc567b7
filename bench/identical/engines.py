"""What runs? Real model servers as child processes, each killed and started again on its own port."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Engine", "EngineFailed", "run_engines"]

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.02
_LOG_CHARACTERS: Final = 1500


class EngineFailed(Exception):
    """A model server did not start; with the end of its log."""


class Engine:
    """One model server. Started from the main thread: it ends with it."""

    __slots__ = ("_batches", "_child", "_log_file", "_model_path", "port")

    def __init__(self, model_path: Path, log_file: Path, *, batches: bool) -> None:
        self._model_path = model_path
        self._batches = batches
        self._log_file = log_file
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it, on the port that it had before, once it is gone; ``wait_ready`` waits for it."""
        self.close()
        options = {
            "--model-path": self._model_path,
            "--port": self.port,
            "--log-file": self._log_file,
            "--parent-pid": os.getpid(),
        }
        words = [str(word) for option in options.items() for word in option]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.identical.model_server", *words, *(["--batches"] if self._batches else [])],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,  # its lifeline
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends its children
        )

    async def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            EngineFailed: it ended before, or loads for too long.
        """
        child = self._child
        line = await asyncio.to_thread(child.stdout.readline) if child is not None and child.stdout else b""
        url = line.decode().strip().rstrip("/")
        if not url or not await self._is_loaded(url):
            log = self._log_file.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
            raise EngineFailed(f"a model server did not start. The end of its log:\n{log}")
        self.port = int(url.rpartition(":")[2])

    async def _is_loaded(self, url: str) -> bool:
        """Ask until its model is loaded: until then it answers 503, or not at all."""
        deadline = time.monotonic() + _START_SECONDS
        async with httpx2.AsyncClient(timeout=_START_SECONDS) as client:
            while time.monotonic() < deadline and self._child is not None and self._child.poll() is None:
                try:
                    answer = await client.get(f"{url}/health")
                except httpx2.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 200:
                    return True
                await asyncio.sleep(_POLL_SECONDS)
        return False

    def kill(self) -> None:
        """Send SIGKILL. Returns at once."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Kill it and wait for its end. Nothing happens to one that is gone."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def run_engines(count: int, model_path: Path, folder: Path, *, batches: bool = False) -> Iterator[list[Engine]]:
    """Start so many; they are gone at the end. ``batches``: as ``bench.identical.model_server`` takes it."""
    engines = [Engine(model_path, folder / f"engine-{number}.log", batches=batches) for number in range(count)]
    try:
        for engine in engines:
            engine.start()
        yield engines
    finally:
        for engine in engines:
            engine.close()
