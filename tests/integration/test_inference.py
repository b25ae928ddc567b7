"""Does a request reach a server and its answer the client, whole and unharmed, by both ways in?"""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from app.services.core.types import HealthStatus, ModelEntry
from tests.fakes.house import House, server
from tests.fakes.model_server import FakeModelServer, Seen, answer_chat, json_answer, serving


def content_of(stream: str) -> str:
    events = [json.loads(line[6:]) for line in stream.split("\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content", "") for event in events for choice in event["choices"])


async def test_a_whole_answer_comes_through(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat()
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "one two three"
    assert answer.headers["x-gateway-server-id"] == "s1"
    assert answer.headers["x-gateway-attempts"] == "1"
    assert len(answer.headers["x-request-id"]) >= 16
    outcome = await house.told.outcome()
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens) == (7, 3)
    assert not outcome.usage.estimated
    assert house.plane.board.in_flight("s1") == 0


async def test_the_body_is_forwarded_byte_for_byte_and_no_header_of_the_client(house: House) -> None:
    body = b'{ "model" :"m", "messages":[{"content":"\\u00e9\\ud83d\\ude00 \xc3\xa9"}],\t"x":1.0e5 , "n":null}'
    headers = {"cookie": "session=1", "x-conversation-id": "7", "x-request-id": "mine-1", "content-type": "text/plain"}
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, api_key="upstream-secret"))
        answer = await house.client.post("/v1/chat/completions", content=body, headers=headers)
        seen = fake.inference[0]
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "mine-1"
    assert seen.body == body
    assert seen.headers["authorization"] == "Bearer upstream-secret"
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["x-request-id"] == "mine-1"
    assert seen.headers["content-type"] == "application/json"
    assert set(seen.headers) == {
        "host", "user-agent", "accept-encoding", "authorization", "content-type", "x-request-id", "via",
        "content-length",
    }  # fmt: skip


async def test_a_stream_comes_through_with_its_usage_kept_back(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat(stream=True)
        assert fake.inference[0].json["stream_options"] == {"include_usage": True}
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert content_of(answer.text) == "one two three"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in answer.text
    outcome = await house.told.outcome()
    assert (outcome.usage.prompt_tokens, outcome.usage.completion_tokens, outcome.usage.estimated) == (7, 3, False)


async def test_a_client_that_asks_for_usage_gets_it(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat(stream=True, stream_options={"include_usage": True})
    assert '"usage":{"prompt_tokens":7' in answer.text


async def test_usage_is_asked_for_where_the_client_said_no(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat(stream=True, stream_options={"include_usage": False})
        assert fake.inference[0].json["stream_options"] == {"include_usage": True}
    assert '"usage"' not in answer.text


@pytest.mark.parametrize("stream", [False, True])
async def test_the_servers_own_name_goes_up_and_the_clients_comes_back(house: House, *, stream: bool) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url, ModelEntry("public", "meta/Real-Name")))
        answer = await house.chat("public", stream=stream)
        assert fake.inference[0].json["model"] == "meta/Real-Name"
    assert "Real-Name" not in answer.text
    assert answer.text.count('"public"') >= (5 if stream else 1)


async def test_completions_and_embeddings_go_to_their_own_paths(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url + "/proxy/v1"))
        for path in ("/v1/completions", "/v1/embeddings"):
            answer = await house.client.post(path, json={"model": "m", "prompt": "x", "input": "x"})
            assert answer.status_code == 200
        assert [seen.path for seen in fake.inference] == ["/proxy/v1/completions", "/proxy/v1/embeddings"]


