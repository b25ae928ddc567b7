"""How does a chat go on as raw text, where no route for chats continues a message?

The engine renders the prompt with its own template (one side request), the delivered text follows it, and both go to
``/v1/completions``. What comes back is raw: nothing takes thoughts or tool calls out of it, so it serves only where
text has begun and no tools are offered (``fit``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.answer.splice import find_members
from app.services.core.continuation.judgement import spent_tokens
from app.services.core.continuation.request import NotContinuable, lowered_limits, without_thinking
from app.services.core.http.surfaces import COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered

__all__ = ["RENDERERS", "Rendered", "render_request", "rendered_body", "rendered_in"]

RENDERERS: Final = {"llama.cpp": "/apply-template", "vllm": "/tokenize", "sglang": "/tokenize"}
"""Where engines render a chat: llama.cpp into text, the others into token ids. Paths are beside ``/v1``."""
_TEMPLATE: Final = "chat_template_kwargs"
_SHOWN: Final = ("messages", _TEMPLATE, "chat_template", "reasoning_effort", "documents")
"""What of a request a template sees."""
_COPIED: Final = (
    "model", "stream", "stream_options", "user", "priority", "seed", "stop", "stop_token_ids", "ignore_eos",
    "include_stop_str_in_output", "no_stop_trim", "bad_words", "logit_bias", "min_tokens", "max_tokens", "n_predict",
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_p", "top_k", "min_p", "typical_p", "top_n_sigma",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty", "repeat_last_n",
    "xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau", "mirostat_eta", "samplers",
)  # fmt: skip
"""What of a chat means the same in a completion."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as an engine rendered it: text or token ids, and how many tokens fit in all, where it said so."""

    prompt: str | tuple[int, ...]
    context_length: int | None = None


class _Answer(msgspec.Struct, gc=False):
    prompt: str | None = None
    tokens: list[int] | None = None
    max_model_len: int | float | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def render_request(
    body: bytes, engine: str, upstream_name: str, *, thinking_off: bool = False
) -> tuple[str, bytes] | None:
    """Make the request that has an engine render a chat; path and body. None for engines that don't.

    Args:
        body: as the client sent it.
        engine: of the server that is asked.
        upstream_name: the model's name there.
        thinking_off: as found of that model (``Ability``).

    Raises:
        NotContinuable: a member stands there twice or can't be found in time.
    """
    path = RENDERERS.get(engine)
    if path is None:
        return None
    members = {"model": msgspec.json.encode(upstream_name), "add_generation_prompt": b"true"}
    members |= _members(body, _SHOWN)
    if thinking_off:
        members[_TEMPLATE] = _without_thinking(members.get(_TEMPLATE, b""))
    return path, _object(members)


def rendered_in(answer: bytes) -> Rendered | None:
    """Read the answer to it; None where it is none. It also reads the ids of a text that was only tokenized."""
    try:
        found = _decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    longest = found.max_model_len
    context_length = longest if isinstance(longest, int) and 0 < longest < 10**9 else None
    if found.prompt is not None:
        return Rendered(found.prompt, context_length)
    return None if found.tokens is None else Rendered(tuple(found.tokens), context_length)


def rendered_body(
    body: bytes,
    asked: Asked,
    delivered: Delivered,
    rendered: Rendered,
    tokens: int | None,
    *,
    text_ids: Sequence[int] | None = None,
) -> tuple[str, bytes]:
    """Make the completion that goes on with a chat; path and body.

    Args:
        body: as the client sent it.
        asked: what was read from it.
        delivered: what the client has; its content is not empty.
        rendered: the prompt.
        tokens: how many tokens the content is, where somebody counted; None takes ``delivered.tokens``.
        text_ids: the ids of the delivered content, where the prompt is ids.

    Raises:
        NotContinuable: the body can't be read in time, ids are missing, or no limit on tokens is known where the
            engine would set a small one of its own.
    """
    spent = spent_tokens(delivered, tokens)
    spans = _found(body, _COPIED)
    members = {name: body[span] for name, span in spans.items()} | lowered_limits(body, spans, spent)
    if asked.most_tokens is not None:
        members["max_tokens"] = str(max(1, asked.most_tokens - spent)).encode()
    if isinstance(rendered.prompt, str):
        members["prompt"] = _string(rendered.prompt + delivered.content)
        return COMPLETIONS, _object(members)
    if text_ids is None:
        raise NotContinuable("the prompt is token ids, and those of the delivered text are missing")
    ids = [*rendered.prompt, *text_ids]
    members["prompt"] = msgspec.json.encode(ids)
    if asked.most_tokens is None:
        if rendered.context_length is None:
            raise NotContinuable("how long the answer may become is not known")
        members["max_tokens"] = str(max(1, rendered.context_length - len(ids))).encode()
    return COMPLETIONS, _object(members)


def _found(body: bytes, names: Sequence[str]) -> dict[str, slice]:
    try:
        return find_members(body, names)
    except ValueError as error:
        raise NotContinuable(f"the request can't be continued: {error}") from None


def _members(body: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """The members that are there, as they stand."""
    return {name: body[span] for name, span in _found(body, names).items()}


def _without_thinking(options: bytes) -> bytes:
    try:
        return without_thinking(options)
    except ValueError as error:
        raise NotContinuable(f"the request can't be continued: {error}") from None


def _string(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise NotContinuable(f"the text can't be sent: {error}") from None


def _object(members: dict[str, bytes]) -> bytes:
    return b"{%b}" % b",".join([b'"%b":%b' % (name.encode(), value) for name, value in members.items()])
