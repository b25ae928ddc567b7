"""Does the front door keep the manners of HTTP: expectations, versions, HEAD, OPTIONS, origins, kept connections?

By both ways in. What is said to a client is compared with what RFC 9110 and RFC 9112 ask for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.fakes.http_shapes import CHAT, HOST, JSON, KEY, chat_body, headed, length, post, raw
from tests.fakes.memory_wires import Caller, Memory, open_memory
from tests.fakes.read_answers import Answer

ORIGIN = b"Origin: https://a.test"


@pytest.fixture(params=["door", "asgi"])
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


class TestExpectations:
    async def test_a_client_that_asks_first_is_told_to_go_on(self, memory: Memory) -> None:
        body = chat_body("asked first")
        caller = memory.connect()
        for _again in range(2):
            before = len(caller.wire.sent)
            assert await caller.say(headed(b"Expect: 100-continue", length(body), body=b"")) == []
            assert bytes(caller.wire.sent[before:]) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await only(caller, body)).status == 200

    @pytest.mark.parametrize(
        ("headers", "status"),
        [((HOST, b"Content-Length: 5"), 401), ((HOST, KEY, b"Content-Length: 99999999"), 413),
         ((HOST, KEY, HOST, b"Content-Length: 5"), 400)],
    )  # fmt: skip
    async def test_one_who_is_refused_is_not(self, memory: Memory, headers: tuple[bytes, ...], status: int) -> None:
        caller = memory.connect()
        refused = await only(caller, raw(b"POST %b HTTP/1.1" % CHAT, b"Expect: 100-continue", *headers))
        assert (refused.status, refused.headers["connection"], caller.closed) == (status, "close", True)
        assert b"100 Continue" not in caller.wire.sent

    async def test_in_http_1_0_it_means_nothing(self, door: Memory) -> None:
        """RFC 9110, 10.1.1: the expectation of an HTTP/1.0 request must be ignored."""
        body = chat_body("old")
        caller = door.connect()
        answer = await only(caller, raw(b"POST %b HTTP/1.0" % CHAT, KEY, b"Expect: 100-continue", length(body)), body)
        assert (answer.status, caller.closed) == (200, True)
        assert b"100 Continue" not in caller.wire.sent


class TestVersionsAndMethods:
    @pytest.mark.parametrize("more", [(), (b"Connection: keep-alive",), (HOST,)])
    async def test_http_1_0_gets_one_answer_without_chunks(self, memory: Memory, more: tuple[bytes, ...]) -> None:
        for stream in (False, True):
            body = chat_body("old", stream=stream)
            caller = memory.connect()
            data = raw(b"POST %b HTTP/1.0" % CHAT, KEY, *more, length(body), body=body)
            answer = await only(caller, data)
            assert (answer.status, caller.closed, answer.headers["connection"]) == (200, True, "close")
            if memory.shell == "door":  # uvicorn frames a stream to HTTP/1.0 in chunks
                assert "transfer-encoding" not in answer.headers
                assert not stream or answer.body.endswith(b"data: [DONE]\n\n")

    @pytest.mark.parametrize("path", [b"/v1/models", b"/v1/models/m", b"/v1/models/none", CHAT])
    async def test_head_is_get_without_a_body(self, memory: Memory, path: bytes) -> None:
        caller = memory.connect()
        got = await only(caller, raw(b"GET %b HTTP/1.1" % path, HOST, KEY))
        head = raw(b"HEAD %b HTTP/1.1" % path, HOST, KEY)
        (answer,) = await caller.say(head, heads=(True,))
        assert (answer.status, answer.body) == (got.status, b"")
        if path != CHAT:  # where neither is allowed the method is named
            assert answer.headers["content-length"] == got.headers["content-length"]
        assert (await only(caller, post(chat_body("behind")))).status == 200

    async def test_connections_are_kept_until_somebody_says_otherwise(self, memory: Memory) -> None:
        caller = memory.connect()
        for number in range(30):
            answer = await only(caller, post(chat_body(number, stream=number % 3 == 0)))
            assert (answer.status, "connection" in answer.headers) == (200, False)
        answers = await caller.say(post(chat_body("last"), b"Connection: close") + post(chat_body("too late")))
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(200, "close")]
        assert caller.closed
        assert len(memory.asked) == 31


class TestOrigins:
    @pytest.mark.parametrize(("path", "allow"), [(CHAT, "POST, OPTIONS"), (b"/v1/models", "GET, HEAD, OPTIONS")])
    async def test_a_preflight(self, memory: Memory, path: bytes, allow: str) -> None:
        asking = (b"Access-Control-Request-Method: POST", b"Access-Control-Request-Headers: authorization, x-a")
        caller = memory.connect()
        answer = await only(caller, raw(b"OPTIONS %b HTTP/1.1" % path, HOST, ORIGIN, *asking))
        told = {name: value for name, value in answer.headers.items() if name.startswith(("access", "allow", "vary"))}
        assert answer.status == 204
        assert told["access-control-allow-origin"] == "https://a.test"
        assert told["access-control-allow-methods"] == told["allow"] == allow
        assert told["access-control-allow-headers"] == "authorization, x-a"
        assert told["vary"] == "origin"
        assert "access-control-allow-credentials" not in told
        assert (await only(caller, post(chat_body("behind"), ORIGIN))).status == 200

    async def test_another_origin_is_told_nothing(self, memory: Memory) -> None:
        answers = await memory.connect().say(
            raw(b"OPTIONS %b HTTP/1.1" % CHAT, HOST, b"Origin: https://b.test", b"Access-Control-Request-Method: POST"),
            post(chat_body(1), b"Origin: https://b.test"),
        )
        assert [answer.status for answer in answers] == [204, 200]
        assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize(
        ("data", "status"),
        [(post(chat_body(1), ORIGIN), 200), (post(chat_body(1, stream=True), ORIGIN), 200), (post(b"{", ORIGIN), 400),
         (post(chat_body(1), ORIGIN).replace(KEY, b"X: y"), 401), (post(b'{"model":"n"}', ORIGIN), 404),
         (post(chat_body(1), ORIGIN).replace(b"POST", b"PUT"), 405),
         (raw(b"POST %b HTTP/1.1" % CHAT, HOST, KEY, ORIGIN, JSON, b"Content-Length: 9999999"), 413)],
    )  # fmt: skip
    async def test_a_page_may_read_answers_and_refusals(self, memory: Memory, data: bytes, status: int) -> None:
        answer = await only(memory.connect(), data)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, "https://a.test")
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
