"""Does a request for an alias reach a model that it stands for, and come back under the name that was asked for?"""

from __future__ import annotations

import json

import pytest

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.types import HealthStatus, ModelEntry
from tests.fakes.house import House, server
from tests.fakes.model_server import FakeModelServer, serving

FAST = Alias("fast", (Target("llama"), Target("qwen")), (Target("mistral"),))


def models_of(stream: str) -> set[str]:
    return {json.loads(line[6:])["model"] for line in stream.split("\n") if line.startswith("data: {")}


@pytest.mark.parametrize("stream", [False, True])
async def test_each_target_is_asked_by_its_own_name_and_answers_as_the_alias(house: House, stream: bool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (one, two):
        servers = [
            server("s1", one.url, ModelEntry("llama", "llama")),
            server("s2", two.url, ModelEntry("qwen", "up/q")),
        ]
        house.plane.install(build_snapshot(servers, (), [FAST]))
        served = set()
        for _request in range(32):
            answer = await house.chat("fast", stream=stream)
            assert answer.status_code == 200
            assert (models_of(answer.text) if stream else {answer.json()["model"]}) == {"fast"}
            served.add(answer.headers["x-gateway-server-id"])
        assert {seen.json["model"] for seen in one.inference} == {"llama"}
        assert {seen.json["model"] for seen in two.inference} == {"up/q"}
    assert served == {"s1", "s2"}


async def test_a_fallback_takes_over_when_no_target_can_serve(house: House) -> None:
    async with serving(FakeModelServer()) as (spare,):
        down = HealthStatus.UNHEALTHY
        servers = [
            server("s1", "http://127.0.0.1:9", ModelEntry("llama", "llama"), health=down),
            server("s3", spare.url, ModelEntry("mistral", "up/mistral")),
        ]
        house.plane.install(build_snapshot(servers, (), [FAST]))
        answer = await house.chat("fast")
        assert (answer.status_code, answer.json()["model"]) == (200, "fast")
        assert answer.headers["x-gateway-server-id"] == "s3"


async def test_an_alias_changes_at_run_time(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        servers = [server("s1", fake.url, ModelEntry("llama", "llama"))]
        house.plane.install(build_snapshot(servers, (), [FAST]))
        assert (await house.chat("fast")).status_code == 200
        house.plane.install(build_snapshot(servers))
        assert (await house.chat("fast")).status_code == 404
        house.plane.install(build_snapshot(servers, (), [Alias("quick", (Target("llama"),))]))
        assert (await house.chat("quick")).status_code == 200


async def test_a_request_beyond_the_bounds_hears_what_the_alias_takes(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        alias = Alias("short", (Target("llama", max_context_tokens=100),))
        house.plane.install(build_snapshot([server("s1", fake.url, ModelEntry("llama", "llama"))], (), [alias]))
        assert (await house.chat("short", max_tokens=20)).status_code == 200
        answer = await house.chat("short", max_tokens=5000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert "up to 100 tokens" in answer.json()["error"]["message"]


async def test_what_an_alias_leads_to_inside_cannot_be_asked_for(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.plane.install(build_snapshot([server("s1", fake.url, ModelEntry("llama", "llama"))], (), [FAST]))
        for name in ("fast\nllama", "\nllama", "fast\n"):
            answer = await house.chat(name)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert (await house.client.get("/v1/models/fast%0Allama")).status_code == 404
        assert fake.inference == []


async def test_the_list_of_models_has_aliases_and_nothing_hidden(house: House) -> None:
    servers = [server("s1", "http://127.0.0.1:1", "llama", "qwen"), server("s2", "http://127.0.0.1:2", "llama")]
    house.plane.install(build_snapshot(servers, (), [FAST]))
    listed = {one["id"]: one for one in (await house.client.get("/v1/models")).json()["data"]}
    assert list(listed) == ["fast", "llama", "qwen"]
    assert listed["fast"]["alias_for"] == ["llama", "qwen", "mistral"]
    assert (listed["fast"]["servers"], listed["fast"]["healthy_servers"]) == (2, 2)
    assert (await house.client.get("/v1/models/fast")).json() == listed["fast"]
