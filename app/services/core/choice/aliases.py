"""Where does an alias lead? A name that stands for models: which one a request goes to, and which others after it.

An alias has targets, one of which is drawn by weight for each request, and fallbacks, which are tried in their order
when no target has a server left. A target with bounds takes only requests whose need lies between them: the tokens of
the prompt, as estimated, and of the longest answer that is asked for.

Who has no server that is well comes last, whatever its weight. The draw takes one random number, and is made among all
targets that take the request; where nobody serves the one that is drawn, the same number draws among those with a
server. So whoever gives the same number each time, for a conversation for one, stays with the same model, and moves
only while that is away. An alias never leads to an alias.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from app.services.core.errors import ModelNotFound, RequestInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from app.services.core.choice.snapshot import Route, Snapshot
    from app.services.core.errors import GatewayError

__all__ = ["Alias", "AliasRoutes", "Branch", "Target", "inner_name", "lead", "leads_nowhere", "model_of"]

_SEPARATOR: Final = "\n"
"""No name of a model holds it, so no name that a client sends is an inner one."""
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One model that an alias leads to.

    Attributes:
        model: the name of a model, or of a class of models.
        weight: its share of the requests beside the others'. Fallbacks have none.
        min_context_tokens: the least need that it takes; None for any.
        max_context_tokens: the largest need that it takes; None for any.
    """

    model: str
    weight: float = 1.0
    min_context_tokens: int | None = None
    max_context_tokens: int | None = None

    def takes(self, need_tokens: int) -> bool:
        """Whether a request of this need may go there."""
        least, most = self.min_context_tokens, self.max_context_tokens
        return (least is None or need_tokens >= least) and (most is None or need_tokens <= most)

    @property
    def bounds(self) -> str:
        """The needs that it takes, in words; empty for any."""
        least, most = self.min_context_tokens, self.max_context_tokens
        if least is not None and most is not None:
            return f"{least:,} to {most:,} tokens"
        if most is not None:
            return f"up to {most:,} tokens"
        return "" if least is None else f"{least:,} tokens and more"


@dataclass(frozen=True, slots=True)
class Branch:
    """A target with the name of its route (``Snapshot.inner``)."""

    name: str
    target: Target


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that stands for models.

    Attributes:
        name: what clients ask for.
        targets: one of them is drawn by weight.
        fallbacks: tried in this order when no target can serve.
        branches: the targets as routes, the heaviest first.
        spare: the fallbacks as routes.
        models: all that it may lead to, each once, the targets first.
    """

    name: str
    targets: tuple[Target, ...]
    fallbacks: tuple[Target, ...] = ()
    branches: tuple[Branch, ...] = field(init=False, repr=False, compare=False)
    spare: tuple[Branch, ...] = field(init=False, repr=False, compare=False)
    models: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_weight = sorted(self.targets, key=lambda target: -target.weight)
        object.__setattr__(self, "branches", tuple(self._branch(target) for target in by_weight))
        object.__setattr__(self, "spare", tuple(self._branch(target) for target in self.fallbacks))
        models = dict.fromkeys(target.model for target in (*self.targets, *self.fallbacks))
        object.__setattr__(self, "models", tuple(models))

    def _branch(self, target: Target) -> Branch:
        return Branch(inner_name(self.name, target.model), target)


@dataclass(frozen=True, slots=True)
class AliasRoutes:
    """An alias with the routes of all models (``Snapshot.routes``), in which its own are looked up."""

    alias: Alias
    routes: Mapping[str, Route] = field(repr=False, compare=False)


def inner_name(alias: str, model: str) -> str:
    """The name of the route by which an alias leads to a model."""
    return f"{alias}{_SEPARATOR}{model}"


def model_of(name: str) -> str:
    """The model that a route leads to, by the name of the route: a model's own or an inner one."""
    return name.rpartition(_SEPARATOR)[2]


