"""Do the servers of one model say the same to the same question; and if not, which one is odd?

With three or more a majority decides. With two nobody can say which one is odd: both are told of each other.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from app.services.core.verification.findings import Judgement, Subject, Verdict
from app.services.core.verification.likeness import are_alike, likeness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["MOST_COMPARED", "panel", "votes"]

MOST_COMPARED: Final = 8
"""So many servers of one model are compared with each other; more would cost time and say nothing new."""
_MOST_NAMED: Final = 3
_CAUSES: Final = "another model, quantization or chat template"
_ALONE: Final = "its answer is sound; there is no other server of this model to compare it with"


def panel(server_id: str, all_ids: Iterable[str]) -> tuple[str, ...]:
    """Choose whom a server is compared with, itself included: always the same ones."""
    others = sorted(set(all_ids) - {server_id})
    return (server_id, *others[: MOST_COMPARED - 1])


def votes(words_of: Mapping[str, Sequence[str]]) -> dict[str, Judgement]:
    """Judge what servers said by what the others said.

    Args:
        words_of: the words of servers of one model, asked the same way, by server id.
    """
    ids = sorted(words_of)
    alike: dict[str, set[str]] = {server_id: set() for server_id in ids}
    nearest: dict[str, float] = dict.fromkeys(ids, 0.0)
    for one, other in combinations(ids, 2):
        ratio = likeness(words_of[one], words_of[other])
        for server_id in (one, other):
            nearest[server_id] = max(nearest[server_id], round(ratio, 3))
        if are_alike(words_of[one], words_of[other], ratio):
            alike[one].add(other)
            alike[other].add(one)
    right = frozenset(server_id for server_id in ids if 2 * (len(alike[server_id]) + 1) > len(ids))
    return {server_id: _judge(server_id, alike, right, nearest[server_id]) for server_id in ids}


def _judge(server_id: str, alike: Mapping[str, set[str]], right: frozenset[str], nearest: float) -> Judgement:
    """Judge one of them; ``right``: those that answer like most, and so are right."""
    total, mine = len(alike), alike[server_id]
    if total == 1:
        return Judgement(Subject.CANARY, Verdict.UNCLEAR, _ALONE)
    if server_id in right:
        detail = f"answers like {len(mine)} of {total - 1} other servers of this model"
        return Judgement(Subject.CANARY, Verdict.OK, detail, nearest)
    if 2 * len(right) > total and right.isdisjoint(mine):
        detail = f"answers otherwise than {len(right)} other servers of this model, which agree: {_CAUSES}?"
        return Judgement(Subject.CANARY, Verdict.MISMATCH, detail, nearest)
    others = ", ".join([twin for twin in alike if twin != server_id and twin not in mine][:_MOST_NAMED])
    detail = f"answers otherwise than {others}, and nobody can say which is right: {_CAUSES}?"
    return Judgement(Subject.CANARY, Verdict.UNCLEAR, detail, nearest)
