"""How is use added up? Sums of outcomes by hour, key, person, group, model, server and the server's owner.

An answer without a model (a wrong key's 401, the list of models) is no use. A client that left is: it counts as a
request with the tokens that it took, and is nobody's error. Every request pays for this, so an outcome costs one look
into a dictionary and a few additions. What clients can invent grows neither memory nor tables: names of models that no
server has share one row, and so do the people of an hour beyond as many as a front end's key may name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from app.services.core.reporting.outcome import CLIENT_LEFT

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from app.services.core.reporting.outcome import Outcome
    from app.services.core.types import Server

__all__ = [
    "HOUR_SECONDS",
    "MOST_PEOPLE",
    "MOST_PEOPLE_OF_A_KEY",
    "MOST_ROWS",
    "OTHERS",
    "UNKNOWN_MODEL",
    "Use",
    "UseKey",
    "UseTally",
]

HOUR_SECONDS: Final = 3600
UNKNOWN_MODEL: Final = "(unknown)"
"""Stands for names that no server has."""
OTHERS: Final = "(others)"
"""Stands for people, models, servers and keys beyond as many as are told apart."""
MOST_PEOPLE_OF_A_KEY: Final = 1000
"""So many people are told apart of those that one front end's key names in an hour."""
MOST_PEOPLE: Final = 10_000
"""So many of those that all of them name in an hour."""
MOST_ROWS: Final = 20_000
"""From so many rows that wait to be written on, new ones are merged: nothing of the sums is lost, only detail."""
_HOURS_TOLD_APART = 2
_OWNERS_REMEMBERED = 10_000


class UseKey(NamedTuple):
    """What one row stands for. Empty text stands for nobody: no group, no server reached, no owner."""

    hour: int
    """Unix time of its beginning, in hours."""
    key_id: str
    person: str
    group: str
    model: str
    server_id: str
    owner: str


class Use:
    """Sums of one row. ``estimated_tokens`` are those of both kinds that no engine counted."""

    __slots__ = (
        "completion_tokens",
        "continuations",
        "errors",
        "estimated_tokens",
        "prompt_tokens",
        "requests",
        "seconds",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.estimated_tokens = 0
        self.continuations = 0
        self.seconds = 0.0

    def add(self, other: Use) -> None:
        """Take another row's sums in."""
        for name in Use.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class UseTally:
    """What was used and waits to be written."""

    __slots__ = ("_named", "_owners", "_rows", "_seen")

    def __init__(self) -> None:
        self._rows: dict[UseKey, Use] = {}
        self._seen: dict[tuple[float, str, str, str, str, str | None], Use] = {}
        """The same rows by what outcomes say, as far as that is what a row says."""
        self._named: dict[int, dict[str, set[str]]] = {}
        """By hour and key: the people that front ends named."""
        self._owners: dict[str, str] = {}

    def count(self, outcomes: Iterable[Outcome], models: Container[str], servers: Mapping[str, Server]) -> None:
        """Take a batch in.

        Args:
            outcomes: what became of each request.
            models: the names that are real: those that can be asked for.
            servers: those that are registered, by id; they tell their owners.
        """
        seen = self._seen.get
        for outcome in outcomes:
            model = outcome.model
            if not model:
                continue
            said = (
                outcome.ended_at // HOUR_SECONDS,
                outcome.key_id,
                outcome.person,
                outcome.group,
                model,
                outcome.server_id,
            )
            use = seen(said) or self._use(said, models, servers)
            usage = outcome.usage
            prompt_tokens, completion_tokens = usage.prompt_tokens, usage.completion_tokens
            use.requests += 1
            use.prompt_tokens += prompt_tokens
            use.completion_tokens += completion_tokens
            use.seconds += outcome.duration_seconds
            if usage.estimated:
                use.estimated_tokens += prompt_tokens + completion_tokens
            if outcome.status >= 400:
                use.errors += outcome.status != CLIENT_LEFT
            if outcome.attempts > 1:
                use.continuations += outcome.continuations

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._rows

    def take(self) -> dict[UseKey, Use]:
        """Hand over what was counted since the last time."""
        rows, self._rows, self._seen = self._rows, {}, {}
        return rows

    def give_back(self, rows: Mapping[UseKey, Use]) -> None:
        """Take rows in again that could not be written."""
        for key, use in rows.items():
            self._at(key).add(use)

    def _use(
        self,
        said: tuple[float, str, str, str, str, str | None],
        models: Container[str],
        servers: Mapping[str, Server],
    ) -> Use:
        """Find or make the row of an outcome that is new, or that has none of its own."""
        exact_hour, key_id, named, group, asked, server_id = said
        hour = int(exact_hour)
        person = self._person(hour, key_id, named)
        model = asked if server_id is not None or asked in models else UNKNOWN_MODEL
        key = UseKey(hour, key_id, person, group, model, server_id or "", self._owner(server_id, servers))
        use = self._at(key)
        if person == named and model == asked and key in self._rows:
            self._seen[said] = use
        return use

    def _at(self, key: UseKey) -> Use:
        """The row of a key, or that of many keys where too many wait."""
        rows = self._rows
        use = rows.get(key)
        if use is not None:
            return use
        room = MOST_ROWS - len(rows)
        if room <= 0:
            key = key._replace(person=OTHERS, model=OTHERS, server_id=OTHERS)
            if room <= -MOST_ROWS and key not in rows:
                key = UseKey(key.hour, OTHERS, OTHERS, "", OTHERS, OTHERS, "")
        return rows.setdefault(key, Use())

    def _person(self, hour: int, key_id: str, person: str) -> str:
        """The person as the row names it; of those that a front end names only so many are told apart."""
        if not person.startswith(f"{key_id}/"):
            return person
        keys = self._named.get(hour)
        if keys is None:
            keys = self._named[hour] = {}
            for past in sorted(self._named)[:-_HOURS_TOLD_APART]:
                del self._named[past]
        people = keys.setdefault(key_id, set())
        if person not in people:
            if len(people) >= MOST_PEOPLE_OF_A_KEY or sum(map(len, keys.values())) >= MOST_PEOPLE:
                return OTHERS
            people.add(person)
        return person

    def _owner(self, server_id: str | None, servers: Mapping[str, Server]) -> str:
        """Whose the server is, or was: it may be gone by the time that its last answer ends."""
        if server_id is None:
            return ""
        server = servers.get(server_id)
        if server is None:
            return self._owners.get(server_id, "")
        if server_id not in self._owners and len(self._owners) >= _OWNERS_REMEMBERED:
            self._owners = {known: owner for known, owner in self._owners.items() if known in servers}
        self._owners[server_id] = server.owner
        return server.owner
