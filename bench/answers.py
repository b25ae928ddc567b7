"""What is asked and answered? Fixed bytes that upstreams send and the load client expects, byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["MODEL", "MODEL_LIST", "SHAPES", "STREAM_MARK", "Shape", "request"]

MODEL = "bench"
EVENT_COUNT = 100
BODY_BYTES = 1024
STREAM_MARK = b'"stream":true'
"""In a request's body: the answer is to be a stream."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of answer. ``parts`` are the body's pieces, written one after the other; a stream has one an event."""

    name: str
    streams: bool
    parts: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The whole body, as a client must receive it."""
        return b"".join(self.parts)


def request(shape: Shape, key: str) -> bytes:
    """A chat request for an answer of this shape."""
    fields = {"model": MODEL, "messages": [{"role": "user", "content": "Say something."}], "stream": shape.streams}
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _plain() -> Shape:
    def body(content: str) -> bytes:
        message = {"role": "assistant", "content": content}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105}
        fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": choices}
        return json.dumps({**fields, "usage": usage}, separators=(",", ":")).encode()

    return Shape("1 KB of JSON", streams=False, parts=(body("x" * (BODY_BYTES - len(body("")))),))


def _stream() -> Shape:
    def event(number: int) -> bytes:
        finish = "stop" if number == EVENT_COUNT - 1 else None
        choices = [{"index": 0, "delta": {"content": f" word{number}"}, "finish_reason": finish}]
        fields = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        return b"data: " + json.dumps({**fields, "choices": choices}, separators=(",", ":")).encode() + b"\n\n"

    events = tuple(event(number) for number in range(EVENT_COUNT))
    return Shape(f"stream of {EVENT_COUNT} events", streams=True, parts=(*events, b"data: [DONE]\n\n"))


SHAPES = (_plain(), _stream())
MODEL_LIST = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]}).encode()
