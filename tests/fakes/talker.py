"""A model server whose every word can be checked: what it says follows from the question alone, whoever is asked.

It goes on with a text that another one began (a trailing assistant message, or the prompt of a completion) if that is
the beginning of its own answer, and refuses any other. What goes wrong is scripted: an act for each question of a test
in turn, then the standing one. Talkers that share a script share its acts, so that it does not matter which is asked.
Questions of tests begin with ``talk.TOPIC``; all others, as the gateway's own trials, are answered well.

As a process: ``python -m tests.fakes.talker --pace-seconds 0.02 --tokens 50`` prints its URL and serves until it is
ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from tests.fakes.model_server import EVENT_HEAD, LAST_CHUNK, FakeModelServer, Seen, chunk, json_answer, until_gone
from tests.fakes.talk import CHAT, COMPLETIONS, TOPIC, answer_to, pieces_of, question_and_beginning

__all__ = [
    "Act",
    "Talker",
    "Telling",
    "breaking",
    "hang",
    "pretend",
    "reset",
    "saying",
    "tell",
]

MODELS = "/v1/models"


class Telling:
    """One answer under way, for acts to steer."""

    def __init__(self, talker: Talker, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.talker = talker
        self.seen = seen
        self.writer = writer
        self.wanted = seen.json
        self.chat = seen.path == CHAT
        self.told = 0
        self.question, self.begun = question_and_beginning(self.wanted, chat=self.chat)
        self.pieces, self.finish_reason = self._pieces()

    @property
    def fits(self) -> bool:
        """Whether what it is to go on with is the beginning of its own answer."""
        return answer_to(self.question, self.talker.tokens).startswith(self.begun)

    def _pieces(self) -> tuple[list[str], str]:
        pieces, left = [], len(self.begun) if self.talker.continues else 0
        for piece in pieces_of(self.question, self.talker.tokens):
            if left < len(piece):
                pieces.append(piece[left:])
            left = max(0, left - len(piece))
        limits = [self.wanted.get(name) for name in ("max_tokens", "max_completion_tokens")]
        limit = min((value for value in limits if value is not None), default=len(pieces))
        return pieces[:limit], "length" if limit < len(pieces) else "stop"

    async def head(self) -> None:
        """Begin the answer."""
        await self.write(EVENT_HEAD)
        if self.chat:
            await self.delta({"role": "assistant", "content": ""})

    async def say(self, count: int | None = None) -> None:
        """Say the next tokens, or all that are left."""
        end = len(self.pieces) if count is None else min(self.told + count, len(self.pieces))
        for piece in self.pieces[self.told : end]:
            await self.delta({"content": piece})
            self.told += 1
            if self.talker.pace_seconds:
                await asyncio.sleep(self.talker.pace_seconds)

    async def finish(self) -> None:
        """End it well."""
        await self.delta({}, self.finish_reason)
        if (self.wanted.get("stream_options") or {}).get("include_usage"):
            await self.event({**self._base(), "choices": [], "usage": self.usage()})
        await self.write(chunk(b"data: [DONE]\n\n") + LAST_CHUNK)

    async def whole(self) -> None:
        """Answer in one piece."""
        text = "".join(self.pieces)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **said, "finish_reason": self.finish_reason}
        await self.write(json_answer({**self._base(whole=True), "choices": [choice], "usage": self.usage()}))

    def usage(self) -> dict[str, int]:
        """One token a word of the question, and those that were said."""
        prompt = len(self.question.split()) + len(self.begun.split())
        said = len(self.pieces)
        return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}

    async def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        """Write one event of the answer."""
        said: dict[str, Any] = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        choice = {"index": 0, **said, "finish_reason": finish_reason}
        await self.event({**self._base(), "choices": [choice]})

    async def event(self, value: object) -> None:
        """Write any event."""
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=self.talker.escapes)
        await self.write(chunk(b"data: " + text.encode() + b"\n\n"))

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_gone(self) -> NoReturn:
        """Say nothing more, until the other side closes."""
        await until_gone(self.talker, self.writer)
        raise AssertionError

    def hang_up(self) -> NoReturn:
        """Close the connection as a process does that ends."""
        raise ConnectionAbortedError

    def reset(self) -> NoReturn:
        """Reset the connection (RFC 9293, 3.10.7.4): what has not been sent yet is lost."""
        plug: socket.socket = self.writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError

    def _base(self, *, whole: bool = False) -> dict[str, Any]:
        kind = ("chat.completion" if whole else "chat.completion.chunk") if self.chat else "text_completion"
        return {"id": f"answer-{self.talker.port}", "object": kind, "created": 7, "model": self.wanted["model"]}


Act = Callable[[Telling], Awaitable[None]]


async def tell(telling: Telling) -> None:
    """Answer well."""
    if telling.begun and telling.talker.continues and not telling.fits:
        await telling.write(json_answer({"error": {"message": "that is not how I began"}}, "400 Bad Request"))
    elif not telling.wanted.get("stream"):
        await telling.whole()
    else:
        await telling.head()
        await telling.say()
        await telling.finish()


async def hang(telling: Telling) -> None:
    """Read the question and say nothing."""
    await telling.until_gone()


async def reset(telling: Telling) -> None:
    """Read the question and reset the connection."""
    telling.reset()


def saying(*data: bytes, close: bool = False) -> Act:
    """Write these bytes for an answer; ``close``: and hang up."""

    async def act(telling: Telling) -> None:
        for piece in data:
            await telling.write(piece)
        if close:
            telling.hang_up()

    return act


def pretend(status: str, body: object = None, extra: str = "") -> Act:
    """Answer with this status."""
    return saying(json_answer({"error": {"message": "no"}} if body is None else body, status, extra))


def breaking(how: str, after: int = 3, go: asyncio.Event | None = None) -> Act:
    """Say some tokens of a stream and break it once ``go`` is set, at once without one.

    ``how``: ``reset``, ``eof``, ``half event``, ``no finish``, ``error event`` or ``stall``. ``pause`` goes on instead.
    """

    async def act(telling: Telling) -> None:
        await telling.head()
        await telling.say(after)
        if go is not None:
            await go.wait()
        match how:
            case "reset":
                telling.reset()
            case "eof":
                telling.hang_up()
            case "half event":
                await telling.write(chunk('data: {"choices":[{"delta":{"content":"é'.encode()[:-1]))
                telling.hang_up()
            case "no finish":
                await telling.write(LAST_CHUNK)
            case "error event":
                await telling.event({"error": {"message": "out of memory at 10.0.0.7", "type": "cuda", "code": 500}})
                await telling.write(LAST_CHUNK)
            case "stall":
                await telling.until_gone()
            case "pause":
                await telling.say()
                await telling.finish()
            case _:
                raise AssertionError(how)

    return act


@dataclass
class Talker(FakeModelServer):
    """One server.

    ``script``: what it does with the next questions of clients, one act each; then ``act``. ``deaf``: it accepts and
    never answers, whatever it is asked. ``continues``: else it begins anew. ``owned_by`` is the mark of an engine.
    """

    tokens: int = 12
    act: Act = tell
    script: deque[Act] = field(default_factory=deque)
    continues: bool = True
    deaf: bool = False
    owned_by: str = "talker"
    pace_seconds: float = 0.0
    escapes: bool = False

    def __post_init__(self) -> None:
        self.behaviours.setdefault("*", _serve)  # type: ignore[arg-type]  # it is for talkers alone

    @property
    def asked(self) -> list[Seen]:
        """The questions of clients, in order; neither checks nor trials."""
        return [seen for seen in self.requests if _is_clients(seen)]

    @property
    def checks(self) -> int:
        """How often it was asked for its models."""
        return sum(1 for seen in self.requests if seen.path == MODELS)

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._writers)


async def _serve(talker: Talker, seen: Seen, writer: asyncio.StreamWriter) -> None:
    if talker.deaf:
        await until_gone(talker, writer)
    if seen.path == MODELS:
        listed = [{"id": name, "object": "model", "owned_by": talker.owned_by} for name in talker.models]
        writer.write(json_answer({"object": "list", "data": listed}))
    elif seen.path in (CHAT, COMPLETIONS):
        act = tell
        if _is_clients(seen):
            act = talker.script.popleft() if talker.script else talker.act
        await act(Telling(talker, seen, writer))
    else:
        writer.write(json_answer({"error": "not found"}, "404 Not Found"))


def _is_clients(seen: Seen) -> bool:
    return seen.method == "POST" and TOPIC.encode() in seen.body


async def _main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--pace-seconds", type=float, default=0.0)
    chosen = parser.parse_args(arguments)
    talker = Talker(tokens=chosen.tokens, pace_seconds=chosen.pace_seconds)
    await talker.start(chosen.port)
    sys.stdout.write(f"{talker.url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
