"""What runs during a benchmark, and how much processor time does it take? Upstreams and gateways as child processes."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.utils.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["KEY", "WAYS_IN", "Running", "cpu_seconds", "run_gateway", "run_upstreams"]

KEY = secrets.token_hex(16)
WAYS_IN = {
    "the door": ("app.cli", "serve"),
    "plain ASGI": ("uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", "{port}"),
}
_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """Child processes of one kind: the ports where they listen, and their process ids."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]


def cpu_seconds(running: Running) -> float | None:
    """User and system time that these processes have taken so far; None where there is no /proc (not on Linux)."""
    total_ticks = 0
    for pid in running.pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return None
        fields = text.rpartition(")")[2].split()  # the name, in parentheses, may hold blanks
        total_ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc_pid_stat(5)
    return total_ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def run_upstreams(count: int) -> Iterator[Running]:
    """Start so many upstreams."""
    with ExitStack() as stack:
        children = [stack.enter_context(_child(("bench.upstream",), _ROOT, {})) for _number in range(count)]
        ports = []
        for child in children:
            assert child.stdout is not None
            ports.append(int(child.stdout.readline()))
        yield Running(tuple(ports), tuple(child.pid for child in children))


@contextmanager
def run_gateway(command: Sequence[str], folder: Path, upstreams: Running) -> Iterator[Running]:
    """Start a gateway with its default settings in an empty folder, and register the upstreams with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {"PORT": str(port), "ADMIN_API_KEY": KEY, "ALLOWED_SERVER_NETWORKS": "127.0.0.0/8"}
    filled = [part.format(port=port) for part in command]
    with (folder / "output").open("wb") as output, _child(filled, folder, settings, output.fileno()) as child:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(port):
            if child.poll() is not None or time.monotonic() > deadline:
                said = (folder / "output").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the gateway did not start: {' '.join(filled)}\n{said}")
            time.sleep(_POLL_SECONDS)
        for upstream_port in upstreams.ports:
            _register(port, upstream_port)
        yield Running((port,), (child.pid,))


@contextmanager
def _child(
    command: Sequence[str], folder: Path, settings: dict[str, str], output: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    ours = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(_ROOT), **settings},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output == subprocess.PIPE else subprocess.STDOUT,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
            return True
    except OSError:  # urllib's errors are OSErrors
        return False


def _register(port: int, upstream_port: int) -> None:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/admin/register",
        data=json.dumps({"endpoint_url": f"http://127.0.0.1:{upstream_port}"}).encode(),
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10):  # noqa: S310 - the scheme is written above
            return
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"the gateway refused an upstream: {error.read().decode(errors='replace')}") from error
