"""Does a soak's client see each wrong byte, take a break for a break, and leave when it was told to?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.soak_answers import Plan, events, plan_of, request, whole
from bench.soak_crowd import Crowd, CrowdFailed, control
from bench.soak_load import Load
from bench.soak_upstream import SoakUpstream, World
from bench.soak_visit import Answer, Departure, End, Visit, WrongAnswer, judge

KEY = "a-key"
STREAM, PLAIN = Plan(events=5), Plan(stream=0, size_bytes=300)
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ERROR = b'data: {"error":{"message":"The server broke off.","type":"server_error","param":null,"code":"broken"}}\n\n'


def sent(plan: Plan) -> bytes:
    """The right answer, as it goes over the wire."""
    if not plan.stream:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(whole(plan)), whole(plan))
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in events(plan)) + b"0\r\n\r\n"


def read(*parts: bytes) -> Answer:
    answer = Answer()
    for part in parts:
        answer.feed(part)
    return answer


def chunked(body: bytes) -> bytes:
    return HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@given(
    plan=st.builds(
        Plan,
        stream=st.integers(0, 1),
        events=st.integers(1, 9),
        size_bytes=st.integers(0, 10**7),
        fragile=st.integers(0, 1),
        delay_ms=st.integers(0, 999),
    )
)
def test_a_plan_survives_its_request(plan: Plan) -> None:
    assert plan_of(request(plan, KEY).partition(b"\r\n\r\n")[2]) == plan
    assert plan_of(b'{"messages":[]}') is None


@pytest.mark.parametrize("plan", [STREAM, PLAIN])
@given(size=st.integers(1, 700))
def test_right_answers_are_taken_however_they_are_cut(plan: Plan, size: int) -> None:
    text = sent(plan)
    answer = read(*(text[start : start + size] for start in range(0, len(text), size)))
    assert judge(plan, answer) == (End.WHOLE, "")


@pytest.mark.parametrize("plan", [STREAM, PLAIN])
@pytest.mark.parametrize("fragile", [0, 1])
@given(place=st.integers(0, 200), change=st.integers(1, 255))
def test_one_wrong_byte_is_found(plan: Plan, fragile: int, place: int, change: int) -> None:
    body = bytearray(b"".join(events(plan)) if plan.stream else whole(plan))
    body[place] ^= change
    fragile_plan = Plan(plan.stream, plan.events, size_bytes=plan.size_bytes, fragile=fragile)
    end, wrong = judge(fragile_plan, read(chunked(bytes(body))))
    assert end is End.WRONG
    assert f"differs at {place}" in wrong


def test_a_break_is_one_only_where_the_server_may_break() -> None:
    fragile = Plan(events=5, fragile=1)
    begun = b"".join(events(fragile)[:3])
    told, cut = read(chunked(begun + ERROR)), read(HEAD + b"%x\r\n%b\r\n" % (len(begun), begun))
    for answer in (told, cut):
        assert judge(fragile, answer)[0] is End.BROKEN
        assert judge(STREAM, answer)[0] is End.WRONG
    assert judge(fragile, read(chunked(begun)))[0] is End.WRONG  # an end without [DONE] that looks whole
    assert judge(fragile, read(chunked(begun + begun)))[0] is End.WRONG  # events twice


def test_a_refusal_is_told_with_its_words() -> None:
    answer = read(b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\n{"error"}')
    assert judge(STREAM, answer) == (End.REFUSED, "503 b'{\"error\"}'")


@pytest.mark.parametrize("text", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"])
def test_what_is_no_answer_is_wrong(text: bytes) -> None:
    with pytest.raises(WrongAnswer):
        read(text)


@asynccontextmanager
async def model_server(world: World) -> AsyncIterator[int]:
    """The soak's model server, asked directly: a client can't tell it from a gateway."""
    loop = asyncio.get_running_loop()
    made: list[SoakUpstream] = []

    def connection() -> SoakUpstream:
        made.append(SoakUpstream(world))
        return made[-1]

    server = await loop.create_server(connection, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in made:
            if one._transport is not None:
                one._transport.abort()
        await server.wait_closed()


async def visit(port: int, plan: Plan, departure: Departure) -> tuple[End, str]:
    ended: asyncio.Future[tuple[End, str]] = asyncio.get_running_loop().create_future()
    client = Visit(plan, KEY, departure, 0.01, lambda _visit, end, wrong: ended.set_result((end, wrong)))
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    async with asyncio.timeout(10):
        return await ended


@pytest.mark.parametrize("plan", [STREAM, PLAIN])
async def test_a_visit_to_the_end_is_whole(plan: Plan) -> None:
    async with model_server(World()) as port:
        assert await visit(port, plan, Departure.AT_THE_END) == (End.WHOLE, "")


@pytest.mark.parametrize("departure", [one for one in Departure if one is not Departure.AT_THE_END])
async def test_who_is_to_leave_leaves(departure: Departure) -> None:
    before = departure is Departure.BEFORE_AN_ANSWER
    plan = Plan(events=3000, gap_ms=5, delay_ms=60_000 if before else 0)
    async with model_server(World()) as port:
        assert await visit(port, plan, departure) == (End.LEFT, "")


async def test_a_server_that_may_breaks_some_answers() -> None:
    async with model_server(World()) as port:
        load = Load(port, KEY, seed=1, kinds=((1, (Departure.AT_THE_END, Plan(events=5, fragile=1))),))
        seconds: list[float] = []
        await load.run(rate_per_second=1000, seconds=0.3, on_second=seconds.append)
    assert load.total == load.ends[End.WHOLE] + load.ends[End.BROKEN]
    assert load.ends[End.BROKEN]
    assert load.ends[End.WHOLE] > 4 * load.ends[End.BROKEN]
    assert (load.open_visits, load.wrongs, load.passed_over) == (0, [], 0)
    assert len(seconds) == 1


async def test_nobody_there_is_a_wrong() -> None:
    async with model_server(World()) as port:
        pass
    load = Load(port, KEY, seed=1)
    await load.run(rate_per_second=100, seconds=0.1, on_second=lambda _passed: None)
    assert load.ends[End.WRONG] == load.total > 0
    assert "could not be reached" in load.wrongs[0]


async def test_a_crowd_holds_its_streams_and_compares_each() -> None:
    world = World()
    async with model_server(world) as port, Crowd(port, KEY, Plan(events=4, held=1)) as crowd:
        await crowd.add_streams(7)
        assert await control(port, "pulse") == 7
        await crowd.each_has(2)
        with pytest.raises(CrowdFailed, match="not what was sent"):
            await crowd.each_has(1)
        assert await control(port, "finish") == 7
        await crowd.each_has(4)
        assert crowd.lost == 0
        assert await control(port, "pulse") == 0


async def test_a_crowd_notices_that_it_is_hung_up_on() -> None:
    world = World()
    async with model_server(world) as port, Crowd(port, KEY, Plan(events=4, held=1)) as crowd:
        await crowd.add_streams(2)
        for held in list(world.held):
            held._break()
        with pytest.raises(CrowdFailed, match="hung up"):
            await crowd.each_has(4)
        assert crowd.lost
