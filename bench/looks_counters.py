"""What does it cost to look at what was counted, for the figures over time?

All of a look is measured, as it is taken every ten seconds: the differences, and adding them to the minutes. The clock
is this file's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.tallies import Tallies
from app.services.traffic import Sources, Traffic
from bench.looks_timing import least_milliseconds, tell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.reporting.series import Bucket

_BEGAN: Final = 1_900_000_000.0
_STEP_SECONDS: Final = 10.0
_OWNERS: Final = 50
_MODELS: Final = ("one", "two", "three")
_STATUSES: Final = (200, 499, 502)
_CHANGED_SHARE: Final = 10


async def counters(server_count: int) -> None:
    """Measure and print."""
    owners = {f"server-{number}": f"owner-{number % _OWNERS}" for number in range(server_count)}
    outcomes = [_outcome(server, model, status) for server in owners for model in _MODELS for status in _STATUSES]
    tallies, clock = Tallies(), _Clock()
    sources = Sources(lambda: tallies, lambda: owners, lambda: 0)
    traffic = Traffic(sources, _NoStore(), monotonic=clock.seconds, wall=clock.seconds)

    def look_after(some: list[Outcome]) -> float:
        def serve() -> None:
            tallies.count(some, set(_MODELS), owners)
            clock.step()

        return least_milliseconds(traffic.tick, serve)

    few = outcomes[: max(1, len(outcomes) // _CHANGED_SHARE)]
    everything = look_after(outcomes)
    name = f"a look at {len(tallies.by_key):,} counters"
    tell(f"{name}, nothing changed", look_after([]), "ms")
    tell(f"{name}, {len(few):,} changed", look_after(few), "ms")
    tell(f"{name}, all of them changed", everything, "ms")


class _Clock:
    """Goes on by a step when it is told to."""

    def __init__(self) -> None:
        self._moment = _BEGAN

    def seconds(self) -> float:
        """Return Unix seconds."""
        return self._moment

    def step(self) -> None:
        """Let the time pass from one look to the next."""
        self._moment += _STEP_SECONDS


class _NoStore:
    """Stands where minutes would be stored; none is."""

    async def save(self, _rows: Iterable[tuple[int, str, Bucket]]) -> None:
        """Nothing."""

    async def load(self, _since_minute: int, _minutes: int = 1) -> list[tuple[int, str, Bucket]]:
        """Nothing."""
        return []

    async def purge(self, _before_minute: int) -> None:
        """Nothing."""


def _outcome(server_id: str, model: str, status: int) -> Outcome:
    return replace(_SERVED, server_id=server_id, model=model, status=status)


_SERVED: Final = Outcome(
    request_id="request",
    client="192.0.2.7",
    key_id="key",
    path="/v1/chat/completions",
    model="",
    server_id=None,
    status=200,
    error_code=None,
    stream=True,
    attempts=1,
    duration_seconds=1.2,
    first_token_seconds=0.3,
    usage=Usage(12, 34),
    ended_at=_BEGAN,
)
