"""The watch over all servers, in a time of its own: seconds pass when a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.services.core.errors import NotFound, StorageUnavailable
from app.services.core.health import CheckRecord, HealthState, Thresholds
from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, HealthStatus, Inspection
from app.services.prober import Pace, Prober, ProbeTarget
from app.services.registry.book import HealthBook
from app.utils.tasks import TaskKeeper

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = DiscoveredModel("llama")
GOOD = Inspection(None, "", (MODEL,), "vllm", 3.0)
REFUSED = Inspection(CheckFailure.UNREACHABLE, "connection refused")
TIMED_OUT = Inspection(CheckFailure.UNREACHABLE, "no answer within 5 s")

Answer = Callable[[], Coroutine[Any, Any, Inspection]]


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(200):
        await asyncio.sleep(0)


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - 1000.0)

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        sleeper = asyncio.ensure_future(self.sleep(timeout_seconds))
        woken = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({sleeper, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            woken.cancel()

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever somebody wants to be woken."""
        await settle()
        target = self.seconds + seconds
        while due := [entry for entry in self._sleepers if entry[0] <= target and not entry[1].done()]:
            deadline = min(when for when, _ in due)
            self.seconds = max(self.seconds, deadline)
            for when, future in due:
                if when <= self.seconds:
                    future.set_result(None)
            self._sleepers = [entry for entry in self._sleepers if not entry[1].done()]
            await settle()
        self.seconds = target
        await settle()

    def block(self, seconds: float) -> None:
        """Let time pass while the event loop stands still."""
        self.seconds += seconds


class Network:
    """Stands for all servers: each answers by its host's script, and good by default."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.answers: dict[str, Answer] = {}
        self.looks: list[tuple[float, str]] = []
        self.expected: dict[str, tuple[str, ...]] = {}
        self.running: Counter[str] = Counter()
        self.most_running = 0

    async def inspect(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], *, engine: str | None = None
    ) -> Inspection:
        host = endpoint.host
        self.looks.append((self.clock.seconds, host))
        self.expected[host] = tuple(expected)
        self.running[host] += 1
        self.most_running = max(self.most_running, self.running.total())
        try:
            return await self.answers[host]() if host in self.answers else GOOD
        finally:
            self.running[host] -= 1

    def will(self, host: str, *inspections: Inspection, after_seconds: float = 0.0) -> None:
        """Script a host: these answers in turn, the last one for ever."""
        remaining = list(inspections)

        async def answer() -> Inspection:
            inspection = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            if after_seconds:
                await self.clock.sleep(after_seconds)
            return inspection

        self.answers[host] = answer

    def times(self, host: str) -> list[float]:
        """When a host was looked at, in seconds from the start."""
        return [when - 1000.0 for when, looked_at in self.looks if looked_at == host]


class WatchedTasks(TaskKeeper):
    """The keeper of tasks, with the failures at hand."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[BaseException] = []

    def spawn(self, coroutine: Coroutine[object, object, Any], *, name: str) -> asyncio.Task[Any]:
        task = super().spawn(coroutine, name=name)
        task.add_done_callback(self._judge)
        return task

    def _judge(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)


