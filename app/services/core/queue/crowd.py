"""Who has the most waiting, and which of theirs came last? Those make room when a queue is full.

Joining, leaving and asking take the same time however many wait: dictionaries keep the order of arrival, and people are
kept by how many of theirs wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Crowd"]

Item = TypeVar("Item", bound="Hashable")


class Crowd(Generic[Item]):
    """Items that wait, by person. ``most`` is how many wait of who has the most."""

    __slots__ = ("_by_count", "_waiting", "most")

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Item, None]] = {}
        self._by_count: dict[int, dict[str, None]] = {}
        self.most = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def waiting_of(self, person: str) -> int:
        """How many of a person wait."""
        return len(self._waiting.get(person, ()))

    def join(self, item: Item, person: str) -> None:
        """Note one that waits from now on."""
        items = self._waiting.setdefault(person, {})
        items[item] = None
        self._recount(person, len(items) - 1, len(items))

    def leave(self, item: Item, person: str) -> None:
        """Forget one that waits."""
        items = self._waiting[person]
        del items[item]
        if not items:
            del self._waiting[person]
        self._recount(person, len(items) + 1, len(items))

    def newest_of_the_most(self) -> Item:
        """The item that came last of the person with the most; somebody has to wait."""
        person = next(reversed(self._by_count[self.most]))
        return next(reversed(self._waiting[person]))

    def _recount(self, person: str, before: int, after: int) -> None:
        """Keep book of how many of a person wait, and of the most. ``after`` differs by one."""
        if before:
            people = self._by_count[before]
            del people[person]
            if not people:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, {})[person] = None
        if after > self.most or self.most not in self._by_count:
            self.most = after
