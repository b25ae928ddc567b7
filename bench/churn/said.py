"""What may stand in an answer, as the judge reads it? What is of another type is no such answer."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Answer", "Choice", "Usage", "read_answer"]


class Function(msgspec.Struct):
    """A tool that is called."""

    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct):
    """A part of a tool call."""

    id: str | None = None
    function: Function | None = None


class Message(msgspec.Struct):
    """A message, or what an event adds to one."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[Call] | None = None


class Token(msgspec.Struct):
    """A token with its probability."""

    token: str


class Logprobs(msgspec.Struct):
    """Probabilities of the tokens of one event."""

    content: list[Token] | None = None


class Choice(msgspec.Struct):
    """One choice of an event or of a whole answer."""

    index: int = 0
    delta: Message | None = None
    message: Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Usage(msgspec.Struct):
    """Tokens, as they were counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(msgspec.Struct):
    """One event with data, or a whole answer: they have the same members."""

    id: str | None = None
    created: int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


def read_answer(data: bytes) -> Answer | None:
    """Read an event's data or a body; None of anything else."""
    try:
        return msgspec.json.decode(data, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
