"""What are those called whose use is told, as far as the asker may know?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.people.principal import Role
from app.services.core.reporting.use import OTHERS
from app.services.registry.accounting.usage_query import GroupBy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.usage_store import KeyFacts, ServerFacts, UsageStore

__all__ = ["NOBODY", "REMOVED", "UsageNames", "key_name"]

NOBODY: Final = "(none)"
"""No group, or no server was reached."""
REMOVED: Final = "(removed)"
"""Was there, and its name is not known any more."""
_KEYS_WITHOUT_ROWS: Final = {"admin": "operator", "anonymous": "anonymous"}
_KEY_AS_PERSON: Final = "key:"
_MAX_NAME_CHARACTERS: Final = 200


class UsageNames:
    """Looks names up."""

    __slots__ = ("_store",)

    def __init__(self, store: UsageStore) -> None:
        self._store = store

    async def of(self, asker: Principal, group_by: GroupBy, ids: Collection[str]) -> dict[str, str]:
        """Name the rows of an answer.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        match group_by:
            case GroupBy.KEY | GroupBy.OWNER:
                known = await self._store.keys(ids)
                return {one: key_name(one, known) for one in ids}
            case GroupBy.PERSON:
                return await self._people(ids)
            case GroupBy.GROUP:
                groups = await self._store.group_names(ids)
                return {one: groups.get(one) or _special(one) for one in ids}
            case GroupBy.SERVER:
                servers = await self._store.servers(ids)
                return {one: _server_name(servers[one], asker) if one in servers else _special(one) for one in ids}
        return {one: one for one in ids}

    async def _people(self, people: Collection[str]) -> dict[str, str]:
        """A key that names nobody stands for its person; what a front end calls its user stands after its key's id."""
        key_of = {one: one.removeprefix(_KEY_AS_PERSON).partition("/")[0] for one in people}
        known = await self._store.keys(frozenset(key_of.values()))
        names = {}
        for one, key_id in key_of.items():
            user = one.partition("/")[2]
            if one == f"{_KEY_AS_PERSON}{key_id}":
                names[one] = key_name(key_id, known)
            else:
                names[one] = user if user and (key_id in known or key_id in _KEYS_WITHOUT_ROWS) else one
        return names


def key_name(key_id: str, known: Mapping[str, KeyFacts]) -> str:
    """What a key is called."""
    facts = known.get(key_id)
    return facts.name if facts is not None else _KEYS_WITHOUT_ROWS.get(key_id) or _special(key_id)


def _special(one: str) -> str:
    """What stands for an id of which nothing is known."""
    return one if one == OTHERS else REMOVED if one else NOBODY


def _server_name(facts: ServerFacts, asker: Principal) -> str:
    """The name that its owner gave it, else its model; where it is, for its owner and for the operator alone."""
    knows_host = asker.key_id == facts.owner or (asker.role is Role.ADMIN and asker.group is None)
    found = facts.given_name or (f"{facts.model}@{facts.host}" if knows_host else facts.model)
    return found[:_MAX_NAME_CHARACTERS] or NOBODY