class Store:
    """A database that can be slow."""

    def __init__(self) -> None:
        self.saved: list[tuple[Mapping[str, HealthState], Sequence[tuple[str, CheckRecord]]]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def save_health(self, states: Mapping[str, HealthState], records: Sequence[tuple[str, CheckRecord]]) -> None:
        await self.open.wait()
        self.saved.append((states, records))


class Watch:
    """A prober with all that it needs, on a fake clock."""

    def __init__(self, concurrency: int = 64) -> None:
        self.clock = FakeClock()
        self.network = Network(self.clock)
        self.store = Store()
        self.changes = 0
        self.book = HealthBook(self.store, Thresholds(), self._changed)
        self.tasks = WatchedTasks()
        self.targets: dict[str, ProbeTarget] = {}
        self.reported: list[tuple[str, tuple[DiscoveredModel, ...], str]] = []
        self.report_error: Exception | None = None
        self.prober = Prober(
            self.network,
            self.book,
            self.tasks,
            Pace(concurrency=concurrency),
            targets=lambda: self.targets,
            on_models=self._report,
            clock=self.clock,
            draw=lambda: 0.5,
        )

    def _changed(self) -> None:
        self.changes += 1

    async def _report(self, server_id: str, models: tuple[DiscoveredModel, ...], engine: str) -> None:
        self.reported.append((server_id, models, engine))
        if self.report_error:
            raise self.report_error

    def register(self, *server_ids: str, **changes: Any) -> None:
        """Swap in a registry with these servers added, or put in the place of those with the same id."""
        new = {
            server_id: ProbeTarget(
                **{"endpoint": Endpoint("http", server_id, 80), "api_key": None, "expected": ("llama",)} | changes
            )
            for server_id in server_ids
        }
        self.targets = self.targets | new

    def remove(self, server_id: str) -> None:
        self.targets = {name: target for name, target in self.targets.items() if name != server_id}

    def start(self) -> None:
        self.tasks.spawn(self.prober.run(), name="prober")

    def status(self, server_id: str) -> HealthStatus:
        return self.book.state(server_id).status


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    yield watch
    await watch.tasks.close()
    assert watch.tasks.failures == []


def hang() -> Coroutine[Any, Any, Inspection]:
    async def never() -> Inspection:
        return await asyncio.get_running_loop().create_future()

    return never()


async def test_all_servers_are_checked_at_once_at_the_start(watch: Watch) -> None:
    ids = [f"server-{number}" for number in range(50)]
    watch.register(*ids)
    watch.start()
    await settle()
    assert all(watch.network.times(server_id) == [0.0] for server_id in ids)
    assert {watch.status(server_id) for server_id in ids} == {HealthStatus.HEALTHY}


async def test_a_known_state_stays_valid_until_the_first_check_is_done(watch: Watch) -> None:
    watch.book.load({"a": HealthState(HealthStatus.HEALTHY)}, {})
    watch.register("a")
    watch.network.answers["a"] = hang
    watch.start()
    await watch.clock.advance(4)
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_healthy_servers_are_checked_every_interval(watch: Watch) -> None:
    watch.register("a", "b")
    watch.start()
    await watch.clock.advance(35)
    assert watch.network.times("a") == watch.network.times("b") == [0.0, 10.0, 20.0, 30.0]


async def test_a_hanging_server_delays_no_other(watch: Watch) -> None:
    watch.register("hangs", "works")
    watch.network.answers["hangs"] = hang
    watch.start()
    await watch.clock.advance(25)
    assert watch.network.times("hangs") == [0.0]
    assert watch.network.times("works") == [0.0, 10.0, 20.0]


async def test_no_more_checks_run_at_a_time_than_allowed_and_all_get_their_turn() -> None:
    watch = Watch(concurrency=4)
    ids = [f"server-{number}" for number in range(10)]
    watch.register(*ids)
    for server_id in ids:
        watch.network.will(server_id, GOOD, after_seconds=1.0)
    watch.start()
    await watch.clock.advance(3)
    assert watch.network.most_running == 4
    assert (
        sorted(when for server_id in ids for when in watch.network.times(server_id))
        == [0.0] * 4 + [1.0] * 4 + [2.0] * 2
    )
    await watch.tasks.close()


async def test_a_place_that_gets_free_is_taken_at_once() -> None:
    watch = Watch(concurrency=1)
    ids = [f"server-{number}" for number in range(20)]
    watch.register(*ids)
    watch.start()
    await settle()
    assert [watch.network.times(server_id) for server_id in ids] == [[0.0]] * 20
    await watch.tasks.close()


async def test_servers_that_are_down_leave_half_of_the_places_to_others() -> None:
    watch = Watch(concurrency=4)
    down = [f"down-{number}" for number in range(6)]
    watch.book.load({server_id: HealthState(HealthStatus.UNHEALTHY, "no answer") for server_id in down}, {})
    watch.register(*down, "works")
    for server_id in down:
        watch.network.answers[server_id] = hang
    watch.start()
    await watch.clock.advance(25)
    assert watch.network.times("works") == [0.0, 10.0, 20.0]
    assert sum(watch.network.running.values()) == 2
    await watch.tasks.close()


async def test_a_dead_server_is_marked_after_three_checks_and_is_back_after_two(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, REFUSED, REFUSED, REFUSED, REFUSED, GOOD)
    watch.start()
    await watch.clock.advance(10)
    assert watch.status("a") is HealthStatus.HEALTHY
    await watch.clock.advance(2)
    assert watch.status("a") is HealthStatus.UNHEALTHY
    assert watch.book.state("a").reason == "connection refused"
    await watch.clock.advance(4)
    assert watch.status("a") is HealthStatus.HEALTHY
    assert watch.network.times("a")[-2] > 12
    assert watch.changes == 3


async def test_a_refused_dial_brings_a_check_at_once(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.book.refused("a", "connection refused", watch.clock.now())
    watch.prober.check_soon("a")
    await settle()
    assert watch.network.times("a") == [0.0, 5.0]


async def test_refused_dials_bring_one_check_a_second_at_most(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    for _ in range(40):
        watch.prober.check_soon("a")
        await watch.clock.advance(0.1)
    times = watch.network.times("a")
    assert times == pytest.approx([0.0, 5.0, 6.0, 7.0, 8.0, 9.0][: len(times)])
    assert len(times) >= 5


async def test_a_refused_dial_during_a_check_brings_another_one(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, after_seconds=3.0)
    watch.start()
    await watch.clock.advance(1)
    watch.prober.check_soon("a")
    await watch.clock.advance(2)
    assert watch.network.times("a") == [0.0, 3.0]


async def test_check_soon_of_a_stranger_does_nothing(watch: Watch) -> None:
    watch.start()
    await settle()
    watch.prober.check_soon("nobody")
    await watch.clock.advance(5)
    assert watch.network.looks == []


async def test_check_now_returns_what_was_found(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, REFUSED)
    watch.start()
    await watch.clock.advance(5)
    assert await watch.prober.check_now("a") == REFUSED
    assert watch.book.history("a")[0].reason == "connection refused"
    await watch.clock.advance(0.9)
    assert watch.network.times("a") == [0.0, 5.0, pytest.approx(5.9)]


async def test_check_now_works_before_the_watch_has_begun(watch: Watch) -> None:
    watch.register("a")
    assert await watch.prober.check_now("a") == GOOD
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_check_now_joins_a_check_under_way_and_survives_a_caller_that_leaves(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, after_seconds=2.0)
    watch.start()
    await watch.clock.advance(1)
    leaves = asyncio.create_task(watch.prober.check_now("a"))
    stays = asyncio.create_task(watch.prober.check_now("a"))
    await settle()
    leaves.cancel()
    await watch.clock.advance(1)
    assert await stays == GOOD
    assert leaves.cancelled()
    assert watch.network.times("a") == [0.0]


async def test_check_now_of_a_stranger_is_not_found(watch: Watch) -> None:
    with pytest.raises(NotFound, match="'nobody' not found"):
        await watch.prober.check_now("nobody")


async def test_a_server_that_was_checked_on_joining_waits_for_its_interval(watch: Watch) -> None:
    watch.start()
    await watch.clock.advance(2)
    watch.book.record("known", GOOD, watch.clock.now())
    watch.register("known", "unknown")
    await watch.clock.advance(20)
    assert watch.network.times("unknown")[0] <= 3.0
    assert 12.0 <= watch.network.times("known")[0] <= 13.0


async def test_a_removed_server_is_checked_no_more_and_its_late_result_is_dropped(watch: Watch) -> None:
    watch.register("a", "b")
    watch.network.will("a", GOOD, after_seconds=3.0)
    watch.start()
    await watch.clock.advance(1)
    watch.remove("a")
    watch.book.forget("a")
    await watch.clock.advance(30)
    assert watch.network.times("a") == [0.0]
    assert watch.book.history("a") == []
    assert len(watch.network.times("b")) == 4


async def test_a_result_for_a_former_endpoint_is_dropped_and_the_new_one_checked_at_once(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", REFUSED, after_seconds=3.0)
    watch.start()
    await watch.clock.advance(1)
    watch.register("a", endpoint=Endpoint("http", "elsewhere", 80))
    await watch.clock.advance(2)
    assert watch.network.times("elsewhere") == [3.0]
    assert [record.ok for record in watch.book.history("a")] == [True]


async def test_a_check_that_failed_while_the_loop_was_blocked_is_repeated_not_counted(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, TIMED_OUT, GOOD, after_seconds=1.0)
    watch.start()
    await watch.clock.advance(11.5)
    watch.clock.block(4.5)
    await watch.clock.advance(1)
    assert [record.ok for record in watch.book.history("a")] == [True, True]
    assert len(watch.network.times("a")) == 3


async def test_a_loop_that_is_always_blocked_hides_no_dead_server_for_ever(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", TIMED_OUT, after_seconds=1.0)
    watch.start()
    for _ in range(3):
        await watch.clock.advance(0.5)
        assert watch.status("a") is HealthStatus.UNKNOWN
        watch.clock.block(2)
        await watch.clock.advance(0)
    assert watch.status("a") is HealthStatus.UNHEALTHY


async def test_a_failure_that_took_no_waiting_counts_in_a_running_loop(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", TIMED_OUT, after_seconds=5.0)
    watch.start()
    await watch.clock.advance(5)
    assert watch.network.times("a") == [0.0]
    assert watch.status("a") is HealthStatus.UNHEALTHY


async def test_results_are_saved_about_once_a_second(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(1.5)
    assert [list(states) for states, _ in watch.store.saved] == [["a"]]
    await watch.clock.advance(11)
    assert len(watch.store.saved) == 2


async def test_a_slow_database_delays_no_check(watch: Watch) -> None:
    watch.register("a")
    watch.store.open.clear()
    watch.start()
    await watch.clock.advance(25)
    assert watch.network.times("a") == [0.0, 10.0, 20.0]
    watch.store.open.set()
    await watch.clock.advance(2)
    assert sum(len(records) for _, records in watch.store.saved) == 3


async def test_what_a_server_lists_is_reported_when_it_is_news(watch: Watch) -> None:
    watch.register("a")
    other = Inspection(None, "", (MODEL, DiscoveredModel("qwen", 4096)), "sglang")
    watch.network.will("a", GOOD, GOOD, other, REFUSED, other)
    watch.start()
    await watch.clock.advance(45)
    assert watch.reported == [("a", (MODEL,), "vllm"), ("a", other.models, "sglang")]


async def test_a_discovering_server_follows_its_list(watch: Watch) -> None:
    watch.register("a", discovers=True, expected=("llama", "gone"))
    watch.start()
    await settle()
    assert watch.network.expected["a"] == ()
    assert watch.reported == [("a", (MODEL,), "vllm")]
    state = watch.book.state("a")
    assert (state.status, state.reason, state.missing_models) == (HealthStatus.HEALTHY, "", {"gone"})
    watch.register("a", discovers=True, expected=("llama",))
    await watch.clock.advance(10)
    assert watch.book.state("a").missing_models == frozenset()
    assert len(watch.reported) == 1


async def test_a_discovering_server_without_any_model_is_delisted_at_once(watch: Watch) -> None:
    watch.register("a", discovers=True)
    watch.network.will("a", GOOD, Inspection(CheckFailure.MODEL_MISSING, "lists no model at all"), REFUSED)
    watch.start()
    await watch.clock.advance(10)
    assert watch.book.state("a").missing_models == {"llama"}
    await watch.clock.advance(1)
    assert watch.book.state("a").missing_models == {"llama"}
    assert len(watch.reported) == 1


async def test_a_list_that_could_not_be_stored_is_reported_again(watch: Watch) -> None:
    watch.register("a", discovers=True, expected=("old",))
    watch.report_error = StorageUnavailable("The database is locked.")
    watch.start()
    await watch.clock.advance(10)
    assert len(watch.reported) == 2
    watch.report_error = None
    watch.register("a", discovers=True, expected=("llama",))
    await watch.clock.advance(20)
    assert len(watch.reported) == 3


async def test_a_bug_in_one_check_ends_neither_the_watch_nor_that_servers_checks() -> None:
    watch = Watch()
    watch.register("a", "b")

    async def broken() -> Inspection:
        raise RuntimeError("bug")

    watch.network.answers["a"] = broken
    watch.start()
    await watch.clock.advance(5)
    del watch.network.answers["a"]
    await watch.clock.advance(10)
    assert {str(error) for error in watch.tasks.failures} == {"bug"}
    assert watch.status("a") is watch.status("b") is HealthStatus.HEALTHY
    watch.network.answers["a"] = broken
    with pytest.raises(RuntimeError, match="bug"):
        await watch.prober.check_now("a")
    await watch.tasks.close()
