"""Which sign-ins live, and what of them is not yet in the database? Pure state: instants and rows come in.

A session is put off its end with each use; the database follows from time to time, so that looking costs no writing.
Whose a stored session is shows only when its cookie comes (``core.people.session``); until then it is nobody's. That
all sessions of a key were ended is a row of its own, a mark, which is asked when one of them comes that was nobody's.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from app.services.core.people.session import everywhere_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from app.services.core.people.session import Lifetime, StoredSession

__all__ = ["MOST", "MOST_NOTICES", "MOST_OF_A_KEY", "LiveSession", "Roll"]

MOST_OF_A_KEY: Final = 20
MOST: Final = 10_000
MOST_NOTICES: Final = 10


@dataclass(slots=True)
class LiveSession:
    """A session in memory.

    Attributes:
        stored: as the database has it.
        end: when it ends if it is not used again.
        key_id: whose it is; None until its cookie came.
        minter: the key that made that one, or that one itself; None until its cookie came.
        notices: what its next page is to tell once.
    """

    stored: StoredSession
    end: datetime
    key_id: str | None = None
    minter: str | None = None
    notices: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_NOTICES))


class Roll:
    """All sessions, by id, with the marks among them.

    Args:
        lifetime: how long one lasts.
        most_of_a_key: so many sessions of one key live at once.
        most: so many do in all.
    """

    __slots__ = ("_closed", "_lifetime", "_live", "_most", "_most_of_a_key", "_unsaved")

    def __init__(self, lifetime: Lifetime, most_of_a_key: int = MOST_OF_A_KEY, most: int = MOST) -> None:
        self._lifetime = lifetime
        self._most_of_a_key = most_of_a_key
        self._most = most
        self._live: dict[bytes, LiveSession] = {}
        self._unsaved: set[bytes] = set()
        """Sessions whose end in the database is much too early."""
        self._closed: dict[bytes, None] = {}
        """Sessions that have ended here and may be in the database still."""

    def __len__(self) -> int:
        """How many there are, marks and ended ones among them."""
        return len(self._live)

    def living(self, id_: bytes, now: datetime) -> LiveSession | None:
        """Find a session that has not ended."""
        live = self._live.get(id_)
        return None if live is None or live.end <= now else live

    def take_over(self, stored: Iterable[StoredSession]) -> None:
        """Live on with what the database has; what was known of it stays known, what it has no more is gone."""
        before = self._live
        self._live = {one.id: _joined(one, before.get(one.id)) for one in stored if one.id not in self._closed}
        self._unsaved &= self._live.keys()
        self.close([id_ for id_, live in self._live.items() if self._has_ended_everywhere(live)])

    def add(self, stored: StoredSession, key_id: str | None, minter: str | None = None) -> None:
        """Begin a session, or put a mark (of no key), that the database has."""
        self._live[stored.id] = LiveSession(stored, stored.expires_at, key_id, minter or key_id)

    def claim(self, live: LiveSession, key_id: str, minter: str | None = None) -> bool:
        """Note whose a session is; False where all of that key's were ended since it began, and with them this one."""
        if live.key_id is None:
            live.key_id, live.minter = key_id, minter or key_id
            if self._has_ended_everywhere(live):
                self.close([live.stored.id])
                return False
        return True

    def use(self, live: LiveSession, now: datetime) -> None:
        """Put a session's end off."""
        live.end = max(live.end, self._lifetime.end(live.stored.created_at, now))
        if self._lifetime.is_worth_saving(live.stored.expires_at, live.end):
            self._unsaved.add(live.stored.id)

    def of_key(self, key_id: str) -> list[bytes]:
        """The sessions that are known to be a key's, the oldest first."""
        own = [(live.stored.created_at, id_) for id_, live in self._live.items() if live.key_id == key_id]
        return [id_ for _created_at, id_ in sorted(own)]

    def has_nobodys(self) -> bool:
        """Whether there are sessions of which it did not show yet whose they are."""
        return any(live.key_id is None and not live.stored.is_mark for live in self._live.values())

    def crowded_out(self, key_id: str) -> list[bytes]:
        """Which sessions have to end before a key begins one more: its oldest, and one more where all are too many."""
        own = self.of_key(key_id)
        crowded = own[: max(0, len(own) - self._most_of_a_key + 1)]
        if len(self._live) - len(crowded) >= self._most:
            crowded += self._least_missed(set(crowded))
        return crowded

    def _least_missed(self, without: set[bytes]) -> list[bytes]:
        """The session unused the longest of whoever has the most, with the keys that it made: nobody crowds out others.

        None where there are but marks.
        """
        found = [(id_, one) for id_, one in self._live.items() if not (one.stored.is_mark or id_ in without)]
        counts = Counter(one.minter for _id, one in found)
        most = max(counts.values(), default=0)
        ends = [(one.end, id_) for id_, one in found if counts[one.minter] == most]
        return [min(ends)[1]] if ends else []

    def close(self, ids: Iterable[bytes]) -> None:
        """End sessions; the database is to be told."""
        for id_ in ids:
            self.drop(id_)
            self._closed[id_] = None

    def drop(self, id_: bytes) -> None:
        """Forget a session that the database does not have any more."""
        self._live.pop(id_, None)
        self._unsaved.discard(id_)

    def expire(self, now: datetime) -> None:
        """Forget what has ended, and see that the database does not forget what has been put off."""
        for id_ in [id_ for id_, live in self._live.items() if live.end <= now]:
            self.drop(id_)
        self._unsaved.update(id_ for id_, live in self._live.items() if live.stored.expires_at <= now)

    def unwritten(self) -> tuple[dict[bytes, datetime], tuple[bytes, ...]]:
        """What the database is to be told: new ends by id, and which sessions were closed."""
        return {id_: self._live[id_].end for id_ in self._unsaved}, tuple(self._closed)

    def written(self, ends: Mapping[bytes, datetime], closed: Iterable[bytes]) -> None:
        """The database was told that."""
        for id_ in closed:
            self._closed.pop(id_, None)
        for id_, end in ends.items():
            self._unsaved.discard(id_)
            live = self._live.get(id_)
            if live is not None:
                live.stored = replace(live.stored, expires_at=end)

    def _has_ended_everywhere(self, live: LiveSession) -> bool:
        """Whether all sessions of its key were ended after it began."""
        mark = None if live.key_id is None else self._live.get(everywhere_id(live.key_id))
        return mark is not None and live.stored.created_at <= mark.stored.created_at


def _joined(stored: StoredSession, known: LiveSession | None) -> LiveSession:
    """Put what the database says together with what is known."""
    if known is None:
        return LiveSession(stored, stored.expires_at)
    return replace(known, stored=stored, end=max(known.end, stored.expires_at))
