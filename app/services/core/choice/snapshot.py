"""Which servers serve a model right now? The registry, frozen for the request path.

The publisher builds a new snapshot after each change and swaps it whole, so a request sees one consistent state and
never waits for a lock, a framework or a database. What a choice would have to sort or add up is sorted and added here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from app.services.core.choice.aliases import AliasRoutes
from app.services.core.choice.classes import families, merged
from app.services.core.choice.inner_routes import InnerRoutes
from app.services.core.choice.places import places_of, strength_of
from app.services.core.choice.tiers import NO_TIER, Tier, even, first_tier, roomy_tiers
from app.services.core.people.principal import Trust
from app.services.core.prompt.contexts import expected_context
from app.services.core.types import HealthStatus, ModelEntry, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from app.services.core.choice.aliases import Alias
    from app.services.core.choice.classes import ModelClass

__all__ = ["EMPTY", "Candidate", "Route", "Snapshot", "build_snapshot", "cut_route", "recovered"]

_NAMES_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server that may serve one model.

    Attributes:
        server: the server.
        model: its entry; ``context_length`` is the one in effect, where the server tells it.
        warm: whether the model is in its memory, as far as its engine tells.
        places: how many requests it computes at once, as far as is known (``core.choice.places``).
        strength: how much load is as much for it as one request for another.
    """

    server: Server
    model: ModelEntry
    warm: bool = True
    places: int = field(init=False, repr=False, compare=False)
    strength: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = places_of(self.server)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "strength", strength_of(self.server, places))

    def called(self, model: ModelEntry) -> Candidate:
        """Return the same server under another entry of the same model; nothing is worked out anew."""
        made = object.__new__(Candidate)
        put = object.__setattr__
        put(made, "server", self.server)
        put(made, "model", model)
        put(made, "warm", self.warm)
        put(made, "places", self.places)
        put(made, "strength", self.strength)
        return made


