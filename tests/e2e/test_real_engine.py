"""Is a real llama.cpp server known for what it is, do its own pages say how it is, and are its errors told as ours?"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME
from app.demo.model_server import CONTEXT_TOKENS_PER_REQUEST, PARALLEL_REQUESTS
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.signals import Signals
from app.services.core.types import DiscoveredModel
from app.services.dataplane.fetch import Fetcher
from app.services.dataplane.link import Link, SystemResolver
from app.services.engines.identify import engine_named
from app.services.inspector import Inspector
from tests.fakes.gateway_process import GatewayProcess, until

pytestmark = [pytest.mark.e2e, pytest.mark.real_model]

ENGINE = engine_named("llama.cpp")
ENDLESS = {"model": MODEL_NAME, "prompt": "Once", "max_tokens": 1900, "ignore_eos": True, "stream": True}
TOO_LONG = "a b " * 3 * CONTEXT_TOKENS_PER_REQUEST


def fetcher() -> Fetcher:
    policy = AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))
    return Fetcher(Link(policy, SystemResolver(), connect_timeout_seconds=5), b"test")


async def poll(url: str, paths: Iterable[str]) -> Signals:
    """Fetch pages as they are polled, and read them."""
    answers = {}
    for path in paths:
        answer = await fetcher().get(parse_endpoint(url), path, api_key=None, timeout_seconds=20)
        assert answer.status == 200, path
        answers[path] = answer.body
    return ENGINE.signals(answers)


async def test_it_is_known_with_its_version(model_servers: tuple[Any, Any]) -> None:
    found = await Inspector(fetcher(), 20).inspect(parse_endpoint(model_servers[0].url), None, ())
    assert (found.failure, found.engine) == (None, "llama.cpp")
    assert found.models == (DiscoveredModel(MODEL_NAME, CONTEXT_TOKENS_PER_REQUEST),)
    assert found.version


@pytest.mark.parametrize("paths", [ENGINE.signal_paths(), ("/v1/models", "/slots")], ids=["figures", "slots"])
async def test_its_pages_say_how_busy_it_is(model_servers: tuple[Any, Any], paths: tuple[str, ...]) -> None:
    url = model_servers[1].url

    async def signals_of(running: int) -> Signals | None:
        signals = await poll(url, paths)
        return signals if signals.running == running else None

    idle = await until(lambda: signals_of(0), "nothing runs", seconds=30)
    async with (
        httpx2.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{url}/v1/completions", json=ENDLESS) as stream,
    ):
        assert stream.status_code == 200
        busy = await until(lambda: signals_of(1), "one request runs", seconds=30)
    after = await until(lambda: signals_of(0), "it was given up", seconds=30)
    for signals in (idle, busy, after):
        assert signals.places == PARALLEL_REQUESTS
        assert signals.contexts == {MODEL_NAME: CONTEXT_TOKENS_PER_REQUEST}
        assert {"chat", "completions"} <= signals.capabilities[MODEL_NAME]
        assert signals.loaded is None
        assert signals.waiting == (0 if "/metrics" in paths else None)


async def test_its_errors_are_understood(model_servers: tuple[Any, Any]) -> None:
    url = model_servers[0].url
    async with httpx2.AsyncClient(timeout=30) as client:
        lost = await client.get(f"{url}/no-such-page")
        broken = await client.post(f"{url}/v1/chat/completions", json={"messages": 5})
        too_long = await client.post(f"{url}/v1/completions", json={"prompt": TOO_LONG})
    assert ENGINE.error_message(lost.status_code, lost.content) == "File Not Found"
    assert "messages" in ENGINE.error_message(broken.status_code, broken.content)
    assert "context size" in ENGINE.error_message(too_long.status_code, too_long.content)
    assert not any(ENGINE.is_loading(answer.status_code, answer.content) for answer in (lost, broken, too_long))


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/v1/chat/completions", {"messages": 5}), ("/v1/completions", {"prompt": "x", "grammar": "no grammar"})],
)
async def test_its_errors_reach_the_client_in_one_envelope(
    real_gateway: GatewayProcess, path: str, fields: dict[str, Any]
) -> None:
    async with real_gateway.client() as client:
        answer = await client.post(path, json={"model": MODEL_NAME, **fields})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error["code"] is None or isinstance(error["code"], str)
