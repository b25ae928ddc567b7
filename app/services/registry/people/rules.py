"""Who may see, make and steer which keys and groups? Pure: values in, a verdict out.

An admin key may do so with all; one that is in a group, with that group and its keys. An owner key may with the keys
that it minted, which are users' and stay inside its own scope. No key ever makes another into more than itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.errors import NotAllowed, NotFound
from app.services.core.people.principal import NO_LIMITS, Role
from app.services.core.people.scope import Scope, Widening, loosening, tighter, widening
from app.services.registry.people.principals import scope_of

if TYPE_CHECKING:
    from app.services.core.people.principal import Limits, Principal
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = [
    "NO_SUCH_GROUP",
    "NO_SUCH_KEY",
    "Actor",
    "refuse_looser_group",
    "refuse_widening",
    "refuse_wider_than_minter",
    "require_all_groups",
    "require_group",
    "require_keeper",
    "require_key",
    "sees_group",
    "sees_key",
]

NO_SUCH_KEY: Final = "There is no key of this id that you may see. GET /admin/keys lists those."
NO_SUCH_GROUP: Final = "There is no group of this id that you may see. GET /admin/groups lists those."


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, as the database knows the key now, not as it was when the request came in."""

    principal: Principal
    scope: Scope

    @property
    def role(self) -> Role:
        """What the key may do."""
        return self.scope.role


def require_keeper(actor: Actor) -> None:
    """Let pass who may have to do with keys.

    Raises:
        NotAllowed: a user's key.
    """
    if actor.role is Role.USER:
        message = "This key may use models but not see or change keys. Ask the operator for an owner key."
        raise NotAllowed(message)


def sees_key(actor: Actor, key: KeyRecord) -> bool:
    """Whether who asks may see and steer a key."""
    match actor.role:
        case Role.ADMIN:
            return actor.scope.group is None or key.group_id == actor.scope.group
        case Role.OWNER:
            return key.minted_by == actor.principal.key_id
        case Role.USER:
            return False


def require_key(actor: Actor, key: KeyRecord | None) -> KeyRecord:
    """Return a key that who asks may see and steer.

    Raises:
        NotAllowed: a user's key asks.
        NotFound: there is none, which is also what is said of others' keys.
    """
    require_keeper(actor)
    if key is None or not sees_key(actor, key):
        raise NotFound(NO_SUCH_KEY)
    return key


def sees_group(actor: Actor, group: GroupRecord) -> bool:
    """Whether who asks may see a group: the admins of all, and who is in it but for users."""
    if actor.role is Role.ADMIN and actor.scope.group is None:
        return True
    return actor.role is not Role.USER and group.id == actor.scope.group


def require_group(actor: Actor, group: GroupRecord | None) -> GroupRecord:
    """Return a group that who asks may steer.

    Raises:
        NotAllowed: not an admin's key.
        NotFound: there is none, which is also what is said of others' groups.
    """
    if actor.role is not Role.ADMIN:
        raise NotAllowed("Only an admin key may change groups. Ask the gateway's operator.")
    if group is None or not sees_group(actor, group):
        raise NotFound(NO_SUCH_GROUP)
    return group


def require_all_groups(actor: Actor) -> None:
    """Let pass an admin who is in no group: what is asked for concerns others than one group.

    Raises:
        NotAllowed: another key.
    """
    if actor.role is not Role.ADMIN or actor.scope.group is not None:
        message = "Only an admin key that is in no group may do this. Use ADMIN_API_KEY or another such key."
        raise NotAllowed(message)


def refuse_widening(actor: Actor, wanted: KeyRecord, before: KeyRecord | None = None) -> None:
    """Let pass a key that lies inside the scope of who asks, or inside what it was before.

    Args:
        actor: who asks.
        wanted: the key as it would be.
        before: as it is; None for a new one.

    Raises:
        NotAllowed: it would be wider than both.
    """
    inner = scope_of(wanted)
    wider = widening(inner, actor.scope)
    if actor.role is Role.OWNER and wanted.role is not Role.USER:
        wider = Widening("role", "give the role user only")
    if wider is None or (before is not None and loosening(inner, scope_of(before)) is None):
        return
    message = f"A key makes no key that may do more than itself: yours may {wider.words}."
    raise NotAllowed(f"{message} Change {wider.param}, or ask an admin.", param=wider.param)


def refuse_wider_than_minter(wanted: KeyRecord, before: KeyRecord, minter: KeyRecord | None) -> None:
    """Keep a key that an owner's key minted inside that one's scope, whoever changes it.

    Raises:
        NotAllowed: it would be wider than its minter, and than before.
    """
    if minter is None:
        return
    inner = scope_of(wanted)
    wider = widening(inner, scope_of(minter))
    if wider is not None and loosening(inner, scope_of(before)) is not None:
        message = f"This key was made with {minter.name}, which may {wider.words}, and what it makes stays inside that."
        raise NotAllowed(f"{message} Change that key first, or make a new one.", param=wider.param)


def refuse_looser_group(actor: Actor, wanted: GroupRecord, before: GroupRecord | None) -> None:
    """Let pass a group whose bounds are no looser than before, unless the admin key that asks is unbounded itself.

    Raises:
        NotAllowed: a bounded key would let others do more, or itself.
    """
    own = actor.scope
    if own.is_unbounded:
        return
    if before is None:
        if wanted.weight > own.weight:
            raise _looser("weight")
        return
    param = _looser_in(wanted, before)
    if param:
        raise _looser(param)


def _looser_in(wanted: GroupRecord, before: GroupRecord) -> str:
    """Name a field in which a group is looser than another; empty where in none."""
    if not (before.models is None or (wanted.models is not None and wanted.models <= before.models)):
        return "models"
    if wanted.reach.breadth > before.reach.breadth:
        return "reach"
    if wanted.weight > before.weight:
        return "weight"
    for param in ("limits", "person_limits"):
        if not getattr(wanted, param).lies_within(getattr(before, param)):
            return param
    kept = all(_of_model(wanted, model).lies_within(limits) for model, limits in before.model_limits.items())
    return "" if kept else "model_limits"


def _of_model(group: GroupRecord, model: str) -> Limits:
    """All that bounds a group's use of a model."""
    return tighter(group.limits, group.model_limits.get(model, NO_LIMITS))


def _looser(param: str) -> NotAllowed:
    message = f"Your key is bounded itself, so it may make {param} of a group tighter but not looser."
    return NotAllowed(f"{message} Ask an admin whose key is not.", param=param)
