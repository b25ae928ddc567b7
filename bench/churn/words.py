"""What does an engine of the churn benchmark say? A text computed from the request, so that each token can be checked.

Token ``i`` of a prompt is its number and a word that a hash of both chooses. The words are odd on purpose: quotes,
escapes, line ends, letters of several bytes, characters made of several, and what looks like the end of a stream.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LENGTH", "MARK", "Form", "count_tokens", "key_of_messages", "pieces", "prompt_tokens", "split_prompt"]

LENGTH = 60
"""Tokens of a whole answer."""
MARK = "[churn "
"""Begins each prompt of the benchmark, so that an engine tells it from what a gateway asks by itself."""
_WORDS = (
    *("harbour", "lantern", "meadow", "oyster", "pepper", "quarry", "ribbon", "saddle", "timber", "walnut"),
    *("naïve", "Straße", "český", "日本語", "中文字", "한국어", "עברית", "العربية", "ไทย", "Ω≈ç"),
    *("e\u0301tude", "👩‍🚀", "🏳️‍🌈", "🇦🇶", "\U0001d518\U0001d52b", "\u2028", "\u200b", "\ufeff", "a\u00a0b"),
    *('"quoted"', "back\\slash", "\\n", "line\n", "\n\n", "tab\t", "\r\n", "end ", "/", "</s>", "<think>"),
    *("{json}", '{"a":', "}]", "data:", "data: [DONE]\n\n", "[DONE]", ": ping\n", "null", "\\u00e9", "\x7f"),
)
_NUMBER = re.compile(r" \d\d")
_FIRST = " 00"


class Form(StrEnum):
    """What an answer's text is."""

    TEXT = "text"
    JSON = "json"
    CALL = "call"
    """The arguments of a tool call."""


def pieces(form: Form, key: str) -> list[str]:
    """All tokens of an answer, which together are its text.

    Args:
        form: what it is.
        key: all that was asked, as `key_of_messages` or the prompt itself; any text.
    """
    words = [_token(key, place) for place in range(LENGTH)]
    if form is Form.TEXT:
        return words
    escaped = [json.dumps(word, ensure_ascii=False)[1:-1] for word in words[1:-1]]
    return ['{"words": "', *escaped, '"}']


def _token(key: str, place: int) -> str:
    digest = blake2b(f"{place}:{key}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return f" {place:02d}{_WORDS[int.from_bytes(digest) % len(_WORDS)]}"


def key_of_messages(messages: Sequence[Mapping[str, object]]) -> str:
    """All that a chat's messages say, in one text."""
    return "\n".join(f"{message.get('role')}: {text_of(message.get('content'))}" for message in messages)


def text_of(content: object) -> str:
    """A message's content: a string, or a list of parts of which those with text count."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def split_prompt(prompt: str) -> tuple[str, str]:
    """Part a completion's prompt into what was asked and the beginning of the answer that stands behind it.

    An answer begins with a number that the words can't hold, so its place is found from the end; what stands there has
    to be what this prompt's answer begins with.
    """
    for found in reversed(list(re.finditer(_FIRST, prompt))):
        asked, given = prompt[: found.start()], prompt[found.start() :]
        if "".join(pieces(Form.TEXT, asked)).startswith(given):
            return asked, given
    return prompt, ""


def count_tokens(text: str) -> int:
    """How many tokens an answer, or the beginning of one, is made of; of another text about as many as it has words."""
    return len(_NUMBER.findall(text)) or len(text.split())


def prompt_tokens(key: str) -> int:
    """How many tokens a prompt counts as."""
    return len(key) // 4 + 1
