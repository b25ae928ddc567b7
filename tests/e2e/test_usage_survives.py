"""Is use still there after ``kill -9``: all of it but the last second, and none of it twice?

Needs the ledger's tally, the writing twice a second, and the routes of use.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.gateway_process import GatewayProcess, open_gateway, until
from tests.fakes.model_server import FakeModelServer, serving

pytestmark = pytest.mark.e2e

CLIENTS = 8
LOST_SECONDS = 1.0
TOKENS = 10
"""Each answer: seven of the prompt and a word each."""
QUIET = {"health_check_interval_seconds": 600, "verification_enabled": False, "continuation_enabled": False}
WIDE = {"from": "2020-01-01", "to": "2100-01-01"}


@dataclass
class Load:
    """Clients that ask one after another, streamed and not, until the gateway is gone."""

    gateway: GatewayProcess
    answered: list[float] = field(default_factory=list)
    """When each answer was whole."""
    sent: int = 0

    async def run(self, clients: int) -> None:
        async with self.gateway.client() as client:
            await asyncio.gather(*(self._ask(client, stream=bool(number % 2)) for number in range(clients)))

    async def _ask(self, client: httpx2.AsyncClient, *, stream: bool) -> None:
        body = {"model": "m", "messages": [], "stream": stream}
        while True:
            self.sent += 1
            try:
                answer = await client.post("/v1/chat/completions", json=body)
            except httpx2.TransportError:
                return
            assert answer.status_code == 200, answer.text
            self.answered.append(time.monotonic())


async def used(gateway: GatewayProcess, **asked: Any) -> dict[str, Any]:
    async with gateway.client() as client:
        answer = await client.get("/admin/usage", params={**WIDE, **asked})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.timeout(120)
async def test_kill_9_under_load_loses_a_second_at_most_and_counts_nothing_twice(tmp_path: Path, shell: str) -> None:
    fake = FakeModelServer(words=["one ", "two ", "three"])
    async with serving(fake), open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway:
        async with gateway.client() as client:
            added = await client.post("/admin/register", json={"endpoint_url": fake.url})
            assert added.status_code == 201, added.text
        least = most = 0
        for _kill in range(3):
            load = Load(gateway)
            asking = asyncio.create_task(load.run(CLIENTS))
            await until(lambda load=load: spans(load, 2 * LOST_SECONDS), "two seconds of answers", seconds=30)
            killed_at = time.monotonic()
            await asyncio.to_thread(gateway.kill)
            await asking
            least += sum(moment < killed_at - LOST_SECONDS for moment in load.answered)
            most += load.sent
            await asyncio.to_thread(gateway.start)
            told = (await used(gateway))["totals"]
            assert least <= told["requests"] <= most
            assert told["total_tokens"] >= TOKENS * least
            assert (told["prompt_tokens"], told["errors"]) == (7 * told["requests"], 0)
            least = told["requests"]  # what is there once is there for good
            most = least
        assert least > 100


async def test_nothing_is_lost_where_it_ends_as_it_should(tmp_path: Path, shell: str) -> None:
    fake = FakeModelServer(words=["one ", "two ", "three"])
    async with serving(fake), open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway:
        async with gateway.client() as client:
            await client.post("/admin/register", json={"endpoint_url": fake.url})
            for _request in range(20):
                answer = await client.post("/v1/chat/completions", json={"model": "m", "messages": []})
                assert answer.status_code == 200, answer.text
            await client.post("/v1/chat/completions", json={"model": "no such model", "messages": []})
        await asyncio.to_thread(gateway.stop)
        await asyncio.to_thread(gateway.start)
        by_model = await used(gateway, group_by="model")
        assert {row["id"]: row["requests"] for row in by_model["rows"]} == {"m": 20, "(unknown)": 1}
        assert (by_model["totals"]["errors"], by_model["totals"]["total_tokens"]) == (1, 20 * TOKENS)


async def test_what_has_just_ended_is_told_at_once(tmp_path: Path, shell: str) -> None:
    fake = FakeModelServer(words=["one ", "two ", "three"])
    async with (
        serving(fake),
        open_gateway(tmp_path / "gateway", shell, **QUIET) as gateway,
        gateway.client() as client,
    ):
        await client.post("/admin/register", json={"endpoint_url": fake.url})
        for count in range(1, 4):
            await client.post("/v1/chat/completions", json={"model": "m", "messages": []})
            own = (await client.get("/v1/usage")).json()
            assert (own["today"]["requests"], own["month"]["total_tokens"]) == (count, count * TOKENS)
            assert (await used(gateway, group_by="server"))["totals"]["requests"] == count


def spans(load: Load, seconds: float) -> bool:
    """Whether answers came for so long."""
    return bool(load.answered) and load.answered[-1] - load.answered[0] > seconds
