"""How do the limits of a subject stand: what was used of each, what is left, when is there room for a request?"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from app.services.core.limits.counter import fits
from app.services.core.people.principal import LimitRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.services.core.limits.counter import Counter, Need

__all__ = ["Kind", "Shortfall", "Standing", "shortfalls", "standings"]


class Kind(StrEnum):
    """A limit, by its name in ``Limits``."""

    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    TOKENS_PER_DAY = "tokens_per_day"
    TOKENS_PER_MONTH = "tokens_per_month"
    CONCURRENCY = "concurrency"

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens are what it limits."""
        return self not in {Kind.REQUESTS_PER_MINUTE, Kind.CONCURRENCY}


class Standing(msgspec.Struct, frozen=True):
    """One limit at one moment.

    Attributes:
        rule: whose limit it is, and for which model.
        kind: which one.
        limit: how much may be used.
        used: how much is, with what requests in flight have reserved; more than the limit where an answer was longer
            than it seemed, or where the limit was lowered.
        resets_in_seconds: when nothing of it will be used any more, if nothing else comes; 0 where nothing is, and for
            concurrency, which resets when requests end.
    """

    rule: LimitRule
    kind: Kind
    limit: int
    used: int
    resets_in_seconds: float

    @property
    def subject_kind(self) -> str:
        """What it is that is limited: ``key``, ``person``, ``group`` or ``model``."""
        return self.rule.subject.partition(":")[0]

    @property
    def model(self) -> str | None:
        """The only model that counts for it; None: all do."""
        return self.rule.model

    @property
    def remaining(self) -> int:
        """How much may still be used."""
        return max(self.limit - self.used, 0)


class Shortfall(msgspec.Struct, frozen=True):
    """A limit that a request does not fit under.

    Attributes:
        standing: which one.
        wanted: what the request takes of it.
        wait_seconds: when it will fit, if nothing else comes; infinity if never.
    """

    standing: Standing
    wanted: int
    wait_seconds: float


def standings(rule: LimitRule, counter: Counter, now: float, wall: float) -> Iterator[Standing]:
    """Yield how each limit of a rule stands."""
    limits, minute = rule.limits, counter.minute
    if (limit := limits.requests_per_minute) is not None:
        empty_in = minute.empty_in("requests", now)
        yield Standing(rule, Kind.REQUESTS_PER_MINUTE, limit, minute.requests, empty_in)
    if (limit := limits.tokens_per_minute) is not None:
        empty_in = minute.empty_in("tokens", now)
        yield Standing(rule, Kind.TOKENS_PER_MINUTE, limit, minute.tokens, empty_in)
    for kind, limit, calendar in (
        (Kind.TOKENS_PER_DAY, limits.tokens_per_day, counter.day),
        (Kind.TOKENS_PER_MONTH, limits.tokens_per_month, counter.month),
    ):
        if limit is not None:
            period = None if calendar is None else calendar.at(wall)
            used, ends_in = (0, 0.0) if period is None else (period.used, period.ends_at - wall)
            yield Standing(rule, kind, limit, used, ends_in if used else 0.0)
    if (limit := limits.concurrency) is not None:
        yield Standing(rule, Kind.CONCURRENCY, limit, counter.in_flight, 0.0)


def shortfalls(rule: LimitRule, counter: Counter, need: Need, now: float, wall: float) -> Iterator[Shortfall]:
    """Yield the limits of a rule that a request does not fit under now."""
    prompt, whole = need.prompt_tokens, counter.estimate(need)
    for standing in standings(rule, counter, now, wall):
        limit = standing.limit
        if not standing.kind.counts_tokens:
            if standing.used >= limit:
                yield Shortfall(standing, 1, _wait_for_requests(standing, counter, now))
        elif prompt > limit or limit < 1:
            yield Shortfall(standing, prompt or 1, math.inf)
        elif not fits(prompt, whole, standing.used, limit):
            wanted = min(whole, limit)
            yield Shortfall(standing, wanted, _wait_for_tokens(standing, counter, wanted, now))


def _wait_for_requests(standing: Standing, counter: Counter, now: float) -> float:
    """Return when one more request fits in. A place is free as soon as a request ends: nobody knows when."""
    return 0.0 if standing.kind is Kind.CONCURRENCY else counter.minute.room_in("requests", 1, standing.limit, now)


def _wait_for_tokens(standing: Standing, counter: Counter, wanted: int, now: float) -> float:
    """Return when so many more tokens fit in."""
    if standing.kind is Kind.TOKENS_PER_MINUTE:
        return counter.minute.room_in("tokens", wanted, standing.limit, now)
    return standing.resets_in_seconds
