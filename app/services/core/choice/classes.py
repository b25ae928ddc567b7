"""What do confirmed classes make of the routes? Every name of a class leads to every server of the class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.services.core.choice.snapshot import Candidate
    from app.services.core.types import ModelEntry

__all__ = ["MAX_MEMBERS", "ModelClass", "families", "merged"]

MAX_MEMBERS: Final = 100
"""The most names that one class may have."""


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One model under many names: what the operator calls it, and what users and servers do."""

    name: str
    members: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """All names that lead to it, its own too."""
        return self.members | {self.name}


def merged(by_model: Mapping[str, list[Candidate]], classes: Iterable[ModelClass]) -> dict[str, list[Candidate]]:
    """Let each name of a class lead to all servers that have the model under any of its names.

    A candidate's ``model.name`` becomes the name that is asked for, ``upstream_name`` stays the server's own: that is
    what is put into the body, and taken out of the answer. A server stands in a route once.

    Args:
        by_model: the candidates by the name that they were registered under, with the contexts in effect; it stays as
            it is.
        classes: as confirmed; no name is in two of them.
    """
    routes = dict(by_model)
    for one in classes:
        pool = [candidate for name in sorted(one.names) for candidate in by_model.get(name, ())]
        if pool:
            entries: dict[tuple[str, ModelEntry], ModelEntry] = {}
            routes |= {asked: _asked_for(asked, pool, entries) for asked in one.names}
    return routes


def families(classes: Iterable[ModelClass]) -> dict[str, str]:
    """Say for each name of a class what the class is called."""
    return {name: one.name for one in classes for name in one.names}


def _asked_for(asked: str, pool: list[Candidate], entries: dict[tuple[str, ModelEntry], ModelEntry]) -> list[Candidate]:
    """Take each server's best model of the pool, under the name that is asked for."""
    best: dict[str, Candidate] = {}
    for candidate in pool:
        known = best.setdefault(candidate.server.id, candidate)
        if known is not candidate and _worth(candidate, asked) > _worth(known, asked):
            best[candidate.server.id] = candidate
    chosen = sorted(best.values(), key=lambda candidate: candidate.model.name != asked)
    return [
        candidate
        if candidate.model.name == asked
        else replace(candidate, model=_renamed(candidate.model, asked, entries))
        for candidate in chosen
    ]


def _renamed(model: ModelEntry, asked: str, entries: dict[tuple[str, ModelEntry], ModelEntry]) -> ModelEntry:
    """Give a model the name that is asked for; servers that call it alike share one entry."""
    key = asked, model
    if key not in entries:
        entries[key] = replace(model, name=asked)
    return entries[key]


def _worth(candidate: Candidate, asked: str) -> tuple[bool, bool, bool, int]:
    """Say which of a server's models is taken: one that is there, then the one asked for, one in memory, the longest.

    Between two that are alike in all this the first in the order of names stays.
    """
    model = candidate.model
    is_there = model.upstream_name not in candidate.server.missing_models
    return is_there, model.name == asked, candidate.warm, model.context_length or 0
