"""Does a whole gateway know each engine when it is registered, serve its models, and tell its errors as its own?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.fakes.engines.interface import FakeEngine
from tests.fakes.engines.pool import FAKE_ENGINES, fake_engine
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.model_server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE_MODEL = {"tgi"}
REFUSALS = ("400 Bad Request", "404 Not Found", "413 Payload Too Large", "422 Unprocessable Entity")
WORDS = "The prompt has 9000 tokens, which is more than I take."


@dataclass(frozen=True)
class Pool:
    """A gateway with one fake of every engine, each registered once it had loaded."""

    gateway: GatewayInProcess
    engines: dict[str, FakeEngine]
    early: dict[str, httpx2.Response]
    late: dict[str, httpx2.Response]

    async def chat(self, kind: str, **fields: Any) -> httpx2.Response:
        return await self.gateway.chat(self.engines[kind].models[0], **fields)


def names(kind: str) -> list[str]:
    both = [f"{kind}/model:1b", f"{kind}/other:1b"]
    return both[:1] if kind in ONE_MODEL else both


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pool]:
    engines = {kind: fake_engine(kind, models=names(kind), context=8192, loading=True) for kind in FAKE_ENGINES}
    folder = tmp_path_factory.mktemp("engines")
    async with (
        serving(*engines.values()),
        open_in_process(folder, continuation_enabled=False, verification_enabled=False) as gateway,
    ):
        early = {kind: await gateway.register(engine.url) for kind, engine in engines.items()}
        for engine in engines.values():
            engine.loading = False
        late = {kind: await gateway.register(engine.url) for kind, engine in engines.items()}
        yield Pool(gateway, engines, early, late)


@pytest.mark.parametrize("kind", FAKE_ENGINES)
async def test_each_engine_is_known_once_it_has_loaded(kind: str, pool: Pool) -> None:
    assert pool.early[kind].status_code == 503
    check_envelope(pool.early[kind].content)
    assert pool.late[kind].status_code == 201, pool.late[kind].text
    told = pool.late[kind].json()
    assert (told["engine"], told["models"], told["health_status"]) == (kind, names(kind), "healthy")


@pytest.mark.parametrize("kind", FAKE_ENGINES)
async def test_each_engine_serves_what_it_lists(kind: str, pool: Pool) -> None:
    listed = {model["id"]: model for model in (await pool.gateway.client.get("/v1/models")).json()["data"]}
    assert [listed[name]["healthy_servers"] for name in names(kind)] == [1] * len(names(kind))
    asked = len(pool.engines[kind].inference)
    whole, streamed = await pool.chat(kind), await pool.chat(kind, stream=True)
    assert whole.json()["choices"][0]["message"]["content"] == "one two three"
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert len(pool.engines[kind].inference) == asked + 2


@pytest.mark.parametrize("kind", FAKE_ENGINES)
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_each_engines_refusals_reach_the_client_in_one_envelope(kind: str, refusal: str, pool: Pool) -> None:
    pool.engines[kind].refuse = (refusal, WORDS)
    try:
        answers = [await pool.chat(kind), await pool.chat(kind, stream=True)]
    finally:
        pool.engines[kind].refuse = None
    for answer in answers:
        assert answer.status_code == int(refusal[:3])
        assert answer.headers["content-type"].startswith("application/json")
        check_envelope(answer.content, WORDS)


def check_envelope(body: bytes, message: str | None = None) -> None:
    envelope = json.loads(body)
    assert envelope.keys() == {"error"}
    error = envelope["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["type"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    assert error["message"]
    if message is not None:
        assert error["message"] == message
