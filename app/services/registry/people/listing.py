"""Which keys does somebody look for, and which of those are on a page? Pure: records go in, a page comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.errors import FieldsInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from app.services.core.people.principal import Role
    from app.services.registry.people.records import KeyRecord, KeyState

__all__ = ["MAX_PAGE_KEYS", "KeyPage", "KeyPager", "KeyQuery", "slices"]

MAX_PAGE_KEYS: Final = 1000
"""So many are told at once in some 40 ms; all that there may be take four seconds."""
_LOOKED_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """A question for keys; what is None or empty narrows nothing.

    Attributes:
        group: the id of their group.
        role: what they may do.
        state: what they are good for now.
        text: stands in the name, the person, the id or what is shown of a secret, replaced ones too; case is ignored.
        after: the id of the last key of the page before.
        limit: how many are on a page at most.
        newest_first: the other way round.
    """

    group: str | None = None
    role: Role | None = None
    state: KeyState | None = None
    text: str = ""
    after: str | None = None
    limit: int = MAX_PAGE_KEYS
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some of the keys that were looked for.

    Attributes:
        keys: those of this page.
        total: how many there are on all pages.
        next_after: what is ``after`` for the next page; None: this is the last one.
    """

    keys: tuple[KeyRecord, ...]
    total: int
    next_after: str | None


class KeyPager:
    """Takes in all keys in their order, some at a time, and keeps those of one page.

    Args:
        query: what is looked for.
        may_see: whether who asks may see a key.
        state_of: what a key is good for now.
    """

    __slots__ = ("_begun", "_found", "_may_see", "_query", "_state_of", "_text", "_total")

    def __init__(
        self, query: KeyQuery, may_see: Callable[[KeyRecord], bool], state_of: Callable[[KeyRecord], KeyState]
    ) -> None:
        self._query = query
        self._may_see = may_see
        self._state_of = state_of
        self._text = query.text.strip().casefold()
        self._begun = query.after is None
        self._found: list[KeyRecord] = []
        self._total = 0

    def take(self, keys: Iterable[KeyRecord]) -> None:
        """Look at the next keys. One more than the page holds is kept: it tells whether there is another page."""
        for key in keys:
            if self._fits(key):
                self._total += 1
                if self._begun and len(self._found) <= self._query.limit:
                    self._found.append(key)
            if key.id == self._query.after:
                self._begun = True

    def page(self) -> KeyPage:
        """Return the page, when all keys were taken in.

        Raises:
            FieldsInvalid: the key that the page comes after is not there.
        """
        if not self._begun:
            message = "after: there is no such key any more. Leave it out to begin at the first page."
            raise FieldsInvalid(message, param="after")
        keys = tuple(self._found[: self._query.limit])
        return KeyPage(keys, self._total, keys[-1].id if len(self._found) > len(keys) else None)

    def _fits(self, key: KeyRecord) -> bool:
        query = self._query
        return (
            self._may_see(key)
            and (query.group is None or key.group_id == query.group)
            and (query.role is None or key.role is query.role)
            and (not self._text or _says(key, self._text))
            and (query.state is None or self._state_of(key) is query.state)
        )


def slices(keys: Iterable[KeyRecord], *, newest_first: bool) -> Iterator[Sequence[KeyRecord]]:
    """Yield keys, the oldest first or the other way round, so many at a time as are looked through in some 2 ms.

    What is added or forgotten meanwhile changes nothing.
    """
    ordered = tuple(keys)[::-1] if newest_first else tuple(keys)
    for start in range(0, len(ordered), _LOOKED_AT_ONCE):
        yield ordered[start : start + _LOOKED_AT_ONCE]


def _says(key: KeyRecord, text: str) -> bool:
    """Whether a text stands in what names a key."""
    return (
        text in key.name.casefold()
        or text in key.id
        or (key.person is not None and text in key.person.casefold())
        or any(text in secret.shown.casefold() for secret in key.secrets)
    )
