"""What are the routes by which aliases lead to models? The models' own, whose candidates bear the alias's name.

A route is made when it is first asked for: most snapshots are replaced before an alias is, and a pool of a thousand
servers would be copied for each model of each alias. What was sorted and added up for the model's own route is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from app.services.core.choice.aliases import inner_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from app.services.core.choice.aliases import AliasRoutes
    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.choice.tiers import Tier
    from app.services.core.types import ModelEntry

__all__ = ["InnerRoutes", "renamed_route"]

_MOST_CANDIDATES: Final = 200_000
"""So many candidates are kept, of some 100 bytes each; with more, all are made anew as they are asked for."""


class InnerRoutes(Mapping[str, "Route"]):
    """The routes of aliases by their inner names. To walk through them makes every one: look them up instead.

    Args:
        aliases: by name.
        routes: of models, by name.
    """

    __slots__ = ("_aliases", "_kept", "_made", "_routes")

    def __init__(self, aliases: Mapping[str, AliasRoutes], routes: Mapping[str, Route]) -> None:
        self._aliases = aliases
        self._routes = routes
        self._made: dict[str, Route] = {}
        self._kept = 0

    def __getitem__(self, name: str) -> Route:
        made = self._made.get(name)
        if made is not None:
            return made
        alias, _break, model = name.partition("\n")
        known = self._aliases.get(alias)
        if known is None or model not in known.alias.models or model not in self._routes:
            raise KeyError(name)
        return self._keep(name, renamed_route(self._routes[model], alias))

    def __iter__(self) -> Iterator[str]:
        for alias, known in self._aliases.items():
            for model in known.alias.models:
                if model in self._routes:
                    yield inner_name(alias, model)

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def _keep(self, name: str, route: Route) -> Route:
        if self._kept + route.registered > _MOST_CANDIDATES:
            self._made.clear()
            self._kept = 0
        self._made[name] = route
        self._kept += route.registered
        return route


def renamed_route(route: Route, name: str) -> Route:
    """Return the same route under another name, which its candidates bear; each server is still asked by its own."""
    renaming = _Renaming(name)
    tier = renaming.tier(route.tier)
    return replace(
        route,
        name=name,
        ready=renaming.all(route.ready),
        standby=renaming.all(route.standby),
        down=renaming.all(route.down),
        held=renaming.all(route.held),
        tier=tier,
        roomy=None if route.roomy is None else tuple((length, renaming.tier(each)) for length, each in route.roomy),
        by_id={server_id: renaming.one(candidate) for server_id, candidate in route.by_id.items()},
    )


class _Renaming:
    """Gives candidates another name; what was one object stays one."""

    __slots__ = ("_candidates", "_entries", "_name", "_tiers")

    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: dict[ModelEntry, ModelEntry] = {}
        self._candidates: dict[int, Candidate] = {}
        self._tiers: dict[int, Tier] = {}

    def one(self, candidate: Candidate) -> Candidate:
        made = self._candidates.get(id(candidate))
        if made is None:
            made = self._candidates[id(candidate)] = candidate.called(self._entry(candidate.model))
        return made

    def all(self, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
        return tuple([self.one(candidate) for candidate in candidates])

    def tier(self, tier: Tier) -> Tier:
        made = self._tiers.get(id(tier))
        if made is None:
            spare = None if tier.spare is None else self.tier(tier.spare)
            made = self._tiers[id(tier)] = replace(tier, members=self.all(tier.members), spare=spare)
        return made

    def _entry(self, model: ModelEntry) -> ModelEntry:
        made = self._entries.get(model)
        if made is None:
            made = self._entries[model] = replace(model, name=self._name)
        return made
