"""How are the demo's model servers started, awaited, watched and ended?"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ModelServer", "ModelServerFailed", "Started", "start_model_servers", "stop_all"]

STOP_TIMEOUT_SECONDS: Final = 3.0
LOG_TAIL_LINES: Final = 8
MAX_THREADS_EACH: Final = 4


class ModelServerFailed(Exception):
    """A model server ended or stayed silent before it was ready; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a model server says once it is ready. ``model`` is the name that it lists."""

    pid: int
    url: str
    model: str


class ModelServer:
    """One child process that runs ``app.demo.model_server``. Make it in a thread that outlives it (see ``lifeline``).

    Args:
        model_path: the GGUF file.
        alias: the name to list the model under.
        log_file: where it writes what it does; what stands there is kept.
        threads: how many compute.
        port: where it listens; 0 takes a free one.
    """

    __slots__ = ("_alias", "_announcements", "_model_path", "_port", "_process", "_stopping", "_threads", "log_file")

    def __init__(self, model_path: Path, alias: str, log_file: Path, threads: int, port: int = 0) -> None:
        self.log_file = log_file
        self._model_path, self._alias, self._threads, self._port = model_path, alias, threads, port
        self._stopping = False
        self._announcements: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        arguments = ["--model-path", str(model_path), "--alias", alias, "--log-file", str(log_file)]
        arguments += ["--threads", str(threads), "--parent-pid", str(os.getpid()), "--port", str(port)]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [sys.executable, "-m", "app.demo.model_server", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_child_environment(),
            )
        threading.Thread(target=self._listen, name=f"model-server-{self.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id to kill."""
        return self._process.pid

    def wait_ready(self, timeout_seconds: float) -> Started:
        """Block until the server serves. Raises ModelServerFailed when it ended or the time is up."""
        try:
            line = self._announcements.get(timeout=timeout_seconds)
        except queue.Empty:
            raise ModelServerFailed(self._why(f"was not ready within {timeout_seconds:g} s")) from None
        if not line:  # its end of the pipe is closed: it has ended, or will at once
            self.wait_stopped(STOP_TIMEOUT_SECONDS)
            raise ModelServerFailed(self._why(f"ended with code {self._process.returncode}"))
        said = json.loads(line)
        self._port = urlsplit(said["url"]).port or 0
        return Started(pid=int(said["pid"]), url=str(said["url"]), model=str(said["model"]))

    @property
    def is_running(self) -> bool:
        """Whether the process is there, and not about to be ended."""
        return not self._stopping and self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash would, at once: SIGKILL, on Windows TerminateProcess. Whoever watches it is told."""
        self._process.kill()

    def successor(self) -> ModelServer:
        """Start another one like it, where it listened. It must have ended.

        Raises:
            OSError: the system can't start a process.
        """
        return ModelServer(self._model_path, self._alias, self.log_file, self._threads, self._port)

    def watch(self, on_end: Callable[[ModelServer], None]) -> None:
        """Call ``on_end`` from a thread of its own when the process ends without having been asked to."""

        def wait() -> None:
            self._process.wait()
            if not self._stopping:
                on_end(self)

        threading.Thread(target=wait, name=f"watch-{self.pid}", daemon=True).start()

    def ask_to_stop(self) -> None:
        """Close the lifeline and send SIGTERM (on Windows: terminate). Returns at once."""
        self._stopping = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()

    def wait_stopped(self, timeout_seconds: float) -> None:
        """Reap the process; kill it when it takes longer than ``timeout_seconds``."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        stdout = self._process.stdout
        if stdout is not None:
            with stdout:
                self._announcements.put(stdout.readline())

    def _why(self, how: str) -> str:
        told = f"The model server (process {self.pid}) {how}."
        try:
            lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError as error:  # the demo ends, and its folder is gone
            return f"{told} Its log can't be read: {error.strerror}."
        return f"{told} The end of its log:\n" + "\n".join(lines)


def start_model_servers(count: int, model_path: Path, alias: str, log_folder: Path) -> list[ModelServer]:
    """Start ``count`` servers of one model; none is awaited. Those begun are ended again when one can't start."""
    threads = max(1, min(MAX_THREADS_EACH, (os.cpu_count() or 1) // count))
    servers: list[ModelServer] = []
    try:
        for number in range(1, count + 1):
            log_file = log_folder / f"model-server-{number}.log"
            servers.append(ModelServer(model_path, alias, log_file, threads))
    except BaseException:
        stop_all(servers)
        raise
    return servers


def stop_all(servers: list[ModelServer], timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
    """End all servers side by side and reap them; when it returns, none is left."""
    for server in servers:
        server.ask_to_stop()
    for server in servers:
        server.wait_stopped(timeout_seconds)


def _child_environment() -> dict[str, str]:
    """Our own environment, with the folder of this package importable wherever the child is started."""
    package_root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([package_root, known] if known else [package_root])}
