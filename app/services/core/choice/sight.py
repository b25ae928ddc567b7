"""Which servers may a request use? Whose it is, and how far it may go, decide what it sees of the registry.

A request sees a server that is shared with it and trusted as far as it goes:

===============  ============================================
server's share   who may use it
===============  ============================================
``everyone``     all
``group``        its owner, and keys of its owner's group
``me``           its owner alone
===============  ============================================

A server's owner trusts it. Else it has to be ``trusted`` for a request that goes no further, or of the request's own
group (and trusted by that) for one that goes as far as ``group``. A request that goes as far as ``public`` asks for no
trust. A key that may do all may use all servers, but goes no further than it says.

Most gateways have only servers of the operator's, open to everybody: there a snapshot is used as it is. Else a view of
it is made for each kind of request that comes, route by route, and kept until the next snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from app.services.core.choice.snapshot import EMPTY, Route, Snapshot, cut_route
from app.services.core.people.principal import Role, Trust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.services.core.people.principal import Principal
    from app.services.core.types import Server

__all__ = ["SeenRoutes", "Sight", "Views", "sees", "sight_of"]

_MOST_VIEWS: Final = 1000
"""Kinds of requests whose views are kept: owners with servers of their own, groups, and three reaches of each."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What decides which servers a request sees.

    Attributes:
        owner: the key's id, where it may own servers; empty where that makes no difference.
        group: of the key.
        reach: how far the request may go.
        everything: whether it sees servers that are shared with others alone: an admin's does.
    """

    owner: str
    group: str | None
    reach: Trust
    everything: bool = False

    def widened(self) -> Sight:
        """The same, if trust were no question."""
        return replace(self, reach=Trust.PUBLIC)


def sight_of(principal: Principal, reach: Trust) -> Sight:
    """Say what a key's request sees that goes as far as this."""
    owner = principal.key_id if principal.role is not Role.USER else ""
    return Sight(owner, principal.group, reach, everything=principal.role is Role.ADMIN and principal.group is None)


def sees(sight: Sight, server: Server) -> bool:
    """Whether a request may use a server."""
    if sight.owner and server.owner == sight.owner:
        return True
    is_of_group = server.group is not None and server.group == sight.group
    if not sight.everything and server.share != "everyone" and not (server.share == "group" and is_of_group):
        return False
    match sight.reach:
        case Trust.PUBLIC:
            return True
        case Trust.GROUP:
            return server.trust is Trust.TRUSTED or (server.trust is Trust.GROUP and is_of_group)
        case Trust.TRUSTED:
            return server.trust is Trust.TRUSTED


class SeenRoutes(Mapping[str, Route]):
    """Routes cut to the servers that a request may use, each when it is first asked for."""

    __slots__ = ("_cut", "_routes", "_sight")

    def __init__(self, routes: Mapping[str, Route], sight: Sight) -> None:
        self._routes = routes
        self._sight = sight
        self._cut: dict[str, Route | None] = {}

    def __getitem__(self, name: str) -> Route:
        if name in self._cut:
            route = self._cut[name]
        else:
            route = self._routes[name]
            route = self._cut[name] = cut_route(route, lambda server: sees(self._sight, server))
        if route is None:
            raise KeyError(name)
        return route

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._routes if name in self)

    def __len__(self) -> int:
        return sum(1 for _name in self)


class Views:
    """What each kind of request sees of the present snapshot."""

    __slots__ = ("_base", "_views")

    def __init__(self) -> None:
        self._base = EMPTY
        self._views: dict[Sight, Snapshot] = {}

    def of(self, base: Snapshot, sight: Sight) -> Snapshot:
        """Give the part of a snapshot that a request sees."""
        if base.is_open:
            return base
        if base is not self._base or len(self._views) >= _MOST_VIEWS:
            self._base, self._views = base, {}
        view = self._views.get(sight)
        if view is None:
            routes, inner = SeenRoutes(base.routes, sight), SeenRoutes(base.inner, sight)
            view = self._views[sight] = replace(base, routes=routes, inner=inner)
        return view
