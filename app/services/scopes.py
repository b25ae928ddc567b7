"""Whose servers' figures may a key see? Pure.

The operator sees those of the whole pool; the admin of a group those of its owners; an owner its own. Users lend
nothing, and are told their own use elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.errors import NotAllowed
from app.services.core.people.principal import Role
from app.services.core.reporting.series import POOL
from app.services.registry.access import is_operator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.people.principal import Principal
    from app.services.registry.terms import Owners

__all__ = ["scope_of"]


def scope_of(principal: Principal, served: Iterable[str], owners: Owners) -> frozenset[str]:
    """Name the owners whose servers' figures a key may see, together; ``{POOL}``: all servers.

    Args:
        principal: whose key asks.
        served: the owners that there are figures of.
        owners: what is known of them.

    Raises:
        NotAllowed: a user's key.
    """
    if is_operator(principal):
        return frozenset({POOL})
    if principal.role is Role.USER:
        raise NotAllowed("This key lends no servers. GET /v1/usage tells what it used itself, and what is left.")
    of_group = (
        (owner for owner in served if owners.group(owner) == principal.group) if principal.role is Role.ADMIN else ()
    )
    return frozenset({principal.key_id, *of_group})
