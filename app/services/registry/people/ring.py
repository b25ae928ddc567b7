"""Which secrets open the gateway now, and as whom? Kept key by key, handed out as a ring swapped whole."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from app.services.core.keys import KeyRing
from app.services.registry.people.principals import principal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from app.services.core.people.principal import Principal
    from app.services.registry.people.book import PeopleBook
    from app.services.registry.people.records import KeyRecord, SecretRecord

__all__ = ["RingMaker"]

_SLICE: Final = 250
"""So many keys are made anew in some 5 ms."""


class RingMaker:
    """The ring that a book makes, with the operator's own key always in it.

    A change costs a copy of two dictionaries, and the principals that it touches.

    Args:
        admin_ring: the operator's key.
        book: all others.
    """

    __slots__ = ("_admin", "_book", "_by_key", "_digests", "_due", "_ended", "_principals", "_soonest", "ring")

    def __init__(self, admin_ring: KeyRing, book: PeopleBook) -> None:
        self._admin = admin_ring
        self._book = book
        self._principals: dict[bytes, Principal] = {}
        self._ended: dict[bytes, str] = {}
        self._by_key: dict[str, Principal] = {}
        self._digests: dict[str, tuple[bytes, ...]] = {}
        self._due: dict[str, datetime] = {}
        self._soonest: datetime | None = None
        """No end comes before this; it may be too early."""
        self.ring = admin_ring
        """All keys that are good now."""

    def principal(self, key_id: str) -> Principal | None:
        """Who a key stands for now; None where it is not good."""
        return self._by_key.get(key_id)

    def due(self, now: datetime) -> list[str]:
        """The keys of which something has ended since they were last looked at. Costs one comparison until it has."""
        if self._soonest is None or now < self._soonest:
            return []
        return [key_id for key_id, instant in self._due.items() if instant <= now]

    def update(self, key_ids: Iterable[str], now: datetime) -> Iterator[None]:
        """Make the ring anew where it depends on these keys, a slice at a time; the last one swaps it.

        Nobody else may update it before that.

        Args:
            key_ids: with all that hang on them.
            now: the present moment.
        """
        self._principals, self._ended = dict(self._principals), dict(self._ended)
        changed = tuple(key_ids)
        stale = set(changed)
        for position, key_id in enumerate(changed, 1):
            for key in self._chain(key_id, stale):
                stale.discard(key.id)
                self._put(key, now)
            if key_id in stale:  # it is in the book no more
                self._drop(key_id)
            if position % _SLICE == 0:
                yield
        if self._soonest is not None and self._soonest <= now:
            self._soonest = min(self._due.values(), default=None)
        self._principals.update(self._admin.principals)
        self.ring = KeyRing(MappingProxyType(self._principals), MappingProxyType(self._ended))

    def _chain(self, key_id: str, stale: set[str]) -> list[KeyRecord]:
        """A key after those that it hangs on, as far as those are stale themselves."""
        chain: list[KeyRecord] = []
        key = self._book.keys.get(key_id)
        while key is not None and key.id in stale and key not in chain:
            chain.append(key)
            key = self._book.binding_minter(key)
        return chain[::-1]

    def _drop(self, key_id: str) -> None:
        self._by_key.pop(key_id, None)
        self._due.pop(key_id, None)
        for digest in self._digests.pop(key_id, ()):
            self._principals.pop(digest, None)
            self._ended.pop(digest, None)

    def _put(self, key: KeyRecord, now: datetime) -> None:
        self._drop(key.id)
        words = self._end_of(key, now)
        if not words:
            self._by_key[key.id] = self._principal(key)
        for secret in key.secrets:
            told = words or _end_of_secret(secret, now)
            if told:
                self._ended[secret.digest] = told
            else:
                self._principals[secret.digest] = self._by_key[key.id]
        if key.secrets:
            self._digests[key.id] = tuple(secret.digest for secret in key.secrets)
        ahead = min((instant for instant in _ends(key) if instant > now), default=None)
        if ahead is not None and key.revoked_at is None:
            self._due[key.id] = ahead
            self._soonest = ahead if self._soonest is None else min(self._soonest, ahead)

    def _principal(self, key: KeyRecord) -> Principal:
        group = None if key.group_id is None else self._book.groups[key.group_id]
        minter = self._book.binding_minter(key)
        return principal_of(key, group, None if minter is None else self._by_key[minter.id])

    def _end_of(self, key: KeyRecord, now: datetime) -> str:
        """Say why a key is not good; empty where it is."""
        if key.revoked_at is not None:
            return f"This key was revoked on {_day(key.revoked_at)}."
        if key.expires_at is not None and key.expires_at <= now:
            return f"This key expired on {_day(key.expires_at)}."
        minter = self._book.binding_minter(key)
        if minter is not None and minter.id not in self._by_key:
            return "The key that this one was made with has ended, and so has this one."
        if key.group_id is not None and key.group_id not in self._book.groups:
            return "The group of this key can't be read from the database."
        return ""


def _end_of_secret(secret: SecretRecord, now: datetime) -> str:
    """Say why one secret of a good key does not open it any more; empty where it does."""
    if secret.expires_at is None or now < secret.expires_at:
        return ""
    return f"This key was replaced on {_day(secret.expires_at)}: use the newer one."


def _ends(key: KeyRecord) -> Iterator[datetime]:
    """The moments at which something of a key ends."""
    if key.expires_at is not None:
        yield key.expires_at
    for secret in key.secrets:
        if secret.expires_at is not None:
            yield secret.expires_at


def _day(instant: datetime) -> str:
    return instant.date().isoformat()
