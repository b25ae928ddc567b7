"""What is asked? Requests with the headers that openai-python sends, all alike or each different."""

from __future__ import annotations

import json
from itertools import count, repeat
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.answers import Answer

__all__ = ["LONG_PROMPT", "SHORT_PROMPT", "distinct_requests", "equal_requests", "holds_prompt"]

_HEADERS = (
    "Host: {host}\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Connection: keep-alive\r\n"
    "authorization: Bearer {key}\r\n"
    "accept: application/json\r\n"
    "content-type: application/json\r\n"
    "user-agent: AsyncOpenAI/Python 3.54.0\r\n"
    "x-stainless-lang: python\r\n"
    "x-stainless-package-version: 3.54.0\r\n"
    "x-stainless-os: Linux\r\n"
    "x-stainless-arch: x64\r\n"
    "x-stainless-runtime: CPython\r\n"
    "x-stainless-runtime-version: 3.11.7\r\n"
    "x-stainless-async: async:asyncio\r\n"
    "x-stainless-retry-count: 0\r\n"
    "x-stainless-read-timeout: 600\r\n"
)
"""As openai-python 3.54 sends them, in its order; Content-Length follows."""
_PARAGRAPH = (
    "You are given part of a program. Say what it does, and where it may fail:\n\n"
    'def greet(name: str) -> str:\n    return f"Hello, {name}!"\n\n'
    "Answer in short sentences, one for each line that matters.\n"
)
_SHORT_CHARACTERS = 900
_VARIED_BYTES = 256
_TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


def _prompt(size_bytes: int) -> str:
    return (_PARAGRAPH * (size_bytes // len(_PARAGRAPH) + 1))[:size_bytes]


SHORT_PROMPT = _prompt(_SHORT_CHARACTERS)
"""Makes a body of about 1 KB."""
LONG_PROMPT = _prompt(97_000)
"""Makes a body of about 100 KB: line ends and quotes are two bytes each in JSON."""
_START = json.dumps(SHORT_PROMPT[:-_VARIED_BYTES])[1:-1].encode()
_LONG = json.dumps(LONG_PROMPT)[1:-1].encode()


def holds_prompt(body: bytes) -> bool:
    """Whether a request arrived with its prompt: the whole of a long one, the start of one whose length varies."""
    start = body.find(_START)
    return start >= 0 and (len(body) < len(_LONG) or body.startswith(_LONG, start))


def equal_requests(answer: Answer, key: str, host: str, prompt: str) -> Iterator[bytes]:
    """Yield one request for ever."""
    body = _body(answer, prompt)
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{_HEADERS.format(host=host, key=key)}Content-Length: {len(body)}"
    return repeat(head.encode() + b"\r\n\r\n" + body)


def distinct_requests(answer: Answer, key: str, host: str, seed: int) -> Iterator[bytes]:
    """Yield requests of about 1 KB, no two alike: X-Request-ID, traceparent and the length of the body differ."""
    random = Random(seed)
    bodies = [_body(answer, SHORT_PROMPT[: len(SHORT_PROMPT) - cut]) for cut in range(_VARIED_BYTES)]
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{_HEADERS.format(host=host, key=key)}".encode()
    start = random.getrandbits(96) << 32
    for number in count(start):
        body = bodies[int(random.random() * _VARIED_BYTES)]
        yield b"%bX-Request-ID: %032x\r\ntraceparent: 00-%032x-%016x-01\r\nContent-Length: %d\r\n\r\n%b" % (
            head,
            number,
            number ^ _TRACE,
            random.getrandbits(63) + 1,
            len(body),
            body,
        )


def _body(answer: Answer, prompt: str) -> bytes:
    fields: dict[str, object] = {
        "model": answer.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 4000,
    }
    if answer.streams:
        fields["stream"] = True
    return json.dumps(fields, separators=(",", ":")).encode()
