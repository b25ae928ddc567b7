"""Is a server asked for its version when another one may run there, and only then?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from app.services.core.checks.health import HealthState
from app.services.core.types import CheckFailure, Endpoint, HealthStatus, Inspection
from app.services.prober_interface import ProbeTarget
from app.services.version_watch import VersionWatch
from app.utils.tasks import TaskKeeper

TARGET = ProbeTarget(Endpoint("http", "gpu.example", 8000), "sk-1", ("a",), "vllm")
WELL = HealthState(HealthStatus.HEALTHY)


class Desk:
    """Answers for one server, and notes who asks and who is told."""

    def __init__(self) -> None:
        self.tasks = TaskKeeper()
        self.targets: Mapping[str, ProbeTarget] = {"s": TARGET}
        self.version_there = "1.0"
        self.asked: list[tuple[Endpoint, str | None, str]] = []
        self.told: list[tuple[str, str]] = []
        self.watch = VersionWatch(self, self.tasks, lambda: self.targets, lambda *told: self.told.append(told))

    async def inspect(self, *_arguments: object, engine: str | None = None) -> Inspection:
        raise NotImplementedError

    async def hears(self, *_arguments: object) -> CheckFailure | None:
        raise NotImplementedError

    async def version(self, endpoint: Endpoint, api_key: str | None, engine: str) -> str:
        self.asked.append((endpoint, api_key, engine))
        return self.version_there

    async def good_check(self, before: HealthState = WELL) -> None:
        """Let a check pass, before which this was known."""
        self.watch.doubt("s", before)
        self.watch.ask("s", TARGET, "vllm")
        while self.tasks:
            await asyncio.sleep(0)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    await made.tasks.close()


async def test_a_server_is_asked_when_it_is_first_seen(desk: Desk) -> None:
    for _ in range(3):
        await desk.good_check()
    assert desk.asked == [(TARGET.endpoint, "sk-1", "vllm")]
    assert desk.told == [("s", "1.0")]


@pytest.mark.parametrize(
    "before",
    [
        HealthState(HealthStatus.HEALTHY, consecutive_failures=1),
        HealthState(HealthStatus.UNHEALTHY, consecutive_failures=7),
        HealthState(HealthStatus.UNHEALTHY, loading=True),
    ],
)
async def test_another_may_run_after_a_failure_or_after_the_model_was_loaded(desk: Desk, before: HealthState) -> None:
    await desk.good_check()
    await desk.good_check(before)
    assert desk.told == [("s", "1.0")]
    desk.version_there = "2.0"
    await desk.good_check(before)
    assert desk.told == [("s", "1.0"), ("s", "2.0")]


async def test_a_doubt_outlives_the_checks_that_fail(desk: Desk) -> None:
    await desk.good_check()
    desk.version_there = "2.0"
    desk.watch.doubt("s", HealthState(HealthStatus.UNHEALTHY, consecutive_failures=1))
    await desk.good_check()
    assert desk.told[-1] == ("s", "2.0")


async def test_one_that_tells_no_version_is_no_news(desk: Desk) -> None:
    desk.version_there = ""
    await desk.good_check()
    assert (len(desk.asked), desk.told) == (1, [])


async def test_an_answer_of_a_server_that_was_changed_meanwhile_is_dropped(desk: Desk) -> None:
    desk.watch.doubt("s", WELL)
    desk.watch.ask("s", TARGET, "vllm")
    desk.targets = {}
    while desk.tasks:
        await asyncio.sleep(0)
    assert desk.told == []


async def test_a_server_that_was_forgotten_is_new(desk: Desk) -> None:
    await desk.good_check()
    desk.watch.keep({"another"})
    await desk.good_check()
    assert desk.told == [("s", "1.0")] * 2
