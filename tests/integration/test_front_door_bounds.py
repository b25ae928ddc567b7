"""Is every bound of the front door kept, exactly where it stands, by both ways in?

Time passes in ticks that the tests turn, so that a client which sends one byte a tick needs no patience. Deadlines of
heads are the door's alone: behind plain ASGI the server has the connection until a head is whole.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.fakes.house import BOUNDS, LIMITS
from tests.fakes.http_shapes import CHAT, HOST, KEY, TE, chat_body, headed, post, raw
from tests.fakes.memory_wires import Caller, Memory, open_memory
from tests.fakes.read_answers import Answer

MODELS = raw(b"GET /v1/models HTTP/1.1", HOST, KEY)
SHELLS = ("door", "asgi")


@pytest.fixture(params=SHELLS)
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Memory]:
    async with open_memory(str(request.param)) as opened:
        yield opened


@pytest.fixture
async def door() -> AsyncIterator[Memory]:
    async with open_memory("door") as opened:
        yield opened


def code_of(answer: Answer) -> str:
    error = json.loads(answer.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


async def only(caller: Caller, *pieces: bytes) -> Answer:
    (answer,) = await caller.say(*pieces)
    return answer


def head_bytes(data: bytes) -> int:
    """How a head is measured: its target, and of each header name and value and four bytes around them."""
    line, *headers = data.split(b"\r\n\r\n")[0].split(b"\r\n")
    return len(line.split(b" ")[1]) + sum(len(header) + 2 for header in headers)


class TestHeads:
    @pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
    @pytest.mark.parametrize("over", [0, 1])
    async def test_bytes_of_headers(self, memory: Memory, over: int, warm: bool) -> None:
        caller = memory.connect()
        if warm:
            assert (await only(caller, post(chat_body(0)))).status == 200
        room = BOUNDS.header_bytes + over - head_bytes(post(chat_body(1), b"X-Long: "))
        data = post(chat_body(1), b"X-Long: " + b"a" * room)
        assert head_bytes(data) == BOUNDS.header_bytes + over
        answer = await only(caller, data)
        assert answer.status == (431 if over else 200)
        assert not over or code_of(answer) == "headers_too_large"

    @pytest.mark.parametrize("over", [0, 1])
    async def test_bytes_of_the_target(self, memory: Memory, over: int) -> None:
        room = BOUNDS.header_bytes + over - head_bytes(MODELS) - 1
        answer = await only(memory.connect(), MODELS.replace(b"/v1/models", b"/v1/models?" + b"a" * room))
        assert answer.status == (431 if over else 200)

    @pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
    @pytest.mark.parametrize("over", [0, 1])
    async def test_number_of_headers(self, memory: Memory, over: int, warm: bool) -> None:
        caller = memory.connect()
        if warm:
            assert (await only(caller, post(chat_body(0)))).status == 200
        more = [b"X-%d: y" % number for number in range(BOUNDS.header_count - 4 + over)]
        answer = await only(caller, post(chat_body(1), *more))
        assert answer.status == (431 if over else 200)
        assert not over or code_of(answer) == "headers_too_large"

    @pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nX-", b"GET / HTTP/1.1\r\nX: "])
    async def test_a_head_without_end_is_refused_while_it_grows(self, door: Memory, begin: bytes) -> None:
        caller = door.connect()
        answers: list[Answer] = await caller.say(begin)
        sent = 0
        while not answers:
            assert sent <= 2 * BOUNDS.header_bytes
            answers = await caller.say(b"a" * 1000)
            sent += 1000
        assert [(answer.status, code_of(answer)) for answer in answers] == [(431, "headers_too_large")]
        assert caller.closed

    async def test_one_header_after_another_is_refused_while_they_come(self, door: Memory) -> None:
        caller = door.connect()
        answers: list[Answer] = await caller.say(b"GET / HTTP/1.1\r\n")
        sent = 0
        while not answers:
            assert sent <= 2 * BOUNDS.header_bytes
            answers = await caller.say(*[b"X-Some-Header-%d: value\r\n" % number for number in range(20)])
            sent += 20 * 25
        assert [answer.status for answer in answers] == [431]

    async def test_trailers_are_bounded_too(self, door: Memory) -> None:
        caller = door.connect()
        await caller.say(headed(TE, body=b"2\r\n{}\r\n0\r\n"))
        answers: list[Answer] = []
        for _turn in range(40):
            answers += await caller.say(b"".join(b"X-Trailer-%d: value\r\n" % number for number in range(50)))
            if answers:
                break
        assert [answer.status for answer in answers] == [431]
        assert not door.asked


class TestSlowness:
    @pytest.mark.parametrize("before", [0, 1, 3])
    async def test_a_head_that_comes_a_byte_a_tick(self, door: Memory, before: int) -> None:
        """A slow loris: something always comes, and the time runs from the head's first byte all the same."""
        caller = door.connect()
        for _again in range(before):
            assert (await only(caller, post(chat_body("quick")))).status == 200
        drip = post(chat_body("slow"), b"X-Long: " + b"a" * 500)
        answers: list[Answer] = []
        for tick in range(BOUNDS.header_ticks + 1):
            assert (answers, caller.closed) == ([], False), tick
            answers = await caller.say(drip[tick : tick + 1])
            door.plane.tick()
            answers += caller.heard()
        assert [(answer.status, code_of(answer)) for answer in answers] == [(408, "request_timeout")]
        assert caller.closed

    async def test_a_client_that_never_says_a_word(self, door: Memory) -> None:
        caller = door.connect()
        await door.pass_time(BOUNDS.header_ticks)
        assert not caller.closed
        await door.pass_time(1)
        assert (caller.closed, bytes(caller.wire.sent)) == (True, b"")

    async def test_a_body_that_comes_a_byte_a_tick(self, door: Memory) -> None:
        caller = door.connect()
        data = post(chat_body("slow " * 200))
        place = data.index(b"\r\n\r\n") + 4
        assert await caller.say(data[:place]) == []
        answers: list[Answer] = []
        ticks = 0
        while not answers:
            assert ticks <= BOUNDS.body_ticks + 1
            await caller.say(data[place + ticks : place + ticks + 1])
            door.plane.tick()
            answers = caller.heard()
            ticks += 1
        assert ticks == BOUNDS.body_ticks + 1
        assert [(answer.status, code_of(answer)) for answer in answers] == [(408, "request_timeout")]
        assert (caller.closed, door.asked) == (True, [])

    async def test_a_long_body_that_keeps_coming_is_given_the_time_it_needs(self) -> None:
        bounds = replace(BOUNDS, body_ticks=3)
        async with open_memory("door", bounds=bounds) as door:
            data = post(chat_body("l" * 500_000))
            caller = door.connect()
            answers: list[Answer] = []
            for place in range(0, len(data), 16_384):
                assert not caller.closed
                answers += await caller.say(data[place : place + 16_384])
                door.plane.tick()
            assert [answer.status for answer in answers] == [200]

    async def test_a_body_has_a_deadline_behind_plain_asgi_too(self) -> None:
        async with open_memory("asgi", bounds=replace(BOUNDS, body_ticks=1)) as memory:
            caller = memory.connect()
            assert await caller.say(post(chat_body("slow"))[:-1]) == []
            async with asyncio.timeout(10):
                while not caller.closed:
                    await asyncio.sleep(0)
            (late,) = caller.heard()
            assert (late.status, code_of(late), memory.asked) == (408, "request_timeout", [])

    async def test_a_refused_client_has_time_to_read_and_no_more(self, door: Memory) -> None:
        caller = door.connect()
        assert (await only(caller, post(chat_body(1)).replace(HOST, b"Host: a/b"))).status == 400
        assert caller.wire.ended
        assert not caller.wire.is_closing()
        assert await caller.say(post(chat_body("ignored"))) == []
        await door.pass_time(21)
        assert (caller.wire.is_closing(), door.asked) == (True, [])


