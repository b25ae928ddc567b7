"""How many tokens did an answer take?

Engines say it in ``usage``; for a stream in the closing event, which the gateway asks for. Where nothing is said (an
aborted stream, an engine that does not count) the figures are estimated and marked so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.services.core.answer.sse import data_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BYTES_PER_TOKEN", "Usage", "estimate", "read_answer", "usage_of_events"]

BYTES_PER_TOKEN = 4
"""Rough ratio for English text and JSON, used only where an engine gives no figures."""
MOST_TOKENS = 10**9
"""Figures beyond it are taken for nonsense: sums of them would outgrow what the ledger can store."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer. ``estimated`` says that no engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


class _Figures(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


_ABSENT = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, gc=False):
    usage: _Figures | None = None
    error: msgspec.Raw = _ABSENT  # in a union Raw would not be taken


class _Event(msgspec.Struct, gc=False):
    usage: _Figures | None = None


class _ErrorOnly(msgspec.Struct, gc=False):
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_event = msgspec.json.Decoder(_Event).decode
_decode_error = msgspec.json.Decoder(_ErrorOnly).decode
_NO_ERROR = (b"null", b"false", b"0", b'""', b"[]", b"{}")


def read_answer(body: bytes) -> tuple[Usage | None, bool]:
    """Read a whole JSON answer: its figures, if it has any, and whether it is an error.

    Raises:
        ValueError: the body is not a JSON object; the message says what it is.
    """
    try:
        usage, error = _figures_and_error(body)
    except msgspec.ValidationError:
        raise ValueError("the answer is not a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = "HTML" if body.lstrip()[:1] == b"<" else "something that is not JSON"
        raise ValueError(f"the server answered with {kind}") from None
    return usage, error is not _ABSENT and bytes(error) not in _NO_ERROR


def _figures_and_error(body: bytes) -> tuple[Usage | None, msgspec.Raw]:
    try:
        answer = _decode_answer(body)
    except msgspec.ValidationError:  # the figures may have an unknown shape, which must not hide what else is wrong
        return None, _decode_error(body).error
    return _usage(answer.usage), answer.error


def usage_of_events(events: Iterable[bytes]) -> Usage | None:
    """Read the figures from the last events of a stream, newest figures first."""
    for event in reversed(list(events)):
        if b'"usage"' not in event:
            continue
        try:
            found = _usage(_decode_event(data_of(event)).usage)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if found is not None:
            return found
    return None


def _usage(figures: _Figures | None) -> Usage | None:
    if figures is None:
        return None
    prompt = figures.prompt_tokens if figures.prompt_tokens is not None else figures.input_tokens
    completion = figures.completion_tokens if figures.completion_tokens is not None else figures.output_tokens
    if prompt is None or completion is None:
        if prompt is completion:
            return None
        prompt, completion = prompt or 0, completion or 0
    if prompt > MOST_TOKENS or completion > MOST_TOKENS:
        return None
    return Usage(max(0, prompt), max(0, completion))


def estimate(request_bytes: int, events: int) -> Usage:
    """Guess the figures from the size of the request and the number of events relayed."""
    return Usage(max(1, request_bytes // BYTES_PER_TOKEN), events, estimated=True)
