"""The book of health: what it knows, whom it tells, and what reaches the database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from app.services.core.checks.health import CheckRecord, HealthState, Thresholds
from app.services.core.errors import StorageUnavailable
from app.services.core.types import CheckFailure, HealthStatus, Inspection
from app.services.registry import book as book_module
from app.services.registry.book import HISTORY_LENGTH, HealthBook

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = Inspection(None, "", latency_ms=3.0)
PARTLY = Inspection(None, "lists models a but not b", latency_ms=4.0, missing_models=frozenset({"b"}))
MISSED = Inspection(CheckFailure.UNREACHABLE, "no answer within 5 s", latency_ms=0.0)


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


class Store:
    """A database in memory that can fail, and that can be slow."""

    def __init__(self) -> None:
        self.states: dict[str, HealthState] = {}
        self.records: list[tuple[str, CheckRecord]] = []
        self.writes = 0
        self.fails = False
        self.open = asyncio.Event()
        self.open.set()

    async def save_health(self, states: Mapping[str, HealthState], records: Sequence[tuple[str, CheckRecord]]) -> None:
        self.writes += 1
        await self.open.wait()
        if self.fails:
            raise StorageUnavailable("The database is locked.")
        self.states.update(states)
        self.records.extend(records)


class Desk:
    """A book, its store, and how often routing was told."""

    def __init__(self) -> None:
        self.store = Store()
        self.told = 0
        self.seconds = 1000.0
        self.book = HealthBook(self.store, Thresholds(), self._tell, monotonic=lambda: self.seconds)

    def _tell(self) -> None:
        self.told += 1


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_stranger_is_unknown(desk: Desk) -> None:
    assert desk.book.state("a") == HealthState()
    assert desk.book.history("a") == []


def test_checks_advance_the_state_and_fill_the_history_newest_first(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.book.record("a", MISSED, at(10))
    desk.book.refused("a", "connection refused", at(11))
    assert desk.book.state("a").status is HealthStatus.HEALTHY
    assert desk.book.state("a").consecutive_failures == 2
    assert desk.book.history("a") == [
        CheckRecord(at(11), ok=False, reason="connection refused", source="traffic"),
        CheckRecord(at(10), ok=False, reason="no answer within 5 s"),
        CheckRecord(at(0), ok=True, latency_ms=3.0),
    ]


def test_three_refused_requests_take_a_server_out_of_the_rotation(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    for second in (1, 2):
        desk.book.refused("a", "connection refused", at(second))
    assert desk.told == 1
    desk.book.refused("a", "connection refused", at(3))
    assert desk.book.state("a").status is HealthStatus.UNHEALTHY
    assert desk.told == 2


def test_a_refused_dial_to_a_stranger_is_dropped(desk: Desk) -> None:
    desk.book.refused("gone", "connection refused", at(0))
    assert desk.book.state("gone") == HealthState()
    assert desk.book.history("gone") == []


def test_routing_hears_when_a_server_that_is_down_begins_to_load(desk: Desk) -> None:
    for second in range(3):
        desk.book.record("a", MISSED, at(second))
    before = desk.told
    loading = Inspection(CheckFailure.LOADING, "loading the model", latency_ms=1.0)
    with capture_logs() as logs:
        desk.book.record("a", loading, at(3))
        desk.book.record("a", loading, at(4))
    assert desk.book.state("a").loading
    assert desk.told == before + 1
    assert logs == []  # its state is what it was


def test_a_check_that_could_not_be_made_changes_nothing(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    before = desk.book.state("a"), desk.book.history("a")
    for second in range(1, 6):
        inspection = Inspection(CheckFailure.NOT_MADE, "the gateway is out of file descriptors")
        desk.book.record("a", inspection, at(second))
    assert (desk.book.state("a"), desk.book.history("a")) == before


def test_routing_is_told_of_states_and_missing_models_alone(desk: Desk) -> None:
    told = []
    for second, inspection in enumerate([GOOD, GOOD, MISSED, GOOD, PARTLY, PARTLY, GOOD]):
        desk.book.record("a", inspection, at(second))
        told.append(desk.told)
    assert told == [1, 1, 1, 1, 2, 2, 3]


def test_each_transition_is_one_line_in_the_log(desk: Desk) -> None:
    with capture_logs() as lines:
        for second, inspection in enumerate([GOOD, PARTLY, MISSED, MISSED, MISSED, MISSED]):
            desk.book.record("a", inspection, at(second))
    assert [(line["changed"], line["status"], line["reason"], line["log_level"]) for line in lines] == [
        ("health", "healthy", "", "info"),
        ("list of models", "healthy", "lists models a but not b", "warning"),
        ("health", "unhealthy", "no answer within 5 s", "warning"),
    ]
    assert {line["event"] for line in lines} == {"The state of a server changed"}
    assert {line["server_id"] for line in lines} == {"a"}


def test_history_keeps_the_last_hundred(desk: Desk) -> None:
    for second in range(150):
        desk.book.record("a", GOOD, at(second))
    history = desk.book.history("a")
    assert [record.checked_at for record in history] == [at(second) for second in range(149, 49, -1)]


def test_what_the_database_knew_is_valid_and_goes_on(desk: Desk) -> None:
    known = HealthState(HealthStatus.HEALTHY, consecutive_failures=2, last_checked_at=at(0), last_transition_at=at(0))
    past = [CheckRecord(at(-second), ok=True) for second in range(130)]
    desk.book.load({"a": known}, {"a": past})
    assert desk.book.state("a") == known
    assert desk.book.history("a") == past[:HISTORY_LENGTH]
    assert desk.told == 0
    desk.book.record("a", MISSED, at(1))
    assert desk.book.state("a").status is HealthStatus.UNHEALTHY
    assert desk.book.history("a")[1:] == past[: HISTORY_LENGTH - 1]


async def test_flush_writes_what_changed_and_only_that(desk: Desk) -> None:
    await desk.book.flush()
    assert desk.store.writes == 0
    desk.book.load({"b": HealthState(HealthStatus.HEALTHY)}, {})
    desk.book.record("a", GOOD, at(0))
    desk.book.record("a", MISSED, at(1))
    await desk.book.flush()
    assert desk.store.states == {"a": desk.book.state("a")}
    assert [record.ok for _, record in desk.store.records] == [True, False]
    await desk.book.flush()
    assert desk.store.writes == 1


async def test_a_database_that_fails_loses_nothing_and_is_logged_once(desk: Desk) -> None:
    desk.store.fails = True
    with capture_logs() as lines:
        for second in range(3):
            desk.book.record("a", GOOD, at(second))
            await desk.book.flush()
        desk.store.fails = False
        desk.book.record("b", GOOD, at(3))
        await desk.book.flush()
        await desk.book.flush()
    events = [line["event"] for line in lines if line["event"] != "The state of a server changed"]
    assert events == [
        "Health results cannot be saved; they are kept in memory until the database answers",
        "Health results are saved again",
    ]
    assert desk.store.states.keys() == {"a", "b"}
    assert [record.checked_at for _, record in desk.store.records] == [at(second) for second in range(4)]


async def test_a_cancelled_flush_loses_nothing(desk: Desk) -> None:
    desk.store.open.clear()
    desk.book.record("a", GOOD, at(0))
    flush = asyncio.create_task(desk.book.flush())
    while not desk.store.writes:
        await asyncio.sleep(0)
    desk.book.record("a", MISSED, at(1))
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    desk.store.open.set()
    await desk.book.flush()
    assert [(name, record.ok) for name, record in desk.store.records] == [("a", True), ("a", False)]
    assert desk.store.states == {"a": desk.book.state("a")}


async def test_a_flush_that_fails_by_a_bug_loses_nothing_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_batch: object) -> None:
        raise ZeroDivisionError

    desk.book.record("a", GOOD, at(0))
    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "save_health", broken)
        with pytest.raises(ZeroDivisionError):
            await desk.book.flush()
    await desk.book.flush()
    assert len(desk.store.records) == 1


async def test_what_waits_for_the_database_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_PENDING_RECORDS", 5)
    book = HealthBook(desk.store, Thresholds(), lambda: None)
    desk.store.fails = True
    for second in range(12):
        book.record("a", GOOD, at(second))
        await book.flush()
    desk.store.fails = False
    await book.flush()
    assert [record.checked_at for _, record in desk.store.records] == [at(second) for second in range(7, 12)]


async def test_a_removed_server_is_forgotten_whole(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.book.record("b", GOOD, at(0))
    desk.book.forget("a")
    desk.book.forget("never there")
    assert desk.book.state("a") == HealthState()
    assert desk.book.history("a") == []
    await desk.book.flush()
    assert desk.store.states.keys() == {"b"}
    assert [server_id for server_id, _ in desk.store.records] == ["b"]


async def test_a_server_removed_while_a_write_failed_stays_forgotten(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.store.fails = True
    desk.store.open.clear()
    flushing = asyncio.create_task(desk.book.flush())
    await asyncio.sleep(0)
    desk.book.forget("a")
    desk.store.open.set()
    await flushing
    desk.store.fails = False
    await desk.book.flush()
    assert desk.store.states == {}
    assert desk.store.records == []


async def test_checks_during_a_slow_write_go_into_the_next(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.store.open.clear()
    first = asyncio.create_task(desk.book.flush())
    await asyncio.sleep(0)
    desk.book.record("a", MISSED, at(1))
    second = asyncio.create_task(desk.book.flush())
    await asyncio.sleep(0)
    assert desk.store.writes == 1
    desk.store.open.set()
    await asyncio.gather(first, second)
    assert desk.store.states["a"] == desk.book.state("a")
    assert [record.ok for _, record in desk.store.records] == [True, False]


async def test_while_another_process_has_the_database_results_stay_in_memory(desk: Desk) -> None:
    there = False
    book = HealthBook(desk.store, Thresholds(), lambda: None, lambda: there)
    book.record("a", GOOD, at(0))
    await book.flush()
    assert desk.store.writes == 0
    there = True
    await book.flush()
    assert list(desk.store.states) == ["a"]


REFUSAL = "answered 401 to a request: Invalid key, update the server's api_key"


def rejected(desk: Desk) -> None:
    """Have a healthy server refuse a request."""
    desk.book.record("a", GOOD, at(0))
    desk.book.rejected("a", 401, "Invalid key", at(1))


def test_a_server_that_refuses_a_request_is_misconfigured_though_its_checks_pass(desk: Desk) -> None:
    rejected(desk)
    assert desk.told == 2
    for second in range(2, 20):
        desk.book.record("a", GOOD, at(second))
    state = desk.book.state("a")
    assert (state.status, state.misconfigured, state.reason) == (HealthStatus.UNHEALTHY, True, REFUSAL)
    assert desk.told == 2
    assert CheckRecord(at(1), ok=False, reason=REFUSAL, source="traffic") in desk.book.history("a")


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (401, "", "answered 401 to a request: Unauthorized, update the server's api_key"),
        (403, "no", "answered 403 to a request: no, update the server's api_key"),
        (499, "", "answered 499 to a request: no reason given, update the server's api_key"),
    ],
)
def test_an_owner_reads_what_was_answered(desk: Desk, status: int, reason: str, told: str) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.book.rejected("a", status, reason, at(1))
    assert desk.book.state("a").reason == told


def test_many_requests_that_are_refused_at_once_are_one_refusal(desk: Desk) -> None:
    rejected(desk)
    for second in range(2, 50):
        desk.book.rejected("a", 403, "other words", at(second))
    assert len(desk.book.history("a")) == 2
    assert desk.book.state("a").reason == REFUSAL
    desk.seconds += 60
    desk.book.record("a", GOOD, at(61))
    assert desk.book.state("a").status is HealthStatus.HEALTHY


def test_a_good_check_after_the_pause_opens_and_the_next_refusal_lasts_longer(desk: Desk) -> None:
    rejected(desk)
    desk.seconds += 59.9
    desk.book.record("a", GOOD, at(60))
    assert desk.book.state("a").misconfigured
    desk.seconds += 0.1
    desk.book.record("a", MISSED, at(61))
    assert desk.book.state("a").misconfigured
    desk.book.record("a", GOOD, at(62))
    assert desk.book.state("a").status is HealthStatus.HEALTHY
    assert desk.told == 3
    desk.book.rejected("a", 401, "Invalid key", at(63))
    desk.seconds += 119.9
    desk.book.record("a", GOOD, at(64))
    assert desk.book.state("a").misconfigured
    desk.seconds += 0.1
    desk.book.record("a", GOOD, at(65))
    assert not desk.book.state("a").misconfigured


def test_requests_that_wait_open_no_server_that_refuses_them(desk: Desk) -> None:
    rejected(desk)
    desk.book.record("a", GOOD, at(2), wanted=True)
    assert desk.book.state("a").misconfigured


def test_one_check_that_requests_wait_for_opens_a_server_that_was_down(desk: Desk) -> None:
    desk.book.record("a", MISSED, at(0))
    desk.book.record("a", GOOD, at(1), wanted=True)
    assert desk.book.state("a").status is HealthStatus.HEALTHY


def test_a_pardon_lets_the_next_good_check_open(desk: Desk) -> None:
    rejected(desk)
    desk.book.pardon("a")
    desk.book.pardon("never there")
    assert desk.book.state("a").misconfigured
    desk.book.record("a", GOOD, at(2))
    assert desk.book.state("a").status is HealthStatus.HEALTHY


def test_a_server_that_was_examined_anew_is_not_condemned_by_answers_to_its_old_key(desk: Desk) -> None:
    rejected(desk)
    desk.seconds += 5
    desk.book.load({"a": HealthState(HealthStatus.HEALTHY)}, {})
    desk.seconds += 1
    desk.book.rejected("a", 401, "Invalid key", at(6), asked_at=desk.seconds - 2)
    assert desk.book.state("a").status is HealthStatus.HEALTHY
    desk.book.rejected("a", 401, "Invalid key", at(7), asked_at=desk.seconds)
    assert desk.book.state("a").misconfigured


def test_a_key_that_checks_see_refused_too_is_told_to_routing_and_mended_by_checks(desk: Desk) -> None:
    shut_out = Inspection(CheckFailure.CREDENTIALS, "answered 401: no, update the server's api_key")
    rejected(desk)
    desk.book.record("a", shut_out, at(2))
    desk.book.rejected("a", 401, "Invalid key", at(3))
    assert desk.book.state("a").reason == shut_out.reason
    with capture_logs() as lines:
        desk.book.record("a", GOOD, at(4))
    assert [line["changed"] for line in lines] == ["credentials"]
    assert desk.told == 3
    desk.book.record("a", GOOD, at(5))
    assert desk.book.state("a").status is HealthStatus.HEALTHY


def test_a_server_that_went_silent_is_down_at_once(desk: Desk) -> None:
    desk.book.record("a", GOOD, at(0))
    desk.book.silent("a", at(1))
    assert desk.book.state("a").status is HealthStatus.UNHEALTHY
    assert desk.book.history("a")[0] == CheckRecord(at(1), ok=False, reason="stopped answering")
    assert desk.told == 2


def test_what_traffic_says_of_strangers_is_dropped(desk: Desk) -> None:
    desk.book.silent("gone", at(0))
    desk.book.rejected("gone", 401, "", at(0))
    desk.book.record("a", GOOD, at(0))
    desk.book.rejected("a", 401, "", at(1))
    desk.book.forget("a")
    desk.book.rejected("a", 401, "", at(2))
    assert desk.book.state("gone") == desk.book.state("a") == HealthState()
    assert desk.book.history("gone") == desk.book.history("a") == []
