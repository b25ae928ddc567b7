"""What is told of a model on its card, and what of it moves? As far as the visitor may ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Literal, TypedDict, cast

from app.services.core.answer.answers import model_object
from app.services.core.choice.sight import Views, sight_of
from app.services.core.verification.findings import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from app.routers.deps import Gateway
    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.people.principal import Limits, Principal

__all__ = ["Measured", "ModelCard", "ModelRow", "card_of", "matching", "models_topic", "names_for", "seen_by"]

State = Literal["healthy", "unknown", "unhealthy"]
BADGES: Final[Mapping[State, str]] = {
    "healthy": "Ready",
    "unknown": "Being checked",
    "unhealthy": "No server ready",
}
_EMBEDDINGS: Final = "embeddings"


class ModelRow(TypedDict):
    """What moves of a model."""

    ready: int
    servers: int
    state: State
    badge: str
    words: str


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure that the gateway measured on some servers of a model, one request at a time.

    Attributes:
        middle: the median of the servers.
        least: of the slowest, or of the soonest.
        most: of the fastest, or of the latest.
        servers: how many were measured.
    """

    middle: float
    least: float
    most: float
    servers: int


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model or alias.

    Attributes:
        name: as it is asked for.
        row: what moves.
        context_length: the longest that a server has, in tokens; None where none tells.
        least_context: the shortest of those that may serve; None where it is the same, or not known.
        speed: tokens a second.
        first_token: milliseconds to the first token of a short prompt.
        capabilities: what the engines say that it can do, sorted.
        engines: that run it, sorted.
        stands_for: the models that an alias leads to; empty for a model.
        also_called: other names of the same model, as the operator confirmed.
        limits: of all who ask for it together; None where there are none.
    """

    name: str
    row: ModelRow
    context_length: int | None
    least_context: int | None = None
    speed: Measured | None = None
    first_token: Measured | None = None
    capabilities: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    stands_for: tuple[str, ...] = ()
    also_called: tuple[str, ...] = ()
    limits: Limits | None = None

    @property
    def embeds(self) -> bool:
        """Whether it makes vectors and does not chat, as far as the engines tell."""
        return _EMBEDDINGS in self.capabilities and "chat" not in self.capabilities


def seen_by(principal: Principal, snapshot: Snapshot, views: Views | None = None) -> Snapshot:
    """Give what a key sees of the registry, as its requests do."""
    return (views or Views()).of(snapshot, sight_of(principal, principal.reach))


def names_for(principal: Principal, seen: Snapshot) -> list[str]:
    """Name all that a key may ask for, sorted: models, and aliases that lead to one."""
    return [name for name in seen.names if principal.may_ask_for(name)]


def matching(names: Iterable[str], seen: Snapshot, sought: str) -> list[str]:
    """The names in which a text stands, in any case; those that go by such a name, or lead to one, too."""
    wanted = sought.strip().casefold()
    if not wanted:
        return list(names)
    return [
        name
        for name in names
        if any(wanted in known.casefold() for known in (name, *_also_called(name, seen), *_stands_for(name, seen)))
    ]


def models_topic(snapshot: Callable[[], Snapshot]) -> Callable[[Principal], dict[str, ModelRow]]:
    """Make the topic of live data: what moves of each model that a key may ask for, by its name.

    Args:
        snapshot: the registry as routing sees it now.
    """
    views = Views()

    def rows(principal: Principal) -> dict[str, ModelRow]:
        seen = seen_by(principal, snapshot(), views)
        return {name: _row(name, seen) for name in names_for(principal, seen)}

    return rows


def card_of(gateway: Gateway, seen: Snapshot, name: str, limits: Mapping[str, Limits]) -> ModelCard:
    """Say how a model or an alias stands.

    Args:
        gateway: what is known of the servers.
        seen: what the visitor sees of the registry.
        name: that it may ask for.
        limits: of models, by name.

    Raises:
        ModelNotFound: there is nothing of this name.
    """
    told = model_object(seen, name)
    stands_for = _stands_for(name, seen)
    routes = [seen.routes[model] for model in stands_for or (name,) if model in seen.routes]
    candidates = [candidate for route in routes for candidate in _all_of(route)]
    longest = cast("int | None", told["context_length"])
    shortest = min((route.least_context for route in routes if route.least_context), default=0)
    return ModelCard(
        name=name,
        row=_row(name, seen),
        context_length=longest,
        least_context=shortest if longest is not None and 0 < shortest < longest else None,
        speed=_measured(gateway, candidates, Subject.SPEED),
        first_token=_measured(gateway, candidates, Subject.FIRST_TOKEN),
        capabilities=_capabilities(gateway, candidates),
        engines=tuple(sorted({one.server.engine for one in candidates} - {"unknown"})),
        stands_for=stands_for,
        also_called=_also_called(name, seen),
        limits=limits.get(name),
    )


def _row(name: str, seen: Snapshot) -> ModelRow:
    told = model_object(seen, name)
    ready, servers = cast("int", told["healthy_servers"]), cast("int", told["servers"])
    state: State = "healthy" if ready else "unknown" if _is_unknown(name, seen) else "unhealthy"
    noun = "server" if servers == 1 else "servers"
    return ModelRow(
        ready=ready, servers=servers, state=state, badge=BADGES[state], words=f"{ready} of {servers} {noun} ready"
    )


def _is_unknown(name: str, seen: Snapshot) -> bool:
    """Whether a server may have it of which nothing is known yet."""
    models = _stands_for(name, seen) or (name,)
    return any(route.standby for model in models if (route := seen.routes.get(model)) is not None)


def _stands_for(name: str, seen: Snapshot) -> tuple[str, ...]:
    known = seen.aliases.get(name)
    return () if known is None else known.alias.models


def _also_called(name: str, seen: Snapshot) -> tuple[str, ...]:
    if name in seen.aliases or name not in seen.routes:
        return ()
    return tuple(sorted(seen.kin.get(seen.routes[name].family, frozenset()) - {name}))


def _all_of(route: Route) -> tuple[Candidate, ...]:
    return (*route.ready, *route.standby, *route.down, *route.held)


def _measured(gateway: Gateway, candidates: Iterable[Candidate], subject: Subject) -> Measured | None:
    """Gather what was measured on each server that has the model; None where nothing was."""
    by_place = {
        (candidate.server.id, candidate.model.upstream_name): finding.measured
        for candidate in candidates
        for finding in gateway.verifications.of(candidate.server.id).get(candidate.model.upstream_name, ())
        if finding.subject is subject and finding.measured is not None
    }
    figures = list(by_place.values())
    return Measured(median(figures), min(figures), max(figures), len(figures)) if figures else None


def _capabilities(gateway: Gateway, candidates: Iterable[Candidate]) -> tuple[str, ...]:
    found: set[str] = set()
    for candidate in candidates:
        found |= gateway.said.signals(candidate.server.id).capabilities.get(candidate.model.upstream_name, frozenset())
    return tuple(sorted(found))
