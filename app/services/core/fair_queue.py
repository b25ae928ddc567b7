"""Whose turn is it, of those that wait? In order of arrival within a key, and one key after the other.

A key that floods the gateway waits behind itself: of each round it has one turn, like every other. When the queue is
full, the newest of the key with the most waiting is turned away, so that a flood cannot keep others out either.

Joining, leaving and being served take the same time however many wait (dictionaries keep the order of arrival; keys
are kept by how many of theirs wait).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

__all__ = ["FairQueue"]

Item = TypeVar("Item", bound="Hashable")
Key = TypeVar("Key", bound="Hashable")


class FairQueue(Generic[Item, Key]):
    """Items that wait, by key. ``most`` bounds how many, all together; 0: none may."""

    __slots__ = ("_by_count", "_key_of", "_longest", "_most", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Key, dict[Item, None]] = {}  # keys in the order of their turns
        self._key_of: dict[Item, Key] = {}
        self._by_count: dict[int, dict[Key, None]] = {}
        self._longest = 0

    def __len__(self) -> int:
        return len(self._key_of)

    def __contains__(self, item: object) -> bool:
        return item in self._key_of

    def waiting_of(self, key: Key) -> int:
        """How many of a key wait."""
        return len(self._waiting.get(key, ()))

    def join(self, item: Item, key: Key) -> Item | None:
        """Let an item wait. One that waits already stays where it stands.

        Returns:
            Who is turned away: the item itself, or another that had to make room for it. None where all may wait.
        """
        if item in self._key_of:
            return None
        turned_away: Item | None = None
        if len(self._key_of) >= self._most:
            if self.waiting_of(key) + 1 >= self._longest:
                return item  # its own key would have the most
            longest = next(reversed(self._by_count[self._longest]))
            turned_away = next(reversed(self._waiting[longest]))
            self.leave(turned_away)
        count = self.waiting_of(key)
        self._waiting.setdefault(key, {})[item] = None
        self._key_of[item] = key
        self._recount(key, count, count + 1)
        return turned_away

    def leave(self, item: Item) -> None:
        """Take an item out that waits no more. Of one that does not wait nothing comes."""
        if item not in self._key_of:
            return
        key = self._key_of.pop(item)
        items = self._waiting[key]
        del items[item]
        if not items:
            del self._waiting[key]
        self._recount(key, len(items) + 1, len(items))

    def serve(self, item: Item) -> None:
        """Take an item out that has found its place: its key's next turn comes after all the others'."""
        key = self._key_of.get(item)
        self.leave(item)
        if key is not None and key in self._waiting:
            self._waiting[key] = self._waiting.pop(key)

    def in_turn(self) -> Iterator[Item]:
        """Go through all that wait now, a round after the other. Those that leave meanwhile are left out."""
        rows = [list(items) for items in self._waiting.values()]
        place = 0
        while rows:
            for row in rows:
                if row[place] in self._key_of:
                    yield row[place]
            place += 1
            rows = [row for row in rows if len(row) > place]

    def _recount(self, key: Key, before: int, after: int) -> None:
        """Keep book of how many of a key wait, and of the most. ``after`` differs by one."""
        if before:
            keys = self._by_count[before]
            del keys[key]
            if not keys:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, {})[key] = None
        if after > self._longest or self._longest not in self._by_count:
            self._longest = after
