"""Does ``kill -9`` give a limit back? What was used a second before it stays used, in each window."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.test_usage_survives import LOST_SECONDS, QUIET, TOKENS, Load, spans
from tests.fakes.gateway_process import open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

REQUESTS = 40
LIMITS = {"requests_per_minute": REQUESTS, "tokens_per_day": 100_000, "tokens_per_month": 1_000_000}


@pytest.mark.timeout(120)
async def test_no_window_is_new_after_kill_9_under_load(tmp_path: Path, shell: str) -> None:
    fake = FakeModelServer(words=["one ", "two ", "three"])
    async with serving(fake), open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway:
        async with gateway.client() as client:
            await client.post("/admin/register", json={"endpoint_url": fake.url})
            made = await client.post("/admin/keys", json={"name": "limited", "limits": LIMITS})
            assert made.status_code == 201, made.text
            limited = {"authorization": f"Bearer {made.json()['key']}"}
            body = {"model": "m", "messages": [], "max_tokens": 3}
            answers = [
                await client.post("/v1/chat/completions", json=body, headers=limited)
                for _request in range(REQUESTS + 5)
            ]
            assert [answer.status_code for answer in answers] == [200] * REQUESTS + [429] * 5
        load = Load(gateway)  # of the operator's key, so that the kill comes in the midst of work
        asking = asyncio.create_task(load.run(4))
        await until(lambda: spans(load, 2 * LOST_SECONDS), "two seconds of answers", seconds=30)
        await asyncio.to_thread(gateway.kill)
        await asking
        await asyncio.to_thread(gateway.start)
        async with gateway.client(headers=limited) as client:
            refused = await client.post("/v1/chat/completions", json=body)
            assert refused.status_code == 429, refused.text
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            used = {limit["name"]: limit["used"] for limit in (await client.get("/v1/usage")).json()["limits"]}
    tokens = REQUESTS * TOKENS
    assert used == {"requests_per_minute": REQUESTS, "tokens_per_day": tokens, "tokens_per_month": tokens}
