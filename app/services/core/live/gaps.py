"""How long does a server pause between the events of its streams, of late?

The counts of the histogram are the operator's and only ever grow. What is judged by is kept beside them and halved
every ``FADE_SECONDS``, so that a server whose model or load has changed is soon judged by what it does now.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FADE_SECONDS", "GAP_BOUNDS_SECONDS", "GapEvidence"]

GAP_BOUNDS_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the buckets: finest where servers write, between 5 and 200 tokens a second."""
FADE_SECONDS: Final = 30.0
_MOST_HALVINGS: Final = 64  # no count is so large that anything is left of it
_PERCENTILE: Final = 0.99


class GapEvidence:
    """Reads a histogram of gaps that somebody else counts in: ``gaps`` has a bucket per bound and one beyond.

    ``fade`` is to be called now and then; what was counted since the last call is taken to be new. ``fades_at`` says
    when it next has something to do.
    """

    __slots__ = ("_gaps", "_kept", "_seen", "fades_at")

    def __init__(self, gaps: Sequence[int]) -> None:
        self._gaps = gaps
        self._kept = [0] * len(gaps)
        self._seen = list(gaps)
        self.fades_at = -math.inf

    def p99_seconds(self, now: float) -> float:
        """The bound of the bucket that the 99th percentile is in, the last bound if it is beyond; 0.0 without any."""
        self.fade(now)
        sums = list(accumulate(self._counts()))
        if sums[-1] == 0:
            return 0.0
        return GAP_BOUNDS_SECONDS[min(bisect_left(sums, sums[-1] * _PERCENTILE), len(GAP_BOUNDS_SECONDS) - 1)]

    def fade(self, now: float) -> None:
        """Halve what is kept once for each time that has passed, and what came since the last call once."""
        if now < self.fades_at:
            return
        if self.fades_at == -math.inf:
            self.fades_at = now + FADE_SECONDS
            return
        halvings = 1 + math.floor((now - self.fades_at) / FADE_SECONDS)
        self.fades_at += halvings * FADE_SECONDS
        older = min(halvings - 1, _MOST_HALVINGS)
        aged = [count >> older for count in self._kept]
        new = [gap - seen for gap, seen in zip(self._gaps, self._seen, strict=True)]
        self._kept = [(old + fresh) >> 1 for old, fresh in zip(aged, new, strict=True)]
        self._seen = list(self._gaps)

    def _counts(self) -> list[int]:
        return [old + gap - seen for old, gap, seen in zip(self._kept, self._gaps, self._seen, strict=True)]
