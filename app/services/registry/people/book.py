"""Which keys and groups are there, and which hang on which? Memory alone: what was stored is put in here."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from app.services.core.people.principal import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from app.services.core.people.principal import Limits
    from app.services.registry.people.records import GroupRecord, KeyRecord
    from app.services.registry.people.store import PeopleChange, Stored

__all__ = ["MAX_GROUPS", "MAX_KEYS", "PeopleBook"]

MAX_KEYS: Final = 100_000
MAX_GROUPS: Final = 10_000


class PeopleBook:
    """All keys and groups, with who minted whom."""

    __slots__ = ("_groups", "_in_group", "_keys", "_minted_by", "_model_limits", "_named", "groups", "keys")

    def __init__(self, stored: Stored) -> None:
        self._keys: dict[str, KeyRecord] = {}
        self._groups: dict[str, GroupRecord] = {}
        self._named: dict[str, str] = {}
        self._in_group: dict[str, dict[str, None]] = {}
        self._minted_by: dict[str, dict[str, None]] = {}
        self._model_limits = dict(stored.model_limits)
        self.keys: Mapping[str, KeyRecord] = MappingProxyType(self._keys)
        """By id, the oldest first."""
        self.groups: Mapping[str, GroupRecord] = MappingProxyType(self._groups)
        """By id."""
        for group in stored.groups:
            self._put_group(group)
        for key in stored.keys:
            self._put_key(key)

    @property
    def model_limits(self) -> Mapping[str, Limits]:
        """Those of models for everybody together; a change makes a new mapping."""
        return self._model_limits

    def group_named(self, name: str) -> GroupRecord | None:
        """The group of this name."""
        group_id = self._named.get(name)
        return None if group_id is None else self._groups[group_id]

    def keys_in(self, group_id: str) -> Iterator[KeyRecord]:
        """The keys of a group, revoked ones among them."""
        return (self._keys[key_id] for key_id in self._in_group.get(group_id, ()))

    def minted_by(self, key_id: str) -> Iterator[KeyRecord]:
        """The keys that a key minted, revoked ones among them."""
        return (self._keys[minted] for minted in self._minted_by.get(key_id, ()))

    def binding_minter(self, key: KeyRecord) -> KeyRecord | None:
        """The key that this one hangs on: the one that minted it, unless that is an admin's."""
        minter = None if key.minted_by is None else self._keys.get(key.minted_by)
        return None if minter is None or minter.role is Role.ADMIN else minter

    def hanging_on(self, key: KeyRecord) -> Iterator[KeyRecord]:
        """All keys that hang on this one, by others as well, each after the one that minted it; itself left out."""
        waiting, seen = [key], {key.id}
        while waiting:
            minter = waiting.pop()
            minted = (
                [] if minter.role is Role.ADMIN else [one for one in self.minted_by(minter.id) if one.id not in seen]
            )
            seen.update(one.id for one in minted)
            waiting += minted
            yield from minted

    def apply(self, change: PeopleChange) -> set[str]:
        """Put in what was stored; return the ids of the keys that this touches, forgotten ones among them."""
        for key_id in change.forgotten:
            self._drop_key(key_id)
        touched = {key.id for group in change.groups for key in self.keys_in(group.id)}
        for group in change.groups:
            self._put_group(group)
        for key in (*change.added, *change.changed):
            before = self._keys.get(key.id)
            if before is not None and before.role is not key.role:
                touched |= {minted.id for minted in self.minted_by(key.id)}
            self._put_key(key)
            touched.add(key.id)
        for group_id in change.groups_gone:
            self._drop_group(group_id)
        if change.model_limits:
            merged = {**self._model_limits, **change.model_limits}
            self._model_limits = {name: limits for name, limits in merged.items() if limits is not None}
        return self.closure(touched) | set(change.forgotten)

    def closure(self, key_ids: Iterable[str]) -> set[str]:
        """These keys with all that hang on one of them."""
        found = set(key_ids)
        for key_id in tuple(found):
            found |= {hanging.id for hanging in self.hanging_on(self._keys[key_id])}
        return found

    def _put_key(self, key: KeyRecord) -> None:
        before = self._keys.get(key.id)
        if before is not None and before.group_id is not None:
            del self._in_group[before.group_id][key.id]
        self._keys[key.id] = key
        if key.group_id is not None:
            self._in_group.setdefault(key.group_id, {})[key.id] = None
        if key.minted_by is not None:
            self._minted_by.setdefault(key.minted_by, {})[key.id] = None

    def _drop_key(self, key_id: str) -> None:
        gone = self._keys.pop(key_id)
        if gone.group_id is not None:
            del self._in_group[gone.group_id][key_id]
        if gone.minted_by is not None:
            siblings = self._minted_by[gone.minted_by]
            del siblings[key_id]
            if not siblings:
                del self._minted_by[gone.minted_by]

    def _put_group(self, group: GroupRecord) -> None:
        before = self._groups.get(group.id)
        if before is not None:
            del self._named[before.name]
        self._groups[group.id] = group
        self._named[group.name] = group.id

    def _drop_group(self, group_id: str) -> None:
        gone = self._groups.pop(group_id)
        del self._named[gone.name]
        self._in_group.pop(group_id, None)