async def test_connections_stay_warm(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        for _round in range(5):
            assert (await house.chat()).status_code == 200
            assert (await house.chat(stream=True)).status_code == 200
        assert fake.connections == 1
        house.tick(60)
        assert house.plane.pool.idle_connections == 0
        assert (await house.chat()).status_code == 200
        assert fake.connections == 2


async def test_a_warm_connection_that_went_stale_is_dialled_anew_unseen(house: House) -> None:
    async def once(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(json_answer({"model": "m", "choices": []}))
        await writer.drain()
        if len(fake.inference) == 1:
            fake.behaviours["*"] = close_once

    async def close_once(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        fake.behaviours["*"] = once
        writer.transport.abort()

    async with serving(FakeModelServer(behaviours={"*": once})) as (fake,):
        house.install(server("s1", fake.url))
        assert (await house.chat()).status_code == 200
        second = await house.chat()
    assert second.status_code == 200
    assert second.headers["x-gateway-attempts"] == "1"
    assert house.told.unusable == []


async def test_the_list_of_models(house: House) -> None:
    house.install(
        server("s1", "http://127.0.0.1:9", ModelEntry("org/model", "org/model", 4096), "b"),
        server("s2", "http://127.0.0.1:10", "b", health=HealthStatus.UNHEALTHY),
    )
    listed = (await house.client.get("/v1/models")).json()
    assert [(row["id"], row["servers"], row["healthy_servers"], row["context_length"]) for row in listed["data"]] == [
        ("b", 2, 1, None),
        ("org/model", 1, 1, 4096),
    ]
    for path in ("/v1/models/org/model", "/v1/models/org%2Fmodel"):
        assert (await house.client.get(path)).json()["id"] == "org/model"
    head = await house.client.request("HEAD", "/v1/models")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 10
    missing = await house.client.get("/v1/models/nope")
    assert missing.status_code == 404
    assert "Available: b, org/model" in missing.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "Bearer wrong"}, 401), ({"x-api-key": "test-admin-key-0123456789"}, 200),
     ({"authorization": "bearer test-admin-key-0123456789"}, 200), ({"authorization": "Basic abc"}, 401)],
)  # fmt: skip
async def test_who_may_come_in(house: House, headers: dict[str, str], status: int) -> None:
    async with httpx2.AsyncClient(base_url=house.url, headers=headers) as client:
        answer = await client.get("/v1/models")
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_unknown_paths_and_methods(house: House) -> None:
    assert (await house.client.get("/v1/nothing")).status_code == 404
    wrong = await house.client.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST, OPTIONS")
    assert (await house.client.delete("/v1/models")).status_code == 405


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "empty"),
        (b"{", 400, "not valid JSON"),
        (b"[1]", 400, "wrong type"),
        (b'{"model": 5}', 400, "'model' has the wrong type"),
        (b'{"messages": []}', 400, "'model' is missing"),
        (b'{"model": "m", "stream": "yes"}', 400, "'stream' has the wrong type"),
        (b'{"model": "m", "n": 1000000}', 400, "'n' must be"),
        (b'{"model": "m", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "deeper than 64"),
        (b'{"model": "unknown"}', 404, "Available: m"),
        (b'{"model": ""}', 400, "'model' must be"),
    ],
)
async def test_bad_bodies_get_a_clear_answer(house: House, body: bytes, status: int, says: str) -> None:
    house.install(server("s1", "http://127.0.0.1:9"))
    answer = await house.client.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert (await house.client.get("/v1/models")).status_code == 200


async def test_a_body_over_the_limit_is_refused_before_it_is_read(house: House) -> None:
    answer = await house.client.post("/v1/chat/completions", content=b"x" * 2_000_000)
    assert answer.status_code == 413
    assert "1048576 bytes" in answer.json()["error"]["message"]


async def test_a_chunked_body_over_the_limit_is_refused_while_it_is_read(house: House) -> None:
    async def pieces():
        for _piece in range(40):
            yield b"y" * 65536

    answer = await house.client.post("/v1/chat/completions", content=pieces())
    assert answer.status_code == 413


async def test_too_many_headers(house: House) -> None:
    headers = [(f"x-h{number}", "v") for number in range(10_000)]
    answer = await house.client.get("/v1/models", headers=headers)
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "headers_too_large"


async def test_a_server_that_refuses_stream_options_is_asked_without(house: House) -> None:
    async def picky(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if "stream_options" in seen.json:
            writer.write(json_answer({"detail": "extra field stream_options"}, "422 Unprocessable"))
            return
        await answer_chat(fake, seen, writer)

    async with serving(FakeModelServer(behaviours={"/v1/chat/completions": picky})) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.chat(stream=True)
        assert answer.status_code == 200
        assert content_of(answer.text) == "one two three"
        await house.chat(stream=True)
        assert len(fake.inference) == 3
    outcome = await house.told.outcome()
    assert outcome.usage.estimated
    assert outcome.attempts == 1
