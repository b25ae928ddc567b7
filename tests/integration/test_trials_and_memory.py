"""Do the gateway's own trials leave a laptop's memory to its clients, also while routing has not heard of a swap?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.services.core.continuation.asking import Failed
from app.services.core.verification.asking import Lost, Say
from tests.fakes.claimant import Claimant
from tests.fakes.engines.interface import FakeEngine
from tests.fakes.engines.pool import fake_engine
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import FakeModelServer, Seen, answer_chat, json_answer, serving
from tests.fakes.speaker import Speaker

CHAT = "/v1/chat/completions"
LAPTOPS = ("ollama", "lmstudio")


class Spoken:
    """What a laptop is asked, in order: by whom, for which model, and whether that had to be loaded.

    ``gate``: when set, answers to clients wait for it.
    """

    def __init__(self, mind: Speaker | Claimant) -> None:
        self.mind = mind
        self.log: list[tuple[str, str, bool]] = []
        self.gate: asyncio.Event | None = None

    @property
    def loaded_by(self) -> list[tuple[str, str]]:
        """Who made it load what."""
        return [(who, model) for who, model, was_loaded in self.log if was_loaded]

    @property
    def tried(self) -> set[str]:
        """What the gateway asked for by itself."""
        return {model for who, model, _was_loaded in self.log if who == "gateway"}

    async def answer(self, server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert isinstance(server, FakeEngine)
        model = str(seen.json["model"])
        who = "client" if "x-request-id" in seen.headers else "gateway"
        self.log.append((who, model, model not in server.loaded))
        await server.load(model)
        if who == "client":
            if self.gate is not None:
                await self.gate.wait()
            await answer_chat(server, seen, writer)
            return
        status, body = self._words(seen)
        kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
        writer.write(json_answer(body, f"{status} Told", content_type=kind))

    def _words(self, seen: Seen) -> tuple[int, bytes]:
        if isinstance(self.mind, Speaker):
            spoken = self.mind.respond(seen.path, seen.body)
            if not isinstance(spoken, Failed):
                return spoken
        else:
            told = self.mind.respond(Say(seen.path, seen.body))
            if not isinstance(told, Lost):
                return told.status, told.body
        raise ConnectionResetError


@asynccontextmanager
async def laptop_pool(
    folder: Path, kind: str, mind: Speaker | Claimant, *, models: str = "ab", loaded: str = "a", **options: Any
) -> AsyncIterator[tuple[GatewayInProcess, Spoken, str]]:
    """A gateway before one laptop with memory for one model; its id comes last."""
    spoken = Spoken(mind)
    laptop = fake_engine(kind, models=list(models), loaded=list(loaded))
    for path in (CHAT, "/v1/completions", "/v1/embeddings"):
        laptop.behaviours[path] = spoken.answer
    fields = options.pop("fields", {})
    settings = {"health_check_interval_seconds": 0.2, "log_level": "DEBUG", **options}
    async with serving(laptop), open_in_process(folder, **settings) as gateway:
        registered = await gateway.register(laptop.url, **fields)
        yield gateway, spoken, registered.json()["registration_id"]


async def details(gateway: GatewayInProcess, server_id: str, model: str) -> dict[str, Any]:
    server = (await gateway.client.get(f"/admin/servers/{server_id}")).json()
    found: dict[str, Any] = next(one for one in server["model_details"] if one["name"] == model)
    return found


async def until_judged(gateway: GatewayInProcess, server_id: str, model: str) -> None:
    async def is_judged() -> bool:
        continuation = (await details(gateway, server_id, model))["continuation"]
        return "unjudged" not in (continuation["chat"], continuation["text"])

    assert await until(is_judged, f"{model} is judged")


async def until_verified(gateway: GatewayInProcess, server_id: str, model: str) -> None:
    async def is_verified() -> bool:
        return bool((await details(gateway, server_id, model))["verification"])

    assert await until(is_verified, f"{model} is verified")


@pytest.mark.parametrize("kind", LAPTOPS)
async def test_a_model_is_tried_once_somebody_has_asked_for_it(tmp_path: Path, kind: str) -> None:
    async with laptop_pool(tmp_path, kind, Speaker()) as (gateway, spoken, server_id):
        await until_judged(gateway, server_id, "a")
        assert spoken.tried == {"a"}
        answer = await gateway.chat("b")
        assert answer.status_code == 200
        await until_judged(gateway, server_id, "b")
    assert spoken.loaded_by == [("client", "b")]


@pytest.mark.parametrize("kind", LAPTOPS)
async def test_a_claim_is_looked_at_once_somebody_has_asked_for_its_model(tmp_path: Path, kind: str) -> None:
    async with laptop_pool(tmp_path, kind, Claimant(), continuation_enabled=False) as (gateway, spoken, server_id):
        await until_verified(gateway, server_id, "a")
        answer = await gateway.chat("b")
        assert answer.status_code == 200
        await until_verified(gateway, server_id, "b")
    assert spoken.loaded_by == [("client", "b")]


@pytest.mark.parametrize(
    ("mind", "stale_seconds"), [(Speaker(), 1.5), (Claimant(), 3.0)], ids=["trials", "verification"]
)
async def test_what_a_client_just_loaded_stays_though_routing_believes_the_other_is_there(
    tmp_path: Path, mind: Speaker | Claimant, stale_seconds: float
) -> None:
    options: dict[str, Any] = {
        "continuation_enabled": isinstance(mind, Speaker),
        "health_check_interval_seconds": stale_seconds,
        "fields": {"max_concurrency": 1},
    }
    async with laptop_pool(tmp_path, "ollama", mind, loaded="", **options) as (gateway, spoken, server_id):
        spoken.gate = asyncio.Event()
        first = asyncio.create_task(gateway.chat("a"))  # takes the only place, so that no trial begins
        await until(lambda: spoken.log, "the first client's model is loaded")
        await until(lambda: _is_in_memory(gateway, server_id, "a"), "routing hears of it")
        second = asyncio.create_task(gateway.chat("b"))
        await until(lambda: gateway.app.state.plane.queued, "the second client waits")
        spoken.gate.set()
        for answer in await asyncio.gather(first, second):
            assert answer.status_code == 200
        judged = until_judged if isinstance(mind, Speaker) else until_verified
        await judged(gateway, server_id, "b")  # once routing has heard of it
    assert spoken.tried == {"b"}
    assert spoken.loaded_by == [("client", "a"), ("client", "b")]


async def test_the_only_model_of_a_laptop_is_loaded_to_be_tried(tmp_path: Path) -> None:
    async with laptop_pool(tmp_path, "ollama", Speaker(), models="a", loaded="") as (gateway, spoken, server_id):
        await until_judged(gateway, server_id, "a")
        assert spoken.loaded_by == [("gateway", "a")]


def _is_in_memory(gateway: GatewayInProcess, server_id: str, model: str) -> bool:
    server = gateway.app.state.plane.snapshot.servers[server_id]
    return server.loaded is not None and model in server.loaded
