"""How does a key or a group become a row, and a row a key or a group? Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from app.services.core.people.principal import Limits, Role, Trust
from app.services.registry.people.records import GroupRecord, KeyRecord, SecretRecord
from app.services.registry.rows import storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Unreadable",
    "group_of",
    "group_row",
    "key_of",
    "key_row",
    "limits_of",
    "limits_value",
    "model_limits_of",
    "model_limits_value",
    "names_value",
    "secret_of",
    "secret_row",
]

_LIMITS = frozenset(part.name for part in fields(Limits))


class Unreadable(ValueError):
    """A row that says what this release does not know. To guess could widen a key, so it is left out."""


def names_value(names: frozenset[str] | None) -> list[str] | None:
    """A set as JSON has it: sorted; None stays None."""
    return None if names is None else sorted(names)


def limits_value(limits: Limits) -> dict[str, int]:
    """Limits as JSON has them: those that are set."""
    return {name: value for name in sorted(_LIMITS) if (value := getattr(limits, name)) is not None}


def model_limits_value(limits: Mapping[str, Limits]) -> dict[str, dict[str, int]]:
    """Limits by model, likewise."""
    return {model: limits_value(limits[model]) for model in sorted(limits)}


def limits_of(value: object) -> Limits:
    """Read limits back.

    Raises:
        Unreadable: they are none, or there is one that is not known.
    """
    if not isinstance(value, dict) or not value.keys() <= _LIMITS:
        raise Unreadable("its limits are not known to this release")
    if not all(isinstance(number, int) and number >= 0 for number in value.values()):
        raise Unreadable("one of its limits is no whole number")
    return Limits(**value)


def model_limits_of(value: object) -> dict[str, Limits]:
    """Read limits by model back; raises as ``limits_of`` does."""
    if not isinstance(value, dict):
        raise Unreadable("its limits by model are not known to this release")
    return {model: limits_of(limits) for model, limits in value.items()}


def key_row(key: KeyRecord) -> dict[str, Any]:
    """Make the columns of a key, its secrets left out."""
    return {
        "id": key.id,
        "name": storable(key.name),
        "role": key.role.value,
        "group_id": key.group_id,
        "person": key.person,
        "minted_by": key.minted_by,
        "models": names_value(key.models),
        "routes": names_value(key.routes),
        "reach": key.reach.value,
        "tools_anywhere": key.tools_anywhere,
        "names_people": key.names_people,
        "background": key.background,
        "weight": key.weight,
        "limits": limits_value(key.limits),
        "model_limits": model_limits_value(key.model_limits),
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }


def key_of(row: Mapping[str, Any], secrets: Iterable[SecretRecord]) -> KeyRecord:
    """Read a stored key.

    Raises:
        Unreadable: it says what this release does not know.
    """
    return KeyRecord(
        id=row["id"],
        name=row["name"],
        role=_role(row["role"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        group_id=row["group_id"],
        person=row["person"],
        minted_by=row["minted_by"],
        models=_names(row["models"]),
        routes=_names(row["routes"]),
        reach=_reach(row["reach"]),
        tools_anywhere=row["tools_anywhere"],
        names_people=row["names_people"],
        background=row["background"],
        weight=row["weight"],
        limits=limits_of(row["limits"]),
        model_limits=model_limits_of(row["model_limits"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        secrets=tuple(secrets),
    )


def secret_row(key_id: str, secret: SecretRecord) -> dict[str, Any]:
    """Make the columns of a secret: its digest, never itself."""
    return {
        "digest": secret.digest,
        "key_id": key_id,
        "shown": secret.shown,
        "created_at": secret.created_at,
        "expires_at": secret.expires_at,
    }


def secret_of(row: Mapping[str, Any]) -> SecretRecord:
    """Read what is kept of a secret."""
    return SecretRecord(row["digest"], row["shown"], row["created_at"], row["expires_at"])


def group_row(group: GroupRecord) -> dict[str, Any]:
    """Make the columns of a group."""
    return {
        "id": group.id,
        "name": storable(group.name),
        "description": storable(group.description),
        "models": names_value(group.models),
        "reach": group.reach.value,
        "weight": group.weight,
        "limits": limits_value(group.limits),
        "person_limits": limits_value(group.person_limits),
        "model_limits": model_limits_value(group.model_limits),
        "created_at": group.created_at,
        "updated_at": group.updated_at,
    }


def group_of(row: Mapping[str, Any]) -> GroupRecord:
    """Read a stored group.

    Raises:
        Unreadable: it says what this release does not know.
    """
    return GroupRecord(
        id=row["id"],
        name=row["name"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        description=row["description"],
        models=_names(row["models"]),
        reach=_reach(row["reach"]),
        weight=row["weight"],
        limits=limits_of(row["limits"]),
        person_limits=limits_of(row["person_limits"]),
        model_limits=model_limits_of(row["model_limits"]),
    )


def _names(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Unreadable("its models or routes are no list of names")
    return frozenset(value)


def _role(value: str) -> Role:
    try:
        return Role(value)
    except ValueError as error:
        raise Unreadable(f"its role {value} is not known to this release") from error


def _reach(value: str) -> Trust:
    try:
        return Trust(value)
    except ValueError as error:
        raise Unreadable(f"its reach {value} is not known to this release") from error
