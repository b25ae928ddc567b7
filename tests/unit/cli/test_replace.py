"""Does SIGHUP start one process to take over, whatever comes meanwhile, and is systemd told the truth of it?"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.cli.replace import Replacement
from app.cli.replace_hangup import Hangup, Meaning

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP there")

READY = f"READY=1\nMAINPID={os.getpid()}"
CHILD = "import sys; open(sys.argv[1]).read()"  # says nothing, and ends when the gate is opened


class Server:
    """A gateway that serves, without listeners."""

    def __init__(self) -> None:
        self.stopped_by: int | None = None
        self.listeners: list[socket.socket] = []
        self.on_ending: Callable[[], Awaitable[None]] | None = None

    def leave(self) -> None:
        raise AssertionError("nobody has taken over")


class Systemd:
    """Hears what the service manager is told."""

    def __init__(self, folder: Path) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(str(folder / "notify"))
        self.channel.setblocking(False)

    async def told(self) -> str:
        async with asyncio.timeout(20):
            return (await asyncio.get_running_loop().sock_recv(self.channel, 4096)).decode()

    def told_nothing(self) -> bool:
        try:
            self.channel.recv(4096)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Systemd]:
    monkeypatch.delenv("SYSTEMD_EXEC_PID", raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd = Systemd(tmp_path)
    with systemd.channel:
        yield systemd


@pytest.fixture
def hangup() -> Iterator[Hangup]:
    before = signal.getsignal(signal.SIGHUP)
    hangup = Hangup()
    hangup.meaning = Meaning.REPLACE  # also where the tests have a terminal
    yield hangup
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
async def serving(hangup: Hangup, systemd: Systemd, tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    begun = asyncio.Event()
    Replacement(tmp_path / "data", hangup, None).begin(server, None, begun.set)
    async with asyncio.timeout(20):
        await begun.wait()
    assert await systemd.told() == READY
    yield server
    handovers = [task for task in asyncio.all_tasks() if task.get_name() == "replacement by a child"]
    if handovers:
        await asyncio.wait(handovers)  # each sees its child out
    assert server.on_ending is not None
    await server.on_ending()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.usefixtures("serving")
async def test_a_second_one_starts_no_second_process(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", CHILD, str(gate)])
    for _round in range(2):  # the first to fail stands in nobody's way
        with capture_logs() as logs:
            hang_up()
            assert (await systemd.told()).startswith("RELOADING=1")
            hang_up()
            async with asyncio.timeout(20):
                while not any(line["log_level"] == "error" for line in logs):
                    await asyncio.sleep(0)
            assert systemd.told_nothing()
            await asyncio.to_thread(gate.write_text, "")  # waits for the child to be there
            assert await systemd.told() == READY
        reasons = [line["reason"] for line in logs if line["log_level"] == "error"]
        assert "has started is replacing it right now" in reasons[0]
        assert "ended before it was done" in reasons[1]


@pytest.mark.usefixtures("serving")
async def test_a_process_that_can_not_be_started_is_told_and_another_may_be(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with capture_logs() as logs:
        for _round in range(2):
            hang_up()
            assert (await systemd.told()).startswith("RELOADING=1")
            assert await systemd.told() == READY
    reasons = [line["reason"] for line in logs if line["log_level"] == "error"]
    assert reasons == ["a new process can't be started: No such file or directory"] * 2
