"""What does a request ask for, as far as going on with its answer depends on it?

Read only when an answer broke, from the client's own body, which ``peek`` has accepted. Nothing here raises: what can't
be read, or can't be gone on with, becomes ``Asked.obstacle``. Members as vLLM 0.33, SGLang 0.5.23, llama.cpp 0c1e570
and TabbyAPI e632af4 name them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeGuard

import msgspec

from app.services.core.continuation.asked import Asked
from app.services.core.http.surfaces import COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LIMITS", "elements", "read_asked", "whole_number"]

LIMITS: Final = ("max_tokens", "max_completion_tokens")
"""The members that bound an answer. Completions have only the first."""
_MOST_COMMAS: Final = 400_000
"""Lists with more are not taken apart: each element would be an object, and everybody else waits meanwhile."""
_HIGHEST_NUMBER: Final = 10**12
_NULL = msgspec.Raw(b"null")
_NOTHING: Final = (b"null", b"false", b"0", b'""', b"[]")
"""How a member is spelt that asks for nothing. ``{}`` may be a schema that takes any JSON."""
_MEDIA = re.compile(rb'[",](?:[A-Za-z0-9+=]|\\?/){1024,}+')
"""Encoded pictures and sound: long, and few tokens."""
_MEDIA_MARKS: Final = (b";base64,", b'"input_audio"')
_SHAPES: Final = (
    "grammar", "json_schema", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
    "structural_tag", "regex", "ebnf", "grammar_string", "regex_pattern",
)  # fmt: skip
"""What binds an answer to a form. The matcher would start over in the middle of it."""
_FLAGS: Final = {
    "echo": "the prompt is part of the answer ('echo')",  # what is prompt and what is answer can't be told apart
    "use_beam_search": "the request asks for a beam search ('use_beam_search')",
    "suffix": "the request asks for text between two others ('suffix')",
    "top_logprobs": "the request asks for log probabilities ('top_logprobs')",
    "n_probs": "the request asks for log probabilities ('n_probs')",
    "return_token_ids": "the request asks for token ids ('return_token_ids')",  # another server may cut them otherwise
    "audio": "the request asks for audio ('audio')",
    "stop_regex": "a pattern ends the answer ('stop_regex')",  # it may match across the break
    "logits_processors": "the request steers the sampler ('logits_processors')",  # which would start over
    "custom_logit_processor": "the request steers the sampler ('custom_logit_processor')",
}


class _Body(msgspec.Struct, gc=False):
    """The members that matter, as they stand."""

    messages: msgspec.Raw = _NULL
    prompt: msgspec.Raw = _NULL
    prompt_embeds: msgspec.Raw = _NULL
    choices: msgspec.Raw = msgspec.field(default=_NULL, name="n")
    best_of: msgspec.Raw = _NULL
    max_tokens: msgspec.Raw = _NULL
    max_completion_tokens: msgspec.Raw = _NULL
    min_tokens: msgspec.Raw = _NULL
    stop: msgspec.Raw = _NULL
    include_stop_str_in_output: msgspec.Raw = _NULL
    no_stop_trim: msgspec.Raw = _NULL
    stream_options: msgspec.Raw = _NULL
    tools: msgspec.Raw = _NULL
    functions: msgspec.Raw = _NULL
    tool_choice: msgspec.Raw = _NULL
    function_call: msgspec.Raw = _NULL
    continue_final_message: msgspec.Raw = _NULL
    add_generation_prompt: msgspec.Raw = _NULL
    response_format: msgspec.Raw = _NULL
    modalities: msgspec.Raw = _NULL
    logprobs: msgspec.Raw = _NULL
    grammar: msgspec.Raw = _NULL
    json_schema: msgspec.Raw = _NULL
    guided_json: msgspec.Raw = _NULL
    guided_regex: msgspec.Raw = _NULL
    guided_choice: msgspec.Raw = _NULL
    guided_grammar: msgspec.Raw = _NULL
    structured_outputs: msgspec.Raw = _NULL
    structural_tag: msgspec.Raw = _NULL
    regex: msgspec.Raw = _NULL
    ebnf: msgspec.Raw = _NULL
    grammar_string: msgspec.Raw = _NULL
    regex_pattern: msgspec.Raw = _NULL
    echo: msgspec.Raw = _NULL
    use_beam_search: msgspec.Raw = _NULL
    suffix: msgspec.Raw = _NULL
    top_logprobs: msgspec.Raw = _NULL
    n_probs: msgspec.Raw = _NULL
    return_token_ids: msgspec.Raw = _NULL
    audio: msgspec.Raw = _NULL
    stop_regex: msgspec.Raw = _NULL
    logits_processors: msgspec.Raw = _NULL
    custom_logit_processor: msgspec.Raw = _NULL


class _Unreadable:
    """Stands for a value that can't be decoded."""


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE: Final = _Unreadable()


def read_asked(body: bytes, path: str) -> Asked:
    """Read what a continuation depends on.

    Args:
        body: as the client sent it; ``peek`` has accepted it.
        path: ``/v1/completions`` or that of chats.
    """
    chat = path != COMPLETIONS
    try:
        fields = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Asked(chat=chat, obstacle="the request can't be read")
    trailing = _trailing_message(fields.messages) if chat else None
    return Asked(
        chat=chat,
        obstacle=_obstacle(fields) or (_chat_obstacle(fields, trailing) if chat else _prompt_obstacle(fields)),
        stops=_stops(fields.stop),
        keeps_stop=_says(fields.include_stop_str_in_output) or _says(fields.no_stop_trim),
        limits=_limits(fields, chat=chat),
        min_tokens=whole_number(fields.min_tokens),
        wants_usage=_wants_usage(fields.stream_options),
        has_tools=_says(fields.tools) or _says(fields.functions),
        prefilled=_is_assistants(trailing),
        prompt_bytes=_size(fields.messages) + _size(fields.tools) if chat else _size(fields.prompt),
    )


