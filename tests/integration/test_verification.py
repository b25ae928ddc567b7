"""Does a gateway find out by itself whether its servers do what they say, engine by engine, and keep and show it?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.services.core.verification.asking import Lost, Say
from tests.fakes.claimant import Claimant
from tests.fakes.engines.interface import FakeEngine
from tests.fakes.engines.pool import fake_engine
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving, until_gone

OTHERWISE = "Bananas grow in warm countries, where farmers cut them green and ship them in cooled holds to far ports."
CHAT = "/v1/chat/completions"
CLAIMED = {"models": [{"name": "m", "upstream_name": "m"}], "capabilities": {"context_length": 4096}}
PROBED = ("vllm", "sglang", "unknown")
TELLING = ("llama.cpp", "ollama", "tgi")
SUBJECTS = {"name", "context", "speed", "first_token", "canary"}
Shown = dict[str, dict[str, Any]]


def claiming(engine: FakeEngine, claimant: Claimant) -> FakeEngine:
    """Have an engine's POSTs answered by a claimant."""

    async def answer(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        assert isinstance(server, FakeEngine)
        await server.load(str(seen.json["model"]))
        reply = claimant.respond(Say(seen.path, seen.body))
        if isinstance(reply, Lost):
            raise ConnectionResetError
        kind = "text/event-stream" if reply.body.startswith(b"data:") else "application/json"
        writer.write(json_answer(reply.body, f"{reply.status} Told", content_type=kind))

    for path in (CHAT, "/v1/completions", "/v1/embeddings"):
        engine.behaviours[path] = answer
    return engine


@asynccontextmanager
async def gateway_with(
    folder: Path, *servers: FakeEngine, **fields: Any
) -> AsyncIterator[tuple[GatewayInProcess, list[str]]]:
    settings = {"continuation_enabled": False, "health_check_interval_seconds": 0.2, "log_level": "DEBUG"}
    async with serving(*servers), open_in_process(folder, **settings) as gateway:
        answers = [await gateway.register(server.url, **fields) for server in servers]
        yield gateway, [answer.json()["registration_id"] for answer in answers]


async def shown(gateway: GatewayInProcess, server_id: str) -> Shown:
    """What is shown of a server's one model, by subject."""
    server = (await gateway.client.get(f"/admin/servers/{server_id}")).json()
    (model,) = server["model_details"]
    return {finding["subject"]: finding for finding in model["verification"]}


async def found(gateway: GatewayInProcess, server_ids: Iterable[str], subjects: Iterable[str] = ()) -> list[Shown]:
    """Wait until all servers were looked at, and these subjects are judged."""
    wanted = set(subjects) or {"name"}

    async def all_found() -> list[Shown]:
        known = [await shown(gateway, server_id) for server_id in server_ids]
        return known if all(one.keys() >= wanted for one in known) else []

    return await until(all_found, "all servers are looked at")


@pytest.mark.parametrize(("context", "verdict"), [(4096, "ok"), (2048, "mismatch")])
async def test_each_engines_context_is_found_out_in_its_own_way(tmp_path: Path, context: int, verdict: str) -> None:
    claimants = [Claimant(context=context) for _engine in (*PROBED, *TELLING)]
    servers = [
        claiming(fake_engine(engine, context=context), claimant)
        for engine, claimant in zip((*PROBED, *TELLING), claimants, strict=True)
    ]
    async with gateway_with(tmp_path, *servers, **CLAIMED) as (gateway, server_ids):
        known = await found(gateway, server_ids, SUBJECTS)
    assert [one["context"]["verdict"] for one in known] == [verdict] * len(servers)
    assert [one["context"]["measured"] for one in known] == [context] * len(servers)
    assert [one["name"]["verdict"] for one in known] == ["ok"] * len(servers)
    assert max(claimant.tokens for claimant in claimants) <= 32
    probed = [any(seen.json.get("stop") for seen in server.trials) for server in servers]
    assert probed == [True] * len(PROBED) + [False] * len(TELLING)


async def test_a_server_that_takes_anything_is_cut_off_at_once(tmp_path: Path) -> None:
    server = claiming(fake_engine("vllm", context=4096), Claimant(context=None))
    answer = server.behaviours[CHAT]
    cut = asyncio.Event()

    async def go_on_for_ever(own: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if not seen.json.get("stop"):
            await answer(own, seen, writer)
            return
        block = b'data: {"choices":[{"delta":{"content":"on"}}]}\n\n'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + block)
        await writer.drain()
        try:
            await until_gone(own, writer)
        finally:
            cut.set()

    server.behaviours[CHAT] = go_on_for_ever
    async with gateway_with(tmp_path, server) as (gateway, server_ids):
        (known,) = await found(gateway, server_ids, {"context"})
        async with asyncio.timeout(5):
            await cut.wait()
    assert known["context"]["verdict"] == "ok"


async def test_the_odd_one_of_three_is_marked_and_goes_on_serving(tmp_path: Path) -> None:
    claimants = [Claimant(), Claimant(), Claimant(text=OTHERWISE)]
    servers = [claiming(fake_engine("vllm"), claimant) for claimant in claimants]
    async with gateway_with(tmp_path, *servers) as (gateway, server_ids):

        async def is_marked() -> bool:
            known = await found(gateway, server_ids, {"canary"})
            return [one["canary"]["verdict"] for one in known] == ["ok", "ok", "mismatch"]

        await until(is_marked, "the odd one is marked")
        assert (await gateway.client.get("/v1/models/m")).json()["healthy_servers"] == 3
        odd = (await gateway.client.get(f"/admin/servers/{server_ids[2]}")).json()
        assert (odd["health_status"], odd["reason"], odd["quarantined"]) == ("healthy", "", False)


async def test_a_server_that_answers_under_another_name(tmp_path: Path) -> None:
    server = claiming(fake_engine("vllm"), Claimant(answers_as="some-other-model"))
    async with gateway_with(tmp_path, server) as (gateway, server_ids):
        (known,) = await found(gateway, server_ids)
    assert known["name"]["verdict"] == "mismatch"
    assert "'some-other-model'" in known["name"]["detail"]


async def test_a_cold_model_is_not_loaded_for_it(tmp_path: Path) -> None:
    server = claiming(fake_engine("ollama", models=["m"], loaded=[]), Claimant())
    async with gateway_with(tmp_path, server) as (gateway, server_ids):
        await gateway.client.post(f"/admin/servers/{server_ids[0]}/check")
        assert await shown(gateway, server_ids[0]) == {}
        assert server.loads == []
        server.loaded = ["m"]
        await found(gateway, server_ids)
    assert server.loads == []


async def test_what_was_found_is_there_after_a_restart_without_a_question(tmp_path: Path) -> None:
    server = claiming(fake_engine("vllm"), Claimant())
    async with serving(server):
        async with open_in_process(tmp_path, continuation_enabled=False) as gateway:
            server_id = (await gateway.register(server.url)).json()["registration_id"]
            before = await found(gateway, [server_id], SUBJECTS)
        asked = len(server.trials)
        async with open_in_process(tmp_path, continuation_enabled=False) as gateway:
            assert [await shown(gateway, server_id)] == before
            await gateway.client.post(f"/admin/servers/{server_id}/check")
            assert len(server.trials) == asked


async def test_what_is_said_is_neither_logged_nor_kept(tmp_path: Path) -> None:
    server = claiming(fake_engine("llama.cpp"), Claimant())
    async with gateway_with(tmp_path, server) as (gateway, server_ids):
        await found(gateway, server_ids, SUBJECTS)
        log = gateway.log
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    assert "A server's claims were looked at" in log
    assert "lighthouse" not in log.lower()
    assert b"lighthouse" not in kept.lower()
    assert len(server.trials) == 1
