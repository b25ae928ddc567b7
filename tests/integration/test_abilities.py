"""Does a gateway find out by itself how each of its servers goes on, over real sockets, and keep and show it?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.services.core.continuation.asking import Failed
from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.gateway_process import until
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, serving, until_gone
from tests.fakes.speaker import Speaker

ABLE = {"chat": "continue_final_message", "text": "completions", "reason": ""}


class Speaking(FakeModelServer):
    """A model server that says what a speaker does. ``hold``: when set, answers wait for it."""

    def __init__(self, speaker: Speaker | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self.speaker = speaker or Speaker()
        self.hold: asyncio.Event | None = None
        self.running = self.most_running = 0
        for path in ("/v1/chat/completions", "/v1/completions", "/tokenize", "/apply-template"):
            self.behaviours[path] = _speak


async def _speak(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    assert isinstance(server, Speaking)
    server.running += 1
    server.most_running = max(server.most_running, server.running)
    try:
        if server.hold is not None:
            await server.hold.wait()
        reply = server.speaker.respond(seen.path, seen.body)
        if isinstance(reply, Failed):
            raise ConnectionResetError
        status, body = reply
        kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
        writer.write(json_answer(body, f"{status} Told", content_type=kind))
        await writer.drain()
    finally:
        server.running -= 1


@asynccontextmanager
async def gateway_with(
    folder: Path, *servers: Speaking, **settings: Any
) -> AsyncIterator[tuple[GatewayInProcess, list[str]]]:
    async with serving(*servers), open_in_process(folder, **settings) as gateway:
        answers = [await gateway.register(server.url) for server in servers]
        yield gateway, [answer.json()["registration_id"] for answer in answers]


async def shown(gateway: GatewayInProcess, server_id: str) -> list[dict[str, Any]]:
    server = (await gateway.client.get(f"/admin/servers/{server_id}")).json()
    return [model["continuation"] for model in server["model_details"]]


async def judged(gateway: GatewayInProcess, server_id: str) -> list[dict[str, Any]]:
    """Wait until every model of a server is judged."""

    async def all_judged() -> list[dict[str, Any]]:
        found = await shown(gateway, server_id)
        return found if all("unjudged" not in (one["chat"], one["text"]) for one in found) else []

    return await until(all_judged, "all models are judged")


@pytest.mark.parametrize(
    ("speaker", "expected"),
    [
        (Speaker(), ABLE),
        (Speaker(flags="refuses", completions="refuses"), {"chat": "trailing_message", "text": "none"}),
        (Speaker(flags="begins anew", trailing="begins anew"), {"chat": "none", "text": "completions"}),
        (Speaker(trims=True), {**ABLE, "trims": True}),
        (Speaker(thinks=("Hm. ",) * 40), {**ABLE, "thinking_off": True}),
        (Speaker(streams=False), ABLE),
    ],
    ids=["goes on", "refuses", "begins anew", "trims", "thinks", "does not stream"],
)
async def test_a_server_is_tried_after_its_registration(
    tmp_path: Path, speaker: Speaker, expected: dict[str, Any]
) -> None:
    async with gateway_with(tmp_path, Speaking(speaker)) as (gateway, (server_id,)):
        (found,) = await judged(gateway, server_id)
    assert found.items() >= expected.items()
    assert found["probed_at"] is not None


async def test_what_was_found_is_known_after_a_restart_without_a_question(tmp_path: Path) -> None:
    server = Speaking(models=["a", "b"])
    async with serving(server):
        async with open_in_process(tmp_path) as gateway:
            server_id = (await gateway.register(server.url)).json()["registration_id"]
            before = await judged(gateway, server_id)
        asked = len(server.trials)
        async with open_in_process(tmp_path) as gateway:
            assert await shown(gateway, server_id) == before
            await gateway.client.post(f"/admin/servers/{server_id}/check")
            assert len(server.trials) == asked
            assert gateway.app.state.plane.snapshot.servers[server_id].abilities.keys() == {"a", "b"}


async def test_what_is_not_known_at_the_start_is_tried_then(tmp_path: Path) -> None:
    server = Speaking()
    async with serving(server):
        async with open_in_process(tmp_path, continuation_enabled=False, verification_enabled=False) as gateway:
            server_id = (await gateway.register(server.url)).json()["registration_id"]
            assert (await gateway.chat()).status_code == 200
            assert [seen.json["messages"][0]["content"] for seen in server.inference] == ["hi"]
            assert (await shown(gateway, server_id))[0]["chat"] == "unjudged"
        async with open_in_process(tmp_path) as gateway:
            (found,) = await judged(gateway, server_id)
    assert found.items() >= ABLE.items()


async def test_a_server_that_moves_is_tried_anew(tmp_path: Path) -> None:
    there = Speaking(Speaker(flags="refuses", trailing="refuses"))
    async with gateway_with(tmp_path, Speaking()) as (gateway, (server_id,)), serving(there):
        assert (await judged(gateway, server_id))[0]["chat"] == "continue_final_message"
        moved = await gateway.client.patch(f"/admin/register/{server_id}", json={"endpoint_url": there.url})
        assert moved.status_code == 200
        (found,) = await judged(gateway, server_id)
    assert found["chat"] == "none"
    assert "answered 400" in found["reason"]


async def test_a_server_that_dies_in_the_midst_of_it_is_judged_when_it_is_back(tmp_path: Path) -> None:
    server = Speaking()
    server.hold = asyncio.Event()
    settings = {"health_check_interval_seconds": 0.1, "unhealthy_threshold": 1, "healthy_threshold": 1}
    async with gateway_with(tmp_path, server, **settings) as (gateway, (server_id,)):
        await until(lambda: server.running, "it is being tried")
        port = server.port
        await server.stop()

        async def told() -> bool:
            return "not known yet" in (await shown(gateway, server_id))[0]["reason"]

        await until(told, "the trial that failed is told")
        server.hold.set()
        await server.start(port)
        (found,) = await judged(gateway, server_id)
        assert (await gateway.client.get(f"/admin/servers/{server_id}")).json()["in_flight"] == 0
    assert found.items() >= ABLE.items()


async def test_registration_and_traffic_wait_for_no_trial(tmp_path: Path) -> None:
    server = Speaking()
    server.hold = asyncio.Event()
    async with gateway_with(tmp_path, server) as (gateway, (server_id,)):
        await until(lambda: server.running, "it is being tried")
        server.behaviours["/v1/chat/completions"] = _answer_well
        assert (await gateway.chat()).status_code == 200
        state = (await gateway.client.get(f"/admin/servers/{server_id}")).json()
        assert (state["health_status"], state["consecutive_failures"]) == ("healthy", 0)


async def _answer_well(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    writer.write(json_answer({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}))


async def test_trials_and_traffic_together_never_pass_a_servers_cap(tmp_path: Path) -> None:
    server = Speaking()
    async with serving(server), open_in_process(tmp_path) as gateway:
        answer = await gateway.register(server.url, max_concurrency=1)
        chats = [gateway.chat(max_tokens=5) for _chat in range(20)]
        assert {chat.status_code for chat in await asyncio.gather(*chats)} == {200}
        await judged(gateway, answer.json()["registration_id"])
        assert server.most_running == 1


async def test_few_servers_are_tried_at_a_time(tmp_path: Path) -> None:
    servers = [Speaking() for _server in range(5)]
    hold = asyncio.Event()
    for server in servers:
        server.hold = hold
    async with gateway_with(tmp_path, *servers) as (gateway, server_ids):
        await until(lambda: sum(server.running for server in servers) == 2, "two are being tried")
        hold.set()
        for server_id in server_ids:
            await judged(gateway, server_id)
    assert {server.most_running for server in servers} == {1}


async def test_a_removed_server_is_left_alone_at_once(tmp_path: Path) -> None:
    server = Speaking()
    server.behaviours["/v1/chat/completions"] = _hang
    async with gateway_with(tmp_path, server) as (gateway, (server_id,)):
        await until(lambda: server.trials, "it is being tried")
        assert (await gateway.client.delete(f"/admin/register/{server_id}")).status_code == 204
        async with asyncio.timeout(5):
            await server.lost.wait()


async def _hang(server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
    await until_gone(server, writer)


async def test_what_a_trial_says_and_hears_is_not_logged(tmp_path: Path) -> None:
    async with gateway_with(tmp_path, Speaking(), log_level="DEBUG") as (gateway, (server_id,)):
        await judged(gateway, server_id)
        log = gateway.log
    assert "A server was tried" in log
    assert "Mercury" not in log
    assert "planets" not in log


async def test_a_trial_goes_the_way_of_all_traffic(tmp_path: Path) -> None:
    server = Speaking()
    async with gateway_with(tmp_path, server) as (gateway, (server_id,)):
        await judged(gateway, server_id)
    first = server.trials[0]
    assert first.headers["content-type"] == "application/json"
    assert first.headers["via"].startswith("1.1 ")
    assert "accept-encoding" in first.headers
    assert json.loads(first.body)["temperature"] == 0
