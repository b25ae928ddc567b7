"""What does a soak ask for, and what must come back? A plan in the prompt says; both sides read it.

The model server answers as the plan asks, the client knows every byte that must come. Nothing here is sent to a model.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

__all__ = ["MODEL", "MODEL_LIST", "Plan", "events", "plan_of", "request", "whole"]

MODEL = "soak"
MODEL_LIST = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "soak"}]}).encode()
DONE = b"data: [DONE]\n\n"
_PLAN = re.compile(rb"plan:([a-z_]+=\d+(?:,[a-z_]+=\d+)*)")


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer.

    Args:
        stream: 1 for events, 0 for one JSON object.
        events: how many events, the last one included.
        gap_ms: pause before each event after the first.
        delay_ms: pause before the answer begins.
        size_bytes: length of the text in an answer that is no stream.
        fragile: 1 where the model server may break the answer off.
        held: 1 where the stream stays open after its first event until the server is told to finish.
    """

    stream: int = 1
    events: int = 20
    gap_ms: int = 0
    delay_ms: int = 0
    size_bytes: int = 500
    fragile: int = 0
    held: int = 0


def request(plan: Plan, key: str) -> bytes:
    """A chat request that carries the plan."""
    words = ",".join(f"{name}={value}" for name, value in asdict(plan).items())
    fields = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"plan:{words}"}],
        "stream": bool(plan.stream),
    }
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def plan_of(body: bytes) -> Plan | None:
    """The plan in a request's body; None where there is none."""
    found = _PLAN.search(body)
    if found is None:
        return None
    pairs = (pair.split(b"=") for pair in found[1].split(b","))
    return Plan(**{name.decode(): int(value) for name, value in pairs})


def events(plan: Plan) -> tuple[bytes, ...]:
    """The events of a stream, ``[DONE]`` with the last."""
    count = plan.events
    return tuple(_event(number, last=number == count - 1) for number in range(count))


def whole(plan: Plan) -> bytes:
    """The body of an answer that is no stream."""
    message = {"role": "assistant", "content": "x" * plan.size_bytes}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105}
    fields = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": choices}
    return json.dumps({**fields, "usage": usage}, separators=(",", ":")).encode()


def _event(number: int, *, last: bool) -> bytes:
    choices = [{"index": 0, "delta": {"content": f" word{number}"}, "finish_reason": "stop" if last else None}]
    fields = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    return b"data: %b\n\n%b" % (json.dumps(fields, separators=(",", ":")).encode(), DONE if last else b"")
