"""Are processes measured as whole trees, bound, paused, and ended with all that they started?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bench import processes
from bench.cores import Cores, bound_to, choose_cores
from bench.gateways import GATEWAYS, Gateway
from bench.install import NotInstalled, install
from bench.measure import cpu_seconds, process_tree, resident_kilobytes
from bench.processes import NotStarted, Running, run_gateway, run_upstreams
from bench.sites import Launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
PATIENCE_SECONDS = 10.0
SPAWNS = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); print(flush=True); input()"
SPINS = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True); input()"


STUBBORN = """
import http.server, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def wait_until(is_so) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_tree_is_measured_with_its_children() -> None:
    with child(SPAWNS.format(child=SPINS)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdout.readline() == b"done\n"
        assert len(process_tree(process.pid)) == 2
        spent, own = cpu_seconds(process.pid), cpu_seconds(os.getpid())
        assert spent is not None
        assert 0.2 <= spent < 5
        assert own is not None
        memory = resident_kilobytes(process.pid)
        assert memory is not None
        assert memory > 8_000


def test_nothing_is_left_to_measure_of_a_process_that_ended() -> None:
    with child("pass") as process:
        process.wait()
        assert process_tree(process.pid) == []
        assert cpu_seconds(process.pid) == 0
        assert resident_kilobytes(process.pid) == 0


def test_upstreams_listen_where_they_say_and_are_bound_and_ended() -> None:
    core = max(os.sched_getaffinity(0))
    with run_upstreams(2, Cores(upstreams=(core,))) as upstreams:
        assert len({upstream.port for upstream in upstreams}) == 2
        assert [os.sched_getaffinity(upstream.pid) for upstream in upstreams] == [{core}, {core}]
        pids = [upstream.pid for upstream in upstreams]
        upstreams[0].pause()
        wait_until(lambda: state_of(pids[0]) == "T")
        upstreams[1].pause()
        upstreams[0].resume()
        wait_until(lambda: state_of(pids[0]) != "T")
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def peer(*command: str, **files: str) -> Gateway:
    return replace(GATEWAYS[2], configure=lambda _site: Launch(("python", *command), files=files))


def test_a_gateway_that_ends_at_once_is_missing_with_its_last_words(tmp_path: Path) -> None:
    crashing = peer("-c", "import sys; sys.exit('no such option')")
    with (
        pytest.raises(NotStarted, match=r"ended at its start\. no such option"),
        run_gateway(crashing, Path(sys.executable), tmp_path, (), Cores()),
    ):
        pass


def test_a_gateway_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_END_SECONDS", 0.2)
    (tmp_path / "stubborn.py").write_text(STUBBORN, encoding="utf-8")
    stubborn = replace(
        GATEWAYS[2], configure=lambda site: Launch(("python", "stubborn.py", str(site.port)), ready_path="/")
    )
    with run_gateway(stubborn, Path(sys.executable), tmp_path, (), Cores()) as running:
        assert isinstance(running, Running)
        assert running.last_words() == ""
        members = process_tree(running.pid)
        assert len(members) == 2
        running.pause()
    assert not [pid for pid in members if Path(f"/proc/{pid}").exists() and state_of(pid) != "Z"]
    assert running.last_words().startswith("It ended, exit code ")


def test_cores_are_shared_out_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, gateway, load, upstreams in [
        ({0}, (), (), ()),
        ({0, 1}, (1,), (0,), (0,)),
        ({2, 5, 7}, (7,), (2,), (5,)),
        (set(range(8)), (7,), (0,), (1, 2)),
    ]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, free=free: free)
        cores = choose_cores()
        assert (cores.gateway, cores.load, cores.upstreams) == (gateway, load, upstreams)
        assert cores.words.endswith(".")
    monkeypatch.undo()
    before = os.sched_getaffinity(0)
    with bound_to((min(before),)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_what_is_installed_stays_and_what_can_not_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert install(GATEWAYS[0], tmp_path) == Path(sys.executable)
    absent = replace(GATEWAYS[2], requirement="no-such-gateway==1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(NotInstalled, match=r"no-such-gateway==1\.0 failed: .*No matching distribution"):
        install(absent, tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "*\n"
    (tmp_path / absent.name / "installed").write_text(f"{absent.requirement} for {sys.version}\n")
    assert install(absent, tmp_path) == tmp_path / absent.name / "bin" / "python"
