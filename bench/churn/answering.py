"""What does an engine answer to a request? Decided from its body alone: a script of events, a body, or a refusal. Pure.

Three makes of engine, as facts of their kind: vLLM and SGLang go on with a trailing assistant message only when
``continue_final_message`` says so, llama.cpp does so by itself; all refuse what is not a prefix of their own text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from bench.churn.words import Form, count_tokens, key_of_messages, pieces, prompt_tokens, split_prompt, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CALL_NAME", "MODEL", "Make", "Refusal", "Script", "Signature", "error_event", "listing", "script_for"]

MODEL = "churn"
CALL_NAME = "tell"
_DONE = b"data: [DONE]\n\n"
_CONTEXT_LENGTH = 32_768


class Make(StrEnum):
    """Who built an engine, as it signs its list of models."""

    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    SGLANG = "sglang"


@dataclass(frozen=True, slots=True)
class Signature:
    """What every event of one answer bears.

    Attributes:
        make: of the engine.
        fingerprint: names the process that wrote the event: its slot and how often it was started.
        identity: of the answer.
        created: when it began, in seconds since 1970.
    """

    make: Make
    fingerprint: str
    identity: str
    created: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the engine does not take."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Script:
    """An answer: ``steps`` are written one after the other, ``tail`` together with the last; or ``body``, whole."""

    streams: bool
    steps: tuple[bytes, ...] = ()
    tail: bytes = b""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be said: per choice the tokens, and why it ends."""

    form: Form
    choices: tuple[tuple[str, ...], ...]
    finish: str
    prompt: int
    completion: int


def listing(make: Make) -> bytes:
    """The list of models."""
    entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": make.value, "max_model_len": _CONTEXT_LENGTH}
    if make is Make.LLAMACPP:
        entry = {**entry, "meta": {"n_ctx": _CONTEXT_LENGTH}}
    return json.dumps({"object": "list", "data": [entry]}).encode()


def error_event() -> bytes:
    """What an engine says that lost its accelerator in the middle of an answer."""
    return b'data: {"error":{"message":"the engine has died","type":"InternalServerError","code":500}}\n\n'


def script_for(path: str, content: bytes, signature: Signature) -> Script | Refusal:
    """Decide what is answered to a POST.

    Args:
        path: ``/v1/chat/completions`` or ``/v1/completions``.
        content: the body.
        signature: what the answer bears.
    """
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Refusal(400, "the body is no JSON object")
    is_chat = path.endswith("/chat/completions")
    plan = _chat_plan(body, signature.make) if is_chat else _text_plan(body)
    if isinstance(plan, Refusal):
        return plan
    write = _writer(signature, "chat.completion.chunk" if is_chat else "text_completion")
    usage = _usage(plan)
    if not body.get("stream"):
        return Script(streams=False, body=_whole(plan, signature, usage, is_chat=is_chat))
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    steps = [_first_step(plan, write, signature.identity)] if is_chat else []
    steps += [
        b"".join(
            write([_choice(plan, number, words[place], body, is_chat=is_chat)], None)
            for number, words in enumerate(plan.choices)
        )
        for place in range(len(plan.choices[0]))
    ]
    ends = b"".join(write([_end(number, plan, is_chat=is_chat)], None) for number in range(len(plan.choices)))
    return Script(streams=True, steps=tuple(steps), tail=ends + (write([], usage) if with_usage else b"") + _DONE)


def _chat_plan(body: Mapping[str, Any], make: Make) -> _Plan | Refusal:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        return Refusal(400, "messages must be a list of objects")
    goes_on = bool(body.get("continue_final_message"))
    if goes_on and body.get("add_generation_prompt", make is not Make.LLAMACPP):
        return Refusal(400, "Cannot set both add_generation_prompt and continue_final_message to True")
    trailing = messages[-1].get("role") == "assistant"
    if goes_on and not trailing:
        return Refusal(400, "continue_final_message is set but the last message is not an assistant's")
    form = _form_of(body)
    if trailing and (goes_on or make is Make.LLAMACPP):
        if form is Form.CALL and make is Make.LLAMACPP:
            return Refusal(400, "Cannot use an assistant prefill with tools")
        return _rest(Form.TEXT, key_of_messages(messages[:-1]), text_of(messages[-1].get("content")), body)
    return _rest(form, key_of_messages(messages), "", body)


def _form_of(body: Mapping[str, Any]) -> Form:
    if body.get("tools") and body.get("tool_choice", "auto") != "none":
        return Form.CALL
    format_ = body.get("response_format")
    return Form.JSON if isinstance(format_, dict) and format_.get("type") != "text" else Form.TEXT


