"""Events that the gateway writes itself: a client can't tell them from the stream's own; and the error event is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.answer import sse
from app.services.core.answer.usage import Usage
from app.services.core.continuation.asked import Asked
from app.services.core.continuation.delivered import NOTHING, Delivered, Identity
from app.services.core.continuation.endings import broken, closing, finish_event, text_event
from app.services.core.errors import ServerMisbehaved, Unavailable
from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, FakeModelServer, Seen, chunk, serving

IDENTITY = Identity(b'"chatcmpl-1"', b"1700000000", b'"m\\u00e9"')
DELIVERED = Delivered(IDENTITY, role=True, content="one", text_events=1)
CHAT, TEXT = Asked(chat=True, wants_usage=True), Asked(chat=False, wants_usage=True)
REASON = "the request asks for log probabilities ('logprobs')"


def read(block: bytes) -> list[Any]:
    payloads = [sse.data_of(event) for event in sse.events_of(block)]
    return [data.decode() if data == b"[DONE]" else json.loads(data) for data in payloads]


@pytest.fixture
async def client() -> AsyncIterator[tuple[openai.AsyncOpenAI, FakeModelServer]]:
    async with serving(FakeModelServer()) as (server,):
        made = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0, timeout=10)
        async with made:
            yield made, server


def streams(server: FakeModelServer, blocks: list[bytes]) -> None:
    async def answer(_server: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENT_HEAD + b"".join(map(chunk, blocks)) + LAST_CHUNK)

    server.behaviours["*"] = answer


def test_the_end_of_a_chat() -> None:
    same = {"object": "chat.completion.chunk", "id": "chatcmpl-1", "created": 1700000000, "model": "mé"}
    reason = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert read(closing(CHAT, DELIVERED, "length", Usage(3, 2))) == [
        {**same, "choices": [reason]},
        {**same, "choices": [], "usage": usage},
        "[DONE]",
    ]


def test_the_end_of_a_completion() -> None:
    same = {"object": "text_completion", "id": "chatcmpl-1", "created": 1700000000, "model": "mé"}
    reason = {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}
    told = read(closing(TEXT, DELIVERED, "stop", Usage(3, 2)))
    assert told[0] == {**same, "choices": [reason]}
    assert told[1]["choices"] == []
    assert told[2:] == ["[DONE]"]


def test_only_what_is_missing_and_asked_for_is_written() -> None:
    assert closing(CHAT, DELIVERED, None, None) == sse.DONE
    assert closing(Asked(chat=True), DELIVERED, None, Usage(1, 1)) == sse.DONE
    assert len(read(closing(Asked(chat=True), DELIVERED, "stop", Usage(1, 1)))) == 2


def test_what_the_first_server_left_out_is_left_out() -> None:
    only_id = Delivered(Identity(id=b'"a"'))
    for delivered in (NOTHING, only_id):
        (told, _done) = read(closing(CHAT, delivered, "stop", None))
        assert set(told) == {"object", "choices"} | ({"id"} if delivered is only_id else set())


@given(st.text(), st.booleans())
def test_any_text_can_be_said(text: str, chat: bool) -> None:
    block = text_event(IDENTITY, text, chat=chat)
    assert sse.events_of(block) == [block]
    (told,) = read(block)
    choice = told["choices"][0]
    assert (choice["delta"]["content"] if chat else choice["text"]) == text
    assert choice["finish_reason"] is None


def test_half_a_character_can_be_said() -> None:
    assert read(text_event(None, "\ud83d", chat=True))[0]["choices"][0]["delta"] == {"content": "\ud83d"}


def test_the_relay_takes_the_end_for_one() -> None:
    assert sse.choices_of(finish_event(IDENTITY, "stop", chat=True)) == [(0, True)]
    assert sse.choices_of(text_event(IDENTITY, "x", chat=False)) == [(0, False)]


def test_the_error_event_says_what_a_client_can_do() -> None:
    event = broken(
        ServerMisbehaved("It broke. Send it again."), retryable=True, delivered_tokens=12, reason="no \ud800 server"
    )
    assert read(event) == [
        {
            "error": {
                "message": "It broke. Send it again.",
                "type": "server_error",
                "param": None,
                "code": "server_misbehaved",
                "retryable": True,
                "delivered_tokens": 12,
                "reason": "no \\ud800 server",
            }
        }
    ]
    assert sse.is_error(event)
    assert b"[DONE]" not in event


async def test_the_official_client_reads_the_end(client: tuple[openai.AsyncOpenAI, FakeModelServer]) -> None:
    asking, server = client
    streams(server, [text_event(IDENTITY, "one", chat=True), closing(CHAT, DELIVERED, "stop", Usage(3, 1))])
    async with await asking.chat.completions.create(model="m", messages=[], stream=True) as stream:
        said = [part async for part in stream]
    assert [part.id for part in said] == ["chatcmpl-1"] * 3
    assert [choice.finish_reason for part in said for choice in part.choices] == [None, "stop"]
    assert said[0].choices[0].delta.content == "one"
    assert said[2].usage is not None
    assert said[2].usage.total_tokens == 4


async def test_the_official_client_reads_the_end_of_a_completion(
    client: tuple[openai.AsyncOpenAI, FakeModelServer],
) -> None:
    asking, server = client
    streams(server, [text_event(IDENTITY, "one", chat=False), closing(TEXT, DELIVERED, "length", None)])
    async with await asking.completions.create(model="m", prompt="p", stream=True) as stream:
        said = [part async for part in stream]
    assert [(part.choices[0].text, part.choices[0].finish_reason) for part in said] == [("one", None), ("", "length")]


@pytest.mark.parametrize("retryable", [True, False])
async def test_the_official_client_raises_on_the_error_event(
    client: tuple[openai.AsyncOpenAI, FakeModelServer], retryable: bool
) -> None:
    asking, server = client
    event = broken(Unavailable("No server is left."), retryable=retryable, delivered_tokens=1, reason=REASON)
    streams(server, [text_event(IDENTITY, "one", chat=True), event])
    async with await asking.chat.completions.create(model="m", messages=[], stream=True) as stream:
        first = await anext(stream)
        with pytest.raises(openai.APIError, match=r"^No server is left\.$") as raised:
            await anext(stream)
    assert first.choices[0].delta.content == "one"
    body = raised.value.body
    assert isinstance(body, dict)
    assert (body["retryable"], body["delivered_tokens"], body["reason"]) == (retryable, 1, REASON)
    assert (raised.value.code, raised.value.type) == ("unavailable", "server_error")
