"""Does a real llama.cpp server say the same through the gateway as it says itself, and stop when nobody listens?"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from app.demo.bundled import MODEL_NAME
from tests.fakes.gateway_process import GatewayProcess, until

pytestmark = [pytest.mark.e2e, pytest.mark.real_model]

PUBLIC_NAME = "lab/little-one"
LONG = {
    "model": MODEL_NAME,
    "messages": [{"role": "user", "content": "Tell me a story that never ends."}],
    "max_tokens": 1900,
    "ignore_eos": True,
    "stream": True,
}


def request_for(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    fixed = {"temperature": 0, "seed": 7, "max_tokens": 24, "cache_prompt": False}
    return {"model": model, "messages": messages, **fixed, **fields}


def text_of(events: str) -> str:
    """Put the text of a stream together; it must end as streams end."""
    lines = [line.removeprefix("data: ") for line in events.split("\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return "".join(choice["delta"].get("content") or "" for line in lines for choice in json.loads(line)["choices"])


@pytest.mark.parametrize(("name", "which"), [(MODEL_NAME, 0), (PUBLIC_NAME, 1)])
async def test_the_text_is_the_servers_own(
    real_gateway: GatewayProcess, model_servers: tuple[Any, Any], name: str, which: int
) -> None:
    async with real_gateway.client() as client, httpx2.AsyncClient(timeout=30) as plain:
        own = await plain.post(f"{model_servers[which].url}/v1/chat/completions", json=request_for(MODEL_NAME))
        whole = await client.post("/v1/chat/completions", json=request_for(name))
        streamed = await client.post("/v1/chat/completions", json=request_for(name, stream=True))
    assert (own.status_code, whole.status_code, streamed.status_code) == (200, 200, 200)
    text = own.json()["choices"][0]["message"]["content"]
    assert text
    assert whole.json()["choices"][0]["message"]["content"] == text
    assert text_of(streamed.text) == text
    assert whole.json()["usage"]["completion_tokens"] == own.json()["usage"]["completion_tokens"]
    assert whole.json()["model"] == name
    assert f'"model":"{name}"' in streamed.text
    if name != MODEL_NAME:
        assert MODEL_NAME not in streamed.text


async def test_what_was_discovered_is_told(real_gateway: GatewayProcess) -> None:
    async with real_gateway.client() as client:
        listed = (await client.get("/admin/servers")).json()
        filtered = (await client.get("/admin/servers", params={"model": PUBLIC_NAME})).json()
    servers = {server["models"][0]: server for server in listed["servers"] if server["engine"] == "llama.cpp"}
    assert set(servers) == {MODEL_NAME, PUBLIC_NAME}
    for server in servers.values():
        assert server["health_status"] == "healthy"
        assert [model["context_length"] for model in server["model_details"]] == [2048]
        assert server["model_details"][0]["upstream_name"] == MODEL_NAME
    assert [server["registration_id"] for server in filtered["servers"]] == [servers[PUBLIC_NAME]["registration_id"]]


async def test_generation_stops_when_the_client_leaves(
    real_gateway: GatewayProcess, model_servers: tuple[Any, Any]
) -> None:
    # Streamed alone: for an answer in one piece llama.cpp itself looks at its connection only at the end.
    async with real_gateway.client() as client, httpx2.AsyncClient(base_url=model_servers[0].url) as server:

        async def busy() -> int:
            return sum(slot["is_processing"] for slot in (await server.get("/slots")).json())

        async def idle() -> bool:
            return await busy() == 0

        async def ask() -> None:
            async with client.stream("POST", "/v1/chat/completions", json=LONG) as answer:
                await answer.aread()

        await until(idle, "the server is idle at first")
        asking = asyncio.create_task(ask())
        await until(busy, "the server writes")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        # By itself it would go on for more than ten seconds; a token may take a while on a busy machine.
        await until(idle, "the server stopped writing", seconds=8)


async def test_usage_of_a_stream_is_counted_though_nobody_asked(real_gateway: GatewayProcess) -> None:
    async def counted() -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if _counts_completion(line))

    async with real_gateway.client() as client:
        before = await counted()
        whole = (await client.post("/v1/chat/completions", json=request_for(PUBLIC_NAME))).json()
        middle = await counted()
        streamed = await client.post("/v1/chat/completions", json=request_for(PUBLIC_NAME, stream=True))
        after = await counted()
    assert '"usage"' not in streamed.text
    assert middle - before == after - middle == whole["usage"]["completion_tokens"]


def _counts_completion(line: str) -> bool:
    return line.startswith("multiverse_tokens_total{") and f'model="{PUBLIC_NAME}"' in line and '"completion"' in line
