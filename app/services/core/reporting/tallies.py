"""How is what was served counted? Sums and histograms of outcomes, by model, server and status.

Every request pays for this, so an outcome costs one look into a dictionary, a few additions and two bisections.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import add
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from app.services.core.reporting.outcome import Outcome

__all__ = ["REMOVED_SERVER", "TIME_BOUNDS_SECONDS", "UNKNOWN_MODEL", "ModelTimes", "Tallies", "Tally"]

TIME_BOUNDS_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""Upper bounds of the buckets of durations and first tokens; one more bucket is beyond them."""
UNKNOWN_MODEL: Final = "(unknown)"
"""Names that no server has are counted under one label, so that no client can grow the figures without bound."""
REMOVED_SERVER: Final = "(removed)"
"""Servers that are gone are counted under one label once there are many, so that no owner can either."""
_MODELS_COUNTED = 1000
_SERVERS_COUNTED = 1000


class ModelTimes:
    """Histograms of one model on one server: how many requests fell into each bucket, and the sum of their seconds.

    First tokens are those of streams: a whole answer begins when it is done. An answer that no server had a part in,
    such as a wrong key's 401 or the list of models, has no duration.
    """

    __slots__ = ("duration_seconds_total", "durations", "first_token_seconds_total", "first_tokens")

    def __init__(self) -> None:
        self.durations = [0] * (len(TIME_BOUNDS_SECONDS) + 1)
        self.duration_seconds_total = 0.0
        self.first_tokens = [0] * (len(TIME_BOUNDS_SECONDS) + 1)
        self.first_token_seconds_total = 0.0

    def add(self, other: ModelTimes) -> None:
        """Take another one's counts in."""
        self.durations = [*map(add, self.durations, other.durations)]
        self.duration_seconds_total += other.duration_seconds_total
        self.first_tokens = [*map(add, self.first_tokens, other.first_tokens)]
        self.first_token_seconds_total += other.first_token_seconds_total


class Tally:
    """Sums of one model, server and status. ``times`` are its model's on this server."""

    __slots__ = (
        "attempts",
        "completion_tokens",
        "continuations",
        "events",
        "prompt_tokens",
        "requests",
        "retries",
        "times",
    )

    def __init__(self, times: ModelTimes) -> None:
        self.times = times
        self.requests = 0
        self.attempts = 0
        self.retries = 0
        self.continuations = 0
        self.events = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def add(self, other: Tally) -> None:
        """Take another one's sums in."""
        self.requests += other.requests
        self.attempts += other.attempts
        self.retries += other.retries
        self.continuations += other.continuations
        self.events += other.events
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens


class Tallies:
    """Everything counted since the start.

    Attributes:
        by_key: a tally for each model, server id (None where none was reached) and status.
        by_place: the histograms of each model and server id.
    """

    __slots__ = ("_fold_at_servers", "_models", "_servers", "by_key", "by_place")

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str | None, int], Tally] = {}
        self.by_place: dict[tuple[str, str | None], ModelTimes] = {}
        self._models: set[str] = set()
        self._servers: set[str] = set()
        self._fold_at_servers = _SERVERS_COUNTED

    @property
    def by_model(self) -> dict[str, ModelTimes]:
        """The histograms of each model on all servers together, added up anew each time."""
        summed: dict[str, ModelTimes] = {}
        for (model, _server_id), times in self.by_place.items():
            summed.setdefault(model, ModelTimes()).add(times)
        return summed

    def count(self, outcomes: Iterable[Outcome], models: Container[str], servers: Container[str]) -> None:
        """Take a batch in.

        Args:
            outcomes: what became of each request.
            models: the names that are real, those that some server is registered for.
            servers: the ids of those that are registered.
        """
        known = self.by_key.get
        for outcome in outcomes:
            tally = known((outcome.model, outcome.server_id, outcome.status)) or self._tally(outcome, models, servers)
            usage, duration, first = outcome.usage, outcome.duration_seconds, outcome.first_token_seconds
            tally.requests += 1
            tally.prompt_tokens += usage.prompt_tokens
            tally.completion_tokens += usage.completion_tokens
            tally.events += outcome.events
            attempts = outcome.attempts
            tally.attempts += attempts
            if attempts > 1:
                tally.retries += attempts - 1
                tally.continuations += outcome.continuations
            times = tally.times
            if duration or attempts:
                times.durations[bisect_left(TIME_BOUNDS_SECONDS, duration)] += 1
                times.duration_seconds_total += duration
            if first is not None and outcome.stream:
                times.first_tokens[bisect_left(TIME_BOUNDS_SECONDS, first)] += 1
                times.first_token_seconds_total += first

    def _tally(self, outcome: Outcome, models: Container[str], servers: Container[str]) -> Tally:
        """Find or make the tally of an outcome whose own name has none yet."""
        label = outcome.model
        if label not in self._models and (label not in models or len(self._models) >= _MODELS_COUNTED):
            label = UNKNOWN_MODEL
        self._models.add(label)
        server_id = outcome.server_id
        if server_id is not None and server_id not in self._servers:
            if len(self._servers) >= self._fold_at_servers:
                self._fold_removed(servers)
            self._servers.add(server_id)
        return self._at((label, server_id, outcome.status))

    def _at(self, key: tuple[str, str | None, int]) -> Tally:
        tally = self.by_key.get(key)
        if tally is None:
            times = self.by_place.get(key[:2])
            if times is None:
                times = self.by_place[key[:2]] = ModelTimes()
            tally = self.by_key[key] = Tally(times)
        return tally

    def _fold_removed(self, servers: Container[str]) -> None:
        """Count servers that are gone under one label; not again before there are twice as many as remain."""
        gone = {server_id for server_id in self._servers if server_id not in servers}
        for key in [key for key in self.by_key if key[1] in gone]:
            model, _server_id, status = key
            self._at((model, REMOVED_SERVER, status)).add(self.by_key.pop(key))
        for place in [place for place in self.by_place if place[1] in gone]:
            self.by_place[place[0], REMOVED_SERVER].add(self.by_place.pop(place))
        self._servers -= gone
        self._fold_at_servers = max(_SERVERS_COUNTED, 2 * len(self._servers))
