"""Real model servers and real gateway processes, started once for all tests here that only use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME
from tests.fakes.gateway_process import ADMIN_KEY, SHELLS, GatewayProcess
from tests.fakes.real_model import RealModelServer, StartModelServer, bundled_model, model_server_starter

PUBLIC_NAME = "lab/little-one"
"""A name that differs from the server's own, and holds a slash."""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def model_path() -> Path:
    return bundled_model()


@pytest.fixture(scope="session")
def start_model_server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartModelServer]:
    """Start one more server, on the given port or on a free one; to be called in the main thread."""
    log_file = tmp_path_factory.mktemp("model-servers") / "llama.log"
    with model_server_starter(model_path, log_file) as start:
        yield start


@pytest.fixture(scope="session")
def model_servers(start_model_server: StartModelServer) -> tuple[RealModelServer, RealModelServer]:
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