@dataclass(frozen=True, slots=True)
class Route:
    """All that is known of one model name.

    ``family`` is the name of the confirmed class that it belongs to, else its own: what is learnt of a model, and which
    server a conversation is on, is the same under all names of a class.
    ``ready`` may be chosen now, best priority first, and in each priority those first that have the model in memory.
    ``standby`` holds servers whose state is not known yet: they are tried only when none is ready; ``down`` those that
    failed their checks and may be back at any time. ``held`` holds those that only somebody's doing brings back: their
    owner, the operator or the gateway holds them back, they refuse the gateway's key, or no longer list the model.
    ``registered`` counts every server that has the model, whatever its state; ``context_length`` is the largest that
    they tell.

    The rest is laid out for the choice. ``tier`` is the first tier of ``ready``; ``even`` how many are in it, if they
    are equals: between them a draw needs no sums. ``roomy`` has a first tier for each context length among ``ready``,
    the shortest first; it is None where there are too many.
    ``least_context`` is the smallest known context of all that may serve, 0 if none is known. ``by_id`` finds a
    server among ``ready``. ``why`` says why one is taken that was drawn from the tier (``plan.Forward``).
    """

    name: str
    ready: tuple[Candidate, ...]
    standby: tuple[Candidate, ...]
    down: tuple[Candidate, ...]
    registered: int
    context_length: int | None
    even: int = 0
    tier: Tier = NO_TIER
    roomy: tuple[tuple[int, Tier], ...] | None = ()
    least_context: int = 0
    by_id: Mapping[str, Candidate] = field(default_factory=dict)
    why: str = "drawn"
    family: str = ""
    held: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one moment: servers by id, routes by model name (sorted).

    ``is_open`` says that every server is trusted and shared with everyone: any request may use any of them.
    ``aliases`` are those that the operator made, by name (sorted); ``inner`` the routes that they lead to, by names
    that no client can ask for (``aliases.inner_name``). An alias goes before a model that bears its name. ``kin`` are
    all names of a confirmed class, by the family that its routes name: what is limited by one is limited by each.
    """

    servers: Mapping[str, Server]
    routes: Mapping[str, Route]
    is_open: bool = True
    inner: Mapping[str, Route] = field(default_factory=dict, compare=False)
    aliases: Mapping[str, AliasRoutes] = field(default_factory=dict)
    kin: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def healthy_servers(self) -> int:
        """How many servers passed their last checks."""
        return sum(server.health is HealthStatus.HEALTHY for server in self.servers.values())

    @property
    def names(self) -> list[str]:
        """All that may be asked for, sorted: models, and aliases that lead to one."""
        if not self.aliases:
            return list(self.routes)
        led = {
            name for name, known in self.aliases.items() if any(model in self.routes for model in known.alias.models)
        }
        return sorted(led.union(name for name in self.routes if name not in self.aliases))

    def route(self, name: str) -> Route | None:
        """Find the route of a model, or one that an alias leads to, by its inner name."""
        return self.routes.get(name) or self.inner.get(name)

    def available(self, allowed: Container[str] | None = None) -> str:
        """What may be asked for, as errors tell it; ``allowed``: of these names alone."""
        names = [name for name in self.names if allowed is None or name in allowed]
        none = (
            "none yet: register a server with POST /admin/register" if allowed is None else "none that this key may use"
        )
        shown = ", ".join(names[:_NAMES_SHOWN]) or none
        more = f" and {len(names) - _NAMES_SHOWN} more, see GET /v1/models" if len(names) > _NAMES_SHOWN else ""
        return f"{shown}{more}"


EMPTY = Snapshot({}, {})


def build_snapshot(
    servers: Iterable[Server], classes: Iterable[ModelClass] = (), aliases: Iterable[Alias] = ()
) -> Snapshot:
    """Freeze the registry. Servers whose last check missed a model are left out of that model's route at once.

    Args:
        servers: all that are registered.
        classes: what the operator confirmed of models with many names.
        aliases: the names that the operator made to stand for models.
    """
    by_id = {server.id: server for server in servers}
    by_model: dict[str, list[Candidate]] = {}
    for server in by_id.values():
        for model in server.models:
            by_model.setdefault(model.name, []).append(_candidate(server, model))
    classes = tuple(classes)
    candidates, family = merged(by_model, classes), families(classes)
    routes = {name: _route(name, candidates[name], family.get(name, name)) for name in sorted(candidates)}
    named = {alias.name: AliasRoutes(alias, routes) for alias in sorted(aliases, key=lambda alias: alias.name)}
    return Snapshot(
        by_id,
        routes,
        all(server.trust is Trust.TRUSTED and server.share == "everyone" for server in by_id.values()),
        InnerRoutes(named, routes),
        named,
        {one.name: one.names for one in classes},
    )


def cut_route(route: Route, keeps: Callable[[Server], bool]) -> Route | None:
    """Build a route anew from only those servers that pass; the same route where all do, None where none does.

    Args:
        route: of a model.
        keeps: whether a server may stay, whatever its state.
    """
    candidates = [*route.ready, *route.standby, *route.down, *route.held]
    kept = [candidate for candidate in candidates if keeps(candidate.server)]
    if len(kept) == len(candidates):
        return route
    return _route(route.name, kept, route.family) if kept else None


def recovered(before: Snapshot, after: Snapshot) -> list[str]:
    """Name the servers that were known to be down and are healthy now."""
    return [
        server_id
        for server_id, server in after.servers.items()
        if server.health is HealthStatus.HEALTHY
        and server_id in before.servers
        and before.servers[server_id].health is HealthStatus.UNHEALTHY
    ]


def _candidate(server: Server, model: ModelEntry) -> Candidate:
    told = next((server.contexts[name] for name in _spellings(server, model) if server.contexts.get(name)), None)
    loaded = server.loaded
    warm = loaded is None or any(name in loaded for name in _spellings(server, model))
    length = expected_context(server, model, told, warm=warm)
    if length != model.context_length:
        model = replace(model, context_length=length)
    return Candidate(server, model, warm)


def _spellings(server: Server, model: ModelEntry) -> tuple[str, ...]:
    """What a server may call a model when it speaks of it: for Ollama a name without a tag is its ``latest``."""
    name = model.upstream_name
    if server.engine != "ollama" or ":" in name.rpartition("/")[2]:
        return (name,)
    return name, f"{name}:latest"


def _route(name: str, candidates: list[Candidate], family: str) -> Route:
    fit = [candidate for candidate in candidates if _may_serve(candidate)]
    fit.sort(key=lambda candidate: (-candidate.server.priority, not candidate.warm))
    ready = _with_health(fit, HealthStatus.HEALTHY)
    tier = first_tier(ready)
    return Route(
        name=name,
        ready=ready,
        standby=_with_health(fit, HealthStatus.UNKNOWN),
        down=_with_health(fit, HealthStatus.UNHEALTHY),
        registered=len(candidates),
        context_length=max(_lengths(candidates), default=None),
        even=even(tier),
        tier=tier,
        roomy=roomy_tiers(ready, tier),
        least_context=min(_lengths(fit), default=0),
        by_id={candidate.server.id: candidate for candidate in reversed(ready)},
        why="only" if len(ready) == 1 else "loaded" if tier.spare else "drawn",
        family=family,
        held=tuple(candidate for candidate in candidates if not _may_serve(candidate)),
    )


def _lengths(candidates: Iterable[Candidate]) -> list[int]:
    """The context lengths that are known."""
    return [length for candidate in candidates if (length := candidate.model.context_length)]


def _may_serve(candidate: Candidate) -> bool:
    server = candidate.server
    is_held_back = server.misconfigured or not server.accepts_work
    return not is_held_back and candidate.model.upstream_name not in server.missing_models


def _with_health(candidates: list[Candidate], health: HealthStatus) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate.server.health is health)
