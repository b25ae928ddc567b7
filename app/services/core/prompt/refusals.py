"""Does a server's refusal say that the prompt was too long for it?

Read in SGLang 0.5.23, Ollama 0.33, TGI 3.3.6, TabbyAPI e632af4 and llama-cpp-python 0.3.35; those of vLLM, llama.cpp
and LM Studio by what they answered and what their users report. Who miscounts here does little harm: a refusal that is
taken for one of these goes to one more server, and one that is not goes to the client.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from app.services.core.verification.contexts import named_length

__all__ = ["CODE", "in_our_words", "is_too_long", "refused_length"]

CODE: Final = "context_length_exceeded"
"""As OpenAI calls it; llama-cpp-python and TabbyAPI do too."""
_CODES: Final = frozenset({CODE, "exceed_context_size_error"})
_STATUSES: Final = frozenset({400, 413, 422})
_MOST_BYTES: Final = 64 * 1024
"""No such refusal is longer; what is longer quotes the request."""
_JUDGED_CHARACTERS: Final = 1000
_COMMON: Final = (
    r"maximum (?:context|model) length",
    r"context (?:length|size|window)\W{0,3}(?:of |is |was )?\W?\d",
    r"(?:exceeds?|(?:longer|larger|greater) than) the (?:available |maximum |model's ){0,2}(?:context|model) length",
    r"(?:exceeds?|(?:longer|larger|greater) than) the (?:available |maximum |model's ){0,2}context (?:size|window)",
    r"prompt (?:\(.{0,40}\) )?is too long",
)
_OWN: Final = {
    "tgi": (r"`inputs` must have less than \d", r"`inputs` tokens \+ `max_new_tokens` must be"),
    "lmstudio": (r"keep the first \d+ tokens", r"tokens to keep from the initial prompt is greater"),
    "tabbyapi": (r"greater than max_seq_len \d",),
    "llama-cpp-python": (r"exceed context window of \d",),
}
"""What only one engine says, by its name in the registry."""
_EVERY: Final = re.compile("|".join((*_COMMON, *(word for words in _OWN.values() for word in words))), re.IGNORECASE)
_PATTERNS: Final = {
    engine: re.compile("|".join((*_COMMON, *words)), re.IGNORECASE) for engine, words in _OWN.items()
} | {"unknown": _EVERY}
_USUAL: Final = re.compile("|".join(_COMMON), re.IGNORECASE)


class _Error(msgspec.Struct):
    error: object = None
    message: object = None
    detail: object = None
    code: object = None
    type: object = None


_decode = msgspec.json.Decoder(_Error).decode


def is_too_long(engine: str, status: int, body: bytes) -> bool:
    """Whether a server says that prompt, or prompt and answer, go beyond its context.

    Args:
        engine: as the registry names it.
        status: of its answer.
        body: its answer, of any kind.
    """
    if status not in _STATUSES or len(body) > _MOST_BYTES:
        return False
    try:
        told = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = _Error(message=body[: 4 * _JUDGED_CHARACTERS].decode("utf-8", "replace"))
    inner = told.error if isinstance(told.error, dict) else {}
    marks = (inner.get("code"), inner.get("type"), told.code, told.type)
    if any(isinstance(mark, str) and mark in _CODES for mark in marks):
        return True
    texts = (inner.get("message"), told.error, told.message, told.detail)
    text = next((text for text in texts if isinstance(text, str) and text), "")[:_JUDGED_CHARACTERS]
    return _PATTERNS.get(engine, _USUAL).search(text) is not None


def refused_length(body: bytes, context_length: int | None) -> int | None:
    """Say which context refused a prompt, in tokens: what is known of the server, or less where it names less.

    Args:
        body: the refusal.
        context_length: as it is known; None where it is not, and then what the server says is only a claim.
    """
    named = named_length(body)
    return context_length if context_length is None or named is None else min(context_length, named)


def in_our_words(refusal: bytes) -> bytes:
    """Give a refusal in our envelope the code that clients know it by; the server's message stays."""
    told = msgspec.json.decode(refusal)
    told["error"] |= {"type": "invalid_request_error", "code": CODE}
    return msgspec.json.encode(told)
