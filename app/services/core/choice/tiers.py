"""Which servers are drawn from first? Those of the best priority that have the model in memory, set out for a draw.

A tier is what is equal in priority and warmth. Its running sums of weights are made once with the snapshot, so that a
draw by weight takes one random number and one bisection, whether there are two servers or a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.choice.snapshot import Candidate

__all__ = ["NO_TIER", "Tier", "even", "first_tier", "roomy_tiers"]

_MOST_LENGTHS: Final = 16
"""With more distinct contexts than that there is no tier for each: servers are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Servers of one priority and one warmth.

    Attributes:
        members: the servers.
        marks: running sums of their weights; the last is the sum of all.
        warm: whether they have the model in memory, as far as their engines told.
        spare: those of the same priority that would have to load it.
    """

    members: tuple[Candidate, ...]
    marks: tuple[float, ...]
    warm: bool = True
    spare: Tier | None = None


NO_TIER: Final = Tier((), ())


def first_tier(candidates: Sequence[Candidate]) -> Tier:
    """Take the first tier of candidates that are sorted by priority, and by warmth within one."""
    if not candidates:
        return NO_TIER
    priority, warm = candidates[0].server.priority, candidates[0].warm
    best = [candidate for candidate in candidates if candidate.server.priority == priority]
    cold = [candidate for candidate in best if not candidate.warm] if warm else []
    spare = _tier(cold, warm=False) if cold else None
    return _tier(best[: len(best) - len(cold)], warm=warm, spare=spare)


def even(tier: Tier) -> int:
    """Say how many are in a tier of equals, 0 in any other: between equals a draw needs no sums and no division."""
    if not tier.warm or tier.spare is not None:
        return 0
    is_even = len({(member.server.weight, member.strength) for member in tier.members}) == 1
    return len(tier.members) if is_even else 0


def roomy_tiers(candidates: Sequence[Candidate], whole: Tier) -> tuple[tuple[int, Tier], ...] | None:
    """Return for each context length, the shortest first, the first tier of those with at least it; None: too many.

    Args:
        candidates: sorted by priority, and by warmth within one.
        whole: their first tier; it stands where nobody is left out.
    """
    known = sorted({length for candidate in candidates if (length := candidate.model.context_length)})
    if len(known) > _MOST_LENGTHS:
        return None
    tiers: list[tuple[int, Tier]] = []
    for length in known:
        roomy = [candidate for candidate in candidates if (candidate.model.context_length or 0) >= length]
        tiers.append((length, whole if len(roomy) == len(candidates) else first_tier(roomy)))
    return tuple(tiers)


def _tier(members: Sequence[Candidate], *, warm: bool, spare: Tier | None = None) -> Tier:
    weights = (member.server.weight for member in members)
    return Tier(tuple(members), tuple(accumulate(weights)), warm, spare)
