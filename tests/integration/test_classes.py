"""Does each name of a class reach every server under its own name, and come back as it was asked for?"""

from __future__ import annotations

import json

import pytest

from app.services.core.choice.classes import ModelClass
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.types import ModelEntry
from tests.fakes.house import House, server
from tests.fakes.model_server import FakeModelServer, serving

LLAMA = "llama3.1:8b"
HUB = "meta-llama/Llama-3.1-8B-Instruct"
FILE = "/models/llama.gguf"
CLASS = ModelClass("house-llama", frozenset({LLAMA, HUB}))
NAMES = sorted(CLASS.names)


def models_of(stream: str) -> set[str]:
    return {json.loads(line[6:])["model"] for line in stream.split("\n") if line.startswith("data: {")}


@pytest.mark.parametrize("stream", [False, True])
async def test_each_server_is_asked_by_its_own_name_and_answers_under_the_asked_one(house: House, stream: bool) -> None:
    async with serving(FakeModelServer(), FakeModelServer()) as (ollama, llamacpp):
        servers = [
            server("ollama", ollama.url, ModelEntry(LLAMA, LLAMA, 8192), "other"),
            server("llama.cpp", llamacpp.url, ModelEntry(HUB, FILE, 131072)),
        ]
        house.plane.install(build_snapshot(servers, [CLASS]))
        served = set()
        for asked in NAMES * 24:  # so often that chance leaves nobody out
            answer = await house.chat(asked, stream=stream)
            assert answer.status_code == 200
            assert (models_of(answer.text) if stream else {answer.json()["model"]}) == {asked}
            served.add((asked, answer.headers["x-gateway-server-id"]))
        assert {seen.json["model"] for seen in ollama.inference} == {LLAMA}
        assert {seen.json["model"] for seen in llamacpp.inference} == {FILE}
    assert served == {(asked, name) for asked in NAMES for name in ("ollama", "llama.cpp")}


async def test_the_list_of_models_has_every_name_with_all_servers_of_the_class(house: House) -> None:
    servers = [
        server("s1", "http://127.0.0.1:1", ModelEntry(LLAMA, LLAMA, 8192), "other"),
        server("s2", "http://127.0.0.1:2", ModelEntry(HUB, FILE, 131072)),
    ]
    house.plane.install(build_snapshot(servers, [CLASS]))
    listed = {one["id"]: one for one in (await house.client.get("/v1/models")).json()["data"]}
    assert sorted(listed) == sorted([*NAMES, "other"])
    for name in NAMES:
        assert (listed[name]["servers"], listed[name]["healthy_servers"]) == (2, 2)
        assert listed[name]["context_length"] == 131072
    assert listed["other"]["servers"] == 1
    assert (await house.client.get("/v1/models/house-llama")).json()["id"] == "house-llama"


async def test_a_dissolved_class_leaves_each_name_its_own_servers(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        known = server("s1", fake.url, ModelEntry(LLAMA, LLAMA))
        house.plane.install(build_snapshot([known], [CLASS]))
        assert (await house.chat(HUB)).status_code == 200
        house.plane.install(build_snapshot([known]))
        assert (await house.chat(HUB)).status_code == 404
        assert (await house.chat(LLAMA)).status_code == 200
