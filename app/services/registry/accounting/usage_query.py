"""What may be asked of use, and by whom? Pure: values in, a verdict out.

An admin key sees all, one that is bound to a group what that group used. An owner's key sees two sides of its own:
what its servers **served** to whoever asked (never whose requests these were), and what it **used** with its own keys.
A user's key sees nothing here: ``GET /v1/usage`` tells it its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from app.services.core.errors import FieldsInvalid, NotAllowed
from app.services.core.people.principal import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.limits.standing import Standing
    from app.services.core.people.principal import Principal

__all__ = [
    "DEFAULT_DAYS",
    "MOMENT_PATTERN",
    "Contribution",
    "GroupBy",
    "Narrowing",
    "OwnUse",
    "Side",
    "Span",
    "UsageLine",
    "UsageQuery",
    "UsageReport",
    "UsageSums",
    "moment_of",
    "narrowed",
    "span_of",
]

DEFAULT_DAYS: Final = 30
"""How far back is looked where it is not said."""
MOMENT_PATTERN: Final = (
    "([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    "(Z|[+ -][0-9]{2}:[0-9]{2})?)?"
)
"""How a time is written: a date, or a date with a time of day, and that with its zone or without."""
_MOMENT: Final = re.compile(MOMENT_PATTERN)
_HOUR: Final = timedelta(hours=1)
_NOT_OF_SERVED: Final = frozenset({"key", "person", "group", "owner"})
"""Whose prompts an owner's servers served is not for the owner to know."""


class GroupBy(StrEnum):
    """What a row of an answer stands for."""

    KEY = "key"
    MODEL = "model"
    SERVER = "server"
    OWNER = "owner"
    GROUP = "group"
    PERSON = "person"
    HOUR = "hour"
    DAY = "day"

    @property
    def is_time(self) -> bool:
        """Whether rows go by time: then the oldest comes first."""
        return self in {GroupBy.HOUR, GroupBy.DAY}


class Side(StrEnum):
    """Which of its two sides an owner's key asks about."""

    SERVED = "served"
    """What its servers did for everybody."""
    USED = "used"
    """What it and the keys that it minted asked for."""


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since`` until before ``until``: whole hours, timezone-aware UTC."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A question.

    Attributes:
        group_by: what a row stands for.
        span: which hours.
        filters: by a name of ``GroupBy``: only use of one of these ids.
        side: which side, where an owner's key asks; None: as ``group_by`` implies.
        limit: how many rows at most.
        offset: how many rows are passed over first.
    """

    group_by: GroupBy
    span: Span
    filters: Mapping[GroupBy, frozenset[str]] = field(default_factory=dict)
    side: Side | None = None
    limit: int = 1000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What of all use a key may see; None: that does not narrow it.

    Attributes:
        owner: only what the servers of this key served.
        keys_of: only what this key and those that it minted used.
        group: only what this group used.
        key: only what this key used itself, by its id.
    """

    owner: str | None = None
    keys_of: str | None = None
    group: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class UsageSums:
    """What was used. ``estimated_tokens`` are those of both kinds that no engine counted; ``seconds`` add up."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_tokens: int = 0
    continuations: int = 0
    seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Both kinds together."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: UsageSums) -> UsageSums:
        """Both together."""
        return UsageSums(
            self.requests + other.requests,
            self.errors + other.errors,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated_tokens + other.estimated_tokens,
            self.continuations + other.continuations,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One row of an answer: whose use, by id and by what people call it."""

    id: str
    name: str
    sums: UsageSums


@dataclass(frozen=True, slots=True)
class UsageReport:
    """An answer. ``count`` rows there are in all, ``totals`` are those of all of them."""

    query: UsageQuery
    lines: tuple[UsageLine, ...]
    count: int
    totals: UsageSums


