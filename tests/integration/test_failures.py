"""What does the client see, and what is left behind, when a server fails?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx2
import pytest

from app.services.core.types import HealthStatus
from tests.fakes.house import LIMITS, House, open_house, server, until
from tests.fakes.model_server import (
    EVENT_HEAD,
    FakeModelServer,
    Seen,
    chunk,
    event,
    json_answer,
    serving,
    until_gone,
)


def always(answer: bytes, *, close: bool = False) -> Callable[..., object]:
    async def behaviour(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del fake, seen
        writer.write(answer)
        await writer.drain()
        if close:
            writer.transport.abort()

    return behaviour


def broken(answer: bytes, *, close: bool = False) -> FakeModelServer:
    return FakeModelServer(behaviours={"*": always(answer, close=close)})  # type: ignore[dict-item]


FAULTS = {
    "reset before the head": (b"", True),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-ty", True),
    "no HTTP": (b"hello there\r\n\r\n", True),
    "500": (json_answer({"error": "x"}, "500 Internal Server Error"), False),
    "502": (json_answer(b"<html>", "502 Bad Gateway"), False),
    "503 loading": (json_answer({"error": {"message": "Loading model"}}, "503 Service Unavailable"), False),
    "429": (json_answer({}, "429 Too Many Requests", extra="retry-after: 7\r\n"), False),
    "401": (json_answer({}, "401 Unauthorized"), False),
    "404": (json_answer({"detail": "no such model"}, "404 Not Found"), False),
    "a redirect": (json_answer({}, "302 Found", extra="location: http://169.254.169.254/\r\n"), False),
    "HTML": (json_answer(b"<html>hi</html>", content_type="text/html"), False),
    "an error under 200": (json_answer({"error": {"message": "boom"}}), False),
    "compressed": (json_answer({}, extra="content-encoding: gzip\r\n"), False),
    "cut in the body": (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{", True),
    "both lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        True,
    ),
    "1xx without end": (b"HTTP/1.1 102 Processing\r\n\r\n" * 50, True),
    "huge headers": (b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 200_000 + b"\r\n\r\n", True),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", True),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failure_before_the_answer_moves_on_unseen(house: House, fault: str) -> None:
    answer, close = FAULTS[fault]
    async with serving(broken(answer, close=close), FakeModelServer()) as (bad, good):
        house.plane.random = iter([0.0, 0.0] * 50).__next__  # the first is drawn first
        house.install(server("bad", bad.url), server("good", good.url))
        reply = await house.chat()
        assert reply.status_code == 200
        assert (reply.headers["x-gateway-server-id"], reply.headers["x-gateway-attempts"]) == ("good", "2")
        assert len(bad.inference) == 1  # never the same twice
    assert house.plane.board.in_flight("bad") == house.plane.board.in_flight("good") == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [("reset before the head", 502), ("500", 502), ("503 loading", 503), ("429", 429), ("401", 502), ("404", 404),
     ("a redirect", 502), ("HTML", 502), ("an error under 200", 502), ("1xx without end", 502), ("huge headers", 502)],
)  # fmt: skip
async def test_with_no_other_server_the_client_hears_why(house: House, fault: str, status: int) -> None:
    answer, close = FAULTS[fault]
    async with serving(broken(answer, close=close)) as (bad,):
        house.install(server("bad", bad.url))
        reply = await house.chat()
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "127.0.0.1" not in reply.text
    if status in (429, 503):
        assert int(reply.headers["retry-after"]) == (7 if fault == "429" else 5)
    assert house.plane.board.in_flight("bad") == 0
    assert house.plane.open_exchanges == 0


async def test_a_server_that_asked_to_wait_is_left_alone(house: House) -> None:
    async with serving(broken(FAULTS["429"][0])) as (busy,):
        house.install(server("busy", busy.url))
        await house.chat()
        second = await house.chat()
        assert second.status_code == 503
        assert len(busy.inference) == 1


async def test_a_refused_dial_moves_on_and_asks_for_a_check(house: House) -> None:
    dead = FakeModelServer()
    await dead.start()
    await dead.stop()
    async with serving(FakeModelServer()) as (good,):
        house.plane.random = iter([0.0, 0.0] * 50).__next__
        house.install(server("dead", dead.url), server("good", good.url))
        reply = await house.chat()
    assert reply.headers["x-gateway-server-id"] == "good"
    assert house.told.dials == [("dead", "connection refused")]


@pytest.mark.parametrize("status", ["400 Bad Request", "413 Too Large", "422 Unprocessable"])
async def test_the_clients_own_faults_are_passed_on_and_count_for_nothing(house: House, status: str) -> None:
    said = json_answer(
        {"object": "error", "message": "max_tokens is too large", "type": "BadRequest", "code": 400}, status
    )
    async with serving(broken(said), FakeModelServer()) as (picky, other):
        house.plane.random = iter([0.0, 0.0] * 50).__next__
        house.install(server("picky", picky.url), server("other", other.url))
        reply = await house.chat()
        assert other.inference == []
    assert reply.status_code == int(status[:3])
    assert reply.json() == {
        "error": {"message": "max_tokens is too large", "type": "BadRequest", "param": None, "code": "400"}
    }
    assert house.plane.board.lane("picky").failures_in_a_row == 0


async def test_a_first_event_that_is_an_error_is_never_seen(house: House) -> None:
    said = EVENT_HEAD + event({"error": {"message": "out of memory"}}) + b"0\r\n\r\n"
    async with serving(broken(said), FakeModelServer()) as (bad, good):
        house.plane.random = iter([0.0, 0.0] * 50).__next__
        house.install(server("bad", bad.url), server("good", good.url))
        reply = await house.chat(stream=True)
    assert reply.status_code == 200
    assert "memory" not in reply.text
    assert reply.text.endswith("data: [DONE]\n\n")


BEGUN = EVENT_HEAD + event({"choices": [{"delta": {"content": "a"}}]})
CUTS = {
    "reset in mid-event": (BEGUN + chunk(b'data: {"cho'), True),
    "end without a reason": (BEGUN + b"0\r\n\r\n", False),
}  # fmt: skip


@pytest.mark.parametrize("cut", CUTS)
async def test_a_stream_that_breaks_ends_in_a_typed_error_event(house: House, cut: str) -> None:
    said, close = CUTS[cut]
    async with serving(broken(said, close=close)) as (bad,):
        house.install(server("bad", bad.url))
        reply = await house.chat(stream=True)
    assert reply.status_code == 200
    events = [line[6:] for line in reply.text.split("\n") if line.startswith("data: ")]
    assert json.loads(events[0])["choices"][0]["delta"]["content"] == "a"
    assert json.loads(events[-1])["error"]["code"] == "server_misbehaved"
    assert "[DONE]" not in reply.text
    assert len(events) == 2
    assert house.plane.board.in_flight("bad") == 0


async def test_an_error_event_in_the_middle_is_told_in_our_envelope(house: House) -> None:
    async def fails_late(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        assert fake.gate is not None
        writer.write(EVENT_HEAD + event({"choices": [{"delta": {"content": "a"}}]}))
        await writer.drain()
        await fake.gate.wait()
        writer.write(event({"object": "error", "message": "cuda out of memory at 10.0.0.7"}))

    async with serving(FakeModelServer(behaviours={"*": fails_late}, gate=asyncio.Event())) as (bad,):
        house.install(server("bad", bad.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            pieces = answer.aiter_text()
            assert '"content":"a"' in await anext(pieces)
            assert bad.gate is not None
            bad.gate.set()
            rest = "".join([piece async for piece in pieces])
    assert json.loads(rest.removeprefix("data: "))["error"]["code"] == "server_misbehaved"
    assert "10.0.0.7" not in rest


async def test_a_good_event_beside_a_fault_still_goes_out(house: House) -> None:
    async def fails_late(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        assert fake.gate is not None
        writer.write(BEGUN)
        await writer.drain()
        await fake.gate.wait()
        writer.write(event({"choices": [{"delta": {"content": "b"}}]}) + event({"error": {"message": "boom"}}))

    async with serving(FakeModelServer(behaviours={"*": fails_late}, gate=asyncio.Event())) as (bad,):
        house.install(server("bad", bad.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            pieces = answer.aiter_text()
            await anext(pieces)
            assert bad.gate is not None
            bad.gate.set()
            rest = "".join([piece async for piece in pieces])
    assert rest.index('"content":"b"') < rest.index('"code":"server_misbehaved"')


async def test_an_unknown_state_is_tried_when_none_is_healthy(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("new", fake.url, health=HealthStatus.UNKNOWN))
        assert (await house.chat()).status_code == 200


async def test_none_can_serve(house: House) -> None:
    house.install(
        server("down", "http://127.0.0.1:9", health=HealthStatus.UNHEALTHY),
        server("paused", "http://127.0.0.1:10", paused=True),
    )
    asking = asyncio.create_task(house.chat())
    await until(lambda: house.plane.queued)
    for _tick in range(house.plane.limits.return_ticks):
        assert not asking.done()
        house.plane.tick()
    reply = await asking
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert set(house.told.redials) == {"down"}  # it might be back, and was looked for; the other is kept away


async def test_a_server_that_comes_back_in_time_serves_the_request_that_waits(house: House) -> None:
    async with serving(FakeModelServer()) as (fake,):
        house.install(server("down", fake.url, health=HealthStatus.UNHEALTHY))
        asking = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        house.plane.tick()
        house.install(server("down", fake.url))
        assert (await asking).status_code == 200
    assert not house.plane.queued


async def test_a_client_that_leaves_stops_the_work_upstream(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_bytes())
        async with asyncio.timeout(1):
            await fake.lost.wait()
    outcome = await house.told.outcome()
    assert (outcome.status, outcome.error_code) == (499, "client_left")
    assert house.plane.board.in_flight("s1") == 0


async def test_a_client_that_leaves_before_the_answer_begins(house: House) -> None:
    async def never(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        await until_gone(fake, writer)

    async with serving(FakeModelServer(behaviours={"*": never})) as (fake,):
        house.install(server("s1", fake.url))
        asking = asyncio.create_task(house.chat())
        await until(lambda: fake.inference)
        asking.cancel()
        async with asyncio.timeout(1):
            await fake.lost.wait()
        outcome = await house.told.outcome()
    assert outcome.status == 499
    assert house.plane.open_exchanges == 0


async def test_a_silent_server_is_left_for_another(shell: str) -> None:
    async def silent(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        await until_gone(fake, writer)

    async with (
        open_house(shell) as house,
        serving(FakeModelServer(behaviours={"*": silent}), FakeModelServer()) as (mute, good),
    ):
        house.plane.random = iter([0.0, 0.0] * 50).__next__
        house.install(server("mute", mute.url), server("good", good.url))
        asking = asyncio.create_task(house.chat(stream=True))
        await until(lambda: mute.inference)
        house.tick(LIMITS.first_token_ticks + 1)
        reply = await asking
    assert reply.text.endswith("data: [DONE]\n\n")
    assert house.told.unusable == [("mute", "the server fell silent")]


async def test_a_silent_stream_is_kept_alive_and_may_still_move_on(house: House) -> None:
    async def silent(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        await until_gone(fake, writer)

    async with serving(FakeModelServer(behaviours={"*": silent}), FakeModelServer()) as (mute, good):
        house.plane.random = iter([0.0, 0.0] * 50).__next__
        house.install(server("mute", mute.url), server("good", good.url))
        asking = asyncio.create_task(house.chat(stream=True))
        await until(lambda: mute.inference)
        house.tick(LIMITS.keepalive_ticks + 1)
        house.tick(LIMITS.first_token_ticks)
        reply = await asking
    assert reply.text.startswith(": ping\n: ping\n")
    assert reply.text.endswith("data: [DONE]\n\n")
    assert '"one"' in reply.text


async def test_a_stream_that_falls_silent_in_the_middle_ends_in_an_error_event(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            pieces = answer.aiter_text()
            await anext(pieces)
            house.tick(LIMITS.idle_ticks + 1)
            rest = "".join([piece async for piece in pieces])
    assert '"code":"timeout"' in rest
    assert "[DONE]" not in rest


async def test_full_servers_let_requests_wait_in_order(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url, max_concurrency=1))
        first = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        second = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        assert len(fake.inference) == 1
        assert fake.gate is not None
        fake.gate.set()
        assert (await first).status_code == 200
        assert (await second).status_code == 200


async def test_waiting_too_long_is_a_429_with_retry_after(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url, max_concurrency=1))
        first = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        second = asyncio.create_task(house.chat())
        await until(lambda: house.plane.queued)
        house.tick(LIMITS.queue_ticks + 1)
        reply = await second
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "5")
        assert fake.gate is not None
        fake.gate.set()
        await first


async def test_a_large_answer_is_relayed_as_it_comes(house: House) -> None:
    text = b'{"data":"' + b"x" * (9 * 1024 * 1024) + b'"}'
    async with serving(broken(json_answer(text))) as (fake,):
        house.install(server("s1", fake.url))
        reply = await house.chat()
    assert reply.content == text


async def test_a_large_answer_that_breaks_is_seen_to_be_cut(house: House) -> None:
    text = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n" + b"x" * (
        9 * 1024 * 1024
    )
    async with serving(broken(text, close=True)) as (fake,):
        house.install(server("s1", fake.url))
        with pytest.raises(httpx2.RemoteProtocolError):
            await house.chat()
    assert house.plane.board.in_flight("s1") == 0


async def test_a_slow_reader_pauses_the_server(house: House) -> None:
    async def torrent(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(EVENT_HEAD)
        block = event({"choices": [{"delta": {"content": "x" * 60_000}}]})
        for _count in range(1000):
            fake.words.append("")
            writer.write(block)
            await writer.drain()

    async with serving(FakeModelServer(behaviours={"*": torrent})) as (fake,):
        house.install(server("s1", fake.url))
        request = {"model": "m", "messages": [], "stream": True}
        async with house.client.stream("POST", "/v1/chat/completions", json=request) as answer:
            await anext(answer.aiter_bytes())
            sent, still = 0, 0
            while still < 200:  # until the server can write no more
                await asyncio.sleep(0)
                still = still + 1 if len(fake.words) == sent else 0
                sent = len(fake.words)
            assert sent < 500  # of 1,000: the rest waits in the server
        await house.told.outcome()
    assert house.plane.board.in_flight("s1") == 0


async def test_a_removed_server_takes_no_new_requests_and_finishes_the_running_one(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        running = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        house.install()
        assert (await house.chat()).status_code == 404
        assert fake.gate is not None
        fake.gate.set()
        reply = await running
        assert reply.text.endswith("data: [DONE]\n\n")
        await house.told.outcome(2)
    assert house.plane.pool.idle_connections == 0


async def test_shutting_down_ends_streams_with_an_error_event(house: House) -> None:
    async with serving(FakeModelServer(gate=asyncio.Event())) as (fake,):
        house.install(server("s1", fake.url))
        running = asyncio.create_task(house.chat(stream=True))
        await until(lambda: fake.inference)
        await until(lambda: house.plane.board.lane("s1").first_token_ewma_seconds)
        house.plane.shut()
        reply = await running
    assert '"code":"shutting_down"' in reply.text
