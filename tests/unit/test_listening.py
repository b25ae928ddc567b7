"""Is an answer timed, bounded and cut off, over real sockets?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.verification.asking import Told
from app.services.dataplane.fetch import AnswerBroken
from app.services.dataplane.link import ConnectFailed, Link, SystemResolver
from app.services.listening import MOST_ARRIVALS, Listener
from tests.fakes.model_server import (
    EVENT_HEAD,
    LAST_CHUNK,
    FakeModelServer,
    Seen,
    chunk,
    event,
    json_answer,
    serving,
    until_gone,
)

BODY = b'{"model":"m"}'
CHAT = "/v1/chat/completions"


@pytest.fixture
def resolver() -> Iterator[SystemResolver]:
    opened = SystemResolver()
    yield opened
    opened.close()


@pytest.fixture
def listener(resolver: SystemResolver) -> Listener:
    """Its clock goes on by a second whenever it is looked at."""
    seconds = count()
    link = Link(AddressPolicy((ip_network("127.0.0.0/8"),)), resolver, connect_timeout_seconds=5)
    return Listener(link, b"1.1 test", lambda: float(next(seconds)))


@pytest.fixture
async def server() -> AsyncIterator[FakeModelServer]:
    async with serving(FakeModelServer()) as (opened,):
        yield opened


async def listen(listener: Listener, server: FakeModelServer, **options: Any) -> Told:
    usual = {"api_key": None, "timeout_seconds": 10.0, "limit_bytes": 10_000, "only_begin": False}
    return await listener.listen(parse_endpoint(server.url), CHAT, BODY, **(usual | options))


async def test_each_part_of_a_stream_is_timed(listener, server):
    async def speak(_own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENT_HEAD)
        for number in range(3):
            writer.write(event({"n": number}))
            await writer.drain()
        writer.write(LAST_CHUNK)

    server.behaviours[CHAT] = speak
    told = await listen(listener, server)
    assert told.status == 200
    assert told.body == b"".join(b'data: {"n":%d}\n\n' % number for number in range(3))
    ends, seconds = zip(*told.arrivals, strict=True)
    assert ends[-1] == len(told.body)
    assert list(ends) == sorted(set(ends))
    assert list(seconds) == [float(place) for place in range(1, len(seconds) + 1)]


async def test_it_goes_as_all_traffic_does_with_the_servers_key(listener, server):
    await listen(listener, server, api_key="sk-1")
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.body) == ("POST", CHAT, BODY)
    assert seen.headers["authorization"] == "Bearer sk-1"
    assert seen.headers["via"] == "1.1 test"
    assert seen.headers["connection"] == "close"


async def test_an_answer_that_has_begun_is_cut_off_and_the_server_hears_of_it(listener, server):
    async def speak(own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENT_HEAD + chunk(b": loading\n\n"))
        await writer.drain()
        writer.write(event({"n": 1}))
        await writer.drain()
        await until_gone(own, writer)

    server.behaviours[CHAT] = speak
    told = await listen(listener, server, only_begin=True)
    assert told.body.endswith(b'data: {"n":1}\n\n')
    async with asyncio.timeout(5):
        await server.lost.wait()


async def test_a_refusal_is_heard_to_its_end(listener, server):
    async def refuse(_own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        body = b'{"error":\n\n{"message":"too long"}}'
        writer.write(json_answer(body[:12], "400 Bad Request").replace(b"length: 12", b"length: %d" % len(body)))
        await writer.drain()
        writer.write(body[12:])

    server.behaviours[CHAT] = refuse
    told = await listen(listener, server, only_begin=True)
    assert (told.status, told.body) == (400, b'{"error":\n\n{"message":"too long"}}')


async def test_a_whole_answer(listener, server):
    told = await listen(listener, server, only_begin=True)
    assert told.status == 200
    assert b"one two three" in told.body


async def test_an_answer_without_end_is_broken_off(listener, server):
    async def flood(own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENT_HEAD)
        while True:
            writer.write(event({"n": "x" * 500}))
            await writer.drain()

    server.behaviours[CHAT] = flood
    with pytest.raises(AnswerBroken, match="larger than 9 KiB"):
        await listen(listener, server)
    async with asyncio.timeout(5):
        await server.lost.wait()


async def test_no_more_parts_are_timed_than_can_be_kept(listener, server):
    async def speak(_own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENT_HEAD)
        for _part in range(MOST_ARRIVALS + 50):
            writer.write(chunk(b":\n"))
            await writer.drain()
        writer.write(LAST_CHUNK)

    server.behaviours[CHAT] = speak
    told = await listen(listener, server)
    assert len(told.body) == 2 * (MOST_ARRIVALS + 50)
    assert len(told.arrivals) <= MOST_ARRIVALS


async def test_silence_ends_in_time(listener, server):
    server.behaviours[CHAT] = lambda own, _seen, writer: until_gone(own, writer)
    with pytest.raises(AnswerBroken, match=r"no answer within 0\.2 s"):
        await listen(listener, server, timeout_seconds=0.2)
    async with asyncio.timeout(5):
        await server.lost.wait()


async def test_a_connection_that_breaks(listener, server):
    async def hang_up(_own: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server.behaviours[CHAT] = hang_up
    with pytest.raises(AnswerBroken, match="before any answer"):
        await listen(listener, server)


async def test_nobody_there_and_an_address_that_is_refused(listener, server):
    await server.stop()
    with pytest.raises(ConnectFailed):
        await listen(listener, server)
    with pytest.raises(EndpointRefused):
        await listener.listen(
            parse_endpoint("http://10.0.0.1:80"),
            CHAT,
            BODY,
            api_key=None,
            timeout_seconds=5,
            limit_bytes=100,
            only_begin=False,
        )
