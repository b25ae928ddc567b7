"""Which names belong together?

Names whose family, version, size, variant and other words are the same do. A name that leaves size or variant out
belongs to the one group that it can mean; where it can mean several, or none, it stays by itself. The work grows with
the number of names, not with its square.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.services.core.naming.observed import Identity, Known

__all__ = ["Group", "grouped"]

_OPTIONAL: Final = ("size", "active", "variant")
_MOST_MEANINGS: Final = 8
"""A name that can mean more models than this means none for sure; no more of them are kept."""


@dataclass(slots=True)
class Group:
    """Names of one model: those that surely are, and those that leave out what would tell."""

    identity: Identity
    sure: list[Known] = field(default_factory=list)
    unsure: list[Known] = field(default_factory=list)

    def add(self, known: Known) -> None:
        """Take a name in."""
        told = known.identity
        is_sure = told.size == self.identity.size and told.variant == self.identity.variant
        (self.sure if is_sure else self.unsure).append(known)


def grouped(names: Iterable[Known]) -> list[Group]:
    """Put names into groups; sorted by what they mean, the names of each in the order given."""
    by_identity: dict[Identity, list[Known]] = defaultdict(list)
    for known in names:
        by_identity[known.identity].append(known)
    meanings = _meanings(by_identity)
    groups: dict[Identity, Group] = {}
    for identity in sorted(by_identity, key=lambda one: (-_told(one), one)):
        meant = meanings[identity]
        group = groups.setdefault(meant, Group(meant))
        for known in by_identity[identity]:
            group.add(known)
    return [groups[identity] for identity in sorted(groups)]


def _meanings(identities: Iterable[Identity]) -> dict[Identity, Identity]:
    """Say for each identity which one it means: itself, or the only one that tells more and contradicts nothing."""
    fuller: dict[Identity, set[Identity]] = defaultdict(set)
    meanings: dict[Identity, Identity] = {}
    for identity in sorted(identities, key=lambda one: (-_told(one), one)):
        found = fuller.get(identity, set())
        meanings[identity] = meant = next(iter(found)) if len(found) == 1 else identity
        for vaguer in _vaguer(identity):
            if len(fuller[vaguer]) < _MOST_MEANINGS:
                fuller[vaguer].add(meant)
    return meanings


def _told(identity: Identity) -> int:
    return sum(bool(getattr(identity, name)) for name in _OPTIONAL)


def _vaguer(identity: Identity) -> Iterator[Identity]:
    """Yield what is left of an identity when something of it is not told."""
    told = [name for name in _OPTIONAL if getattr(identity, name)]
    for count in range(1, len(told) + 1):
        for left_out in combinations(told, count):
            size, active, variant = ("" if name in left_out else str(getattr(identity, name)) for name in _OPTIONAL)
            yield identity._replace(size=size, active=active, variant=variant)
