"""Real model servers and real gateway processes, started once for all tests here that only use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME, MissingPackages, find_bundled_model
from tests.fakes.gateway_process import ADMIN_KEY, SHELLS, GatewayProcess

PUBLIC_NAME = "lab/little-one"
"""A name that differs from the server's own, and holds a slash."""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


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


@pytest.fixture(scope="session")
def model_path() -> Path:
    found = find_bundled_model()
    if isinstance(found, MissingPackages):
        pytest.skip(f"needs a real model server: {'; '.join(found.commands)}")
    return found


@pytest.fixture(scope="session")
def start_model_server(
    model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RealModelServer]]:
    """Start one more server, on the given port or on a free one; to be called in the main thread."""
    log_file = tmp_path_factory.mktemp("model-servers") / "llama.log"
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


@pytest.fixture(scope="session")
def model_servers(start_model_server: Callable[..., RealModelServer]) -> tuple[RealModelServer, RealModelServer]:
    """Two that live as long as the tests: nobody may stop them."""
    return start_model_server(), start_model_server()


@pytest.fixture(scope="session")
def real_gateways(
    model_servers: tuple[RealModelServer, RealModelServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, GatewayProcess]]:
    """A gateway behind each way in. The first server is registered as it is, the second one under another name."""
    with ExitStack() as stack:
        gateways = {}
        for name in SHELLS:
            folder = tmp_path_factory.mktemp("gateway") / name
            gateway = GatewayProcess(folder, name, {"ADMIN_API_KEY": ADMIN_KEY})
            stack.callback(gateway.close)
            gateway.start()
            _register(gateway, {"endpoint_url": model_servers[0].url})
            renamed = [{"name": PUBLIC_NAME, "upstream_name": MODEL_NAME}]
            _register(gateway, {"endpoint_url": f"{model_servers[1].url}/v1", "models": renamed})
            gateways[name] = gateway
        yield gateways


@pytest.fixture
def real_gateway(real_gateways: dict[str, GatewayProcess], shell: str) -> GatewayProcess:
    """The gateway of this way in, with both real servers."""
    return real_gateways[shell]


def _register(gateway: GatewayProcess, body: dict[str, object]) -> None:
    with httpx2.Client(base_url=gateway.url, headers={"x-api-key": ADMIN_KEY}, timeout=30) as client:
        answer = client.post("/admin/register", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["engine"] == "llama.cpp"
    assert answer.json()["health_status"] == "healthy"
