"""What is remembered of a connection's earlier requests lets nothing in that has meanwhile lost its right.

A request may be the very same, byte for byte, as one that was just served: whether it is served is decided anew.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from app.services.core.choice.snapshot import EMPTY, build_snapshot
from tests.fakes.house import server
from tests.fakes.http_shapes import CHAT, KEY, chat_body, post, raw
from tests.fakes.memory_wires import ADMIN_KEY, OTHER_KEY, Memory, open_memory
from tests.fakes.wiretap import Asked, answer_echo

GOOD = post(chat_body("the same"))
STREAM = post(chat_body("the same", stream=True))


@pytest.fixture(params=["door", "asgi"])
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Memory]:
    async with open_memory(str(request.param)) as opened:
        yield opened


def code_of(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


async def test_a_revoked_key_opens_nothing_more(memory: Memory) -> None:
    caller = memory.connect()
    for _again in range(3):
        assert [answer.status for answer in await caller.say(GOOD)] == [200]
    memory.revoke(ADMIN_KEY)
    (refused,) = await caller.say(GOOD)
    assert (refused.status, code_of(refused.body)) == (401, "invalid_api_key")
    assert len(memory.asked) == 3


async def test_a_key_revoked_while_its_last_request_runs(memory: Memory) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    memory.link.answering = lambda _asked: []
    assert await caller.say(GOOD) == []
    memory.revoke(ADMIN_KEY)
    memory.link.wires[-1].deliver(*answer_echo(memory.asked[-1]))
    assert [answer.status for answer in await caller.say()] == [200]
    assert [answer.status for answer in await caller.say(GOOD)] == [401]


async def test_whose_key_it_is_counts_for_each_request(memory: Memory) -> None:
    other = GOOD.replace(KEY, b"Authorization: Bearer " + OTHER_KEY.encode())
    caller = memory.connect()
    for data in (GOOD, GOOD, other, GOOD, other, other):
        assert [answer.status for answer in await caller.say(data)] == [200]
    owners = [outcome.key_id for outcome in memory.told.outcomes]
    assert owners == ["admin", "admin", "other", "admin", "other", "other"]


async def test_each_request_has_an_id_of_its_own(memory: Memory) -> None:
    caller = memory.connect()
    ids = [(await caller.say(GOOD))[0].headers["x-request-id"] for _again in range(5)]
    assert len(set(ids)) == 5
    assert [asked.headers["x-request-id"] for asked in memory.asked] == ids
    assert [outcome.request_id for outcome in memory.told.outcomes] == ids
    named = post(chat_body("the same"), b"X-Request-ID: mine-1")
    for data, expected in ((named, "mine-1"), (named, "mine-1"), (named.replace(b"mine-1", b"mine-2"), "mine-2")):
        assert (await caller.say(data))[0].headers["x-request-id"] == expected


async def test_a_model_that_was_removed_is_gone(memory: Memory) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    memory.plane.install(EMPTY)
    (missing,) = await caller.say(GOOD)
    assert (missing.status, code_of(missing.body)) == (404, "model_not_found")
    memory.plane.install(build_snapshot([server("s2", "http://127.0.0.1:9")]))
    (found,) = await caller.say(GOOD)
    assert (found.status, found.headers["x-gateway-server-id"]) == (200, "s2")


async def test_a_server_whose_key_changed_is_sent_the_new_one(memory: Memory) -> None:
    caller = memory.connect()
    for key in ("first-key", "second-key", None):
        memory.plane.install(build_snapshot([server("s1", "http://127.0.0.1:9", api_key=key)]))
        await caller.say(GOOD)
        assert memory.asked[-1].headers.get("authorization") == (f"Bearer {key}" if key else None)
    memory.assert_clean()


async def test_a_gateway_that_shuts_down_serves_no_more_on_a_warm_connection(memory: Memory) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    memory.protocols[-1].shutdown()
    assert await caller.say(GOOD) == []
    assert caller.closed
    assert len(memory.asked) == 1


async def test_the_answer_that_is_being_given_at_shutdown_is_the_last(memory: Memory) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    memory.link.answering = lambda _asked: []
    await caller.say(GOOD)
    memory.protocols[-1].shutdown()
    memory.link.wires[-1].deliver(*answer_echo(memory.asked[-1]))
    (last,) = await caller.say()
    assert (last.status, last.whole, caller.closed) == (200, True, True)
    assert last.headers["connection"] == "close"


def gated(memory: Memory) -> list[list[bytes]]:
    """Let servers say nothing by themselves; what they would say is kept, request by request."""
    kept: list[list[bytes]] = []

    def answering(asked: Asked) -> Sequence[bytes]:
        kept.append(list(answer_echo(asked)))
        return []

    memory.link.answering = answering
    return kept


@pytest.mark.parametrize("behind", [GOOD, STREAM, raw(b"GET /v1/models HTTP/1.1", b"Host: a", KEY)])
async def test_what_comes_while_a_stream_is_answered_waits_for_its_end(memory: Memory, behind: bytes) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(STREAM)] == [200]
    kept = gated(memory)
    await caller.say(STREAM)
    head, first, *rest = kept[0]
    wire = memory.link.wires[0]
    wire.deliver(head, first)
    await memory.settle()
    begun = len(caller.wire.sent)
    memory.link.answering = answer_echo
    assert await caller.say(behind) == []
    assert len(caller.wire.sent) == begun  # not a byte before the stream has ended
    wire.deliver(*rest)
    answers = await caller.say()
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    memory.assert_clean()


async def test_what_comes_half_while_another_is_answered_is_heard_whole(memory: Memory) -> None:
    caller = memory.connect()
    kept = gated(memory)
    await caller.say(GOOD)
    half = len(GOOD) // 2
    assert await caller.say(GOOD[:half]) == []
    memory.link.answering = answer_echo
    memory.link.wires[0].deliver(*kept[0])
    assert [answer.status for answer in await caller.say()] == [200]
    assert [answer.status for answer in await caller.say(GOOD[half:])] == [200]
    assert len(memory.asked) == 2


async def test_a_client_that_leaves_a_warm_connection_stops_its_request(memory: Memory) -> None:
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    gated(memory)
    await caller.say(GOOD)
    assert memory.plane.open_exchanges == 1
    caller.wire.abort()
    await memory.settle()
    assert memory.plane.open_exchanges == 0
    assert memory.link.wires[0].is_closing()
    assert [outcome.error_code for outcome in memory.told.outcomes] == [None, "client_left"]


async def test_an_answer_is_never_given_to_another(memory: Memory) -> None:
    """Many connections at once, their answers out of order: each hears its own."""
    kept = gated(memory)
    callers = [memory.connect() for _number in range(8)]
    for number, caller in enumerate(callers):
        await caller.say(post(chat_body(f"mark {number}", stream=number % 2 == 0)))
    order = [5, 0, 7, 2, 6, 1, 4, 3]
    for number in order:
        memory.link.wires[number].deliver(*kept[number])
    for number, caller in enumerate(callers):
        (answer,) = await caller.say()
        assert f"mark {number}".encode() in answer.body
    assert len(memory.link.wires) == 8
    for number, caller in enumerate(callers):
        await caller.say(post(chat_body(f"again {number}")))
    for wire, asked in zip(memory.link.wires, [tap.asked[-1] for tap in memory.link.taps], strict=True):
        wire.deliver(*answer_echo(asked))
    for number, caller in enumerate(callers):
        (answer,) = await caller.say()
        assert f"again {number}".encode() in answer.body


async def test_a_warm_connection_has_a_deadline_for_each_head_and_body() -> None:
    async with open_memory("door") as memory:
        bounds = memory.plane.bounds
        for part, ticks in ((GOOD[:40], bounds.header_ticks), (GOOD[:-3], bounds.body_ticks)):
            caller = memory.connect()
            for _again in range(2):
                assert [answer.status for answer in await caller.say(GOOD)] == [200]
            assert await caller.say(part) == []
            await memory.pass_time(ticks)
            assert caller.heard() == []
            await memory.pass_time(1)
            (late,) = caller.heard()
            assert (late.status, code_of(late.body), caller.closed) == (408, "request_timeout", True)


async def test_a_body_over_the_bound_is_refused_on_a_warm_connection(memory: Memory) -> None:
    limit = memory.plane.bounds.body_bytes
    caller = memory.connect()
    assert [answer.status for answer in await caller.say(GOOD)] == [200]
    (fits,) = await caller.say(post(chat_body("f" * (limit - len(chat_body(""))))))
    assert fits.status == 200
    too_large = post(chat_body("f" * (limit + 1 - len(chat_body("")))))
    (refused,) = await caller.say(too_large)
    assert (refused.status, code_of(refused.body)) == (413, "request_too_large")
    assert len(memory.asked) == 2


async def test_http_1_0_is_the_last_on_a_warm_connection(memory: Memory) -> None:
    old = GOOD.replace(b"HTTP/1.1", b"HTTP/1.0")
    for before in (0, 1, 2):
        caller = memory.connect()
        for _again in range(before):
            await caller.say(GOOD)
        answers = await caller.say(old + GOOD)
        assert [(answer.status, answer.headers.get("connection")) for answer in answers] == [(200, "close")]
        assert caller.closed


async def test_the_date_is_renewed_on_a_warm_connection(memory: Memory) -> None:
    caller = memory.connect()
    assert (await caller.say(GOOD))[0].headers["date"].endswith("00:00:00 GMT")
    memory.state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:01 GMT")]
    assert (await caller.say(GOOD))[0].headers["date"].endswith("00:00:01 GMT")


@pytest.mark.parametrize("shell", ["door", "asgi"])
async def test_an_idle_connection_is_closed_in_time_and_a_busy_one_is_not(shell: str) -> None:
    loop = asyncio.get_running_loop()
    async with open_memory(shell, keep_alive_seconds=0.02) as memory:
        caller = memory.connect()
        assert [answer.status for answer in await caller.say(GOOD)] == [200]
        gated(memory)
        await caller.say(GOOD)
        waited = asyncio.Event()
        loop.call_later(0.06, waited.set)
        await waited.wait()
        assert not caller.closed
        memory.link.wires[0].deliver(*answer_echo(memory.asked[-1]))
        assert [answer.status for answer in await caller.say()] == [200]
        async with asyncio.timeout(5):
            while not caller.closed:
                await asyncio.sleep(0)


async def test_stray_line_ends_keep_no_connection_open() -> None:
    async with open_memory("door", keep_alive_seconds=0.02) as memory:
        caller = memory.connect()
        assert [answer.status for answer in await caller.say(GOOD)] == [200]
        async with asyncio.timeout(5):
            while not caller.closed:
                await caller.say(b"\r\n")


async def test_requests_are_counted_as_uvicorn_counts_them(memory: Memory) -> None:
    caller = memory.connect()
    for data in (GOOD, STREAM, GOOD, raw(b"GET /other HTTP/1.1", b"Host: a")):
        await caller.say(data)
    assert memory.state.total_requests == 4
    await caller.say(GOOD.replace(CHAT, b"/v1/nowhere"))
    assert memory.state.total_requests == 5
