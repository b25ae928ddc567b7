"""What is answered? Fixed bytes that the upstreams send and the load generators expect, byte for byte.

An answer is chosen by the model's name, which every gateway passes on: the upstreams need not read a prompt.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["ANSWERS", "CUT", "HELD", "IDENTIFIED", "LONG", "MODELS", "MODEL_LIST", "PLAIN", "STREAM", "Answer"]

_DONE = b"data: [DONE]\n\n"
_TEXT_BYTES = 172
"""Makes a plain answer about 450 B."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer.

    Attributes:
        model: the name by which it is asked for.
        text: what the model says.
        events: the events of a stream, ``[DONE]`` among them; of a plain answer the body alone.
        gap_ms: time from one event to the next; 0 for a plain answer.
        usage: the event that is sent before ``[DONE]`` to those who ask for it.
        identified: whether each answer's head carries an id of its own.
        cut: whether each event is cut in two, at random, its rest a millisecond late.
    """

    model: str
    text: str
    events: tuple[bytes, ...]
    gap_ms: int = 0
    usage: bytes = b""
    identified: bool = False
    cut: bool = False
    body: bytes = field(init=False)
    offsets: tuple[int, ...] = field(init=False)
    """Where in ``body`` each event ends."""
    framed: tuple[bytes, ...] = field(init=False)
    """Each event as a chunk of its own."""

    def __post_init__(self) -> None:
        """Work out what follows from the events."""
        object.__setattr__(self, "body", b"".join(self.events))
        object.__setattr__(self, "offsets", tuple(accumulate(map(len, self.events))))
        object.__setattr__(self, "framed", tuple(chunk(event) for event in self.events))

    @property
    def streams(self) -> bool:
        """Whether it comes in events."""
        return self.gap_ms > 0


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 200, "completion_tokens": tokens, "total_tokens": 200 + tokens}


def _encode(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _plain(model: str, *, identified: bool = False) -> Answer:
    text = " ".join(f"word{number}" for number in range(100))[:_TEXT_BYTES]
    message = {"role": "assistant", "content": text, "refusal": None}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    head = {"id": "chatcmpl-7f3a0c19e2d84b56", "object": "chat.completion", "created": 1764000000, "model": model}
    events = (_encode({**head, "choices": choices, "usage": _usage(100)}),)
    return Answer(model, text, events, identified=identified)


def _stream(model: str, tokens: int, gap_ms: int, *, cut: bool = False) -> Answer:
    head = {"id": "chatcmpl-7f3a0c19e2d84b56", "object": "chat.completion.chunk", "created": 1764000000, "model": model}

    def event(choices: list[dict[str, object]], **more: object) -> bytes:
        return b"data: %b\n\n" % _encode({**head, "choices": choices, **more})

    def word(number: int) -> bytes:
        finish = "stop" if number == tokens - 1 else None
        delta = {"content": f" word{number}"}
        return event([{"index": 0, "delta": delta, "finish_reason": finish}])

    text = "".join(f" word{number}" for number in range(tokens))
    events = (*(word(number) for number in range(tokens)), _DONE)
    return Answer(model, text, events, gap_ms, event([], usage=_usage(tokens)), cut=cut)


PLAIN = _plain("bench-plain")
IDENTIFIED = _plain("bench-identified", identified=True)
STREAM = _stream("bench-stream", tokens=100, gap_ms=20)
CUT = _stream("bench-cut", tokens=100, gap_ms=20, cut=True)
LONG = _stream("bench-long", tokens=4000, gap_ms=1)
HELD = _stream("bench-held", tokens=1000, gap_ms=500)
"""So slow that it is open for as long as anybody looks."""

ANSWERS = {answer.model: answer for answer in (PLAIN, IDENTIFIED, STREAM, CUT, LONG, HELD)}
MODELS = tuple(ANSWERS)
MODEL_LIST = _encode(
    {
        "object": "list",
        "data": [{"id": model, "object": "model", "created": 1764000000, "owned_by": "bench"} for model in MODELS],
    }
)