@dataclass(frozen=True, slots=True)
class Contribution:
    """What an owner gave and took.

    Attributes:
        owner: the id of the key that registered the servers.
        name: what it is called.
        group: the id of its group, empty where it has none.
        served: what its servers did for everybody.
        used: what it and the keys that it minted used.
        group_used: what its whole group used; None where it has none. Owners of one group share it.
    """

    owner: str
    name: str
    group: str
    served: UsageSums
    used: UsageSums
    group_used: UsageSums | None

    @property
    def balance_tokens(self) -> int:
        """How many more tokens it gave than it took; below zero where it took more."""
        return self.served.total_tokens - self.used.total_tokens


@dataclass(frozen=True, slots=True)
class OwnUse:
    """What a key used: today and this month (in UTC), this month by model, the most first; and how its limits stand."""

    day: datetime
    month: datetime
    today: UsageSums
    this_month: UsageSums
    models: tuple[UsageLine, ...]
    limits: tuple[Standing, ...]


def narrowed(principal: Principal, query: UsageQuery) -> tuple[UsageQuery, Narrowing]:
    """Say what of use a key may see.

    Returns:
        The question with its side filled in, and what narrows it.

    Raises:
        NotAllowed: it may not ask this.
    """
    if principal.role is Role.ADMIN:
        return replace(query, side=None), Narrowing(group=principal.group)
    if principal.role is not Role.OWNER:
        raise NotAllowed("This key sees its own use alone: GET /v1/usage, or the command `multiverse usage`.")
    asked = {query.group_by, *query.filters} & _NOT_OF_SERVED
    side = query.side or (Side.USED if asked else Side.SERVED)
    if side is Side.USED:
        if GroupBy.OWNER in asked:
            message = (
                "Whose servers served a key is for admin keys to see. Leave out owner, or ask for another group_by."
            )
            raise NotAllowed(message)
        return replace(query, side=side), Narrowing(keys_of=principal.key_id)
    if asked:
        message = (
            f"Whose requests your servers served is not told: leave out {', '.join(sorted(asked))}, "
            "or ask with side=used for what your own keys used."
        )
        raise NotAllowed(message)
    return replace(query, side=side), Narrowing(owner=principal.key_id)


def span_of(since: str | None, until: str | None, now: datetime) -> Span:
    """Read a span of time.

    Args:
        since: a date or an instant in ISO 8601; without a zone it is UTC. None: 30 days ago.
        until: likewise; what is from there on is left out. None: all until now.
        now: timezone-aware UTC.

    Returns:
        The whole hours that lie in it at least in part.

    Raises:
        FieldsInvalid: one is no time, or nothing lies between them.
    """
    begins = moment_of(since, "from") if since else _day_of(now) - timedelta(days=DEFAULT_DAYS)
    ends = moment_of(until, "to") if until else now + _HOUR
    if begins >= ends:
        message = f"Nothing lies from {begins.isoformat()} to {ends.isoformat()}. 'from' is the earlier one."
        raise FieldsInvalid(message, param="from" if since else "to")
    try:
        first, last = _whole_hour(begins), _whole_hour(ends)
        return Span(first, last if last == ends else last + _HOUR)
    except OverflowError as error:
        raise FieldsInvalid("to: the calendar ends there. Name an earlier time.", param="to") from error


def moment_of(text: str, param: str) -> datetime:
    """Read a date or an instant in ISO 8601; without a zone it is UTC.

    A plus sign that a URL turned into a space is one again.

    Raises:
        FieldsInvalid: it is none.
    """
    form = _MOMENT.fullmatch(text)
    if form is None:
        raise _no_time(param)
    date, time_of_day, zone = form.groups()
    try:
        read = datetime.fromisoformat(f"{date}T{time_of_day or '00:00'}{(zone or 'Z').replace(' ', '+')}")
        return read.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _no_time(param) from error


def _no_time(param: str) -> FieldsInvalid:
    message = f"{param}: should be a date like 2030-01-31 or a time like 2030-01-31T08:00:00Z."
    return FieldsInvalid(message, param=param)


def _whole_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _day_of(moment: datetime) -> datetime:
    return _whole_hour(moment).replace(hour=0)
