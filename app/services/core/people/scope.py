"""Does what one key may do lie inside what another may do? A key mints nothing that is wider than itself.

``widening`` orders keys: each lies inside itself, and what lies inside a key that lies inside a third lies inside the
third. So no chain of minted keys ever leads out of the first one's scope.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import TYPE_CHECKING, Final

from app.services.core.people.principal import NO_LIMITS, Limits, Role, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Scope", "Widening", "allows", "common_names", "common_routes", "loosening", "tighter", "widening"]

_RANKS: Final = {Role.USER: 0, Role.OWNER: 1, Role.ADMIN: 2}
_SHOWN_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """All that bounds a key, by itself: what its group takes away comes on top.

    Attributes:
        role: what it may do.
        group: the id of its group. An admin key in a group is that group's admin; without one it may mint into all.
        person: whose use its own counts as. Only an admin mints for others.
        models: the only names that it may ask for; None: all.
        routes: the only paths that it may call, with all below them; None: all.
        reach: how far its requests may go.
        tools_anywhere: whether those with tools may go as far.
        names_people: whether it may say for whom it asks. Its ``limits`` then hold for each of them.
        background: whether its requests yield to people's.
        weight: its share beside others'.
        limits: how much it may use.
        model_limits: how much of a model, by its name.
        expires_at: Unix seconds; None: never.
    """

    role: Role
    group: str | None = None
    person: str = ""
    models: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    reach: Trust = Trust.PUBLIC
    tools_anywhere: bool = False
    names_people: bool = False
    background: bool = False
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    model_limits: Mapping[str, Limits] = field(default_factory=dict)
    expires_at: float | None = None

    @property
    def is_unbounded(self) -> bool:
        """Whether it is an admin's without any bound but perhaps an end: such a key may give anything."""
        anywhere = self.group is None and self.models is None and self.routes is None and self.reach is Trust.PUBLIC
        limited = self.background or self.limits or any(self.model_limits.values())
        return self.role is Role.ADMIN and anywhere and not limited

    @property
    def granting(self) -> Scope:
        """What it may give: an unbounded admin key gives what it has no use for itself, too."""
        return replace(self, tools_anywhere=True, names_people=True, weight=inf) if self.is_unbounded else self


@dataclass(frozen=True, slots=True)
class Widening:
    """Where one scope goes beyond another: the field, and what the other one says, in words that go on after "may"."""

    param: str
    words: str


def widening(inner: Scope, minter: Scope) -> Widening | None:
    """Say in what ``inner`` goes beyond what a key may give; None where it lies inside."""
    # What is unbounded in ``inner`` needs no grant on that side: only what is unbounded itself gives such a key.
    return loosening(inner, minter.granting)


def loosening(inner: Scope, outer: Scope) -> Widening | None:
    """Say in what ``inner`` goes beyond another scope, or beyond what it was; None where it lies inside."""
    return _of_standing(inner, outer) or _of_ways(inner, outer) or _of_amounts(inner, outer)


def tighter(one: Limits, other: Limits) -> Limits:
    """The smaller of each."""
    if not one:
        return other
    return Limits(
        **{
            part.name: min(
                (value for value in (getattr(one, part.name), getattr(other, part.name)) if value is not None),
                default=None,
            )
            for part in fields(Limits)
        }
    )


def common_names(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The names that both allow; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def common_routes(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """The paths that both allow, each with all below it; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    return frozenset(
        [route for route in one if allows(other, route)] + [route for route in other if allows(one, route)]
    )


def allows(routes: frozenset[str], path: str) -> bool:
    """Whether a path is one of these or below one."""
    return path in routes or any(path.startswith(f"{route.rstrip('/')}/") for route in routes)


def _of_standing(inner: Scope, outer: Scope) -> Widening | None:
    """Compare who they are."""
    if _RANKS[inner.role] > _RANKS[outer.role]:
        return Widening("role", f"give the role {outer.role} or less")
    if inner.group != outer.group and (outer.group is not None or outer.role is not Role.ADMIN):
        own = "its own group" if outer.group is not None else "no group, for it is in none itself"
        return Widening("group", f"give {own}")
    if inner.person != outer.person and outer.role is not Role.ADMIN:
        return Widening("person", "give its own person only")
    return None


def _of_ways(inner: Scope, outer: Scope) -> Widening | None:
    """Compare what they may ask for, and how far it goes."""
    if outer.models is not None and (inner.models is None or not inner.models <= outer.models):
        return Widening("models", f"give these models only: {_shown(outer.models)}")
    if outer.routes is not None and (
        inner.routes is None or not all(allows(outer.routes, route) for route in inner.routes)
    ):
        return Widening("routes", f"give these routes only: {_shown(outer.routes)}")
    if inner.reach.breadth > outer.reach.breadth:
        return Widening("reach", f"give the reach {outer.reach} or less")
    for param in ("tools_anywhere", "names_people"):
        if getattr(inner, param) and not getattr(outer, param):
            return Widening(param, f"not give {param}, for it lacks that itself")
    if outer.background and not inner.background:
        return Widening("background", "give background only, for its own requests yield to others")
    return None


def _of_amounts(inner: Scope, outer: Scope) -> Widening | None:
    """Compare how much, and until when."""
    if inner.weight > outer.weight:
        return Widening("weight", f"give a weight of {outer.weight:g} at most")
    if not inner.limits.lies_within(outer.limits):
        return Widening("limits", f"give limits of at most {_told(outer.limits)}, each of them set")
    for model, limits in outer.model_limits.items():
        in_question = inner.models is None or model in inner.models
        if in_question and not _of_model(inner, model).lies_within(limits):
            return Widening("model_limits", f"give limits for {model} of at most {_told(limits)}, each of them set")
    if outer.expires_at is not None and (inner.expires_at is None or inner.expires_at > outer.expires_at):
        return Widening("expires_at", "give no later end than its own")
    return None


def _of_model(scope: Scope, model: str) -> Limits:
    """All that bounds a key's use of a model. A front end's own limits hold for each person, and so bound nothing."""
    own = scope.model_limits.get(model, NO_LIMITS)
    return own if scope.names_people else tighter(scope.limits, own)


def _told(limits: Limits) -> str:
    parts = ((part.name, getattr(limits, part.name)) for part in fields(limits))
    return ", ".join(f"{name} {value}" for name, value in parts if value is not None)


def _shown(names: frozenset[str]) -> str:
    """Some of the names, as a sentence has room for."""
    chosen = sorted(names)
    more = len(chosen) - _SHOWN_NAMES
    return ", ".join(chosen[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