def elements(array: bytes) -> list[msgspec.Raw] | None:
    """Take a JSON list apart: each element as it stands. None where it is no list, or one of too many elements."""
    if array[:1] != b"[" or array.count(b",") > _MOST_COMMAS:
        return None
    try:
        return _decode_list(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def whole_number(value: bytes | msgspec.Raw) -> int | None:
    """Read a number that is not below zero; 5.0 and "5" are 5, as engines take them. None for anything else."""
    found = _value(value)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
        found = int(found)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 <= found <= _HIGHEST_NUMBER else None


def _obstacle(fields: _Body) -> str:
    """What stands in the way of chats and completions alike; empty if nothing does."""
    for name in _SHAPES:
        if _says(getattr(fields, name)):
            return f"the request asks for structured output ('{name}')"
    response_format = _value(fields.response_format)
    if response_format is not None and not (_is_object(response_format) and response_format.get("type") == "text"):
        return "the request asks for structured output ('response_format')"
    for name, value in (("n", fields.choices), ("best_of", fields.best_of)):
        if _says(value) and whole_number(value) != 1:
            return f"the request asks for several answers ('{name}')"
    for name, reason in _FLAGS.items():
        if _says(getattr(fields, name)):
            return reason
    modalities = _value(fields.modalities)
    if modalities not in (None, [], ["text"]):
        return "the request asks for more than text ('modalities')"
    return ""


def _chat_obstacle(fields: _Body, trailing: object) -> str:
    """What stands in the way of a chat; ``trailing`` is its last message."""
    if _says(fields.logprobs):
        return "the request asks for log probabilities ('logprobs')"
    for name, choice in (("tool_choice", fields.tool_choice), ("function_call", fields.function_call)):
        if _value(choice) not in (None, "auto", "none"):
            return f"the request forces a tool call ('{name}')"
    if trailing is None:
        return ""
    if not _is_object(trailing):
        return "'messages' is no list of messages, or too long a one to be taken apart"
    return _own_beginning(trailing) if _is_assistants(trailing) else _turn_obstacle(fields)


def _turn_obstacle(fields: _Body) -> str:
    """What stands in the way where the last message is not the assistant's: no turn of its own was begun."""
    if _says(fields.continue_final_message):
        return "the request has the last message continued, which is not the assistant's"
    if bytes(fields.add_generation_prompt) == b"false":
        return "the request leaves out the assistant's turn ('add_generation_prompt')"
    return ""


def _own_beginning(trailing: Mapping[str, object]) -> str:
    """What stands in the way of lengthening the client's own beginning of the answer."""
    if trailing.get("tool_calls") or trailing.get("function_call"):
        return "the last message bears a tool call"
    return "" if _is_text(trailing.get("content")) else "the last message is more than text"


def _prompt_obstacle(fields: _Body) -> str:
    """What stands in the way of a completion."""
    if bytes(fields.logprobs) not in (b"null", b"false"):  # 0 asks for that of the token itself
        return "the request asks for log probabilities ('logprobs')"
    if _says(fields.prompt_embeds):
        return "the prompt is no text ('prompt_embeds')"
    prompt = bytes(fields.prompt)
    if prompt[:1] == b"[":
        prompts = elements(prompt)
        if prompts is None or len(prompts) != 1:
            return "the request has several prompts, or one of token ids"
        prompt = bytes(prompts[0])
    return "" if prompt[:1] == b'"' else "the prompt is no text"


def _trailing_message(messages: msgspec.Raw) -> object:
    """The last message; None where the list is empty."""
    listed = elements(bytes(messages))
    if listed is None:
        return _UNREADABLE
    if not listed:
        return None
    last = _value(listed[-1])
    return _UNREADABLE if last is None else last


def _is_assistants(message: object) -> bool:
    if not _is_object(message):
        return False
    role = message.get("role")
    return isinstance(role, str) and role.lower() == "assistant"  # SGLang takes any case


def _is_text(content: object) -> bool:
    """Whether it is text: a string, or a list of texts, which is not empty."""
    if isinstance(content, list):
        return bool(content) and all(_is_text_part(part) for part in content)
    return isinstance(content, str)


def _is_text_part(part: object) -> bool:
    return _is_object(part) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _stops(stop: msgspec.Raw) -> tuple[str, ...]:
    found = _value(stop)
    listed = found if isinstance(found, list) else [found]
    return tuple(text for text in listed if isinstance(text, str) and text)


def _limits(fields: _Body, *, chat: bool) -> tuple[tuple[str, int], ...]:
    """The bounds that bind. Engines take 0 and -1 for no bound, or refuse them."""
    found = [(name, whole_number(getattr(fields, name))) for name in (LIMITS if chat else LIMITS[:1])]
    return tuple((name, value) for name, value in found if value)


def _wants_usage(stream_options: msgspec.Raw) -> bool:
    options = _value(stream_options)
    return _is_object(options) and options.get("include_usage") is True


def _size(value: msgspec.Raw) -> int:
    """How long a value is, but for what is no text in it."""
    text = bytes(value)
    if text == b"null":
        return 0
    if all(text.find(mark) < 0 for mark in _MEDIA_MARKS):
        return len(text)
    return len(text) - sum(media.end() - media.start() for media in _MEDIA.finditer(text))


def _says(value: msgspec.Raw) -> bool:
    """Whether a member is there and asks for something."""
    return bytes(value) not in _NOTHING


def _value(value: bytes | msgspec.Raw) -> object:
    try:
        decoded: object = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UNREADABLE
    return decoded


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)