def lead(
    alias: AliasRoutes, need_tokens: int, random: Callable[[], float], routes: Mapping[str, Route] | None = None
) -> tuple[str, ...]:
    """Name the routes to be tried, in this order; none where the alias leads nowhere (``leads_nowhere`` says why).

    First come those with a server that is well: the target that is drawn, the other targets by falling weight, the
    fallbacks. Those with none come after them, in the same order. A model that nobody has is left out, and so is one
    whose bounds the request does not meet.

    Args:
        alias: what was asked for.
        need_tokens: of the prompt, as estimated, and of the longest answer that is asked for; 0 if unknown.
        random: uniform floats in [0, 1); asked once at most.
        routes: of models, as the request sees them; None: all of them.
    """
    known = alias.routes if routes is None else routes
    targets = _taking(alias.alias.branches, need_tokens, known)
    if len(targets) > 1:
        drawn = _drawn(targets, random())
        if drawn is not targets[0]:
            targets = [drawn, *(each for each in targets if each is not drawn)]
    ways = [*targets, *_taking(alias.alias.spare, need_tokens, known)]
    served = [branch.name for branch, route in ways if route.ready]
    if len(served) < len(ways):
        served += [branch.name for branch, route in ways if not route.ready]
    return tuple(dict.fromkeys(served))


def leads_nowhere(alias: Alias, seen: Snapshot, need_tokens: int | None = None) -> GatewayError:
    """Say why ``lead`` names no route: no target takes such a request, or nobody has what it leads to.

    Args:
        alias: what was asked for.
        seen: what the request sees of the registry.
        need_tokens: as for ``lead``; None where it is no request that is asked about.
    """
    every = (*alias.targets, *alias.fallbacks)
    taking = [target.model for target in every if need_tokens is None or target.takes(need_tokens)]
    if taking or need_tokens is None:
        return ModelNotFound(
            f"Alias '{alias.name}' leads to {_listed(dict.fromkeys(taking), 'or')}, which no registered server has. "
            f"Available: {seen.available()}.",
            param="model",
        )
    bounds = dict.fromkeys(target.bounds for target in every)
    most = max((target.max_context_tokens or need_tokens for target in every), default=0)
    is_too_long = need_tokens > most
    way_out = "Shorten it, ask for a shorter answer (max_tokens), or ask" if is_too_long else "Ask"
    return RequestInvalid(
        f"Alias '{alias.name}' takes requests of {_listed(bounds, 'or')}, prompt and answer together, and this one "
        f"has about {need_tokens:,}. {way_out} for a model by its own name: {_listed(alias.models, 'or')}.",
        param="messages" if is_too_long else "model",
        code="context_length_exceeded" if is_too_long else "context_length_unsupported",
    )


_Way = tuple[Branch, "Route"]


def _taking(branches: Iterable[Branch], need_tokens: int, routes: Mapping[str, Route]) -> list[_Way]:
    """Those that take a request, with the routes of their models."""
    return [
        (branch, route)
        for branch in branches
        if branch.target.takes(need_tokens) and (route := routes.get(branch.target.model)) is not None
    ]


def _drawn(ways: Sequence[_Way], point: float) -> _Way:
    """Draw one by weight; in place of one without a server that is well, one that has such a server."""
    drawn, rest = _at(ways, point)
    if drawn[1].ready:
        return drawn
    served = [way for way in ways if way[1].ready]
    return _at(served, rest)[0] if served else drawn


def _at(ways: Sequence[_Way], point: float) -> tuple[_Way, float]:
    """Find who stands at a point in [0, 1) of all the weights; and where the point lies in that one's own part."""
    point *= sum(branch.target.weight for branch, _route in ways)
    for way in ways[:-1]:
        weight = way[0].target.weight
        if point < weight:
            return way, point / weight
        point -= weight
    return ways[-1], min(point / ways[-1][0].target.weight, 1.0)


def _listed(words: Iterable[str], last: str) -> str:
    """Join words for a sentence; of many only the first."""
    shown = list(words)
    if len(shown) > _SHOWN:
        return ", ".join(shown[:_SHOWN]) + f" {last} one of {len(shown) - _SHOWN} more"
    return f" {last} ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
