"""Who may see and steer a registered server? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.errors import NotAllowed
from app.services.core.keys import Role
from app.services.registry.terms import OPERATOR_ALONE

if TYPE_CHECKING:
    from app.services.core.keys import Principal
    from app.services.registry.records import ServerRecord
    from app.services.registry.terms import Owners

__all__ = [
    "is_operator",
    "require_operator",
    "require_operators_word",
    "require_registrant",
    "require_steering",
    "require_still",
    "sees",
    "steers",
]


def is_operator(principal: Principal) -> bool:
    """Whether a key speaks for the operator: an admin's that is bound to no group."""
    return principal.role is Role.ADMIN and principal.group is None


def steers(principal: Principal, record: ServerRecord, owners: Owners = OPERATOR_ALONE) -> bool:
    """Whether a key may change a server and see where it listens.

    It may if it registered the server, or is the operator's, or an admin's of its owner's group.
    """
    if is_operator(principal):
        return True
    if principal.role is Role.USER:
        return False
    is_of_group = principal.role is Role.ADMIN and owners.group(record.owner) == principal.group
    return is_of_group or record.owner == principal.key_id


def sees(principal: Principal, record: ServerRecord, owners: Owners) -> bool:
    """Whether a server is shown to a key at all: what is not shared with an owner is none of its business.

    Args:
        principal: an owner's or an admin's key; to users no server is shown.
        record: the server.
        owners: what is known of the keys that registered servers.
    """
    if steers(principal, record, owners):
        return True
    if principal.role is Role.USER:
        return False
    if record.share == "group":
        return principal.group is not None and owners.group(record.owner) == principal.group
    return record.share == "everyone"


def require_steering(principal: Principal, record: ServerRecord, owners: Owners = OPERATOR_ALONE) -> None:
    """Let pass who may steer a server.

    Raises:
        NotAllowed: the key is another owner's, or a user's.
    """
    if not steers(principal, record, owners):
        message = "This server belongs to another key. Only the key that registered it, or an admin key, may do this."
        raise NotAllowed(message)


def require_registrant(principal: Principal) -> None:
    """Let pass who may register servers, look at them and steer their own.

    Raises:
        NotAllowed: a user's key.
    """
    if principal.role is Role.USER:
        message = (
            "This key may use models, but not register, look at or steer servers. GET /v1/models lists the models; "
            "to lend a server, ask the operator for an owner key."
        )
        raise NotAllowed(message)


def require_operator(principal: Principal) -> None:
    """Let pass the operator.

    Raises:
        NotAllowed: not an admin key.
    """
    if principal.role is not Role.ADMIN:
        message = "Only an admin key may do this. Use ADMIN_API_KEY or another key with the role admin."
        raise NotAllowed(message)


def require_operators_word(principal: Principal) -> None:
    """Let pass who may say for everybody whether a server may serve, and how far it is trusted.

    Raises:
        NotAllowed: not an admin key, or one that is bound to a group.
    """
    require_operator(principal)
    if not is_operator(principal):
        message = "This key is bound to a group, and this concerns all of them. Use an admin key without a group."
        raise NotAllowed(message)


def require_still(principal: Principal, owners: Owners) -> None:
    """Let pass who may still do what they asked for before a server was looked at, which may take seconds.

    Raises:
        NotAllowed: the key was revoked, has expired, or became a user's meanwhile.
    """
    became_users = principal.role is not Role.USER and owners.role_of(principal.key_id) is Role.USER
    if became_users or not owners.is_good(principal.key_id):
        raise NotAllowed("This key was revoked, has expired or was changed meanwhile, and nothing was done.")