def _text_plan(body: Mapping[str, Any]) -> _Plan | Refusal:
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        return Refusal(400, "prompt must be a string")
    asked, given = split_prompt(prompt)
    return _rest(Form.TEXT, asked, given, body)


def _rest(form: Form, key: str, given: str, body: Mapping[str, Any]) -> _Plan | Refusal:
    """What is still to be said behind a text that was given."""
    count = body.get("n") or 1
    if not isinstance(count, int) or not 1 <= count <= 8:
        return Refusal(400, "n must be between 1 and 8")
    own = pieces(form, key)
    if not "".join(own).startswith(given):
        return Refusal(400, "the text to go on with is not the beginning of this model's own answer")
    left = _behind(own, given)
    limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if isinstance(body.get(name), int)]
    limit = min(limits, default=len(left) + 1)
    if limit < 1:
        return Refusal(400, "max_tokens must be at least 1")
    choices = [left, *(pieces(form, f"{key}#{number}") for number in range(1, count))]
    finish = "length" if limit <= len(left) else "tool_calls" if form is Form.CALL else "stop"
    said = tuple(tuple(words[:limit]) for words in choices)
    begun = count_tokens(given) if given else 0
    return _Plan(form, said, finish, prompt_tokens(key) + begun, sum(len(words) for words in said))


def _behind(words: list[str], given: str) -> list[str]:
    """The tokens behind a text, the first of them in part where the text ends inside it."""
    left = len(given)
    for place, word in enumerate(words):
        if left < len(word):
            return [word[left:], *words[place + 1 :]]
        left -= len(word)
    return []


def _usage(plan: _Plan) -> dict[str, int]:
    total = plan.prompt + plan.completion
    return {"prompt_tokens": plan.prompt, "completion_tokens": plan.completion, "total_tokens": total}


def _first_step(plan: _Plan, write: Callable[[list[Any], Any], bytes], identity: str) -> bytes:
    """The events that come at once: whose answer it is, and which tool is called."""
    events = []
    for number in range(len(plan.choices)):
        delta: dict[str, Any] = {"role": "assistant", "content": None if plan.form is Form.CALL else ""}
        events.append(write([{"index": number, "delta": delta, "finish_reason": None}], None))
        if plan.form is Form.CALL:
            function = {"name": CALL_NAME, "arguments": ""}
            call = {"index": 0, "id": f"call_{identity}", "type": "function", "function": function}
            events.append(write([{"index": number, "delta": {"tool_calls": [call]}, "finish_reason": None}], None))
    return b"".join(events)


def _choice(plan: _Plan, number: int, word: str, body: Mapping[str, Any], *, is_chat: bool) -> dict[str, Any]:
    if not is_chat:
        return {"index": number, "text": word, "logprobs": None, "finish_reason": None}
    if plan.form is Form.CALL:
        delta: dict[str, Any] = {"tool_calls": [{"index": 0, "function": {"arguments": word}}]}
    else:
        delta = {"content": word}
    choice = {"index": number, "delta": delta, "finish_reason": None}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": word, "logprob": -0.25, "bytes": None, "top_logprobs": []}]}
    return choice


def _end(number: int, plan: _Plan, *, is_chat: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
    return {"index": number, **said, "finish_reason": plan.finish}


def _writer(signature: Signature, kind: str) -> Callable[[list[Any], Any], bytes]:
    """Writes events as the engine of this make does: order of members, and how letters beyond ASCII are written."""
    named = {"id": signature.identity, "object": kind, "created": signature.created, "model": MODEL}
    mark = {"system_fingerprint": signature.fingerprint}
    encode = _ascii if signature.make is Make.SGLANG else msgspec.json.encode

    def write(choices: list[Any], usage: Any) -> bytes:
        told = {"usage": usage} if usage else {}
        if signature.make is Make.LLAMACPP:
            event = {"choices": choices, **named, **mark, **told}
        else:
            event = {**named, **mark, "choices": choices, **told}
        return b"data: " + encode(event) + b"\n\n"

    return write


def _ascii(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _whole(plan: _Plan, signature: Signature, usage: Mapping[str, int], *, is_chat: bool) -> bytes:
    choices = []
    for number, words in enumerate(plan.choices):
        text = "".join(words)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        if plan.form is Form.CALL:
            function = {"name": CALL_NAME, "arguments": text}
            call = {"id": f"call_{signature.identity}", "type": "function", "function": function}
            said = {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}
        choices.append({"index": number, **said, "finish_reason": plan.finish})
    answer = {
        "id": signature.identity,
        "object": "chat.completion" if is_chat else "text_completion",
        "created": signature.created,
        "model": MODEL,
        "system_fingerprint": signature.fingerprint,
        "choices": choices,
        "usage": usage,
    }
    return msgspec.json.encode(answer)
