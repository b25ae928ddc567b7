"""Figures over time come from counters that others keep, outlive the process, and survive a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.errors import StorageUnavailable
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.series import POOL, SPANS, Bucket
from app.services.core.reporting.tallies import Tallies
from app.services.registry.accounting.traffic_store import Row, TrafficStore
from app.services.traffic import Sources, Traffic
from app.utils.database import Database
from tests.fakes.migrated import MIGRATIONS

NOON = 1_900_000_800.0
"""The beginning of a minute and of a half hour."""
OUTCOME = Outcome(
    request_id="r", client="", key_id="k", path="/v1/completions", model="m", server_id="s", status=200,
    error_code=None, stream=True, attempts=2, duration_seconds=0.3, first_token_seconds=0.02, usage=Usage(70, 30),
    continuations=1,
)  # fmt: skip


@dataclass
class World:
    """Counters, two clocks, and a store."""

    store: TrafficStore
    tallies: Tallies = field(default_factory=Tallies)
    owners: dict[str, str] = field(default_factory=lambda: {"s": "ann", "t": "ben"})
    queued: int = 0
    wall: float = NOON
    monotonic: float = 50.0
    may_write: bool = True

    def traffic(self) -> Traffic:
        sources = Sources(lambda: self.tallies, lambda: self.owners, lambda: self.queued)
        return Traffic(
            sources,
            self.store,
            retention_days=30,
            may_write=lambda: self.may_write,
            monotonic=lambda: self.monotonic,
            wall=lambda: self.wall,
        )

    def serve(self, *outcomes: Outcome) -> None:
        self.tallies.count(outcomes, {"m"}, self.owners)

    def pass_by(self, traffic: Traffic, seconds: float) -> None:
        """Let time go on as the house's turns see it."""
        for _turn in range(round(seconds * 2)):
            self.wall += 0.5
            self.monotonic += 0.5
            traffic.tick()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    database = await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", MIGRATIONS)
    try:
        yield World(TrafficStore(database))
    finally:
        await database.close()


def known(values: tuple[float | None, ...]) -> list[float]:
    return [value for value in values if value is not None]


async def test_ten_seconds_are_one_point_without_a_hole(world: World) -> None:
    traffic = world.traffic()
    world.pass_by(traffic, 4.3)
    for _turn in range(60):
        world.serve(OUTCOME)
        world.pass_by(traffic, 10)
    told = traffic.series(SPANS["15m"], {POOL}).requests_per_second
    assert len(known(told)) >= 60
    assert set(told[-58:-1]) == {0.1}


async def test_the_present_rate_is_of_the_last_ten_seconds(world: World) -> None:
    traffic = world.traffic()
    assert traffic.figures({POOL}).requests_per_second is None
    world.serve(*[OUTCOME] * 20)
    world.pass_by(traffic, 10)
    world.queued = 4
    now = traffic.figures({POOL})
    assert (now.requests_per_second, now.prompt_tokens_per_second, now.completion_tokens_per_second) == (2.0, 140, 60)
    assert (now.queued, now.requests, now.errors_share, now.continuations) == (4, 20, 0.0, 20)
    assert now.first_token_p50_seconds is not None
    for _second in range(10):
        world.monotonic += 1
        world.wall += 1
        traffic.figures({POOL})
    later = traffic.figures({POOL})
    assert (later.requests_per_second, later.requests) == (0.0, 20)


async def test_owners_have_what_their_servers_served(world: World) -> None:
    traffic = world.traffic()
    world.serve(OUTCOME, replace(OUTCOME, server_id="t", status=502), replace(OUTCOME, server_id=None, status=503))
    world.pass_by(traffic, 10)
    ann, both = traffic.figures({"ann"}), traffic.figures({"ann", "ben"})
    assert (ann.requests, ann.errors, ann.queued) == (1, 0, None)
    assert (both.requests, both.errors, both.errors_share) == (2, 1, 0.5)
    assert traffic.figures({POOL}).requests == 3
    assert traffic.figures({"nobody"}).requests == 0
    assert traffic.owners() == {"ann", "ben"}


async def test_who_asks_often_has_the_counters_looked_at_once_a_second(world: World) -> None:
    traffic, looks = world.traffic(), 0

    def looked() -> Tallies:
        nonlocal looks
        looks += 1
        return Tallies()

    traffic._sources = Sources(looked, dict, lambda: 0)
    for _ask in range(10):
        traffic.figures({POOL})
        world.monotonic += 0.25
    assert looks == 2


