"""What do requests that fared well or ill amount to? Counts, seams, how long a fault was felt. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.churn.bounds import bounds
from bench.churn.judge import Fate
from bench.churn.kinds import KINDS
from bench.churn.results import Spread, Tally, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.churn.client import Attempt, Fared
    from bench.churn.faults import Hit

__all__ = ["Share", "examples_of", "felt_of", "gaps_of", "share_of", "slowest_of", "spread", "tallies_of"]

_FELT_SECONDS = 0.5
"""A request that waits longer than it would on an idle engine feels the fault."""
_FIRST_SECONDS = 0.2
"""Within so long an engine that is well has written its first token."""
_MOST_EXAMPLES = 6
_TIMED_KINDS = ("stream", "text", "plain")


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many answers were exact: in percent, with bounds at 95 %, and what the rest was.

    Attributes:
        exact: how many; ``asked`` of how many.
        cut: ended early, without a word or by an error event, or never; ``told``: those of them with an error event.
        corrupted: wrong.
        failed_5xx: an error status in place of an answer.
        other: no connection, or another status.
    """

    exact: int
    asked: int
    cut: int
    told: int
    corrupted: int
    failed_5xx: int
    other: int

    @property
    def percent(self) -> float:
        """Of 100."""
        return 100 * self.exact / self.asked if self.asked else 0.0

    @property
    def bounds_percent(self) -> tuple[float, float]:
        """Of 100."""
        low, high = bounds(self.exact, self.asked)
        return 100 * low, 100 * high


def share_of(trials: Iterable[Trial], kinds: Iterable[str], *, retried: bool) -> Share:
    """Add up some kinds of request over trials. ``retried``: of a client that asks twice more."""
    fates: Counter[str] = Counter()
    asked = failed_5xx = 0
    wanted = set(kinds)
    for tally in (tally for trial in trials for tally in trial.tallies if tally.kind in wanted):
        fates.update(tally.last if retried else tally.first)
        asked += tally.asked
        failed_5xx += tally.last_5xx if retried else tally.first_5xx
    told, corrupted = fates[Fate.TOLD], fates[Fate.CORRUPTED]
    cut = fates[Fate.CUT] + fates[Fate.LATE] + told
    other = fates[Fate.UNREACHED] + fates[Fate.REFUSED] - failed_5xx
    return Share(fates[Fate.EXACT], asked, cut, told, corrupted, failed_5xx, other)


def tallies_of(fared: Iterable[Fared]) -> list[Tally]:
    """Count what became of requests, by kind."""
    by_kind: dict[str, list[Fared]] = {}
    for each in fared:
        by_kind.setdefault(each.ask.kind.name, []).append(each)
    return [
        Tally(
            kind.name,
            len(by_kind[kind.name]),
            dict(Counter(each.first.fate.value for each in by_kind[kind.name])),
            dict(Counter(each.last.fate.value for each in by_kind[kind.name])),
            sum([_is_5xx(each.first) for each in by_kind[kind.name]]),
            sum([_is_5xx(each.last) for each in by_kind[kind.name]]),
        )
        for kind in KINDS
        if kind.name in by_kind
    ]


def _is_5xx(attempt: Attempt) -> bool:
    return attempt.fate is Fate.REFUSED and attempt.status >= 500


def gaps_of(fared: Iterable[Fared], gap_seconds: float) -> list[float]:
    """The silence that each seam added, in seconds: what it lasted beyond the usual time between two tokens."""
    return [
        max(0.0, seam.gap_seconds - gap_seconds)
        for each in fared
        if each.ask.kind.name in _TIMED_KINDS
        for seam in each.first.seams
    ]


def felt_of(fared: Sequence[Fared], hits: Sequence[Hit], whole_seconds: float, gap_seconds: float) -> list[float]:
    """For how long after each fault new requests still failed or had to wait, in seconds; 0 where none did.

    A request counts for the fault before it. One that may have lost its server to the next one counts for neither.

    Args:
        fared: requests.
        hits: faults.
        whole_seconds: how long an answer takes on an idle engine.
        gap_seconds: how long its first token takes.
    """
    begins = sorted({hit.begins_seconds for hit in hits})
    felt = []
    for begin, following in pairwise([*begins, float("inf")]):
        last = 0.0
        for each in fared:
            is_of_this = begin < each.due_seconds < following
            crosses = each.due_seconds + (_FIRST_SECONDS if each.ask.kind.streams else whole_seconds) > following
            if is_of_this and not crosses and _feels(each, whole_seconds, gap_seconds):
                last = max(last, each.due_seconds - begin)
        felt.append(last)
    return felt


def _feels(fared: Fared, whole_seconds: float, gap_seconds: float) -> bool:
    """Whether a request, sent after a fault, met it: it was turned away, or waited for its first token."""
    if fared.ask.kind.name not in _TIMED_KINDS:
        return False
    first = fared.first
    if not fared.ask.kind.streams:
        return first.fate is not Fate.EXACT or first.seconds > whole_seconds + _FELT_SECONDS
    if first.first_seconds is None:
        return True
    return first.first_seconds > gap_seconds + _FELT_SECONDS


def examples_of(fared: Iterable[Fared]) -> list[str]:
    """Why answers were not exact, the most frequent first."""
    counts = Counter(
        f"{each.ask.kind.name}: {each.first.fate.value}, {each.first.status or 'no status'}, {each.first.reason[:120]}"
        for each in fared
        if each.first.fate is not Fate.EXACT
    )
    return [f"{count} x {words}" for words, count in counts.most_common(_MOST_EXAMPLES)]


def slowest_of(fared: Iterable[Fared]) -> list[str]:
    """The longest seams of all, the longest first."""
    seams = [(seam, each) for each in fared for seam in each.first.seams]
    seams.sort(key=lambda found: found[0].gap_seconds, reverse=True)
    return [
        f"{seam.gap_seconds:.2f} s from {seam.before} to {seam.after}: "
        f"{each.ask.kind.name}, due at {each.due_seconds:.2f} s, over after {each.first.seconds:.2f} s"
        for seam, each in seams[:_MOST_EXAMPLES]
    ]


def spread(seconds: Iterable[float]) -> Spread | None:
    """Sum up times; None of none."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    middle, late = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))
    return Spread(len(ordered), *(round(1000 * value, 1) for value in (middle, late, ordered[-1])))
