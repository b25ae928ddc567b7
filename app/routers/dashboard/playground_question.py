"""What does the playground's form ask of a model, and what came back? For browsers without scripts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.routers.dashboard.forms import Form

__all__ = ["Question", "WholeAnswer", "body_of", "read_answer", "read_question"]

_MOST_STOPS: Final = 16
_NUMBERS: Final = ("temperature", "top_p")
_WHOLE_NUMBERS: Final = ("max_tokens", "seed")
_LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks.

    Attributes:
        models: which ones; two are asked the same.
        prompt: what.
        system: what the model is told before; empty for nothing.
        options: the other members of the request, those alone that were filled in.
    """

    models: tuple[str, ...]
    prompt: str
    system: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """What came of it. Either ``text`` or ``error`` says so; figures that nobody told are None."""

    model: str
    server_id: str = ""
    attempts: int | None = None
    route: str = ""
    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def tokens_a_second(self) -> float | None:
        """Of the whole answer, with all that went before its first token."""
        return self.completion_tokens / self.seconds if self.completion_tokens and self.seconds > 0 else None


def read_question(form: Form) -> Question:
    """Read the form.

    Raises:
        FieldsInvalid: a field is missing, or is no number where it should be one.
    """
    names = [name for name in (form.text("model"), form.text("second_model")) if name]
    if not form.text("model"):
        message = "model: choose one."
        raise FieldsInvalid(message, param="model")
    if not form.text("prompt"):
        message = "prompt: write what the model is to answer."
        raise FieldsInvalid(message, param="prompt")
    options: dict[str, Any] = {name: form.number(name) for name in _NUMBERS}
    options |= {name: form.whole(name) for name in _WHOLE_NUMBERS}
    options["stop"] = [line for line in form.raw("stop").split("\n") if line][:_MOST_STOPS] or None
    given = {name: value for name, value in options.items() if value is not None}
    return Question(tuple(names), form.raw("prompt"), form.raw("system").strip(), given)


def body_of(question: Question, model: str) -> bytes:
    """Make the request of it, for one of its models."""
    system = [{"role": "system", "content": question.system}] if question.system else []
    messages = [*system, {"role": "user", "content": question.prompt}]
    return msgspec.json.encode({"model": model, "messages": messages, **question.options})


def read_answer(model: str, status: int, headers: Mapping[str, str], body: bytes, seconds: float) -> WholeAnswer:
    """Read what came back.

    Args:
        model: what was asked.
        status: of the answer.
        headers: by name in lower case.
        body: of the answer, whatever a server wrote.
        seconds: how long it took.
    """
    attempts = headers.get("x-gateway-attempts", "")
    answer = WholeAnswer(
        model=model,
        server_id=headers.get("x-gateway-server-id", ""),
        attempts=int(attempts) if attempts.isdecimal() else None,
        route=headers.get("x-gateway-route", ""),
        seconds=seconds,
    )
    try:
        told = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _Told()
    if told.error is not None or status >= HTTPStatus.BAD_REQUEST:
        words = told.error.message if told.error is not None else ""
        return replace(answer, error=words[:_LONGEST_MESSAGE] or f"The gateway answered with status {status}.")
    if not told.choices:
        return replace(answer, error="The server's answer has no text in it. Ask again, or choose another model.")
    message, usage = told.choices[0].message, told.usage or _Usage()
    return replace(
        answer,
        text=message.content or "",
        reasoning=message.reasoning_content or message.reasoning or "",
        finish_reason=told.choices[0].finish_reason or "",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Told(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Told).decode
