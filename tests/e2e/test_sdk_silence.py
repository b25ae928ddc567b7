"""Does the unmodified OpenAI client read a stream that is silent for long, kept alive by comments, as any other?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import pytest

from tests.fakes.gateway_process import ADMIN_KEY, open_gateway
from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, FakeModelServer, Seen, event, ordinary, serving

pytestmark = pytest.mark.e2e

PINGS = 3
WORDS = ["Long", " live", " café", " 🦊"]
USAGE = {"prompt_tokens": 7, "completion_tokens": len(WORDS), "total_tokens": 7 + len(WORDS)}
QUESTION = [{"role": "user", "content": "hi"}]


@dataclass
class Silence(httpx2.AsyncBaseTransport):
    """Counts the comments that reach the client, so that a server can be silent until some have."""

    pings: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    inner: httpx2.AsyncHTTPTransport = field(default_factory=httpx2.AsyncHTTPTransport)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.inner.handle_async_request(request)
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=Counted(answer.stream, self))

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def wait_for_more(self) -> None:
        """Wait until so many more comments have come."""
        async with self.changed:
            until = self.pings + PINGS
            await asyncio.wait_for(self.changed.wait_for(lambda: self.pings >= until), 20)


@dataclass
class Counted(httpx2.AsyncByteStream):
    """The bytes of an answer as they come."""

    inner: httpx2.AsyncByteStream
    silence: Silence

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.inner:
            async with self.silence.changed:
                self.silence.pings += piece.count(b": ping\n")
                self.silence.changed.notify_all()
            yield piece

    async def aclose(self) -> None:
        await self.inner.aclose()


def chat_events() -> list[bytes]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    return [
        *(event({**base, "choices": [choice]}) for choice in choices),
        event({**base, "choices": [], "usage": USAGE}),
    ]


def text_events() -> list[bytes]:
    base = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    choices = [{"index": 0, "text": word, "finish_reason": None} for word in WORDS]
    choices.append({"index": 0, "text": "", "finish_reason": "stop"})
    return [
        *(event({**base, "choices": [choice]}) for choice in choices),
        event({**base, "choices": [], "usage": USAGE}),
    ]


@asynccontextmanager
async def silent_pool(folder: Path, shell: str) -> AsyncIterator[tuple[openai.AsyncOpenAI, Silence]]:
    """A gateway before a server that is silent before its first event, in the midst, and before its last."""
    silence = Silence()

    async def answer_slowly(server: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if not seen.json.get("stream") or b'"hi"' not in seen.body:
            await ordinary(server, seen, writer)  # a question of the gateway's own
            return
        events = chat_events() if "messages" in seen.json else text_events()
        for place, block in enumerate([EVENT_HEAD + events[0], *events[1:], event(b"[DONE]") + LAST_CHUNK]):
            if place in (0, 2, len(events)):
                await silence.wait_for_more()
            writer.write(block)
            await writer.drain()

    paths = ("/v1/chat/completions", "/v1/completions")
    server = FakeModelServer(behaviours=dict.fromkeys(paths, answer_slowly))
    async with serving(server), open_gateway(folder, shell, sse_keepalive_seconds=0.1) as gateway:
        async with gateway.client() as admin:
            (await admin.post("/admin/register", json={"endpoint_url": server.url})).raise_for_status()
        made = httpx2.AsyncClient(transport=silence)
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key=ADMIN_KEY, max_retries=0, timeout=30, http_client=made
        ) as client:
            yield client, silence


async def test_a_silent_chat(tmp_path: Path, shell: str) -> None:
    options = {"include_usage": True}
    async with silent_pool(tmp_path / "gateway", shell) as (client, silence):
        stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
    assert silence.pings >= 3 * PINGS
    *spoken, last = chunks
    assert [chunk.choices[0].delta.role for chunk in spoken] == ["assistant"] + [None] * (len(WORDS) + 1)
    assert [chunk.choices[0].delta.content for chunk in spoken] == ["", *WORDS, None]
    assert [chunk.choices[0].finish_reason for chunk in spoken] == [None] * (len(WORDS) + 1) + ["stop"]
    assert (last.choices, last.usage.completion_tokens) == ([], len(WORDS))
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}


async def test_a_silent_completion(tmp_path: Path, shell: str) -> None:
    async with silent_pool(tmp_path / "gateway", shell) as (client, silence):
        stream = await client.completions.create(model="m", prompt="hi", stream=True)
        chunks = [chunk async for chunk in stream]
    assert silence.pings >= 3 * PINGS
    assert [chunk.choices[0].text for chunk in chunks] == [*WORDS, ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * len(WORDS) + ["stop"]


async def test_the_clients_own_helper_for_streams(tmp_path: Path, shell: str) -> None:
    """It puts an answer together by itself, and is stricter about what comes."""
    async with (
        silent_pool(tmp_path / "gateway", shell) as (client, silence),
        client.chat.completions.stream(model="m", messages=QUESTION) as stream,
    ):
        kinds = [event.type async for event in stream]
        whole = await stream.get_final_completion()
    assert silence.pings >= 3 * PINGS
    assert kinds.count("content.delta") == len(WORDS) + 1  # the role comes with an empty one
    assert whole.choices[0].message.content == "".join(WORDS)
    assert whole.choices[0].finish_reason == "stop"
