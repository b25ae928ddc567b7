"""What did each owner give, and what did its people take?

An owner's people are its own key and the keys that it minted. What admins' keys and the operator's minted counts for
these, but that an owner's key stands for itself whoever made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.people.principal import Role
from app.services.registry.accounting.usage_names import key_name
from app.services.registry.accounting.usage_query import Contribution, GroupBy, Narrowing, UsageSums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.usage_query import Span
    from app.services.registry.accounting.usage_store import KeyFacts, UsageStore

__all__ = ["contributions"]

_NOTHING: Final = UsageSums()
_LONGEST_LINE: Final = 8
"""So many makers of makers of a key are followed; more than there can be."""


async def contributions(store: UsageStore, principal: Principal, span: Span) -> list[Contribution]:
    """Say what each owner gave and took, who gave the most first.

    Args:
        store: what was used.
        principal: whose key asks. An owner's hears of itself alone, an admin's that is bound to a group of the owners
            in it.
        span: which hours.

    Raises:
        StorageUnavailable: the database does not answer.
    """
    is_owner = principal.role is not Role.ADMIN
    mine = principal.key_id if is_owner else None
    served = (await store.grouped(GroupBy.OWNER, span, Narrowing(owner=mine), {})).rows
    used = (await store.grouped(GroupBy.KEY, span, Narrowing(keys_of=mine), {})).rows
    keys = await store.all_keys()
    taken: dict[str, UsageSums] = {}
    for key_id, sums in used.items():
        owner = mine or _owner_of(key_id, keys)
        taken[owner] = taken.get(owner, _NOTHING).plus(sums)
    owners = {owner for owner in (*served, *taken) if owner}
    if is_owner:
        owners = {principal.key_id}
    elif principal.group is not None:
        owners = {owner for owner in owners if owner in keys and keys[owner].group == principal.group}
    groups = {group for owner in owners if owner in keys and (group := keys[owner].group)}
    by_group = await store.grouped(GroupBy.GROUP, span, Narrowing(), {GroupBy.GROUP: groups}) if groups else None
    names = await store.group_names(groups) if groups else {}
    made = [
        Contribution(
            owner=owner,
            name=key_name(owner, keys),
            group=names.get(group := keys[owner].group if owner in keys else "", group),
            served=served.get(owner, _NOTHING),
            used=taken.get(owner, _NOTHING),
            group_used=by_group.rows.get(group, _NOTHING) if group and by_group is not None else None,
        )
        for owner in owners
    ]
    return sorted(made, key=lambda one: (-one.served.total_tokens, one.owner))


def _owner_of(key_id: str, keys: Mapping[str, KeyFacts]) -> str:
    """For whom a key's use counts: the owner or admin that it is, else whose key made it."""
    for _step in range(_LONGEST_LINE):
        facts = keys.get(key_id)
        if facts is None or facts.role != Role.USER or not facts.minted_by:
            break
        key_id = facts.minted_by
    return key_id
