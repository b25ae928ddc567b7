"""A model server as a function: it answers what a verification asks, truthfully or not. No socket, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.services.core.verification.asking import Ask, Examination, Examined, Inconclusive, Look, Lost, Reply, Told

__all__ = ["LIGHTHOUSE", "Claimant", "carry_through", "stream"]

LIGHTHOUSE = (
    "The old lighthouse stands alone on the cliff and sends its beam over black water. "
    "Waves break far below it, and every few seconds the fog glows white."
)


def stream(*choices: Mapping[str, Any], model: str | None = "m", usage: int | None = None) -> bytes:
    """The events of a streamed answer."""
    named = {} if model is None else {"model": model}
    blocks: list[Any] = [{**named, "choices": [{"index": 0, **choice}]} for choice in choices]
    if usage is not None:
        blocks.append({**named, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": usage}})
    return "".join(f"data: {json.dumps(block)}\n\n" for block in blocks).encode() + b"data: [DONE]\n\n"


@dataclass
class Claimant:
    """One server with one model.

    Attributes:
        name: the name that it has; others are refused where ``strict``.
        answers_as: what its answers bear as ``model``; empty for no such member, None for what was asked.
        context: tokens of context in effect; None to take whatever it is asked for.
        refusal: how a ``max_tokens`` beyond it is refused.
        text: what it says.
        thoughts: what it thinks before.
        refuses: what is answered with a refusal: ``chat``, ``completions``, ``embeddings``, or members of a body.
        pages: what GETs are answered with.
        event_seconds: how long each event takes.
        faults: what comes first, in this order.
    """

    name: str = "m"
    answers_as: str | None = None
    strict: bool = False
    context: int | None = 4096
    refusal: str = "This model's maximum context length is {context} tokens. However, you requested {asked} tokens."
    text: str = LIGHTHOUSE
    thoughts: str = ""
    counts: bool = True
    streams: bool = True
    refuses: frozenset[str] = frozenset()
    pages: dict[str, Any] = field(default_factory=dict)
    event_seconds: float = 0.1
    faults: list[Reply] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any] | None]] = field(default_factory=list)
    tokens: int = 0

    def respond(self, ask: Ask) -> Reply:
        """Answer one request."""
        if isinstance(ask, Look):
            self.asked.append((ask.path, None))
            page = self.pages.get(ask.path)
            return Told(404, b"{}") if page is None else Told(200, json.dumps(page).encode())
        body = json.loads(ask.body)
        self.asked.append((ask.path, body))
        if self.faults:
            return self.faults.pop(0)
        if self.strict and body["model"] != self.name:
            return error(404, f"The model `{body['model']}` does not exist.")
        kind = ask.path.rpartition("/v1/")[2].removesuffix("/completions")
        unknown = self.refuses & {kind, *body}
        if unknown:
            return error(400, f"{min(unknown)} is not supported")
        if self.context is not None and body.get("max_tokens", 0) > self.context:
            return error(400, self.refusal.format(context=self.context, asked=body["max_tokens"]))
        return self._say(body, kind)

    def _say(self, body: dict[str, Any], kind: str) -> Told:
        model = body["model"] if self.answers_as is None else self.answers_as or None
        if kind == "embeddings":
            return Told(200, json.dumps({"model": model, "data": [{"embedding": [0.1]}]}).encode())
        words = self.text.split(" ")
        pieces = [word if not place else f" {word}" for place, word in enumerate(words) if word or place]
        most = body["max_tokens"]
        pieces = pieces[:1] if body.get("stop") else pieces[:most]
        self.tokens += len(pieces)
        finish = "length" if len(pieces) == most else "stop"
        if not self.streams:
            message = {"content": "".join(pieces), "reasoning_content": self.thoughts or None}
            choice = {"message": message, "text": "".join(pieces), "finish_reason": finish}
            answer = json.dumps({"model": model, "choices": [choice]}).encode()
            return Told(200, answer, ((len(answer), 1.0),))
        key = "text" if kind == "completions" else "content"
        deltas: list[dict[str, Any]] = [{"reasoning_content": self.thoughts}] if self.thoughts else []
        deltas += [{key: piece} for piece in pieces]
        choices = [delta if key == "text" else {"delta": delta} for delta in deltas]
        body_bytes = stream(
            *choices, {"delta": {}, "finish_reason": finish}, model=model, usage=len(pieces) if self.counts else None
        )
        return Told(200, body_bytes, _arrivals(body_bytes, self.event_seconds))


def _arrivals(body: bytes, event_seconds: float) -> tuple[tuple[int, float], ...]:
    ends, end = [], 0
    for block in body.split(b"\n\n")[:-1]:
        end += len(block) + 2
        ends.append(end)
    return tuple((end, 0.5 + place * event_seconds) for place, end in enumerate(ends))


def error(status: int, message: str) -> Told:
    return Told(status, json.dumps({"error": {"message": message}}).encode())


def carry_through(examination: Examination, respond: Callable[[Ask], Reply]) -> Examined | Inconclusive:
    """Answer all that an examination asks."""
    ask = next(examination)
    while True:
        try:
            ask = examination.send(respond(ask))
        except StopIteration as end:
            outcome: Examined | Inconclusive = end.value
            return outcome


LOST = Lost("the connection was reset")
