"""How alike are two answers to one question; is an answer one at all?

Batched engines are not deterministic: at temperature 0 two answers of one model may part where two words are almost
equally likely, and say much the same after it. So answers count as alike that begin alike, or share most words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sample", "are_alike", "likeness", "unsound"]

MAX_CHARACTERS: Final = 400
"""What is kept of an answer, to compare others with."""
LEAST_LEADING_WORDS: Final = 6
"""So many equal words at the beginning are no chance."""
LEAST_LEADING_SHARE: Final = 0.4
LEAST_LIKENESS: Final = 0.5
_WORDS: Final = re.compile(r"\w+|[^\w\s]")
_REPEATED_WORDS: Final = 12
_REPEATED_CHARACTERS: Final = 24
_LEAST_READABLE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model said to the fixed question. ``way``: how it was asked; only samples of one way can be compared."""

    way: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, way: str, text: str) -> Sample:
        """Keep what is compared of a text."""
        return cls(way, tuple(_WORDS.findall(text[:MAX_CHARACTERS].casefold())))


def likeness(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of words that two answers have in common, in the same order: 0.0 to 1.0, either way round."""
    first, second = sorted((tuple(one), tuple(other)))  # difflib's answer depends on which comes first
    return SequenceMatcher(None, first, second, autojunk=False).ratio()


def are_alike(one: Sequence[str], other: Sequence[str], ratio: float) -> bool:
    """Whether two answers of this likeness can be one model's: only other words after an early parting can't."""
    shorter = min(len(one), len(other))
    leading = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    begin_alike = leading >= LEAST_LEADING_WORDS or (shorter > 0 and leading >= LEAST_LEADING_SHARE * shorter)
    return begin_alike or ratio >= LEAST_LIKENESS


def unsound(text: str) -> str:
    """Say in an owner's words why a text is no answer to anything; empty where it is one."""
    if not text.strip():
        return "its answer is empty"
    readable = sum(character.isprintable() or character.isspace() for character in text if character != "\ufffd")
    if readable < _LEAST_READABLE * len(text):
        return "its answer is not readable"
    words = _WORDS.findall(text)
    dense = "".join(text.split())
    repeats_words = len(words) >= _REPEATED_WORDS and len(set(words)) <= 2
    if repeats_words or (len(dense) >= _REPEATED_CHARACTERS and len(set(dense)) <= 2):
        return "its answer repeats one thing over and over"
    return ""
