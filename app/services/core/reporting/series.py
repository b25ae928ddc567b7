"""How much went through, over time? Sums in buckets of ten seconds, of a minute and of half an hour, by whose servers.

A bucket knows for how many seconds it was watched: a rate is what came in so many seconds, and where nobody watched,
because the gateway did not run, there is no rate at all. Times are Unix seconds and come in as arguments; a wall clock
that jumps leaves a gap, or two measures of one time that are told as one.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import add
from typing import TYPE_CHECKING, Final

from app.services.core.reporting.tallies import TIME_BOUNDS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

__all__ = ["POOL", "SPANS", "Bucket", "History", "Series", "Span", "first_token_seconds", "rate", "share"]

POOL: Final = ""
"""Stands for all servers together, where else the id of the key stands that registered them."""
_LEAST_SECONDS: Final = 1.0
"""A bucket that was watched for less tells no rate."""
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Span:
    """How far back a chart goes: so many points, so many seconds apart."""

    name: str
    step_seconds: int
    points: int


SPANS: Final[Mapping[str, Span]] = {
    span.name: span for span in (Span("15m", 10, 90), Span("6h", 60, 360), Span("7d", 1800, 336))
}
"""By what they are called."""


class Bucket:
    """What came in some time.

    Attributes:
        seconds: for how long it was watched. Only the whole pool's buckets know.
        requests: how many ended.
        errors: how many of them were answered with a status from 400 on; a client that left is none.
        prompt_tokens: of those that ended.
        completion_tokens: likewise.
        continuations: how often a broken answer went on elsewhere, and came to a good end.
        queued_most: the most that waited for a place when it was looked.
        first_tokens: how many streams began within each of ``tallies.TIME_BOUNDS_SECONDS``, and beyond; None: none did.
    """

    __slots__ = (
        "completion_tokens",
        "continuations",
        "errors",
        "first_tokens",
        "prompt_tokens",
        "queued_most",
        "requests",
        "seconds",
    )

    def __init__(self, seconds: float = 0.0, queued_most: int = 0) -> None:
        self.seconds = seconds
        self.requests = 0
        self.errors = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.continuations = 0
        self.queued_most = queued_most
        self.first_tokens: Sequence[int] | None = None

    @property
    def tokens(self) -> int:
        """Both kinds together."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, other: Bucket) -> None:
        """Take another one's in."""
        self.seconds += other.seconds
        self.requests += other.requests
        self.errors += other.errors
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.continuations += other.continuations
        self.queued_most = max(self.queued_most, other.queued_most)
        if other.first_tokens is not None:
            self.began(other.first_tokens)

    def began(self, first_tokens: Sequence[int]) -> None:
        """Take in how many streams began how fast."""
        self.first_tokens = first_tokens if self.first_tokens is None else [*map(add, self.first_tokens, first_tokens)]


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each of ``times``, the beginnings of the steps; None where the gateway did not run.

    Attributes:
        span: which one.
        times: Unix seconds, a step apart.
        requests_per_second: how many ended.
        prompt_tokens_per_second: of those that ended.
        completion_tokens_per_second: likewise.
        errors_share: of the requests, 0.0 to 1.0; None where there was none.
        continuations: how often a broken answer went on elsewhere.
        queued_most: the most that waited for a place; None for all steps but for the whole pool.
        first_token_p50_seconds: half of the streams began within so long; None where none began.
        first_token_p95_seconds: 95 of 100 did.
    """

    span: Span
    times: tuple[int, ...]
    requests_per_second: tuple[float | None, ...]
    prompt_tokens_per_second: tuple[float | None, ...]
    completion_tokens_per_second: tuple[float | None, ...]
    errors_share: tuple[float | None, ...]
    continuations: tuple[int | None, ...]
    queued_most: tuple[int | None, ...]
    first_token_p50_seconds: tuple[float | None, ...]
    first_token_p95_seconds: tuple[float | None, ...]


class History:
    """All buckets, by step, by whose servers, by number (Unix time in steps)."""

    __slots__ = ("_rings",)

    def __init__(self) -> None:
        self._rings: dict[int, dict[str, dict[int, Bucket]]] = {span.step_seconds: {} for span in SPANS.values()}

    def add(self, owner: str, at: float, bucket: Bucket) -> None:
        """Take in what came at a time, at every step.

        Args:
            owner: whose servers served it; ``POOL`` for all together.
            at: Unix seconds.
            bucket: what came; it is not kept.
        """
        for step in self._rings:
            self.put(step, owner, int(at // step), bucket)

    def put(self, step: int, owner: str, number: int, bucket: Bucket) -> None:
        """Take in what came in one step."""
        ring = self._rings[step].setdefault(owner, {})
        kept = ring.get(number)
        if kept is None:
            kept = ring[number] = Bucket()
        kept.add(bucket)

    def forget(self, now: float) -> None:
        """Drop what no span tells any more, and what would lie in the future had the clock been right."""
        for span in SPANS.values():
            number, ring = int(now // span.step_seconds), self._rings[span.step_seconds]
            for owner, buckets in list(ring.items()):
                for each in [each for each in buckets if abs(each - number) > span.points]:
                    del buckets[each]
                if not buckets:
                    del ring[owner]

    def buckets(self, step: int, owners: Collection[str], numbers: Iterable[int]) -> Iterator[tuple[int, Bucket]]:
        """Give what came in some steps on the servers of some, with how long each was watched, which is the pool's."""
        pool = self._rings[step].get(POOL, {})
        rings = [ring for owner in owners if (ring := self._rings[step].get(owner))]
        for number in numbers:
            watched = pool.get(number)
            bucket = Bucket()
            for ring in rings:
                if (found := ring.get(number)) is not None:
                    bucket.add(found)
            bucket.seconds = 0.0 if watched is None else watched.seconds
            yield number, bucket

    def minute(self, owner: str, number: int) -> Bucket | None:
        """What came in one minute; None where nothing is known of it."""
        return self._rings[SPANS["6h"].step_seconds].get(owner, {}).get(number)

    def owners(self) -> set[str]:
        """Whose servers served anything in all this time."""
        return {owner for ring in self._rings.values() for owner in ring if owner != POOL}

    def lately(self, owners: Collection[str], now: float, seconds: int) -> Bucket:
        """Add up what came in the last ``seconds``, to the step."""
        step = min(self._rings)
        last, total = int(now // step), Bucket()
        for _number, bucket in self.buckets(step, owners, range(last - seconds // step + 1, last + 1)):
            total.add(bucket)
        return total

    def series(self, span: Span, owners: Collection[str], now: float, steps_a_row: int = 1) -> Series:
        """Tell a span up to now, of the servers of some together; so many of its steps as one."""
        step = span.step_seconds
        last = int(now // step)
        watched = self._rings[step].get(POOL, {}).get(last)
        if watched is None or watched.seconds < _LEAST_SECONDS:
            last -= 1
        found = self.buckets(step, owners, range(last - span.points + 1, last + 1))
        rows = [
            _point(row * steps_a_row * step, bucket, is_pool=POOL in owners)
            for row, bucket in _together(found, steps_a_row)
        ]
        return Series(Span(span.name, step * steps_a_row, len(rows)), *zip(*rows, strict=True))


def _together(found: Iterable[tuple[int, Bucket]], steps_a_row: int) -> Iterator[tuple[int, Bucket]]:
    """Add up so many steps that follow each other, counted from the beginning of time."""
    for row, steps in groupby(found, lambda each: each[0] // steps_a_row):
        total = Bucket()
        for _number, bucket in steps:
            total.add(bucket)
        yield row, total


def rate(amount: float, seconds: float) -> float | None:
    """So much a second; None where it was not watched for long enough."""
    return None if seconds < _LEAST_SECONDS else round(max(amount, 0) / seconds, _DIGITS)


def share(part: int, whole: int) -> float | None:
    """A part of the whole, 0.0 to 1.0; None where there is no whole."""
    return round(part / whole, _DIGITS) if whole else None


def first_token_seconds(first_tokens: Sequence[int] | None, quantile: float) -> float | None:
    """Within how many seconds this part of the streams began, as far as a histogram tells.

    Inside a bucket they are taken to lie evenly, as Prometheus does; beyond the last bound it is that bound.

    Args:
        first_tokens: counts by ``TIME_BOUNDS_SECONDS``.
        quantile: 0.5 for the median.
    """
    sums = [] if first_tokens is None else list(accumulate(first_tokens))
    if not sums or sums[-1] <= 0:
        return None
    wanted = quantile * sums[-1]
    place = bisect_left(sums, wanted)
    if place >= len(TIME_BOUNDS_SECONDS):
        return TIME_BOUNDS_SECONDS[-1]
    below, before = (TIME_BOUNDS_SECONDS[place - 1], sums[place - 1]) if place else (0.0, 0)
    inside = (wanted - before) / max(sums[place] - before, 1)
    return round(below + (TIME_BOUNDS_SECONDS[place] - below) * inside, _DIGITS)


def _point(time: int, bucket: Bucket, *, is_pool: bool) -> tuple[float | None, ...]:
    """One step, in the order of ``Series``."""
    seconds = bucket.seconds
    if seconds < _LEAST_SECONDS:
        return (time, *(None,) * 8)
    return (
        time,
        rate(bucket.requests, seconds),
        rate(bucket.prompt_tokens, seconds),
        rate(bucket.completion_tokens, seconds),
        share(bucket.errors, bucket.requests),
        bucket.continuations,
        bucket.queued_most if is_pool else None,
        first_token_seconds(bucket.first_tokens, 0.5),
        first_token_seconds(bucket.first_tokens, 0.95),
    )
