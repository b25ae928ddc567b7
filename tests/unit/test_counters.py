"""Is what was counted for limits saved twice a second, and there again after a kill?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.services import counters as counters_module
from app.services.core.errors import StorageUnavailable
from app.services.core.limits.gate import Admitted, Gate, Need, Refused, SavedCounter
from app.services.core.people.principal import LimitRule, Limits
from app.services.counters import Counters
from app.services.registry.accounting.counter_store import CounterStore
from app.utils.database import Database
from tests.fakes.migrated import MIGRATIONS

NOON = datetime(2030, 5, 10, 12, tzinfo=UTC)
RULE = LimitRule("key:a", Limits(requests_per_minute=60, tokens_per_day=10_000), "your key")


class Store:
    """A database in memory that can fail, and that can be slow."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str | None], bytes] = {}
        self.saved_at: list[datetime] = []
        self.purged_before: list[datetime] = []
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, most_people: int) -> list[tuple[str, str | None, bytes]]:
        if self.fails:
            raise StorageUnavailable("The database is locked.")
        return [(subject, model, state) for (subject, model), state in self.rows.items()]

    async def save(self, states: Sequence[SavedCounter], saved_at: datetime) -> None:
        self.saved_at.append(saved_at)
        await self.open.wait()
        if self.fails:
            raise StorageUnavailable("The database is locked.")
        for subject, model, state in states:
            if state is None:
                self.rows.pop((subject, model), None)
            else:
                self.rows[subject, model] = state

    async def purge(self, saved_before: datetime) -> None:
        self.purged_before.append(saved_before)


class Desk:
    """A gate and what keeps it; made anew over the same store it is a restart."""

    def __init__(self, store) -> None:
        self.store = store
        self.seconds = 0.0
        self.has_database = True
        self.start()

    def start(self) -> None:
        self.gate = Gate()
        self.counters = Counters(
            self.gate,
            self.store,
            may_write=lambda: self.has_database,
            monotonic=lambda: 1000.0 + self.seconds,
            wall=lambda: NOON.timestamp() + self.seconds,
        )

    def ask(self, rule: LimitRule = RULE) -> Admitted | Refused:
        return self.gate.admit([rule], {"m"}, Need(10, 40), 1000.0 + self.seconds, NOON.timestamp() + self.seconds)

    def used(self) -> list[int]:
        return [one.used for one in self.gate.left([RULE], 1000.0 + self.seconds, NOON.timestamp() + self.seconds)]


@pytest.fixture
def desk() -> Desk:
    return Desk(Store())


async def test_a_kill_gives_back_no_more_than_came_since_the_last_time(tmp_path: Path):
    database = await Database.open(f"sqlite:///{tmp_path / 'gateway.db'}", MIGRATIONS)
    try:
        desk = Desk(CounterStore(database))
        for _ in range(40):
            desk.ask()
        await desk.counters.flush()
        for _ in range(15):
            desk.ask()
        desk.seconds += 2
        desk.start()
        await desk.counters.load()
        assert desk.used() == [40, 2000]
        verdicts = [desk.ask() for _ in range(100)]
        assert sum(isinstance(verdict, Admitted) for verdict in verdicts) == 20
        desk.seconds += 60
        assert isinstance(desk.ask(), Admitted)
    finally:
        await database.close()


async def test_only_what_changed_is_written(desk):
    await desk.counters.flush()
    assert desk.store.saved_at == []
    desk.ask()
    await desk.counters.flush()
    await desk.counters.flush()
    assert desk.store.saved_at == [NOON]


async def test_a_database_that_fails_is_told_once_and_gets_all_of_it_later(desk):
    desk.store.fails = True
    with capture_logs() as lines:
        for _ in range(3):
            desk.ask()
            await desk.counters.flush()
        desk.store.fails = False
        await desk.counters.flush()
        await desk.counters.flush()
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    desk.start()
    await desk.counters.load()
    assert desk.used() == [3, 150]


async def test_what_waits_is_bounded(desk, monkeypatch):
    monkeypatch.setattr(counters_module, "MOST_WAITING", 5)
    desk.store.fails = True
    for number in range(20):
        desk.ask(LimitRule(f"person:{number}", RULE.limits, "this user"))
        await desk.counters.flush()
    desk.store.fails = False
    desk.ask(LimitRule("person:new", RULE.limits, "this user"))
    await desk.counters.flush()
    assert {subject for subject, _ in desk.store.rows} == {
        "person:new",
        *(f"person:{number}" for number in range(15, 20)),
    }


async def test_what_was_not_written_when_it_was_cancelled_is_written_the_next_time(desk):
    desk.store.open.clear()
    desk.ask()
    flushing = asyncio.create_task(desk.counters.flush())
    while not desk.store.saved_at:
        await asyncio.sleep(0)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert not desk.store.rows
    desk.store.open.set()
    await desk.counters.flush()
    assert list(desk.store.rows) == [("key:a", None)]


async def test_what_comes_while_it_is_written_is_written_the_next_time(desk):
    desk.store.open.clear()
    desk.ask()
    flushing = asyncio.create_task(desk.counters.flush())
    while not desk.store.saved_at:
        await asyncio.sleep(0)
    desk.ask()
    desk.store.open.set()
    await flushing
    await desk.counters.flush()
    desk.start()
    await desk.counters.load()
    assert desk.used() == [2, 100]


async def test_nothing_is_written_while_another_process_has_the_database(desk):
    desk.has_database = False
    desk.ask()
    await desk.counters.flush()
    await desk.counters.purge()
    assert desk.store.saved_at == desk.store.purged_before == []
    desk.has_database = True
    await desk.counters.flush()
    assert len(desk.store.rows) == 1


async def test_a_damaged_state_is_told_and_begins_anew(desk):
    desk.ask()
    await desk.counters.flush()
    desk.store.rows["key:b", None] = b"\x93garbage"
    desk.start()
    with capture_logs() as lines:
        await desk.counters.load()
    assert [(line["damaged"], line["read"]) for line in lines] == [(1, 2)]
    assert desk.used() == [1, 50]


async def test_a_database_that_can_not_be_read_is_told_to_the_caller(desk):
    desk.store.fails = True
    with pytest.raises(StorageUnavailable):
        await desk.counters.load()


async def test_the_row_of_a_counter_that_is_forgotten_is_deleted(desk):
    person = LimitRule("person:ada", Limits(requests_per_minute=5), "this user")
    admitted = desk.ask(person)
    assert isinstance(admitted, Admitted)
    admitted.settle(5, 1000.0, NOON.timestamp())
    await desk.counters.flush()
    assert list(desk.store.rows) == [("person:ada", None)]
    desk.seconds += 3601
    await desk.counters.flush()
    assert not desk.store.rows


async def test_what_is_older_than_any_limit_is_purged(desk):
    await desk.counters.purge()
    assert desk.store.purged_before == [NOON - timedelta(days=35)]
