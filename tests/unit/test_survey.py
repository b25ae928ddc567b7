"""What the engines say: who is asked, when, what is made of it, and when it is dropped. Time moves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.services.core.checks.health import HealthState
from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.core.signals import NO_SIGNALS, Signals
from app.services.core.types import DiscoveredModel, Endpoint, HealthStatus, Inspection
from app.services.dataplane.fetch import AnswerBroken, FetchedAnswer, Fetcher
from app.services.dataplane.link import ConnectFailed, ConnectFailure, Link, SystemResolver
from app.services.engines.ollama import Ollama
from app.services.engines.vllm import Vllm
from app.services.inspector import Inspector
from app.services.prober_interface import ProbeTarget
from app.services.registry.records import NO_FACTS, EngineFacts
from app.services.survey import ASKED_AT_A_TIME, MAX_PAGE_BYTES, Survey
from app.utils.tasks import TaskKeeper
from tests.fakes.engines.llamacpp import FakeLlamaCpp
from tests.fakes.engines.ollama import FakeOllama
from tests.fakes.engines.vllm import FakeVllm
from tests.fakes.model_server import FakeModelServer, json_answer, serving

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "sk-canary-0123456789"
HEALTHY = HealthState(HealthStatus.HEALTHY, last_transition_at=NOON)
PS = b'{"models":[{"name":"a","model":"a","context_length":4096}]}'
TAGS = b'{"models":[]}'
Page = FetchedAnswer | Exception


def ok(body: bytes, status: int = 200) -> FetchedAnswer:
    return FetchedAnswer(status, {}, body, 1.0)


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


class Clock:
    """Stands still; who waits goes on when a test says that the time is over."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        self.waits.append((timeout_seconds, event))
        await event.wait()

    async def pass_waits(self) -> None:
        for _, event in self.waits:
            event.set()
        self.waits.clear()
        await settle()


