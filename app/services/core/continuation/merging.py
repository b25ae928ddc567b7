"""What did an answer take in all, that several servers made?

The server that goes on was sent what the others had said: so it counts their tokens as prompt, and not as answer. Here
they change sides. What else an engine counts stays as it says.
"""

from __future__ import annotations

import msgspec

from app.services.core.answer.usage import MOST_TOKENS, Usage

__all__ = ["merged_figures", "merged_usage"]

_PROMPT, _ANSWER, _TOTAL = "prompt_tokens", "completion_tokens", "total_tokens"
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_number = msgspec.json.Decoder(int).decode


def merged_usage(usage: Usage | None, tokens: int, *, estimated: bool = False) -> Usage | None:
    """Figures of the whole answer.

    Args:
        usage: of the server that went on; None where it gave none.
        tokens: how many tokens it was sent of the answer.
        estimated: whether nobody counted those.
    """
    if usage is None or not tokens:
        return usage
    prompt_tokens = max(0, usage.prompt_tokens - tokens)
    return Usage(prompt_tokens, usage.completion_tokens + tokens, usage.estimated or estimated)


def merged_figures(usage: msgspec.Raw, tokens: int) -> msgspec.Raw:
    """The ``usage`` member of an event, for the whole answer.

    Figures that are absent, no numbers or nonsense are left as they are, and so is a total of them.
    """
    if not tokens:
        return usage
    try:
        figures = _decode_members(usage)
    except (msgspec.DecodeError, UnicodeDecodeError):  # null, for one
        return usage
    prompt, answer = (_number(figures.get(name)) for name in (_PROMPT, _ANSWER))
    if prompt is not None:
        prompt = max(0, prompt - tokens)
        figures[_PROMPT] = _raw(prompt)
    if answer is not None:
        answer += tokens
        figures[_ANSWER] = _raw(answer)
    if prompt is not None and answer is not None and _TOTAL in figures:
        figures[_TOTAL] = _raw(prompt + answer)
    return msgspec.Raw(msgspec.json.encode(figures))


def _number(value: msgspec.Raw | None) -> int | None:
    if value is None:
        return None
    try:
        number = _decode_number(value)
    except msgspec.DecodeError:
        return None
    return number if 0 <= number <= MOST_TOKENS else None


def _raw(number: int) -> msgspec.Raw:
    return msgspec.Raw(b"%d" % number)
