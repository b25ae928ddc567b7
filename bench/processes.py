"""What runs beside a benchmark? Upstreams and gateways as child processes, each tree ended as a whole.

A child has a session of its own: Ctrl-C reaches this process alone, which then ends its children, in order, and nobody
else. Should this process be killed, the kernel kills the children.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.utils.config import Settings
from bench.calls import await_ready, register
from bench.sites import Site, TlsFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.cores import Cores
    from bench.gateways import Gateway

__all__ = ["NotStarted", "Running", "free_port", "run_gateway", "run_upstreams"]

_ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 90.0
_END_SECONDS = 3.0
_SHOWN_CHARACTERS = 600


class NotStarted(Exception):
    """A gateway can't be measured, and why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A child that listens. ``pid`` is the root of its process tree."""

    port: int
    pid: int
    child: subprocess.Popen[bytes]
    output: Path | None = None

    def last_words(self) -> str:
        """How it ended and what it said at last; nothing while it runs."""
        code = self.child.poll()
        return "" if code is None else f"It ended, exit code {code}. {_end_of(self.output)}"

    def pause(self) -> None:
        """Stop its processes where they are, so that they take nothing from one that is measured."""
        _signal_group(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        _signal_group(self.pid, signal.SIGCONT)


@contextmanager
def run_upstreams(count: int, cores: Cores) -> Iterator[tuple[Running, ...]]:
    """Start so many upstreams."""
    with ExitStack() as stack:
        started = []
        for number in range(count):
            core = cores.upstreams[number % len(cores.upstreams) :][:1]
            command = (sys.executable, "-m", "bench.upstream")
            child = stack.enter_context(_child(command, _ROOT, {"PYTHONPATH": str(_ROOT)}, core))
            started.append(child)
        yield tuple(Running(_told_port(child), child.pid, child) for child in started)


@contextmanager
def run_gateway(
    gateway: Gateway,
    interpreter: Path,
    folder: Path,
    upstreams: Sequence[Running],
    cores: Cores,
    tls: TlsFiles | None = None,
) -> Iterator[Running]:
    """Start a gateway in an empty folder, and wait until it can serve.

    Raises:
        NotStarted: it ended, or said nothing for too long; with the end of its own words.
    """
    site = Site(folder, free_port(), free_port(), tuple(upstream.port for upstream in upstreams), tls)
    launch = gateway.configure(site)
    for name, text in launch.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = (_program(launch.command[0], interpreter), *launch.command[1:])
    environment = {**launch.environment, **({} if gateway.requirement else {"PYTHONPATH": str(_ROOT)})}
    output_path = folder / "output"
    with (
        output_path.open("wb") as output,
        _child(command, folder, environment, cores.gateway, output.fileno()) as child,
    ):
        problem = await_ready(site, launch.ready_path, lambda: child.poll() is None, _START_SECONDS)
        problem = problem or (register(site) if launch.registers else "")
        if problem:
            raise NotStarted(f"{problem} {_end_of(output_path)}")
        yield Running(site.port, child.pid, child, output_path)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _program(name: str, interpreter: Path) -> str:
    """The full path of a program of the gateway's own environment."""
    return str(interpreter if name == "python" else interpreter.parent / name)


def _end_of(output: Path | None) -> str:
    said = output.read_text(encoding="utf-8", errors="replace") if output else ""
    return " ".join(said[-_SHOWN_CHARACTERS:].split()) or "It said nothing."


def _told_port(child: subprocess.Popen[bytes]) -> int:
    line = child.stdout.readline() if child.stdout else b""
    if not line.strip().isdigit():
        raise NotStarted("an upstream did not start; its own words are above")
    return int(line)


@contextmanager
def _child(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    cores: Sequence[int],
    output: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    listed = ",".join(map(str, cores)) or "any"
    launcher = (sys.executable, "-P", str(Path(__file__).with_name("launch.py")), listed)
    child = subprocess.Popen(
        [*launcher, *command],
        cwd=folder,
        env={**_inherited(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output == subprocess.PIPE else subprocess.STDOUT,
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            _end(child)


def _inherited() -> dict[str, str]:
    """Our environment without what would change a gateway: settings of ours, and proxies."""
    ours = {name.upper() for name in Settings.model_fields}
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in ours and not name.upper().endswith("_PROXY")
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that it started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _signal_group(child.pid, number):
            return
        _signal_group(child.pid, signal.SIGCONT)  # one that is paused would not hear
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and _signal_group(child.pid, 0):
            child.poll()
            time.sleep(0.02)


def _signal_group(group: int, number: int) -> bool:
    """Signal a session's processes; False when none is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
