"""Which names does the gateway propose to take for one model, and why?

A proposal is a question: nothing is routed by it until the operator confirms it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from app.services.core.choice.classes import MAX_MEMBERS
from app.services.core.naming.grouping import Group, grouped
from app.services.core.naming.observed import Observation, known_names
from app.services.core.naming.vocabulary import VECTOR_FAMILIES
from app.services.core.naming.wording import agreement, differences, enumerated, left_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from app.services.core.choice.classes import ModelClass
    from app.services.core.naming.observed import Identity, Known

__all__ = ["Proposal", "propose"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Names that are probably one model.

    Attributes:
        name: what the class would be called; the confirmed class's own name where one would grow.
        members: the names, sorted; those that a class has already come with them.
        reason: why, and in what they differ.
        extends: whether a confirmed class of this name would grow.
    """

    name: str
    members: tuple[str, ...]
    reason: str
    extends: bool = False


def propose(
    observations: Iterable[Observation],
    confirmed: Sequence[ModelClass] = (),
    dismissed: Iterable[Collection[str]] = (),
) -> list[Proposal]:
    """Propose what was not decided yet.

    Args:
        observations: every model of every server; anybody's words.
        confirmed: the classes that there are; their names are proposed with others alone.
        dismissed: sets of names that the operator won't have proposed; with another name among them they are again.
    """
    every = list(observations)
    class_of = {member: one for one in confirmed for member in one.members}
    taken = {one.name for one in every} | {one.name for one in confirmed}
    refused: dict[str, list[frozenset[str]]] = {}
    for names in dismissed:
        for name in names:
            refused.setdefault(name, []).append(frozenset(names))
    found = []
    for group in grouped(known_names(every)):
        proposal = _proposal(group, class_of, taken)
        if proposal is not None and not _is_refused(proposal.members, refused):
            found.append(proposal)
            taken.add(proposal.name)
    return found


def _proposal(group: Group, class_of: dict[str, ModelClass], taken: Collection[str]) -> Proposal | None:
    """Propose a group as far as it is undecided: the names that are sure first, then, by themselves, the others."""
    classes = {class_of[known.name].name: class_of[known.name] for known in group.sure if known.name in class_of}
    sure = [known for known in group.sure if known.name not in class_of]
    unsure = [known for known in group.unsure if known.name not in class_of]
    if len(classes) > 1:
        classes, unsure = {}, []  # the operator holds them apart
    chosen = sure or unsure
    if not classes and len(group.sure) == 1 and len(sure) == 1:
        chosen = [*sure, *unsure]
    grows = next(iter(classes.values()), None)
    if not chosen or (grows is None and len(chosen) < 2):
        return None
    if grows is None:
        members = [known.name for known in chosen][:MAX_MEMBERS]
        name = _free_name(group.identity, members, taken)
    else:
        members = [*grows.members, *(known.name for known in chosen)][:MAX_MEMBERS]
        name = grows.name
        if len(members) == len(grows.members):
            return None
    reason = _reason(group, chosen, aside=[] if chosen == unsure else [one for one in unsure if one not in chosen])
    return Proposal(name, tuple(sorted(members)), reason, extends=grows is not None)


def _reason(group: Group, chosen: Sequence[Known], aside: Sequence[Known]) -> str:
    """Say why the chosen are taken for the group's model, and which other names may mean it too."""
    compared = sorted({known.name: known for known in [*group.sure, *chosen]}.values(), key=lambda known: known.name)
    words = [agreement(group.identity, compared), *left_out(group.identity, chosen), *differences(compared)]
    if aside:
        words.append(f"{enumerated([known.name for known in aside])} may mean it too, but does not say enough")
    if len(chosen) > MAX_MEMBERS:
        words.append(f"only the first {MAX_MEMBERS} of {len(chosen)} names")
    return "; ".join(words)


def _free_name(identity: Identity, members: Collection[str], taken: Collection[str]) -> str:
    """Make a short name for a class that means no other model."""
    variant = "" if identity.family in VECTOR_FAMILIES else identity.variant
    parts = (identity.family, identity.version, identity.size, identity.active, *identity.others, variant)
    name = "-".join(part for part in parts if part)
    if name in members or name not in taken:
        return name
    return next(other for number in count(2) if (other := f"{name}-{number}") not in taken)


def _is_refused(members: Collection[str], refused: dict[str, list[frozenset[str]]]) -> bool:
    return any(names.issuperset(members) for names in refused.get(next(iter(members)), ()))
