"""How much of a server is taken up by others, by its engine's own word, and how long is that believed?

An engine counts the requests that it computes and those that wait, ours among them. What is beyond ours came past the
gateway: the *foreign* load. It was true when the engine was asked, so it counts whole until it is asked again, one
check interval later, and over two more less and less, down to nothing: a server that tells no more is not shunned for
what it once said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from app.services.core.signals import Signals

__all__ = ["FRESH_SECONDS", "NOTHING_TOLD", "Hearsay", "heard", "held"]

FRESH_SECONDS: Final = 10.0
"""What an engine says counts whole for so long, where nobody says how far its checks are apart."""
FADED: Final = 3.0
"""From then on it counts less, and after so many times as long not at all."""
STRAINED: Final = 2.0
"""So many times as long it is taken at its word that its cache is full."""
FULL_CACHE: Final = 0.95
"""With more of its KV cache in use, and requests that wait, an engine begins to put out what it has cached."""
_MOST_REQUESTS: Final = 100_000
"""No engine has more; a count beyond it is nonsense."""


@dataclass(frozen=True, slots=True)
class Hearsay:
    """What a poll of an engine told; times in monotonic seconds, ``-inf`` where there is nothing to tell.

    Attributes:
        foreign: requests that it had beyond ours.
        fresh_until: so long they count whole.
        until: from then on they count for nothing.
        strained_until: so long its cache is taken to be full, with requests that wait.
    """

    foreign: int = 0
    fresh_until: float = -math.inf
    until: float = -math.inf
    strained_until: float = -math.inf

    def foreign_at(self, now: float) -> float:
        """How much of the foreign load counts now."""
        if now <= self.fresh_until or not self.foreign:
            return self.foreign
        return self.foreign * max(self.until - now, 0.0) / (self.until - self.fresh_until)


NOTHING_TOLD: Final = Hearsay()


def heard(signals: Signals, in_flight: int, now: float, fresh_seconds: float = FRESH_SECONDS) -> Hearsay:
    """Make of an engine's signals what the choice needs.

    Args:
        signals: what it said, right or wrong.
        in_flight: how many requests of ours it has.
        now: monotonic seconds.
        fresh_seconds: until it is asked again, above 0.0.
    """
    running, waiting = _count(signals.running), _count(signals.waiting)
    foreign = max(running + waiting - in_flight, 0)
    if not (foreign or waiting):
        return NOTHING_TOLD
    is_strained = waiting > 0 and (signals.cache_used or 0.0) > FULL_CACHE
    strained_until = now + STRAINED * fresh_seconds if is_strained else -math.inf
    return Hearsay(foreign, now + fresh_seconds, now + FADED * fresh_seconds, strained_until)


def held(signals: Signals, before: int) -> int:
    """Return the most that an engine was seen to compute while it said that nothing waits."""
    return max(before, _count(signals.running)) if signals.waiting == 0 else before


def _count(told: int | None) -> int:
    return min(max(told or 0, 0), _MOST_REQUESTS)
