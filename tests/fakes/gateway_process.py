"""The whole gateway as a process of its own, in a folder of its own: started, killed, drained and started again.

Both ways in: ``door`` is ``multiverse serve``, ``asgi`` is plain ``uvicorn app.main:app``. Starting and ending block;
tests that serve fakes in their own event loop call them through ``asyncio.to_thread``.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from app.utils.config import Settings

__all__ = ["ADMIN_KEY", "REPOSITORY", "SHELLS", "GatewayProcess", "free_port", "open_gateway", "until"]

ADMIN_KEY = "end-to-end-admin-key-0123456789"
SHELLS = ("door", "asgi")
REPOSITORY = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.01

Result = TypeVar("Result")


async def until(condition: Callable[[], Result | Awaitable[Result]], what: str, *, seconds: float = 10.0) -> Result:
    """Ask until the answer is true, and return it; fail with ``what`` was waited for once the time is up.

    What is not there yet may also show as a connection that fails: that counts as "not yet".
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = condition()
            result = await answer if inspect.isawaitable(answer) else answer
        except httpx2.TransportError:
            result = None
        if result:
            return result
        if time.monotonic() > deadline:
            message = f"in {seconds:g} s it did not come to this: {what}"
            raise AssertionError(message)
        await asyncio.sleep(POLL_SECONDS)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class GatewayProcess:
    """One gateway with its folder. ``settings`` are given as environment; ``shell`` may be changed between starts."""

    folder: Path
    shell: str
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    tls: ssl.SSLContext | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone, however it went."""
        return self._process is None or self._process.poll() is not None

    @property
    def output_file(self) -> Path:
        """What every process of this gateway said on stdout and stderr; beside its folder, not in it."""
        return self.folder.with_name(f"{self.folder.name}.output")

    @property
    def output(self) -> str:
        return self.output_file.read_text(errors="backslashreplace")

    @property
    def environment(self) -> dict[str, str]:
        """Ours, less the settings of whoever runs the tests, plus those of this gateway."""
        ours = {name.upper() for name in Settings.model_fields}
        inherited = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        python_path = os.pathsep.join(filter(None, [str(REPOSITORY), inherited.get("PYTHONPATH")]))
        defaults = {"PORT": str(self.port), "ALLOWED_SERVER_NETWORKS": "127.0.0.0/8"}
        return {**inherited, "PYTHONPATH": python_path, **defaults, **self.settings}

    def start(self) -> None:
        """Start and wait until ``/ready`` says 200. Blocks."""
        self.spawn()
        deadline = time.monotonic() + START_SECONDS
        with httpx2.Client(verify=self.tls or True, timeout=5) as client:
            while not _says_ready(client, f"{self.url}/ready"):
                if self.ended or time.monotonic() > deadline:
                    message = f"the gateway did not get ready:\n{self.output}"
                    raise AssertionError(message)
                time.sleep(POLL_SECONDS)

    def spawn(self) -> None:
        """Start without waiting."""
        assert self.ended, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._command()],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _command(self) -> list[str]:
        if self.shell == "door":
            return ["app.cli", "serve"]
        return ["uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(self.port)]

    def command(self, *arguments: str) -> str:
        """Run another command of the gateway's in its folder, to the end; return what it said. Blocks."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=STOP_SECONDS,
            check=False,
        )
        said = done.stdout.decode(errors="backslashreplace")
        assert done.returncode == 0, said
        return said

    def kill(self) -> None:
        """``kill -9``: nothing is written, nothing is said. Blocks until it is gone."""
        process = self._running()
        process.kill()
        process.wait(STOP_SECONDS)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end, and don't wait."""
        os.kill(self.pid, number)

    def wait_ended(self) -> int:
        """Block until it has ended by itself; return its exit code (negative: the signal that ended it)."""
        return self._running().wait(STOP_SECONDS)

    def stop(self) -> int:
        """End it as an operator does; return its exit code. Blocks."""
        self.signal()
        return self.wait_ended()

    def close(self) -> None:
        """Leave nothing running."""
        if not self.ended:
            self.kill()

    def client(self, **options: Any) -> httpx2.AsyncClient:
        """A client with the admin key."""
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        defaults: dict[str, Any] = {"base_url": self.url, "headers": headers, "timeout": 30, "verify": self.tls or True}
        return httpx2.AsyncClient(**{**defaults, **options})

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was never started"
        return self._process


@asynccontextmanager
async def open_gateway(
    folder: Path,
    shell: str,
    *,
    admin_key: str | None = ADMIN_KEY,
    tls: ssl.SSLContext | None = None,
    **settings: object,
) -> AsyncIterator[GatewayProcess]:
    """Run a gateway; settings by their field names. It is gone at the end, whatever happened."""
    given = {name.upper(): str(value) for name, value in settings.items()}
    if admin_key is not None:
        given["ADMIN_API_KEY"] = admin_key
    gateway = GatewayProcess(folder, shell, given, tls=tls)
    try:
        await asyncio.to_thread(gateway.start)
        yield gateway
    finally:
        await asyncio.to_thread(gateway.close)


def _says_ready(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx2.TransportError:
        return False
