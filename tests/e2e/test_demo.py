"""Does the demo do what it prints: real answers, also after one of its servers was killed, and nothing left behind?"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from app.demo.bundled import MODEL_NAME, MissingPackages, find_bundled_model

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real_model,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way there"),
    pytest.mark.skipif(
        isinstance(find_bundled_model(), MissingPackages), reason="the demo's packages are not installed"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 150
END_SECONDS = 30


class Demo:
    """A running ``multiverse demo``, its temporary folder under our eyes."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.errors = folder / "stderr"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        environment |= {"TMPDIR": str(self.temporary), "NO_COLOR": "1", "MAX_ATTEMPTS": "not a number"}
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "demo", "--no-engines", "--port", "0", *options],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.pids: list[int] = []

    def read_until(self, is_complete: Callable[[str], bool]) -> str:
        """Everything on stdout up to the point where it is complete."""
        stdout = self.process.stdout
        assert stdout is not None
        text, deadline = b"", time.monotonic() + START_SECONDS
        while not is_complete(text.decode()):
            readable, _, _ = select.select([stdout], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(stdout.fileno(), 65536) if readable else b""
            assert chunk, f"the demo ended or stayed silent: {text.decode()}\n{self.errors.read_text()}"
            text += chunk
        return text.decode()

    def ready_json(self) -> dict[str, Any]:
        text = self.read_until(lambda read: read.endswith("\n"))
        assert text.count("\n") == 1, "one line of JSON and nothing else"
        told: dict[str, Any] = json.loads(text)
        self.pids = [server["pid"] for server in told["servers"]]
        return told

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)

    def assert_nothing_is_left(self, port: int) -> None:
        for pid in self.pids:
            wait_until_gone(pid)
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for pid in self.pids:
            wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    """Wait for a process that is no child of ours to end."""
    deadline = time.monotonic() + END_SECONDS
    try:
        if sys.platform == "linux":
            descriptor = os.pidfd_open(pid)
            readable, _, _ = select.select([descriptor], [], [], END_SECONDS)
            os.close(descriptor)
            assert readable, f"process {pid} is still there"
            return
        while time.monotonic() < deadline:
            os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise AssertionError(f"process {pid} is still there")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def begin(*options: str) -> Demo:
        demos.append(Demo(tmp_path, *options))
        return demos[-1]

    yield begin
    for demo in demos:
        demo.close()


def port_in(url: str) -> int:
    port = httpx2.URL(url).port
    assert port is not None
    return port


def chat(client: openai.OpenAI, **options: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": "Say hello."}]
    return client.chat.completions.create(model=MODEL_NAME, messages=messages, max_tokens=16, **options)


def test_a_script_gets_real_answers_also_after_a_kill(start: Callable[..., Demo]) -> None:
    demo = start("--json")
    told = demo.ready_json()
    assert told["model"] == MODEL_NAME
    assert len(set(demo.pids)) == 2
    with openai.OpenAI(base_url=told["base_url"], api_key=told["key"], max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [MODEL_NAME]
        assert chat(client).choices[0].message.content
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chat(client, stream=True) if chunk.choices)
        os.kill(demo.pids[0], signal.SIGKILL)
        for _ in range(6):
            assert chat(client).choices[0].message.content
    assert demo.end(signal.SIGTERM) == 0
    demo.assert_nothing_is_left(port_in(told["base_url"]))
    assert list(demo.temporary.iterdir()) == []


def test_a_person_can_paste_what_it_prints(start: Callable[..., Demo]) -> None:
    demo = start()
    text = demo.read_until(lambda read: "Ctrl-C ends" in read and read.endswith("\n"))
    demo.pids = [int(pid) for pid in re.findall(r"is process (\d+)", text)]
    whole, stream = [line for line in text.splitlines() if line.lstrip().startswith("curl ")]
    answer = json.loads(subprocess.run(shlex.split(whole), capture_output=True, check=True).stdout)
    assert answer["choices"][0]["message"]["content"]
    events = subprocess.run(shlex.split(stream), capture_output=True, check=True, text=True).stdout
    assert events.rstrip().endswith("data: [DONE]")
    kill = next(line for line in text.splitlines() if line.lstrip().startswith("kill "))
    subprocess.run(shlex.split(kill), check=True)
    answer = json.loads(subprocess.run(shlex.split(whole), capture_output=True, check=True).stdout)
    assert answer["choices"][0]["message"]["content"]
    snippet = text.partition("From Python")[2].partition("\n")[2].partition("\n\n")[0]
    told = subprocess.run([sys.executable, "-c", snippet], capture_output=True, check=True, text=True)
    assert told.stdout.strip()
    docs = next(word for word in text.split() if word.endswith("/docs"))
    assert httpx2.get(docs, trust_env=False).status_code == 200
    assert demo.end(signal.SIGINT) == 130
    demo.assert_nothing_is_left(port_in(docs))
    assert list(demo.temporary.iterdir()) == []
    errors = demo.errors.read_text()
    assert "Traceback" not in errors
    lines = re.findall(r"^/v1/chat/completions: 200 in \d+\.\d\d s from http://127", errors, re.MULTILINE)
    assert len(lines) in {4, 5}, "the demo's own first question may still wait in the batch when the console is ready"
    assert re.search(r"Model server \d+ has ended. Ask again", errors)


def test_a_killed_demo_takes_its_model_servers_along(start: Callable[..., Demo]) -> None:
    demo = start("--json", "--servers", "1")
    told = demo.ready_json()
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    demo.assert_nothing_is_left(port_in(told["base_url"]))


def test_an_early_end_leaves_nothing_either(start: Callable[..., Demo]) -> None:
    demo = start("--json")
    deadline = time.monotonic() + START_SECONDS
    while not any(demo.temporary.iterdir()):
        assert demo.process.poll() is None
        assert time.monotonic() < deadline
    assert demo.end(signal.SIGTERM) == 0
    assert list(demo.temporary.iterdir()) == []
    assert "Traceback" not in demo.errors.read_text()
