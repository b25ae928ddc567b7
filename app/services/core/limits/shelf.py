"""Which counters are kept, and which are forgotten?

Keys, groups and models are named by the operator and are as many as there are; people of front ends are named by
strangers. So names are bounded in length, a counter that was empty for an hour is forgotten, and of people only so many
are kept. Where there are more, some of those that came first are looked at, and one goes: one that is empty if there is
any, else the one that was idle for longest; never one with something in flight.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Final

from app.services.core.limits.counter import Counter

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_PEOPLE", "Shelf"]

MOST_PEOPLE: Final = 32_768
"""Some 55 MB, at 1.7 KB each with limits of every kind (``python -m bench.limits``)."""
MOST_CHARACTERS: Final = 200
_PERSON: Final = "person:"
_DIGEST_BYTES: Final = 16
_LOOKED_AT: Final = 16
"""Counters that are looked at to find one to let go."""
_GO_AT_ONCE: Final = 2
_IDLE_SECONDS: Final = 3600.0
"""What is usual for a subject is remembered for so long after its last request."""

_Key = str | tuple[str, str]


class Shelf:
    """All counters.

    Args:
        most_people: how many counters of people are kept.

    Attributes:
        counters: by subject, or by subject and model. A name that is too long is not found here, but by ``counter``.
    """

    __slots__ = ("_most_people", "_people", "_to_look_at", "counters")

    def __init__(self, most_people: int = MOST_PEOPLE) -> None:
        self._most_people = most_people
        self.counters: dict[_Key, Counter] = {}
        self._people: dict[_Key, Counter] = {}
        """Those of people, which are in ``counters`` too, in the order in which they are looked at."""
        self._to_look_at: list[Counter] = []

    def __len__(self) -> int:
        return len(self.counters)

    def counter(self, subject: str, model: str | None) -> Counter:
        """Return the counter of a subject; a new one, which is not kept before ``keep``, where there is none."""
        if len(subject) > MOST_CHARACTERS:
            subject = _shortened(subject)
        counter = self.counters.get(subject if model is None else (subject, model))
        return Counter(subject, model) if counter is None else counter

    def has_room_for(self, subject: str) -> bool:
        """Whether a counter of a subject can be kept without another one having to go."""
        return not subject.startswith(_PERSON) or len(self._people) < self._most_people

    def keep(self, counter: Counter, now: float, wall: float) -> list[Counter]:
        """Keep a new counter; return those that had to go for it.

        That are two at most: where more are kept than should be, for all had something in flight, they become fewer.
        """
        gone: list[Counter] = []
        key = _key(counter)
        if counter.subject.startswith(_PERSON):
            while len(self._people) >= self._most_people and len(gone) < _GO_AT_ONCE:
                found = self._let_go(now, wall)
                if found is None:
                    break
                gone.append(found)
            self._people[key] = counter
        self.counters[key] = counter
        counter.kept = True
        return gone

    def forget_idle(self, most: int, now: float, wall: float) -> Iterator[Counter]:
        """Look at some counters, each time at the next ones, and forget those that were empty for long; yield them.

        Those that stay let go of what is out of the minute: nobody may ask for them soon.
        """
        if not self._to_look_at:
            self._to_look_at = list(self.counters.values())
        for _ in range(min(most, len(self._to_look_at))):
            counter = self._to_look_at.pop()
            counter.minute.sweep(now)
            is_idle = now - counter.drawn_at >= _IDLE_SECONDS and counter.is_empty(now, wall)
            if is_idle and counter.kept:
                self._drop(counter)
                yield counter

    def _let_go(self, now: float, wall: float) -> Counter | None:
        """Forget the counter of one person; none if all that are looked at have something in flight."""
        looked_at = list(islice(self._people.items(), _LOOKED_AT))
        for key, counter in looked_at:  # whoever stays is looked at again when all others were
            del self._people[key]
            self._people[key] = counter
        idle = [counter for _, counter in looked_at if not counter.in_flight]
        if not idle:
            return None
        gone = min(idle, key=lambda counter: (not counter.is_empty(now, wall), counter.drawn_at))
        self._drop(gone)
        return gone

    def _drop(self, counter: Counter) -> None:
        key = _key(counter)
        del self.counters[key]
        self._people.pop(key, None)
        counter.kept = False


def _key(counter: Counter) -> _Key:
    return counter.subject if counter.model is None else (counter.subject, counter.model)


def _shortened(subject: str) -> str:
    """Bound a name, so that two of them stay two."""
    digest = hashlib.blake2b(subject.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{subject[: MOST_CHARACTERS - len(digest) - 1]}#{digest}"
