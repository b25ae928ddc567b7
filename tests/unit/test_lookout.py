"""Looks that failed while the event loop was blocked are repeated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, Inspection
from app.services.lookout import MAX_REPEATS, Lookout
from app.services.prober_interface import ProbeTarget
from app.services.pulse import LoopLag

GOOD = Inspection(None, "", (DiscoveredModel("llama"),), "vllm")
TIMED_OUT = Inspection(CheckFailure.UNREACHABLE, "no answer within 5 s")
REJECTED = Inspection(CheckFailure.CREDENTIALS, "answered 401: no, update the server's api_key")
TARGET = ProbeTarget(Endpoint("http", "gpu.example", 80), None, ("llama", "gone"))


class Inspector:
    """Finds what a script says; the event loop is blocked during the looks that are marked so."""

    def __init__(self, lag: LoopLag, clock: SimpleNamespace, script: Sequence[tuple[Inspection, bool]]) -> None:
        self.lag, self.clock, self.script = lag, clock, list(script)

    def _next(self) -> Inspection:
        inspection, blocked = self.script.pop(0)
        self.lag.expect(self.clock.seconds + 0.1)
        self.clock.seconds += 1.1 if blocked else 0.1
        self.lag.tick(self.clock.seconds)
        return inspection

    async def inspect(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], *, engine: str | None = None
    ) -> Inspection:
        return self._next()

    async def hears(self, endpoint: Endpoint, api_key: str | None, timeout_seconds: float) -> CheckFailure | None:
        return self._next().failure

    async def version(self, endpoint: Endpoint, api_key: str | None, engine: str) -> str:
        return ""


def lookout_at(*script: tuple[Inspection, bool]) -> tuple[Lookout, Inspector]:
    lag, clock = LoopLag(), SimpleNamespace(seconds=100.0)
    clock.monotonic = lambda: clock.seconds
    clock.now = lambda: datetime(2026, 3, 1, tzinfo=UTC)
    inspector = Inspector(lag, clock, script)
    return Lookout(inspector, lag, clock), inspector


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ([(GOOD, True)], GOOD),
        ([(TIMED_OUT, False)], TIMED_OUT),
        ([(REJECTED, True)], REJECTED),
        ([(TIMED_OUT, True), (GOOD, False)], GOOD),
        ([(TIMED_OUT, True), (TIMED_OUT, False)], TIMED_OUT),
        ([(TIMED_OUT, True)] * (MAX_REPEATS + 1), TIMED_OUT),
        ([(TIMED_OUT, True)] * MAX_REPEATS + [(GOOD, True)], GOOD),
    ],
)
async def test_a_failure_counts_when_the_loop_was_free_or_never_is(
    script: list[tuple[Inspection, bool]], found: Inspection
) -> None:
    lookout, inspector = lookout_at(*script)
    assert await lookout.look(TARGET) == found
    assert inspector.script == []
    lookout, inspector = lookout_at(*script)
    assert await lookout.hears(TARGET, 1.0) is (found is not TIMED_OUT)
    assert inspector.script == []


async def test_a_glance_is_never_repeated() -> None:
    lookout, _ = lookout_at((TIMED_OUT, True))
    assert await lookout.glance(TARGET) == TIMED_OUT


async def test_what_a_discovering_server_lists_no_more_is_missing() -> None:
    follows = ProbeTarget(TARGET.endpoint, None, TARGET.expected, discovers=True)
    lookout, _ = lookout_at((GOOD, False), (TIMED_OUT, False))
    assert (await lookout.look(follows)).missing_models == {"gone"}
    assert (await lookout.look(follows)).missing_models == frozenset()
