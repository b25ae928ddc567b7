"""The watch over all servers, in a time of its own: seconds pass when a test says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from app.services.core.checks.health import CheckRecord, HealthState, Thresholds
from app.services.core.errors import NotFound, StorageUnavailable
from app.services.core.types import CheckFailure, DiscoveredModel, Endpoint, HealthStatus, Inspection
from app.services.prober import Pace, Prober, ProbeTarget
from app.services.registry.book import HealthBook
from app.utils.tasks import TaskKeeper

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = DiscoveredModel("llama")
GOOD = Inspection(None, "", (MODEL,), "vllm", 3.0)
LOADING = Inspection(CheckFailure.LOADING, "loading the model")
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
        self.life_signs: dict[str, Callable[[], Coroutine[Any, Any, CheckFailure | None]]] = {}
        self.listened: list[tuple[float, str, float]] = []
        self.versions: dict[str, str] = {}
        self.version_questions: list[tuple[float, str, str]] = []
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

    async def version(self, endpoint: Endpoint, api_key: str | None, engine: str) -> str:
        self.version_questions.append((self.clock.seconds - 1000.0, endpoint.host, engine))
        return self.versions.get(endpoint.host, "")

    async def hears(self, endpoint: Endpoint, api_key: str | None, timeout_seconds: float) -> CheckFailure | None:
        self.listened.append((self.clock.seconds - 1000.0, endpoint.host, timeout_seconds))
        return await self.life_signs[endpoint.host]() if endpoint.host in self.life_signs else None

    def is_silent(self, host: str, after_seconds: float = 1.0) -> None:
        """Script a host: it answers no question beside a stream."""

        async def silence() -> CheckFailure | None:
            await self.clock.sleep(after_seconds)
            return CheckFailure.UNREACHABLE

        self.life_signs[host] = silence

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
        self.book = HealthBook(self.store, Thresholds(), self._changed, monotonic=self.clock.monotonic)
        self.tasks = WatchedTasks()
        self.targets: dict[str, ProbeTarget] = {}
        self.reported: list[tuple[str, tuple[DiscoveredModel, ...], str]] = []
        self.report_error: Exception | None = None
        self.versions: list[tuple[str, str]] = []
        self.returned: list[tuple[float, str, HealthStatus]] = []
        self.checked: list[tuple[float, str, HealthStatus, Inspection]] = []
        self.watched: set[str] = set()
        self.prober = Prober(
            self.network,
            self.book,
            self.tasks,
            Pace(concurrency=concurrency),
            targets=lambda: self.targets,
            on_models=self._report,
            on_version=lambda server_id, version: self.versions.append((server_id, version)),
            on_returned=self._came_back,
            on_checked=self._was_checked,
            is_watched=lambda server_id: server_id in self.watched,
            clock=self.clock,
            draw=lambda: 0.5,
        )

    def _changed(self) -> None:
        self.changes += 1

    def _came_back(self, server_id: str) -> None:
        self.returned.append((self.clock.seconds - 1000.0, server_id, self.status(server_id)))

    def _was_checked(self, server_id: str, target: ProbeTarget, inspection: Inspection) -> None:
        assert target is self.targets[server_id]
        self.checked.append((self.clock.seconds - 1000.0, server_id, self.status(server_id), inspection))

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

    async def waiting_for(self, *server_ids: str, seconds: float) -> None:
        """Let requests wait for servers, as the data plane does: it says so ten times a second."""
        for _ in range(round(seconds * 10)):
            self.prober.redial(server_ids)
            await self.clock.advance(0.1)

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


async def test_a_dead_server_that_somebody_looks_at_is_marked_within_half_a_second(watch: Watch) -> None:
    watch.register("a", "b")
    watch.watched.add("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.will("a", REFUSED)
    watch.network.will("b", REFUSED)
    watch.prober.check_soon("a")
    watch.prober.check_soon("b")
    await watch.clock.advance(0.5)
    assert (watch.status("a"), watch.status("b")) == (HealthStatus.UNHEALTHY, HealthStatus.HEALTHY)
    assert watch.book.state("a").consecutive_failures == 3
    await watch.clock.advance(3)
    assert watch.status("b") is HealthStatus.UNHEALTHY
    assert len(watch.network.times("a")) <= len(watch.network.times("b")) + 2


async def test_looking_at_a_server_hurries_no_miss_that_it_answered(watch: Watch) -> None:
    watch.register("a")
    watch.watched.add("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.will("a", Inspection(CheckFailure.NOT_READY, "answered 503: overloaded"))
    watch.prober.check_soon("a")
    await watch.clock.advance(1.7)
    assert watch.status("a") is HealthStatus.HEALTHY
    await watch.clock.advance(0.3)
    assert watch.status("a") is HealthStatus.UNHEALTHY


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


async def brought_down(watch: Watch, server_id: str = "a") -> None:
    """Have a server pass once and then fail until it is down; it stays so."""
    watch.register(server_id)
    watch.network.will(server_id, GOOD, REFUSED)
    watch.start()
    await watch.clock.advance(60)
    assert watch.status(server_id) is HealthStatus.UNHEALTHY


async def rejecting(watch: Watch, server_id: str = "a") -> None:
    """Have a server pass its checks and refuse a request 5 s after the start."""
    watch.register(server_id)
    watch.start()
    await watch.clock.advance(5)
    watch.book.rejected(server_id, 401, "", watch.clock.now())


async def test_a_silent_server_that_answers_beside_the_stream_is_alive(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    assert await watch.prober.answers("a")
    assert watch.network.listened == [(5.0, "a", 1.0)]
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_a_server_that_went_silent_is_down_at_once_and_checked_at_once(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.is_silent("a")
    question = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(1)
    assert not await question
    assert watch.status("a") is HealthStatus.UNHEALTHY
    assert watch.book.history("a")[1].reason == "stopped answering"
    assert watch.network.times("a") == [0.0, 6.0]


async def test_questions_beside_streams_of_one_server_are_one(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.is_silent("a")
    first = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(0.5)
    second = asyncio.create_task(watch.prober.answers("a"))
    await settle()
    first.cancel()
    await watch.clock.advance(0.5)
    assert not await second
    assert len(watch.network.listened) == 1
    assert len([check for check in watch.book.history("a") if not check.ok]) == 1
    again = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(1)
    assert not await again
    assert len(watch.network.listened) == 2


@pytest.mark.parametrize(
    "failure",
    [CheckFailure.NOT_MADE, CheckFailure.REFUSED_ADDRESS, CheckFailure.TLS],
    ids=lambda failure: failure.value,
)
async def test_what_proves_nothing_accuses_no_silent_server(watch: Watch, failure: CheckFailure) -> None:
    async def trouble() -> CheckFailure:
        return failure

    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.life_signs["a"] = trouble
    assert await watch.prober.answers("a")
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_a_loop_that_was_blocked_for_a_second_accuses_no_silent_server(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5.3)
    watch.network.is_silent("a")
    question = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(0.2)
    watch.clock.block(1.0)
    watch.network.life_signs.pop("a")
    await watch.clock.advance(0)
    assert await question
    assert len(watch.network.listened) == 2
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_a_loop_that_is_always_blocked_keeps_no_dead_stream_for_ever(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.is_silent("a")
    question = asyncio.create_task(watch.prober.answers("a"))
    for _ in range(3):
        await watch.clock.advance(0.2)
        watch.clock.block(2)
        await watch.clock.advance(0)
    assert not await question
    assert len(watch.network.listened) == 3


async def test_a_server_that_left_or_moved_while_it_was_asked_is_not_accused(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    watch.network.is_silent("a")
    question = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(0.5)
    watch.register("a", endpoint=Endpoint("http", "elsewhere", 80))
    await watch.clock.advance(0.5)
    assert not await question
    assert watch.status("a") is HealthStatus.HEALTHY
    assert await watch.prober.answers("nobody")


async def test_a_question_after_the_watch_has_ended_takes_no_time_for_a_block(watch: Watch) -> None:
    watch.register("a")
    running = watch.tasks.spawn(watch.prober.run(), name="prober")
    await watch.clock.advance(5)
    running.cancel()
    await watch.clock.advance(60)
    watch.network.is_silent("a")
    question = asyncio.create_task(watch.prober.answers("a"))
    await watch.clock.advance(1)
    assert not await question
    assert len(watch.network.listened) == 1


async def test_a_server_that_requests_wait_for_is_opened_by_one_good_list(watch: Watch) -> None:
    await brought_down(watch)
    failures = len(watch.book.history("a"))
    looks = len(watch.network.times("a"))
    await watch.waiting_for("a", seconds=1.0)
    assert 3 <= len(watch.network.times("a")) - looks <= 5
    assert len(watch.book.history("a")) - failures <= 1
    watch.network.will("a", GOOD)
    before = watch.clock.seconds - 1000.0
    await watch.waiting_for("a", seconds=0.5)
    assert watch.status("a") is HealthStatus.HEALTHY
    assert watch.returned[0] == (pytest.approx(before, abs=0.3), "a", HealthStatus.HEALTHY)


async def test_redials_of_one_server_keep_their_distance(watch: Watch) -> None:
    await brought_down(watch)
    seen = len(watch.network.looks)
    for _ in range(200):
        watch.prober.redial(["a", "a"])
        await watch.clock.advance(0.01)
    times = [when for when, _ in watch.network.looks[seen:]]
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert len(times) <= 10
    assert gaps[1] >= 0.25 - 1e-6


async def test_a_hanging_redial_holds_back_the_next_for_a_second_at_most(watch: Watch) -> None:
    await brought_down(watch)
    watch.network.answers["a"] = hang
    await watch.waiting_for("a", seconds=2.5)
    assert watch.status("a") is HealthStatus.UNHEALTHY
    watch.network.will("a", GOOD)
    await watch.waiting_for("a", seconds=1.1)
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_hanging_redials_of_one_server_do_not_pile_up(watch: Watch) -> None:
    await brought_down(watch)
    watch.network.answers["a"] = hang
    await watch.waiting_for("a", seconds=12)
    assert watch.network.running["a"] <= 5


async def test_failed_redials_count_for_nothing_but_a_key_that_is_refused_is_seen(watch: Watch) -> None:
    await brought_down(watch)
    before = watch.book.state("a")
    refused = Inspection(CheckFailure.CREDENTIALS, "answered 401: no, update the server's api_key")
    watch.network.will("a", REFUSED, TIMED_OUT, refused, GOOD)
    watch.prober.redial(["a"])
    await settle()
    assert watch.book.state("a") == before
    for _ in range(2):
        await watch.clock.advance(0.3)
        watch.prober.redial(["a"])
        await settle()
    assert watch.book.state("a").misconfigured
    looks = len(watch.network.looks)
    watch.prober.redial(["a"])
    await settle()
    assert len(watch.network.looks) == looks


async def test_a_good_redial_of_a_healthy_server_is_told_and_not_written_down(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(5)
    await watch.waiting_for("a", "nobody", seconds=0.1)
    assert watch.returned == [(5.0, "a", HealthStatus.HEALTHY)]
    assert len(watch.book.history("a")) == 1


async def test_a_late_redial_of_a_former_endpoint_opens_nothing(watch: Watch) -> None:
    await brought_down(watch)
    watch.network.will("a", GOOD, after_seconds=0.2)
    watch.prober.redial(["a"])
    await watch.clock.advance(0.1)
    watch.network.will("a", REFUSED)
    watch.register("a", endpoint=Endpoint("http", "a", 81))
    await watch.clock.advance(0.2)
    assert watch.status("a") is HealthStatus.UNHEALTHY
    assert watch.returned == []


async def test_a_server_that_refuses_requests_gets_a_chance_after_a_minute(watch: Watch) -> None:
    await rejecting(watch)
    assert watch.status("a") is HealthStatus.UNHEALTHY
    await watch.waiting_for("a", seconds=3)
    await watch.clock.advance(55)
    assert watch.book.state("a").misconfigured
    assert watch.book.state("a").reason == "answered 401 to a request: Unauthorized, update the server's api_key"
    assert len(watch.network.times("a")) <= 8, "a server whose list is public is not checked every second meanwhile"
    await watch.clock.advance(14)
    assert watch.status("a") is HealthStatus.HEALTHY
    assert not watch.book.state("a").misconfigured


async def test_a_wall_clock_that_jumps_brings_no_chance_forward(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    await rejecting(watch)
    monkeypatch.setattr(watch.clock, "now", lambda: NOON + timedelta(hours=1))
    await watch.clock.advance(30)
    assert watch.book.state("a").misconfigured
    monkeypatch.setattr(watch.clock, "now", lambda: NOON - timedelta(hours=1))
    await watch.clock.advance(45)
    assert not watch.book.state("a").misconfigured


async def test_a_check_that_its_owner_asks_for_gives_a_chance_at_once(watch: Watch) -> None:
    await rejecting(watch)
    watch.network.will("a", REFUSED, GOOD)
    await watch.prober.check_now("a")
    assert watch.status("a") is HealthStatus.UNHEALTHY
    assert watch.book.state("a").reason.endswith("update the server's api_key; connection refused")
    await watch.prober.check_now("a")
    assert watch.status("a") is HealthStatus.HEALTHY


async def test_an_engines_version_is_asked_for_at_first_and_after_a_failure_alone(watch: Watch) -> None:
    watch.register("a", "mute")
    watch.network.versions["a"] = "1.0"
    watch.network.will("a", GOOD, GOOD, REFUSED, GOOD)
    watch.start()
    await watch.clock.advance(19)
    assert watch.versions == [("a", "1.0")]
    watch.network.versions["a"] = "1.1"
    await watch.clock.advance(40)
    assert watch.versions == [("a", "1.0"), ("a", "1.1")]
    asked = [(host, engine) for _, host, engine in watch.network.version_questions]
    assert asked == [("a", "vllm"), ("mute", "vllm"), ("a", "vllm")]


async def test_the_same_version_is_no_news_after_a_failure(watch: Watch) -> None:
    watch.register("a")
    watch.network.versions["a"] = "1.0"
    watch.network.will("a", GOOD, REFUSED, GOOD)
    watch.start()
    await watch.clock.advance(30)
    assert len(watch.network.version_questions) == 2
    assert watch.versions == [("a", "1.0")]


async def test_the_version_of_a_server_that_a_redial_opened_is_asked_for_at_its_next_check(watch: Watch) -> None:
    await brought_down(watch)
    asked = len(watch.network.version_questions)
    watch.network.will("a", GOOD)
    watch.network.versions["a"] = "2.0"
    watch.prober.redial(["a"])
    await watch.clock.advance(25)
    assert watch.versions == [("a", "2.0")]
    assert len(watch.network.version_questions) == asked + 1


async def test_a_loop_that_was_blocked_for_a_second_ejects_nobody(watch: Watch) -> None:
    ids = [f"server-{number}" for number in range(20)]
    watch.register(*ids)
    for server_id in ids:
        watch.network.will(server_id, GOOD, TIMED_OUT, GOOD, after_seconds=1.0)
    watch.start()
    await watch.clock.advance(11.5)
    watch.clock.block(1.0)
    await watch.clock.advance(2)
    assert {watch.book.state(server_id).consecutive_failures for server_id in ids} == {0}
    assert {watch.status(server_id) for server_id in ids} == {HealthStatus.HEALTHY}


async def test_each_good_check_is_told_once_it_is_taken_in(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, REFUSED, GOOD)
    watch.start()
    await watch.clock.advance(11.5)
    healthy = HealthStatus.HEALTHY
    assert watch.checked == [(0.0, "a", healthy, GOOD), (pytest.approx(10.9), "a", healthy, GOOD)]


async def test_a_check_of_a_server_that_was_changed_or_removed_meanwhile_is_not_told(watch: Watch) -> None:
    watch.register("a", "b")
    for server_id in ("a", "b"):
        watch.network.will(server_id, GOOD, after_seconds=1.0)
    watch.start()
    await watch.clock.advance(0.5)
    watch.remove("a")
    watch.register("b", engine="sglang")
    await watch.clock.advance(0.6)
    assert watch.checked == []
    await watch.clock.advance(2)
    assert [server_id for _, server_id, *_ in watch.checked] == ["b"]


async def test_a_registration_counts_as_a_good_check(watch: Watch) -> None:
    watch.start()
    await watch.clock.advance(2)
    watch.book.record("a", GOOD, watch.clock.now())
    watch.register("a", engine="ollama")
    await watch.clock.advance(1)
    assert watch.checked == [(pytest.approx(3.0), "a", HealthStatus.HEALTHY, Inspection(None, "", engine="ollama"))]
    assert watch.network.looks == []


async def test_a_redial_that_opens_a_server_is_told(watch: Watch) -> None:
    await brought_down(watch)
    watch.checked.clear()
    watch.network.will("a", GOOD)
    await watch.waiting_for("a", seconds=0.3)
    assert [(server_id, status) for _, server_id, status, _ in watch.checked] == [("a", HealthStatus.HEALTHY)]


async def test_a_server_that_restarts_is_looked_at_every_second_and_back_at_once(watch: Watch) -> None:
    watch.register("a")
    watch.network.will("a", GOOD, *[LOADING] * 40, GOOD)
    watch.start()
    await watch.clock.advance(10)
    state = watch.book.state("a")
    assert (state.status, state.reason, state.consecutive_failures) == (HealthStatus.UNHEALTHY, "loading the model", 0)
    await watch.clock.advance(35)
    assert watch.status("a") is HealthStatus.UNHEALTHY
    await watch.clock.advance(2)
    assert watch.status("a") is HealthStatus.HEALTHY
    assert {round(later - earlier, 3) for earlier, later in pairwise(watch.network.times("a")[1:42])} == {0.9}


async def test_a_server_that_loaded_its_model_is_asked_for_its_version_anew(watch: Watch) -> None:
    watch.register("a")
    watch.network.versions["a"] = "1"
    watch.network.will("a", GOOD, LOADING, GOOD)
    watch.start()
    await watch.clock.advance(5)
    watch.network.versions["a"] = "2"
    await watch.clock.advance(6)
    assert watch.versions == [("a", "1"), ("a", "2")]
