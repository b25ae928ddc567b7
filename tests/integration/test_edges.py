"""What happens at the edges of a request's life: ends without an end, queues, slow readers, loops, bugs of our own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.services.core.types import HealthStatus
from tests.fakes.house import ADMIN_KEY, LIMITS, House, open_house, server, until
from tests.fakes.model_server import (
    EVENT_HEAD,
    FakeModelServer,
    Seen,
    answer_chat,
    chunk,
    event,
    json_answer,
    serving,
    until_gone,
)

HELLO = event({"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}]})
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
DONE = event(b"[DONE]")


def draws_first(house: House) -> None:
    house.plane.random = iter([0.0, 0.0] * 50).__next__


def answers(*pieces: bytes, then: str = "hang") -> FakeModelServer:
    async def behaviour(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(b"".join(pieces))
        await writer.drain()
        if then == "hang":
            await until_gone(fake, writer)
        elif then == "reset":
            assert fake.gate is not None
            await fake.gate.wait()
            writer.transport.abort()

    return FakeModelServer(behaviours={"*": behaviour}, gate=asyncio.Event())


async def test_a_break_after_the_last_word_is_no_break(house: House) -> None:
    async with serving(answers(EVENT_HEAD, HELLO, STOP, then="reset")) as (fake,):
        house.install(server("s1", fake.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            pieces = answer.aiter_text()
            text = await anext(pieces)
            assert fake.gate is not None
            fake.gate.set()
            text += "".join([piece async for piece in pieces])
    assert text.endswith('"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    assert "error" not in text


async def test_a_server_that_hangs_after_done_holds_nobody_up(house: House) -> None:
    async with serving(answers(EVENT_HEAD, HELLO, STOP, DONE)) as (fake,):
        house.install(server("s1", fake.url))
        asking = asyncio.create_task(house.chat(stream=True))
        await until(lambda: house.plane.board.lane("s1").first_token_ewma_seconds)
        house.tick(12)
        answer = await asking
        assert answer.text.endswith("data: [DONE]\n\n")
        assert (await house.told.outcome()).status == 200
        assert house.told.unusable == []


async def test_two_answers_are_never_mixed(house: House) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}})
    fault = event({"error": {"message": "boom"}})
    async with serving(answers(EVENT_HEAD, usage + HELLO + fault), FakeModelServer()) as (bad, good):
        draws_first(house)
        house.install(server("bad", bad.url), server("good", good.url))
        answer = await house.chat(stream=True)
    assert answer.text.count("hello") + answer.text.count('"one"') == 1


async def test_an_answer_without_stream_may_take_as_long_as_the_request(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):

        async def slow(slow_fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
            assert slow_fake.gate is not None
            await slow_fake.gate.wait()
            await answer_chat(slow_fake, seen, writer)

        fake.behaviours["*"] = slow
        house.install(server("s1", fake.url))
        asking = asyncio.create_task(house.chat())
        await until(lambda: fake.inference)
        house.tick(LIMITS.first_token_ticks + 10)
        assert fake.gate is not None
        fake.gate.set()
        assert (await asking).status_code == 200


async def test_comments_before_the_first_event_are_no_sign_of_life(house: House) -> None:
    async def comments(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        assert fake.gate is not None
        writer.write(EVENT_HEAD)
        await fake.gate.wait()
        writer.write(chunk(b": still here\n\n"))
        await writer.drain()
        await until_gone(fake, writer)

    async with serving(FakeModelServer(behaviours={"*": comments}, gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        asking = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        house.tick(LIMITS.first_token_ticks - 5)
        assert fake.gate is not None
        fake.gate.set()
        for _turn in range(50):
            await asyncio.sleep(0)
        house.tick(10)
        answer = await asking
    assert '"code":"timeout"' in answer.text


async def test_those_who_stopped_waiting_make_room_in_the_queue(shell: str) -> None:
    async with (
        open_house(shell, limits=replace(LIMITS, queue_size=1)) as house,
        serving(FakeModelServer(gate=asyncio.Event())) as (fake,),
    ):
        house.install(server("s1", fake.url, max_concurrency=1))
        first = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        second = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        assert (await house.chat()).status_code == 429  # the queue is full
        house.tick(LIMITS.queue_ticks + 1)
        assert (await second).status_code == 429
        assert house.plane.queued == 0
        third = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        assert fake.gate is not None
        fake.gate.set()
        assert (await third).status_code == 200
        await first


async def test_the_queue_is_woken_by_time_too(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        now = house.plane.clock()
        house.plane.board.lane("s1").cool(now, 1.0)
        asking = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        house.plane.clock = lambda: now + 1.5
        house.tick(1)
        assert (await asking).status_code == 200


async def test_a_long_retry_after_is_passed_on(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        house.plane.board.lane("s1").cool(house.plane.clock(), 42.0)
        answer = await house.chat()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "42")


async def test_a_request_that_comes_back_is_refused(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        await house.client.post("/v1/chat/completions", json={"model": "m"}, headers={"via": "1.1 proxy.internal"})
        via = fake.inference[0].headers["via"]
        assert "internal" not in via
        other = "1.1 mvg-0123456789abcdef"
        await house.client.post("/v1/chat/completions", json={"model": "m"}, headers={"via": other})
        assert fake.inference[1].headers["via"] == f"{other}, {via}"
        answer = await house.client.post(
            "/v1/chat/completions", json={"model": "m"}, headers={"via": f"{other}, {via}"}
        )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "loop_detected"


async def test_a_client_that_reads_nothing_is_given_up() -> None:
    async def torrent(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del fake, seen
        writer.write(EVENT_HEAD)
        block = event({"choices": [{"delta": {"content": "x" * 60_000}}]})
        while True:
            writer.write(block)
            await writer.drain()

    async with open_house("door") as house, serving(FakeModelServer(behaviours={"*": torrent})) as (fake,):
        house.install(server("s1", fake.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            pieces = answer.aiter_bytes()  # kept: a generator that is dropped closes the connection
            await anext(pieces)

            def given_up() -> bool:
                house.tick(1)  # one at a time: the kernel's buffers may take some more before they are full
                return not house.plane._running

            await until(given_up)
            with pytest.raises(httpx2.TransportError):
                async for _piece in pieces:
                    pass
        outcome = await house.told.outcome()
    assert (outcome.status, outcome.error_code) == (499, "client_stalled")
    assert house.plane.board.in_flight("s1") == 0


async def test_a_bug_in_the_gateway_is_owned_up_to(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_arguments: Any, **_fields: Any) -> None:
        raise KeyError("oops")

    if not hasattr(house.plane, "begin"):
        raise AssertionError
    monkeypatch.setattr(house.plane, "begin", buggy)
    answer = await house.chat()
    assert answer.status_code == 500
    assert "oops" not in answer.text


async def test_a_clients_own_bad_stream_options_change_nothing_for_others(house: House) -> None:
    async def picky(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if "bogus" in (seen.json.get("stream_options") or {}):
            writer.write(json_answer({"error": {"message": "stream_options.bogus is unknown"}}, "400 Bad Request"))
        else:
            await answer_chat(fake, seen, writer)

    async with serving(FakeModelServer(behaviours={"*": picky})) as (fake,):
        house.install(server("s1", fake.url))
        refused = await house.chat(stream=True, stream_options={"bogus": 1})
        assert refused.status_code == 400
        await house.chat(stream=True)
        assert fake.inference[-1].json["stream_options"] == {"include_usage": True}


async def test_stream_means_nothing_for_embeddings(house: House) -> None:
    async with serving(FakeModelServer(behaviours={"*": embeddings})) as (fake,):
        house.install(server("s1", fake.url))
        answer = await house.client.post("/v1/embeddings", json={"model": "m", "input": "x", "stream": True})
        assert answer.status_code == 200
        assert "stream_options" not in fake.inference[0].json


async def embeddings(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
    del fake, seen
    writer.write(json_answer({"object": "list", "data": []}))


async def test_refusals_leave_a_trace(house: House) -> None:
    house.install(server("s1", "http://127.0.0.1:9", health=HealthStatus.UNHEALTHY))
    headers = {"x-request-id": "find-me"}
    async with httpx2.AsyncClient(base_url=house.url) as stranger:
        await stranger.post("/v1/chat/completions", json={"model": "m"}, headers=headers)
    await house.client.post("/v1/chat/completions", content=b"{", headers=headers)
    await house.client.get("/v1/secret-path", headers=headers)
    told = [(one.status, one.error_code, one.request_id, one.path) for one in house.told.outcomes]
    assert told == [
        (401, "invalid_api_key", "find-me", "/v1/chat/completions"),
        (400, "invalid_json", "find-me", "/v1/chat/completions"),
        (404, "unknown_path", "find-me", ""),
    ]
    assert house.told.outcomes[0].client == "127.0.0.1"


def request_bytes(body: bytes) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body)


async def test_a_pipelined_request_behind_a_large_body_is_served(house: House) -> None:
    body = json.dumps({"model": "m", "messages": [{"content": "y" * 45_000}]}).encode()
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("s1", fake.url))
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        second = request_bytes(body)
        writer.write(request_bytes(body) + second[:60])
        await writer.drain()
        await until(lambda: len(fake.inference) == 1)
        writer.write(second[60:])
        async with asyncio.timeout(10):
            for _answer in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
        writer.close()
