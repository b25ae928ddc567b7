"""A real llama.cpp server with a small model, as a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.demo.bundled import MODEL_NAME, MissingPackages, find_bundled_model

__all__ = ["RealModelServer", "StartModelServer", "bundled_model", "model_server_starter"]


@dataclass
class RealModelServer:
    """A llama.cpp server with a small model, as a child process."""

    process: subprocess.Popen[bytes]
    url: str
    model: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].strip("/"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


StartModelServer = Callable[..., RealModelServer]


def bundled_model() -> Path:
    """The model's file; skips the test where it is not installed."""
    found = find_bundled_model()
    if isinstance(found, MissingPackages):
        pytest.skip(f"needs a real model server: {'; '.join(found.commands)}")
    return found


@contextmanager
def model_server_starter(model_path: Path, log_file: Path) -> Iterator[StartModelServer]:
    """Give what starts one more server, on the given port or on a free one; all are gone at the end.

    To be called in the main thread: a server ends with the thread that started it.
    """
    with ExitStack() as stack:

        def start(port: int = 0) -> RealModelServer:
            arguments = ["--model-path", str(model_path), "--alias", MODEL_NAME, "--port", str(port)]
            arguments += ["--log-file", str(log_file), "--threads", "1", "--parent-pid", str(os.getpid())]
            process = subprocess.Popen(
                [sys.executable, "-m", "app.demo.model_server", *arguments, "--start-timeout-seconds", "30"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert process.stdout is not None
            server = RealModelServer(process, "", "")
            stack.callback(server.kill)
            line = process.stdout.readline()
            assert line, f"the model server did not start:\n{log_file.read_text(errors='replace')[-2000:]}"
            said = json.loads(line)
            server.url, server.model = said["url"], said["model"]
            return server

        yield start