class TestBodies:
    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("apart", [False, True])
    async def test_size_that_is_announced(self, memory: Memory, over: int, apart: bool) -> None:
        body = chat_body("b" * (BOUNDS.body_bytes + over - len(chat_body(""))))
        data = post(body)
        place = data.index(b"\r\n\r\n") + 4
        caller = memory.connect()
        answers = await caller.say(*((data[:place], data[place:]) if apart else (data,)))
        assert [answer.status for answer in answers] == [413 if over else 200]
        assert not over or code_of(answers[0]) == "request_too_large"
        assert len(memory.asked) == 1 - over

    async def test_an_announced_size_is_refused_before_a_byte_came(self, memory: Memory) -> None:
        caller = memory.connect()
        refused = await only(caller, raw(b"POST %b HTTP/1.1" % CHAT, HOST, KEY, b"Content-Length: 1048577"))
        assert (refused.status, code_of(refused)) == (413, "request_too_large")

    @pytest.mark.parametrize("over", [0, 1])
    async def test_size_that_shows_while_it_is_read(self, memory: Memory, over: int) -> None:
        body = chat_body("b" * (BOUNDS.body_bytes + over - len(chat_body(""))))
        caller = memory.connect()
        pieces = [b"%x\r\n%b\r\n" % (len(body[at : at + 60_000]), body[at : at + 60_000])
                  for at in range(0, len(body), 60_000)]  # fmt: skip
        answers = await caller.say(headed(TE, body=b""), *pieces)
        assert [answer.status for answer in answers] == ([413] if over else [])
        if not over:
            assert [answer.status for answer in await caller.say(b"0\r\n\r\n")] == [200]
            assert memory.asked[0].body == body

    async def test_a_body_without_end_is_not_kept(self, memory: Memory) -> None:
        caller = memory.connect()
        await caller.say(headed(TE, body=b""))
        answers: list[Answer] = []
        for _turn in range(40):
            answers += await caller.say(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        assert [answer.status for answer in answers] == [413]
        kept = getattr(memory.protocols[-1].cycle, "body", b"")
        assert len(kept) <= BOUNDS.body_bytes

    @pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
    @pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
    async def test_depth(self, memory: Memory, opening: bytes, closing: bytes, warm: bool) -> None:
        caller = memory.connect()
        if warm:
            assert (await only(caller, post(chat_body(0)))).status == 200
        for levels, status in ((LIMITS.max_json_depth - 1, 200), (LIMITS.max_json_depth, 400), (50_000, 400)):
            nest = opening * levels + (b"1" if opening != b"[" else b"") + closing * levels
            answer = await only(caller, post(b'{"model":"m","messages":' + nest + b"}"))
            assert answer.status == status, levels
            assert status == 200 or code_of(answer) == "too_deep"
