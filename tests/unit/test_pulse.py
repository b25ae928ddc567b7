"""The machine's clock, and the measure of a blocked event loop."""

from __future__ import annotations

import asyncio
from datetime import UTC

import pytest

from app.services.pulse import LATENESS_BOUNDS_SECONDS, Lateness, LoopLag, SystemClock


async def test_waiting_ends_with_the_event_or_the_time() -> None:
    clock, event = SystemClock(), asyncio.Event()
    before = clock.monotonic()
    await clock.wait(event, 0.0)
    assert not event.is_set()
    event.set()
    await clock.wait(event, 3600.0)
    assert clock.monotonic() - before < 60
    assert clock.now().tzinfo is UTC


async def test_waiting_can_be_cancelled() -> None:
    waiting = asyncio.create_task(SystemClock().wait(asyncio.Event(), 3600.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_lateness_from_a_tenth_of_a_second_on_counts_as_blocked() -> None:
    lag = LoopLag()
    assert lag.blocked_seconds(5.0) == 0.0
    lag.expect(10.0)
    assert lag.blocked_seconds(9.0) == lag.blocked_seconds(10.09) == 0.0
    assert lag.blocked_seconds(10.5) == 0.5
    lag.tick(10.5)
    assert lag.blocked_seconds(100.0) == 0.5
    lag.expect(11.0)
    lag.tick(11.05)
    lag.expect(12.0)
    assert lag.blocked_seconds(12.25) == 0.75


def test_every_turn_falls_into_the_bucket_of_its_lateness() -> None:
    lateness = Lateness()
    for now in (9.0, 10.0, 10.002, 10.3, 99.0):
        lateness.turned(10.0, now)
    seen = dict(zip((*LATENESS_BOUNDS_SECONDS, None), lateness.counts, strict=True))
    assert {bound: count for bound, count in seen.items() if count} == {0.001: 2, 0.0025: 1, 0.5: 1, None: 1}
    assert lateness.seconds_total == pytest.approx(89.302)
