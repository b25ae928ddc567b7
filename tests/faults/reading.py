"""What does a client read of a streamed answer, byte by byte and event by event?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

from tests.fakes.gateway_in_process import ADMIN_KEY
from tests.fakes.raw_http import request
from tests.fakes.talk import CHAT, TOPIC, answer_to

__all__ = ["OpenAnswer", "Story", "expected", "post", "story_of"]

PATIENCE_SECONDS = 15.0


def expected(number: int = 1, tokens: int = 12) -> str:
    """The whole answer to the question of this number."""
    return answer_to(f"{TOPIC} {number}", tokens)


def post(body: object, path: str = CHAT, key: str = ADMIN_KEY) -> bytes:
    """A client's request as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", path, [("X-API-Key", key), ("Content-Type", "application/json")], data)


@dataclass
class Story:
    """A stream's events, read as a client's library reads them."""

    text: str = ""
    roles: int = 0
    finishes: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    errors: list[dict[str, Any]] = field(default_factory=list)
    usages: list[dict[str, int]] = field(default_factory=list)
    dones: int = 0
    last: str = ""

    def is_whole(self, text: str, finish_reason: str = "stop") -> bool:
        """Whether it is one unbroken answer: each token once, one role, one end."""
        assert self.errors == [], self.errors
        assert self.text == text
        assert (self.roles, self.finishes, self.dones, self.last) == (1, [finish_reason], 1, "[DONE]")
        assert len(self.ids) == 1
        return True

    def is_cut(self, code: str) -> bool:
        """Whether it ends in one typed error event, and not as if all were well."""
        assert [error["code"] for error in self.errors] == [code], self
        assert (self.finishes, self.dones) == ([], 0)
        assert json.loads(self.last)["error"]
        return True


def story_of(body: bytes) -> Story:
    """Read the events of a body."""
    story = Story()
    for block in body.decode().split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: "):
                _take_in(story, line.removeprefix("data: "))
    return story


def _take_in(story: Story, data: str) -> None:
    story.last = data
    if data == "[DONE]":
        story.dones += 1
        return
    said = json.loads(data)
    if "error" in said:
        story.errors.append(said["error"])
        return
    story.ids.add(said["id"])
    if said.get("usage"):
        story.usages.append(said["usage"])
    for choice in said["choices"]:
        delta = choice.get("delta", {})
        story.roles += "role" in delta
        story.text += (delta.get("content") or "") + (choice.get("text") or "")
        if choice.get("finish_reason"):
            story.finishes.append(choice["finish_reason"])


class OpenAnswer:
    """A streamed answer, read from a socket of its own as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.ended = False

    @classmethod
    async def ask(cls, port: int, data: bytes) -> Self:
        """Send a request, and do not wait for the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await writer.drain()
        return cls(reader, writer)

    @property
    def story(self) -> Story:
        """What came so far, which must be whole events."""
        return story_of(self.body)

    @property
    def server_id(self) -> str:
        """Whose answer it is, as the head says."""
        return self.headers["x-gateway-server-id"]

    async def head(self) -> None:
        """Read the status and the headers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            raw = await self._reader.readuntil(b"\r\n\r\n")
        line, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.status = int(line.split(" ")[1])
        pairs = [one.partition(": ")[::2] for one in lines]
        self.headers = {name.lower(): value for name, value in pairs}
        assert len(self.headers) == len(pairs), lines

    async def tokens(self, count: int) -> None:
        """Read on until so many of the answer's events with text are there."""
        while self.body.count(b'"content":"') - self.body.count(b'"content":""') < count:
            assert await self._chunk(), self.body

    async def until(self, text: bytes) -> None:
        """Read on until this is there."""
        while text not in self.body:
            assert await self._chunk(), self.body

    async def until_end(self) -> None:
        """Read to the end, which must be well-formed."""
        while await self._chunk():
            pass

    async def rest(self) -> Story:
        """Read to the end, and all events together."""
        await self.until_end()
        return self.story

    async def _chunk(self) -> bool:
        """Read one chunk (RFC 9112, 7.1); False for the last one."""
        if not self.status:
            await self.head()
        async with asyncio.timeout(PATIENCE_SECONDS):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        assert data.endswith(b"\r\n"), data
        self.body += data[:-2]
        self.ended = size == 0
        return not self.ended

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        self._writer.transport.abort()
