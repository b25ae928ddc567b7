"""How many tokens does an answer count for, where its server says something that can't be, or nothing?"""

from __future__ import annotations

from typing import Final

import msgspec

from app.services.core.answer.usage import BYTES_PER_TOKEN, Usage

__all__ = ["MOST_ANSWER_TOKENS", "tokens_of_answer", "within_reason"]

MOST_ANSWER_TOKENS: Final = 131_072
"""What an answer may have of a model whose context nobody knows, where no bound was asked for."""
_PROMPT_SLACK_TOKENS: Final = 16_384
"""What a template adds to a prompt, and pictures that are named by a URL."""


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = msgspec.Raw(b"")
    reasoning_content: msgspec.Raw = msgspec.Raw(b"")
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class _Choice(msgspec.Struct, gc=False):
    message: _Message | None = None
    text: msgspec.Raw = msgspec.Raw(b"")


class _Answer(msgspec.Struct, gc=False):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Answer).decode


def within_reason(usage: Usage, request_bytes: int, most_answer_tokens: int) -> Usage:
    """Take a server's figures as far as they can be true: they count for its callers' limits.

    Args:
        usage: what it says.
        request_bytes: the length of the request's body; a token of a prompt is an octet at least.
        most_answer_tokens: as many as were asked for, or as its model can make.
    """
    prompt = min(usage.prompt_tokens, request_bytes + _PROMPT_SLACK_TOKENS)
    completion = min(usage.completion_tokens, most_answer_tokens)
    if prompt == usage.prompt_tokens and completion == usage.completion_tokens:
        return usage
    return Usage(prompt, completion, estimated=True)


def tokens_of_answer(body: bytes) -> int:
    """About how many tokens a whole answer has whose server did not count: by its texts; by its size if it has none."""
    try:
        choices = _decode(body).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        choices = []
    size = 0
    for choice in choices:
        said = choice.message
        parts = (choice.text,) if said is None else (said.content, said.reasoning_content, said.tool_calls)
        size += sum(len(bytes(part)) - len(b'""') for part in parts if bytes(part) not in (b"", b"null", b"[]"))
    return max(1, (size or len(body)) // BYTES_PER_TOKEN)
