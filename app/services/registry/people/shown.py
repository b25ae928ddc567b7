"""What of a key or a group may stand in the audit? Never a secret or its digest: only what is shown of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services.registry.people.rows import limits_value, model_limits_value, names_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from app.services.core.people.principal import Limits
    from app.services.registry.people.records import GroupRecord, KeyRecord

__all__ = ["differences", "shown_group", "shown_key", "shown_limits"]


def shown_key(key: KeyRecord) -> dict[str, Any]:
    """A key as the audit tells of it."""
    return {
        "name": key.name,
        "role": key.role.value,
        "group": key.group_id,
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
        "expires_at": _instant(key.expires_at),
        "revoked_at": _instant(key.revoked_at),
        "secrets": [{"shown": one.shown, "expires_at": _instant(one.expires_at)} for one in key.secrets],
    }


def shown_group(group: GroupRecord) -> dict[str, Any]:
    """A group as the audit tells of it."""
    return {
        "name": group.name,
        "description": group.description,
        "models": names_value(group.models),
        "reach": group.reach.value,
        "weight": group.weight,
        "limits": limits_value(group.limits),
        "person_limits": limits_value(group.person_limits),
        "model_limits": model_limits_value(group.model_limits),
    }


def shown_limits(limits: Limits) -> dict[str, Any]:
    """The limits of a model as the audit tells of them."""
    return {"limits": limits_value(limits)}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changes, as it was and as it is; two empty ones where nothing does."""
    changed = [name for name in after if before[name] != after[name]]
    return {name: before[name] for name in changed}, {name: after[name] for name in changed}


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