async def test_a_restart_goes_on_where_it_was(world: World) -> None:
    traffic = world.traffic()
    await traffic.flush()
    for _minute in range(3):
        world.serve(OUTCOME, replace(OUTCOME, server_id="t"))
        world.pass_by(traffic, 60)
        await traffic.flush()
    world.serve(OUTCOME)
    world.pass_by(traffic, 20)
    await traffic.close()
    before = {name: traffic.series(SPANS[name], {"ann"}) for name in ("6h", "7d")}

    world.tallies = Tallies()
    again = world.traffic()
    await again.flush()
    hours = again.series(SPANS["6h"], {"ann"})
    assert hours.requests_per_second == before["6h"].requests_per_second
    assert hours.first_token_p50_seconds == before["6h"].first_token_p50_seconds
    assert again.series(SPANS["7d"], {POOL}).requests_per_second[-1] == pytest.approx(7 / 200, abs=1e-4)
    world.serve(OUTCOME)
    world.pass_by(again, 40)
    await again.close()
    rows = {(minute, owner): one.requests for minute, owner, one in await world.store.load(0)}
    assert rows[int(NOON // 60) + 3, "ann"] == 2


async def test_while_another_process_has_the_database_minutes_wait(world: World) -> None:
    traffic = world.traffic()
    await traffic.flush()
    world.may_write = False
    world.serve(OUTCOME)
    world.pass_by(traffic, 60)
    await traffic.flush()
    await traffic.purge()
    assert await world.store.load(0) == []
    world.may_write = True
    await traffic.flush()
    assert {owner for _minute, owner, _bucket in await world.store.load(0)} == {POOL, "ann"}


class Failing(TrafficStore):
    """Fails as often as it is told."""

    failures = 0

    async def save(self, rows: list[Row]) -> None:  # type: ignore[override]
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("disk full", retry_after_seconds=1)
        await super().save(rows)


async def test_a_database_that_fails_is_logged_once_and_gets_all_of_it_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.store = store = Failing(world.store._database)
    traffic = world.traffic()
    await traffic.flush()
    store.failures = 2
    for _minute in range(3):
        world.serve(OUTCOME)
        world.pass_by(traffic, 60)
        await traffic.flush()
    rows = [one.requests for _minute, owner, one in await store.load(0) if owner == "ann"]
    assert rows == [1, 1, 1]
    assert caplog.text.count("cannot be saved") == 1
    assert caplog.text.count("saved again") == 1


async def test_what_waits_is_bounded_by_what_is_told(world: World) -> None:
    world.store = store = Failing(world.store._database)
    traffic = world.traffic()
    await traffic.flush()
    store.failures = 1000
    for _half_hour in range(20):
        world.serve(OUTCOME)
        world.pass_by(traffic, 1)
        world.wall += 1800
        world.monotonic += 1800
        await traffic.flush()
    assert len(traffic._unsaved) <= 2 * 20
    assert min(minute for minute, _owner in traffic._unsaved) >= world.wall // 60 - 362 - 30


async def test_a_clock_that_jumps_breaks_nothing(world: World) -> None:
    traffic = world.traffic()
    for jump in (0.0, 86_400.0, -86_400.0, -3600.0, 30 * 86_400.0):
        world.wall += jump
        world.serve(OUTCOME)
        world.pass_by(traffic, 20)
        for name in SPANS:
            assert min(known(traffic.series(SPANS[name], {POOL}).requests_per_second), default=0) >= 0
        assert (traffic.figures({POOL}).requests_per_second or 0) <= 0.1
        await traffic.flush()
    await traffic.close()


async def test_a_loop_that_was_blocked_makes_no_peak(world: World) -> None:
    traffic = world.traffic()
    world.pass_by(traffic, 10)
    world.serve(*[OUTCOME] * 60)
    world.wall += 60
    world.monotonic += 60
    world.pass_by(traffic, 10)
    assert max(known(traffic.series(SPANS["15m"], {POOL}).requests_per_second)) == pytest.approx(1.0, abs=0.02)


async def test_answers_that_went_on_elsewhere_are_told_by_the_minute(world: World) -> None:
    told: list[Mapping[str, int]] = []
    traffic = world.traffic()
    traffic.on_continued = told.append
    world.serve(OUTCOME, OUTCOME, replace(OUTCOME, server_id="t"), replace(OUTCOME, status=502))
    world.pass_by(traffic, 130)
    assert told == [{POOL: 3, "ann": 2, "ben": 1}]


async def test_old_rows_are_purged(world: World) -> None:
    old = int(NOON // 60) - 31 * 1440
    await world.store.save([(old, POOL, Bucket()), (old + 2 * 1440, POOL, Bucket())])
    await world.traffic().purge()
    assert [minute for minute, _owner, _bucket in await world.store.load(0)] == [old + 2 * 1440]
