"""Which models may somebody try, and which server was it that answered?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from app.routers.dashboard.server_standing import caption_of
from app.services.core.answer.answers import model_object
from app.services.core.choice.sight import sight_of
from app.services.registry.access import sees, steers

if TYPE_CHECKING:
    from app.routers.deps import Gateway, Said
    from app.services.core.choice.snapshot import Route, Snapshot
    from app.services.core.people.principal import Principal
    from app.services.dataplane.plane import DataPlane

__all__ = ["Choice", "NamedServer", "choices_of", "named_server"]

_SILENT: Final = frozenset({"embeddings", "rerank", "audio"})
"""What a model can do that says nothing in words."""
_MOST_ASKED: Final = 20
_SHOWN_CHARACTERS: Final = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, or an alias, that somebody may ask for.

    Attributes:
        name: what is asked for.
        servers: how many have it that the visitor's requests may go to.
        ready: how many of these take requests now.
        alias_for: the models that it stands for; empty for a model.
    """

    name: str
    servers: int
    ready: int
    alias_for: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        """What is worth knowing before it is chosen."""
        if not self.ready:
            return "no server is ready now"
        servers = "server" if self.servers == 1 else "servers"
        return f"{self.ready} of {self.servers} {servers} ready"


@dataclass(frozen=True, slots=True)
class NamedServer:
    """A server as the visitor may know it. ``url`` is its page; None where that is not for this visitor."""

    name: str
    url: str | None


def choices_of(plane: DataPlane, said: Said, principal: Principal) -> list[Choice]:
    """Name what somebody may ask for by name, those first that a server is ready for. Models that do not talk are out.

    Args:
        plane: with the servers of the moment.
        said: what engines say their models can do.
        principal: whose requests they would be.
    """
    seen = plane.views.of(plane.snapshot, sight_of(principal, principal.reach))
    names = [name for name in seen.names if principal.may_ask_for(name) and _talks(name, seen, said)]
    return sorted((_choice(name, seen) for name in names), key=lambda choice: not choice.ready)


def named_server(gateway: Gateway, principal: Principal, server_id: str) -> NamedServer:
    """Say what to call a server; one that is unknown, or none of the visitor's business, by the head of its id."""
    record = gateway.registry.servers.get(server_id)
    if record is None or not sees(principal, record, gateway.registry.owners):
        return NamedServer(f"server {server_id[:_SHOWN_CHARACTERS]}", None)
    known = steers(principal, record, gateway.registry.owners)
    return NamedServer(caption_of(record, known=known), f"/ui/servers/{record.id}")


def _choice(name: str, seen: Snapshot) -> Choice:
    found = model_object(seen, name)
    servers, ready, alias_for = found["servers"], found["healthy_servers"], found.get("alias_for", ())
    return Choice(
        name,
        servers if isinstance(servers, int) else 0,
        ready if isinstance(ready, int) else 0,
        tuple(map(str, alias_for)) if isinstance(alias_for, list) else (),
    )


def _talks(name: str, seen: Snapshot, said: Said) -> bool:
    """Whether a model may answer in words, as far as its engines tell."""
    alias = seen.aliases.get(name)
    models = (name,) if alias is None else alias.alias.models
    routes = [route for model in models if (route := seen.routes.get(model)) is not None]
    return any(_route_talks(route, said) for route in routes)


def _route_talks(route: Route, said: Said) -> bool:
    """Whether one of its servers has the model as one that talks. A few servers are asked: they hardly differ."""
    for candidate in islice((*route.ready, *route.standby, *route.down, *route.held), _MOST_ASKED):
        able = said.signals(candidate.server.id).capabilities.get(candidate.model.upstream_name, frozenset())
        if not able or not able <= _SILENT:
            return True
    return False
