"""What runs during a soak? One gateway with a few settings, and model servers, as child processes that end with it.

Ctrl-C and SIGTERM reach this process alone, which then ends its children. Should it be killed, the kernel kills them.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.utils.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "ChildFailed",
    "Gateway",
    "ModelServer",
    "heed_sigterm",
    "raise_open_files",
    "run_gateway",
    "run_model_server",
]

_ROOT = Path(__file__).resolve().parents[1]
_PLAIN = ("uvicorn", "app.main:app", "--host", "127.0.0.1", "--no-access-log", "--timeout-keep-alive", "3600")
_LAUNCHER = Path(__file__).with_name("launch.py")
_START_SECONDS = 60.0
_END_SECONDS = 5.0
_POLL_SECONDS = 0.05


class ChildFailed(Exception):
    """A child process did not start, or did not do as it was asked; in words."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A model server that does what each prompt asks of it (``bench.soak_upstream``)."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves. ``key`` is its admin key."""

    port: int
    pid: int
    key: str

    def register(self, server: ModelServer) -> None:
        """Add a model server.

        Raises:
            ChildFailed: the gateway refused.
        """
        self._call("/admin/register", {"endpoint_url": f"http://127.0.0.1:{server.port}"})

    def in_flight(self) -> int:
        """How many requests run on its servers, as the admin API shows."""
        return sum(server["in_flight"] for server in json.loads(self._call("/admin/servers"))["servers"])

    def metrics(self) -> str:
        """What ``/metrics`` says."""
        return self._call("/metrics")

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> str:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": f"Bearer {self.key}", "content-type": "application/json", "connection": "close"},
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - the scheme is written above
                said: bytes = answer.read()
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")
            raise ChildFailed(f"{path} was answered with {error.code}: {words[:500]}") from error
        except OSError as error:
            raise ChildFailed(f"the gateway does not answer on {path}: {error}") from error
        return said.decode()


@contextmanager
def run_model_server() -> Iterator[ModelServer]:
    """Start one model server."""
    with _child(("bench.soak_upstream",), _ROOT, {}, subprocess.PIPE) as child:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        if not port:
            raise ChildFailed("a model server did not start")
        yield ModelServer(int(port), child.pid)


@contextmanager
def run_gateway(folder: Path, settings: Mapping[str, str], shell: str = "door") -> Iterator[Gateway]:
    """Start a gateway in an empty folder: by ``multiverse serve``, or behind plain uvicorn where ``shell`` is "asgi".

    Raises:
        ChildFailed: it did not get ready.
    """
    port, key = _free_port(), secrets.token_hex(16)
    listening = {"PORT": str(port), "ADMIN_API_KEY": key, "ALLOWED_SERVER_NETWORKS": "127.0.0.0/8"}
    command = ("app.cli", "serve") if shell == "door" else (*_PLAIN, "--port", str(port))
    with (
        (folder / "output").open("wb") as output,
        _child(command, folder, {**listening, **settings}, output.fileno()) as child,
    ):
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(port):
            if child.poll() is not None or time.monotonic() > deadline:
                said = (folder / "output").read_text(encoding="utf-8", errors="replace")
                raise ChildFailed(f"the gateway did not start:\n{said[-2000:]}")
            time.sleep(_POLL_SECONDS)
        yield Gateway(port, child.pid, key)


def heed_sigterm() -> None:
    """Take SIGTERM as Ctrl-C: by default Python would end without ending its children."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def raise_open_files() -> int:
    """Let this process open as many files as its hard limit allows; return how many."""
    import resource  # noqa: PLC0415 - a Unix module

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def _child(
    command: tuple[str, ...], folder: Path, settings: Mapping[str, str], output: int
) -> Iterator[subprocess.Popen[str]]:
    """Run a module of Python; end it by its own process id, kindly first."""
    ours = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    child = subprocess.Popen(
        [sys.executable, "-P", str(_LAUNCHER), "any", sys.executable, "-m", *command],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(_ROOT), **settings},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output == subprocess.PIPE else subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C reaches this process alone, which ends its children
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
            return True
    except OSError:  # urllib's errors are OSErrors
        return False
