"""Who may see and steer a registered server? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.errors import NotAllowed
from app.services.core.keys import Role

if TYPE_CHECKING:
    from app.services.core.keys import Principal
    from app.services.registry.records import ServerRecord

__all__ = ["require_operator", "require_registrant", "require_steering", "steers"]


def steers(principal: Principal, record: ServerRecord) -> bool:
    """Whether a key may change a server and see where it listens: the one that registered it, or an admin's."""
    return principal.role is Role.ADMIN or (principal.role is Role.OWNER and record.owner == principal.key_id)


def require_steering(principal: Principal, record: ServerRecord) -> None:
    """Let pass who may steer a server.

    Raises:
        NotAllowed: the key is another owner's, or a user's.
    """
    if not steers(principal, record):
        message = "This server belongs to another key. Only the key that registered it, or an admin key, may do this."
        raise NotAllowed(message)


def require_registrant(principal: Principal) -> None:
    """Let pass who may register servers.

    Raises:
        NotAllowed: a user's key.
    """
    if principal.role is Role.USER:
        message = "This key may use models but not register servers. Ask the operator for an owner key."
        raise NotAllowed(message)


def require_operator(principal: Principal) -> None:
    """Let pass the operator.

    Raises:
        NotAllowed: not an admin key.
    """
    if principal.role is not Role.ADMIN:
        message = "Only an admin key may do this. Use ADMIN_API_KEY or another key with the role admin."
        raise NotAllowed(message)
