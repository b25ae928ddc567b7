"""Which servers serve a model right now? The registry, frozen for the request path.

The publisher builds a new snapshot after each change and swaps it whole, so a request sees one consistent state and
never waits for a lock, a framework or a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.services.core.types import HealthStatus, ModelEntry, Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EMPTY", "Candidate", "Route", "Snapshot", "build_snapshot", "recovered"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server that may serve one model."""

    server: Server
    model: ModelEntry


@dataclass(frozen=True, slots=True)
class Route:
    """All that is known of one model name.

    ``ready`` may be chosen now, best priority first. ``standby`` holds servers whose state is not known yet: they are
    tried only when none is ready; ``down`` those that failed their checks and may be back at any time. A server that
    its owner, the operator or the gateway holds back is in none of them, nor is one that refuses the gateway's key:
    only somebody's doing brings it back. ``registered`` counts every server that has the model, whatever its state.
    ``even`` says how many of the first in ``ready`` are of one priority and one weight, if all of that priority are:
    between them a draw needs no sums.
    """

    name: str
    ready: tuple[Candidate, ...]
    standby: tuple[Candidate, ...]
    down: tuple[Candidate, ...]
    registered: int
    context_length: int | None
    even: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one moment: servers by id, routes by model name (sorted)."""

    servers: Mapping[str, Server]
    routes: Mapping[str, Route]

    @property
    def healthy_servers(self) -> int:
        """How many servers passed their last checks."""
        return sum(server.health is HealthStatus.HEALTHY for server in self.servers.values())


EMPTY = Snapshot({}, {})


def build_snapshot(servers: Iterable[Server]) -> Snapshot:
    """Freeze the registry. Servers whose last check missed a model are left out of that model's route at once."""
    by_id = {server.id: server for server in servers}
    by_model: dict[str, list[Candidate]] = {}
    for server in by_id.values():
        for model in server.models:
            by_model.setdefault(model.name, []).append(Candidate(server, model))
    return Snapshot(by_id, {name: _route(name, by_model[name]) for name in sorted(by_model)})


def recovered(before: Snapshot, after: Snapshot) -> list[str]:
    """Name the servers that were known to be down and are healthy now."""
    return [
        server_id
        for server_id, server in after.servers.items()
        if server.health is HealthStatus.HEALTHY
        and server_id in before.servers
        and before.servers[server_id].health is HealthStatus.UNHEALTHY
    ]


def _route(name: str, candidates: list[Candidate]) -> Route:
    fit = [candidate for candidate in candidates if _may_serve(candidate)]
    fit.sort(key=lambda candidate: -candidate.server.priority)
    lengths = [candidate.model.context_length for candidate in candidates if candidate.model.context_length]
    ready = _with_health(fit, HealthStatus.HEALTHY)
    return Route(
        name=name,
        ready=ready,
        standby=_with_health(fit, HealthStatus.UNKNOWN),
        down=_with_health(fit, HealthStatus.UNHEALTHY),
        registered=len(candidates),
        context_length=max(lengths, default=None),
        even=_even(ready),
    )


def _may_serve(candidate: Candidate) -> bool:
    server = candidate.server
    is_held_back = server.misconfigured or not server.accepts_work
    return not is_held_back and candidate.model.upstream_name not in server.missing_models


def _even(ready: tuple[Candidate, ...]) -> int:
    best = [candidate.server for candidate in ready if candidate.server.priority == ready[0].server.priority]
    return len(best) if len({server.weight for server in best}) == 1 else 0


def _with_health(candidates: list[Candidate], health: HealthStatus) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate.server.health is health)
