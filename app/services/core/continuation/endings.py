"""Which events of a stream does the gateway write itself, and in which form?

Those that no server is left to write: a text that waited at the seam, why the answer ended, its figures, ``[DONE]``; or
that it can't be brought to an end. They look like the stream's own: a chat's or a completion's, with the same ``id``,
``created`` and ``model``. What the first server left out of these is left out here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.sse import DONE
from app.services.core.continuation.members import json_text
from app.services.core.errors import error_event

if TYPE_CHECKING:
    from app.services.core.answer.usage import Usage
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered, Identity
    from app.services.core.errors import GatewayError

__all__ = ["broken", "closing", "finish_event", "text_event"]


def text_event(identity: Identity | None, text: str, *, chat: bool) -> bytes:
    """One event that bears text."""
    said = b'"delta":{"content":%b}' if chat else b'"text":%b'
    return _event(
        identity, b'[{"index":0,%b,"logprobs":null,"finish_reason":null}]' % (said % json_text(text)), chat=chat
    )


def finish_event(identity: Identity | None, finish_reason: str, *, chat: bool) -> bytes:
    """The event that says why the answer ended."""
    said = b'"delta":{}' if chat else b'"text":""'
    reason = msgspec.json.encode(finish_reason)
    return _event(identity, b'[{"index":0,%b,"logprobs":null,"finish_reason":%b}]' % (said, reason), chat=chat)


def closing(asked: Asked, delivered: Delivered, finish_reason: str | None, usage: Usage | None) -> bytes:
    """All that is missing at the end of a stream, ``[DONE]`` included.

    Args:
        asked: what the client wants: the figures are left out where it did not ask for them.
        delivered: what it has.
        finish_reason: why the answer ended; None where that went out already.
        usage: of the whole answer; None where nothing is known of it.
    """
    identity, chat = delivered.identity, asked.chat
    reason = b"" if finish_reason is None else finish_event(identity, finish_reason, chat=chat)
    figures = _usage_event(identity, usage, chat=chat) if asked.wants_usage and usage is not None else b""
    return reason + figures + DONE


def broken(error: GatewayError, *, retryable: bool, delivered_tokens: int, reason: str) -> bytes:
    """The event that ends a stream which can't go on. No ``[DONE]`` follows, so that nobody takes it for whole.

    Args:
        error: what the client is told.
        retryable: whether the same request may well succeed if it is sent again.
        delivered_tokens: about how many tokens of the answer went out.
        reason: why it could not go on elsewhere, in words for the client.
    """
    return error_event(error, {"retryable": retryable, "delivered_tokens": delivered_tokens, "reason": reason})


def _usage_event(identity: Identity | None, usage: Usage, *, chat: bool) -> bytes:
    prompt, answer = usage.prompt_tokens, usage.completion_tokens
    figures = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return _event(identity, b'[],"usage":%b' % msgspec.json.encode(figures), chat=chat)


def _event(identity: Identity | None, choices: bytes, *, chat: bool) -> bytes:
    members = [b'"object":"chat.completion.chunk"' if chat else b'"object":"text_completion"']
    if identity is not None:
        told = ((b"id", identity.id), (b"created", identity.created), (b"model", identity.model))
        members += [b'"%b":%b' % (name, value) for name, value in told if value]
    return b'data: {%b,"choices":%b}\n\n' % (b",".join(members), choices)
