"""Are servers that fail requests taken out and brought back, whatever the registry answers?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.errors import NotFound, StorageUnavailable
from app.services.core.network.addresses import parse_endpoint
from app.services.core.retry import Failure
from app.services.core.types import HealthStatus, ModelEntry, Server
from app.services.quarantine import Quarantine
from app.utils.tasks import TaskKeeper
from tests.fakes.house import until

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class FakeRegistry:
    """Takes what it is told, or fails as it is told to."""

    def __init__(self) -> None:
        self.taken_out: list[tuple[str, str, datetime]] = []
        self.brought_back: list[str] = []
        self.fails: Exception | None = None

    async def quarantine(self, server_id: str, reason: str, until: datetime) -> None:
        if self.fails is not None:
            raise self.fails
        self.taken_out.append((server_id, reason, until))

    async def release(self, server_id: str) -> bool:
        if self.fails is not None:
            raise self.fails
        self.brought_back.append(server_id)
        return True


class Bench:
    """A quarantine over three servers of one model, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.registry = FakeRegistry()
        self.tasks = TaskKeeper()
        self.moment = 1000.0
        self.snapshot: Snapshot = build_snapshot([server(name) for name in "abc"])
        self.good = 0
        self.quarantine = Quarantine(
            self.registry,
            self.tasks,
            snapshot=lambda: self.snapshot,
            is_shut=lambda _server_id: False,
            good_answers=lambda _server_id: self.good,
            clock=lambda: self.moment,
            now=lambda: NOW,
        )

    async def fail(self, server_id: str = "a", failure: Failure = Failure.FAILED, times: int = 5) -> None:
        for _time in range(times):
            self.moment += 10.0
            self.quarantine.ejected(server_id, failure, 500, begun=False, failures=1)
        await self.finish()

    async def finish(self) -> None:
        await until(lambda: len(self.tasks) == 0)

    def change(self, change: Callable[[Server], Server]) -> None:
        self.snapshot = build_snapshot([change(one) for one in self.snapshot.servers.values()])


def server(server_id: str) -> Server:
    endpoint = parse_endpoint(f"http://{server_id}.example")
    return Server(server_id, endpoint, (ModelEntry("m", "m"),), health=HealthStatus.HEALTHY)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_server_that_only_fails_requests_is_taken_out_for_ten_minutes(bench: Bench) -> None:
    await bench.fail(times=4)
    assert bench.registry.taken_out == []
    await bench.fail(times=1)
    ((server_id, reason, until_when),) = bench.registry.taken_out
    assert (server_id, until_when) == ("a", NOW + timedelta(minutes=10))
    assert reason == "5 of its last 5 answers were no good (it answered 500), though its checks pass"


async def test_each_time_it_is_out_longer_until_that_is_forgotten(bench: Bench) -> None:
    for _time in range(3):
        await bench.fail()
    bench.moment += 7 * 3600
    await bench.fail()
    minutes = [(until_when - NOW) / timedelta(minutes=1) for _id, _reason, until_when in bench.registry.taken_out]
    assert minutes == [10, 20, 40, 10]


async def test_lost_dials_and_silence_take_nobody_out(bench: Bench) -> None:
    for failure in (Failure.DIAL, Failure.RESET, Failure.SILENT, Failure.DEAD):
        await bench.fail(failure=failure, times=20)
    assert bench.registry.taken_out == []


@pytest.mark.parametrize(
    "trouble", [{"health": HealthStatus.UNHEALTHY}, {"misconfigured": True}, {"paused": True}, {"quarantined": True}]
)
async def test_who_is_out_for_another_reason_is_not_judged(bench: Bench, trouble) -> None:
    bench.change(lambda one: replace(one, **trouble) if one.id == "a" else one)
    await bench.fail(times=9)
    await bench.fail("gone", times=9)
    assert bench.registry.taken_out == []


async def test_the_last_one_stays_and_the_log_says_why(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.change(lambda one: one if one.id == "a" else replace(one, health=HealthStatus.UNHEALTHY))
    await bench.fail(times=9)
    assert bench.registry.taken_out == []
    assert "it is needed" in caplog.text


async def test_good_answers_keep_it(bench: Bench) -> None:
    for _time in range(9):
        bench.good += 5
        await bench.fail(times=1)
    assert bench.registry.taken_out == []


@pytest.mark.parametrize("error", [NotFound("gone"), StorageUnavailable("no database")])
async def test_what_cannot_be_stored_is_tried_again(bench: Bench, error, caplog: pytest.LogCaptureFixture) -> None:
    bench.registry.fails = error
    await bench.fail()
    assert "was not taken out" in caplog.text
    bench.registry.fails = None
    await bench.fail(times=1)
    assert [server_id for server_id, *_rest in bench.registry.taken_out] == ["a"]


async def test_it_comes_back_when_the_others_fail(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.change(lambda one: replace(one, quarantined=one.id == "a"))
    bench.quarantine.review(bench.snapshot)
    await bench.finish()
    assert bench.registry.brought_back == []
    bench.change(lambda one: one if one.id == "a" else replace(one, health=HealthStatus.UNHEALTHY))
    bench.registry.fails = StorageUnavailable("no database")
    bench.quarantine.review(bench.snapshot)
    await bench.finish()
    assert "stays in quarantine" in caplog.text
    bench.registry.fails = None
    bench.quarantine.review(bench.snapshot)
    bench.quarantine.review(bench.snapshot)
    await bench.finish()
    assert bench.registry.brought_back == ["a"]


@pytest.mark.parametrize("trouble", [{"paused": True}, {"blocked": True}, {"health": HealthStatus.UNHEALTHY}])
async def test_one_that_would_not_serve_does_not_come_back(bench: Bench, trouble) -> None:
    bench.change(
        lambda one: (
            replace(one, quarantined=True, **trouble) if one.id == "a" else replace(one, health=HealthStatus.UNHEALTHY)
        )
    )
    bench.quarantine.review(bench.snapshot)
    await bench.finish()
    assert bench.registry.brought_back == []


async def test_servers_that_are_gone_are_forgotten(bench: Bench) -> None:
    await bench.fail(times=4)
    everybody = bench.snapshot
    bench.quarantine.review(build_snapshot([]))
    bench.quarantine.review(everybody)
    await bench.fail(times=4)
    assert bench.registry.taken_out == []


async def test_nothing_begins_while_the_gateway_ends(bench: Bench) -> None:
    await bench.tasks.close()
    await bench.fail()
    bench.tasks.open()
    await bench.fail(times=1)
    assert len(bench.registry.taken_out) == 1
