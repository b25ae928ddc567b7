"""Where is an answer cut, so that a server that goes on and one that begins anew can be told apart?"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.core.continuation.heard import Heard

__all__ = ["LEAST_TOLD", "behind_white_space", "in_half"]

LEAST_TOLD: Final = 4
"""Fewer characters than this could be said by chance."""
_SAID_BEFORE: Final = 12
"""So many characters that stood in the text before are a repetition."""


def in_half(answer: Heard) -> int | None:
    """Where to cut an answer in about two halves: between two events, else between two words, else anywhere.

    No white space stands before the cut, and what follows was not said before: else an answer begun anew could pass for
    one that goes on.

    Returns:
        How many characters stand before the cut. None where no cut tells anything: the answer is too short, or repeats
        itself.
    """
    return _nearest_middle(answer, _halves)


def behind_white_space(answer: Heard) -> int | None:
    """Where to cut so that white space ends the first part; None where there is none in the midst of the text."""
    return _nearest_middle(answer, _ends_white)


def _nearest_middle(answer: Heard, fits: Callable[[str, int], bool]) -> int | None:
    text = answer.text
    ends = accumulate(map(len, answer.pieces))
    between_events = [cut for cut in ends if fits(text, cut)]
    anywhere = [cut for cut in range(1, len(text)) if not between_events and fits(text, cut)]
    between_words = [cut for cut in anywhere if text[cut - 1].isspace() != text[cut].isspace()]
    return min(between_events or between_words or anywhere, key=lambda cut: abs(2 * cut - len(text)), default=None)


def _halves(text: str, cut: int) -> bool:
    half, rest = text[:cut], text[cut:]
    told_apart = len(rest.strip()) >= LEAST_TOLD and text.find(rest.strip()[:_SAID_BEFORE]) >= cut
    in_the_midst = len(text) <= 4 * cut <= 3 * len(text)
    return in_the_midst and bool(half.strip()) and not half[-1].isspace() and told_apart


def _ends_white(text: str, cut: int) -> bool:
    half, rest = text[:cut], text[cut:]
    return bool(half.strip()) and half[-1].isspace() and bool(rest) and not rest[0].isspace()