class Network:
    """Answers each path as scripted, 404 otherwise. ``gate``, when set, holds every answer."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str]] = []
        self.terms: set[tuple[str | None, float, int]] = set()
        self.gate: asyncio.Event | None = None
        self.running = self.most_running = 0

    async def get(
        self, endpoint: Endpoint, path: str, *, api_key: str | None, timeout_seconds: float, limit_bytes: int = 0
    ) -> FetchedAnswer:
        self.asked.append((endpoint.host, path))
        self.terms.add((api_key, timeout_seconds, limit_bytes))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        page = self.pages.get(path, ok(b"", 404))
        if isinstance(page, Exception):
            raise page
        return page

    def paths(self) -> list[str]:
        """What was asked since the last time."""
        paths = [path for _, path in self.asked]
        self.asked.clear()
        return paths


class House:
    """A survey with all that it needs; ``check`` is a good check of a server."""

    def __init__(self, fetcher: Any = None, timeout_seconds: float = 5.0) -> None:
        self.network = Network()
        self.clock = Clock()
        self.tasks = TaskKeeper()
        self.targets: Mapping[str, ProbeTarget] = {}
        self.states: dict[str, HealthState] = {}
        self.published = 0
        self.loads: list[tuple[str, Signals]] = []
        self.survey = Survey(
            fetcher or self.network,
            self.tasks,
            targets=lambda: self.targets,
            states=self,
            on_facts=self._publish,
            on_load=lambda server_id, signals: self.loads.append((server_id, signals)),
            timeout_seconds=timeout_seconds,
            clock=self.clock,
        )

    def state(self, server_id: str) -> HealthState:
        return self.states.get(server_id, HealthState())

    def _publish(self) -> None:
        self.published += 1

    def register(self, server_id: str = "s", engine: str = "ollama", **changes: Any) -> None:
        fields = {"endpoint": Endpoint("http", server_id, 80), "api_key": KEY, "expected": ("a",), "engine": engine}
        self.targets = {**self.targets, server_id: ProbeTarget(**fields | changes)}
        self.states.setdefault(server_id, HEALTHY)

    def remove(self, server_id: str = "s") -> None:
        self.targets = {name: target for name, target in self.targets.items() if name != server_id}

    def check(self, server_id: str = "s", models: tuple[DiscoveredModel, ...] = (), engine: str = "") -> None:
        target = self.targets[server_id]
        self.survey.checked(server_id, target, Inspection(None, "", models, engine or target.engine))

    async def checked(self, server_id: str = "s", **found: Any) -> None:
        self.check(server_id, **found)
        await settle()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    made.network.pages = {"/api/ps": ok(PS), "/api/tags": ok(TAGS)}
    yield made
    await made.tasks.close()


async def test_a_server_that_is_well_is_asked_what_its_adapter_names(house: House) -> None:
    house.register()
    house.clock.seconds = 7
    await house.checked()
    assert tuple(house.network.paths()) == Ollama().signal_paths()
    assert house.network.terms == {(KEY, 2.0, MAX_PAGE_BYTES)}
    heard = house.survey.signals("s")
    assert (heard.loaded, heard.contexts) == ({"a"}, {"a": 4096})
    assert house.survey.told_at("s") == NOON + timedelta(seconds=7)
    assert house.survey.facts("s") == EngineFacts(loaded=frozenset({"a"}), swaps_models=True, contexts={"a": 4096})
    assert house.loads == [("s", heard)]


async def test_no_page_is_given_more_time_than_a_check() -> None:
    house = House(timeout_seconds=0.5)
    house.register()
    await house.checked()
    assert {timeout for _, timeout, _ in house.network.terms} == {0.5}
    await house.tasks.close()


async def test_checks_never_wait_for_it(house: House) -> None:
    house.register()
    house.network.gate = asyncio.Event()
    await house.checked()
    assert house.survey.signals("s") is NO_SIGNALS
    assert house.survey.told_at("s") is None
    assert house.survey.facts("s") == EngineFacts(swaps_models=True)


async def test_a_server_is_asked_once_at_a_time(house: House) -> None:
    house.register()
    house.network.gate = asyncio.Event()
    for _ in range(3):
        await house.checked()
    assert house.network.paths() == ["/api/ps"]
    house.network.gate.set()
    await settle()
    assert len(house.loads) == 1
    await house.checked()
    assert len(house.loads) == 2


async def test_few_servers_are_asked_at_a_time_and_all_get_their_turn(house: House) -> None:
    house.network.gate = asyncio.Event()
    ids = [f"server-{number}" for number in range(2 * ASKED_AT_A_TIME)]
    for server_id in ids:
        house.register(server_id)
    for server_id in ids:
        house.check(server_id)
    await settle()
    assert house.network.most_running == ASKED_AT_A_TIME
    house.network.gate.set()
    await settle()
    assert house.network.most_running == ASKED_AT_A_TIME
    assert sorted(server_id for server_id, _ in house.loads) == sorted(ids)


async def test_news_of_many_servers_are_published_together_and_only_news(house: House) -> None:
    for server_id in ("s", "t", "u"):
        house.register(server_id)
        house.check(server_id)
    await settle()
    assert (house.published, [seconds for seconds, _ in house.clock.waits]) == (0, [0.25])
    await house.clock.pass_waits()
    assert house.published == 1
    await house.checked()
    assert house.clock.waits == []
    house.network.pages["/api/ps"] = ok(b'{"models":[]}')
    await house.checked()
    await house.clock.pass_waits()
    assert house.published == 2
    assert house.survey.facts("s") == EngineFacts(loaded=frozenset(), swaps_models=True, contexts={"a": 4096})
    assert house.survey.signals("s").contexts == {}


async def test_the_last_context_of_a_model_is_kept_while_it_is_registered_and_the_server_the_same(house: House) -> None:
    house.register(expected=("a", "b"))
    await house.checked()
    house.network.pages["/api/ps"] = ok(PS.replace(b'"a"', b'"b"').replace(b"4096", b"8192"))
    await house.checked()
    assert house.survey.facts("s").contexts == {"a": 4096, "b": 8192}
    house.register(expected=("b",))
    await house.checked()
    assert house.survey.facts("s").contexts == {"b": 8192}
    CHANGES["down in between"](house)
    house.network.pages["/api/ps"] = ok(b'{"models":[]}')
    await house.checked()
    assert house.survey.facts("s").contexts == {}


async def test_an_engine_that_names_no_pages_is_not_asked(house: House, monkeypatch) -> None:
    monkeypatch.setattr(Vllm, "signal_paths", lambda _: ())
    house.register(engine="vllm")
    await house.checked(models=(DiscoveredModel("a", 4096),))
    assert house.network.asked == []
    assert (house.loads, house.survey.told_at("s")) == ([], None)
    assert house.survey.facts("s") == EngineFacts(contexts={"a": 4096})
    await house.clock.pass_waits()
    assert house.published == 1


@pytest.mark.parametrize("status", [404, 405, 501, 401, 403, 307, 400])
async def test_a_page_that_is_not_there_is_not_asked_for_again(house: House, status: int) -> None:
    house.network.pages["/api/tags"] = ok(b"no", status)
    house.register()
    for _ in range(3):
        await house.checked()
    assert house.network.paths() == ["/api/ps", "/api/tags", "/api/ps", "/api/ps"]
    assert house.survey.facts("s").loaded == {"a"}


@pytest.mark.parametrize("page", [ok(b"", 503), ok(b"", 429), AnswerBroken("no answer within 2 s")])
async def test_a_page_that_failed_is_asked_for_the_next_time(house: House, page: Page) -> None:
    house.network.pages["/api/tags"] = page
    house.register()
    for _ in range(2):
        await house.checked()
    assert house.network.paths() == ["/api/ps", "/api/tags"] * 2


async def test_pages_are_asked_for_anew_once_the_version_is_another(house: House) -> None:
    house.network.pages["/api/tags"] = ok(b"", 501)
    house.register()
    await house.checked()
    for version in ("1.0", "", "1.0"):
        house.survey.versioned("s", version)
    house.survey.versioned("stranger", "1.0")
    await house.checked()
    assert house.network.paths() == ["/api/ps", "/api/tags", "/api/ps"]
    house.survey.versioned("s", "2.0")
    await house.checked()
    assert house.network.paths() == ["/api/ps", "/api/tags"]


CHANGES: dict[str, Callable[[House], None]] = {
    "removed": lambda house: house.remove(),
    "moved": lambda house: house.register(endpoint=Endpoint("http", "elsewhere", 80)),
    "another key": lambda house: house.register(api_key="another-key"),
    "another engine": lambda house: house.register(engine="vllm"),
    "unhealthy": lambda house: house.states.update(s=HealthState(HealthStatus.UNHEALTHY, "gone")),
    "down in between": lambda house: house.states.update(
        s=HealthState(HealthStatus.HEALTHY, last_transition_at=NOON + timedelta(seconds=9))
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_was_said_is_gone_with_the_server_that_said_it(
    house: House, change: Callable[[House], None]
) -> None:
    house.register()
    await house.checked()
    assert house.survey.told_at("s") == NOON
    change(house)
    assert house.survey.signals("s") is NO_SIGNALS
    assert house.survey.told_at("s") is None
    assert house.survey.facts("s") in (NO_FACTS, EngineFacts(swaps_models=True))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_what_comes_late_is_dropped_and_nothing_more_is_asked(
    house: House, change: Callable[[House], None]
) -> None:
    house.network.gate = asyncio.Event()
    house.register()
    await house.checked()
    change(house)
    house.network.gate.set()
    await settle()
    assert house.network.paths() == ["/api/ps"]
    assert house.loads == []
    assert house.clock.waits == []


@pytest.mark.parametrize("name", ["moved", "another key", "down in between"])
async def test_a_server_that_is_another_is_asked_anew_at_once_for_all_pages(house: House, name: str) -> None:
    house.network.pages["/api/tags"] = ok(b"", 404)
    house.register()
    await house.checked()
    house.network.gate = asyncio.Event()
    await house.checked()
    house.network.paths()
    CHANGES[name](house)
    await house.checked()
    assert house.network.paths() == ["/api/ps"]
    house.network.gate.set()
    await settle()
    assert house.network.paths() == ["/api/tags"]
    assert len(house.loads) == 2


async def test_a_server_that_is_not_back_yet_is_not_asked(house: House) -> None:
    house.register()
    await house.checked()
    house.network.paths()
    house.states["s"] = HealthState(HealthStatus.UNHEALTHY, "answers again, 1 of 2 good checks")
    await house.checked()
    assert house.network.asked == []


async def test_servers_that_are_gone_are_forgotten(house: House) -> None:
    for server_id in ("s", "t"):
        house.register(server_id)
        await house.checked(server_id)
    house.remove("t")
    await house.checked("s")
    house.register("t")
    assert house.survey.told_at("t") is None
    assert house.survey.told_at("s") == NOON


@pytest.mark.parametrize(
    "failure",
    [ConnectFailed("connection refused", ConnectFailure.REFUSED), EndpointRefused("no"), AnswerBroken("cut short")],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_was_said_stays_where_nothing_can_be_asked(house: House, failure: Exception) -> None:
    house.register()
    await house.checked()
    before = house.survey.signals("s"), house.survey.facts("s")
    house.clock.seconds = 10
    house.network.pages = dict.fromkeys(Ollama().signal_paths(), failure)
    await house.checked()
    assert (house.survey.signals("s"), house.survey.facts("s")) == before
    assert house.survey.told_at("s") == NOON
    assert len(house.loads) == 1


async def test_a_part_of_the_answers_changes_no_facts_once_the_whole_is_known(house: House) -> None:
    house.register()
    await house.checked()
    facts = house.survey.facts("s")
    house.network.pages["/api/ps"] = AnswerBroken("no answer within 2 s")
    house.clock.seconds = 10
    await house.checked()
    assert house.survey.facts("s") == facts
    assert house.survey.told_at("s") == NOON + timedelta(seconds=10)


async def test_a_bug_in_an_adapter_is_told_without_the_servers_words(house: House, monkeypatch) -> None:
    def read(_: Ollama, answers: Mapping[str, bytes]) -> Signals:
        raise ValueError(answers["/api/ps"].decode())

    monkeypatch.setattr(Ollama, "signals", read)
    house.register()
    with capture_logs() as lines:
        await house.checked()
    assert [(line["event"], line["error"]) for line in lines] == [
        ("What an engine says of itself could not be read", "ValueError")
    ]
    assert "4096" not in str(lines)
    assert house.survey.signals("s") is NO_SIGNALS


# -- over real sockets


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    resolver = SystemResolver()
    yield Fetcher(Link(AddressPolicy((ip_network("127.0.0.0/8"),)), resolver, connect_timeout_seconds=5), b"1.1 test")
    resolver.close()


async def told_by(server: FakeModelServer, fetcher: Fetcher, engine: str, **changes: Any) -> House:
    """Check a server on its port as the prober does, and hear it out."""
    house = House(fetcher)
    house.register(engine=engine, endpoint=parse_endpoint(server.url), **changes)
    target = house.targets["s"]
    inspection = await Inspector(fetcher, 5).inspect(target.endpoint, target.api_key, target.expected, engine=engine)
    assert inspection.passed
    house.survey.checked("s", target, inspection)
    async with asyncio.timeout(5):
        while house.tasks and not house.clock.waits:
            await asyncio.sleep(0)
    await house.tasks.close()
    return house


async def test_ollama_tells_what_is_in_its_memory(fetcher: Fetcher) -> None:
    async with serving(FakeOllama(["a:latest", "b:7b"], loaded=["a:latest"], context=8192)) as (server,):
        house = await told_by(server, fetcher, "ollama", expected=("a", "b:7b"))
    assert house.survey.facts("s") == EngineFacts(loaded=frozenset({"a"}), swaps_models=True, contexts={"a": 8192})
    asked = [seen for seen in server.requests if seen.path.startswith("/api/")]
    assert asked
    assert {seen.headers["authorization"] for seen in asked} == {f"Bearer {KEY}"}


async def test_vllm_tells_how_busy_it_is(fetcher: Fetcher) -> None:
    async with serving(FakeVllm(["a"], context=4096, running=3, waiting=2)) as (server,):
        house = await told_by(server, fetcher, "vllm")
    assert [(signals.running, signals.waiting) for _, signals in house.loads] == [(3, 2)]
    assert house.survey.facts("s") == EngineFacts(contexts={"a": 4096})


async def test_llama_cpp_tells_its_slots_with_metrics_and_without(fetcher: Fetcher) -> None:
    for metrics, running in ((True, 2), (False, None)):
        async with serving(FakeLlamaCpp(["a"], context=2048, running=2, places=4, metrics=metrics)) as (server,):
            house = await told_by(server, fetcher, "llama.cpp")
        assert (house.survey.signals("s").places, house.survey.signals("s").running) == (4, running)
        assert house.survey.facts("s") == EngineFacts(places=4, contexts={"a": 2048})


async def test_a_page_without_end_is_cut_off(fetcher: Fetcher) -> None:
    async def flood(_server: FakeModelServer, _seen: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(json_answer(b"x" * (MAX_PAGE_BYTES + 1)))

    async with serving(FakeVllm(["a"], behaviours={"/metrics": flood})) as (server,):
        house = await told_by(server, fetcher, "vllm")
    assert house.survey.told_at("s") is None
    assert house.loads == []
