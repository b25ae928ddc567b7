"""Which servers are knocked at, how often, and what follows? In a time of its own, and once over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from itertools import pairwise

import pytest

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy
from app.services.core.types import Endpoint, HealthStatus
from app.services.dataplane.connect_failures import ConnectFailed, ConnectFailure
from app.services.dataplane.link import Link
from app.services.dataplane.resolver import SystemResolver
from app.services.knocks import GAP_SECONDS, LISTED_SECONDS, MOST_A_SECOND, Hanger, Knocks
from app.services.prober import ProbeTarget
from app.utils.tasks import TaskKeeper
from tests.fakes.moved_clock import MovedClock, settle

REFUSED = ConnectFailed("connection refused", ConnectFailure.REFUSED)
NO_ANSWER = ConnectFailed("no answer within 5 s", ConnectFailure.TIMEOUT)
OUT_OF_SOCKETS = ConnectFailed("the gateway is out of file descriptors", ConnectFailure.OWN)


class Street:
    """Stands for all servers' doors: open by default, each knock by its moment and host."""

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock
        self.failures: dict[str, Exception] = {}
        self.knocks: list[tuple[float, str, str]] = []
        self.hanging: set[str] = set()

    async def dial(self, endpoint: Endpoint, protocol_factory: Callable[[], Hanger]) -> Hanger:
        self.knocks.append((self.clock.monotonic() - 1000.0, endpoint.host, endpoint.scheme))
        if endpoint.host in self.hanging:
            await asyncio.get_running_loop().create_future()
        if endpoint.host in self.failures:
            raise self.failures[endpoint.host]
        return protocol_factory()

    def times(self, host: str) -> list[float]:
        return [moment for moment, knocked_at, _ in self.knocks if knocked_at == host]


class Watch:
    """Knocks with all that they need."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.street = Street(self.clock)
        self.tasks = TaskKeeper()
        self.targets: dict[str, ProbeTarget] = {}
        self.statuses: dict[str, HealthStatus] = {}
        self.checked: list[tuple[float, str]] = []
        self.knocks = Knocks(
            self.street,
            self.tasks,
            targets=lambda: self.targets,
            status=lambda server_id: self.statuses.get(server_id, HealthStatus.HEALTHY),
            check_soon=lambda server_id: self.checked.append((self.clock.monotonic() - 1000.0, server_id)),
            clock=self.clock,
        )

    def register(self, *server_ids: str, scheme: str = "http") -> None:
        self.targets = self.targets | {
            name: ProbeTarget(Endpoint(scheme, name, 80), None, ("llama",)) for name in server_ids
        }

    def start(self) -> None:
        self.tasks.spawn(self.knocks.run(), name="knocks")

    async def looked_at(self, *server_ids: str, seconds: float) -> None:
        """Let a page list these servers, which says so once a second."""
        for _ in range(round(seconds)):
            self.knocks.listed(server_ids)
            await self.clock.advance(1.0)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    watch = Watch()
    yield watch
    await watch.tasks.close()


async def test_nobody_is_knocked_at_while_nobody_looks(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.clock.advance(60)
    assert watch.street.knocks == []


async def test_a_server_that_is_looked_at_is_knocked_at_within_a_second_again_and_again(watch: Watch) -> None:
    watch.register("a", "b")
    watch.start()
    await watch.looked_at("a", "b", seconds=10)
    for host in ("a", "b"):
        times = watch.street.times(host)
        assert times[0] <= 0.1
        assert all(GAP_SECONDS <= later - earlier <= GAP_SECONDS + 0.2 for earlier, later in pairwise(times))
        assert times[-1] >= 9.0
    assert watch.checked == []


async def test_it_ends_soon_after_the_last_look(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.looked_at("a", seconds=2)
    assert watch.knocks.is_watched("a")
    await watch.clock.advance(30)
    assert not watch.knocks.is_watched("a")
    assert watch.street.times("a")[-1] <= 1.0 + LISTED_SECONDS
    watch.street.knocks.clear()
    await watch.looked_at("a", seconds=1)
    assert watch.street.times("a")


async def test_a_thousand_servers_share_what_a_hundred_get_and_each_has_its_turn(watch: Watch) -> None:
    names = [f"s{number:03}" for number in range(1000)]
    watch.register(*names)
    watch.start()
    await watch.looked_at(*names, seconds=12)
    counts = Counter(host for _, host, _ in watch.street.knocks)
    assert set(counts) == set(names)
    assert max(counts.values()) <= 2
    assert sum(counts.values()) <= MOST_A_SECOND * 12 + 10


async def test_servers_in_view_come_first(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.knocks.IN_VIEW_SECONDS", 6.0)
    names = [f"s{number:03}" for number in range(1000)]
    watch.register(*names)
    watch.start()
    watch.knocks.in_view("viewer", "page", ["s999", "s998"])
    await watch.looked_at(*names, seconds=5)
    assert len(watch.street.times("s999")) >= 6
    assert max(later - earlier for earlier, later in pairwise(watch.street.times("s998"))) <= GAP_SECONDS + 0.2
    await watch.looked_at(*names, seconds=2)
    watch.street.knocks.clear()
    await watch.looked_at(*names, seconds=10)
    assert len(watch.street.times("s999")) <= 2


async def test_what_a_page_scrolled_past_comes_first_no_more(watch: Watch) -> None:
    names = [f"s{number:03}" for number in range(1000)]
    watch.register(*names)
    watch.start()
    for first in range(0, 1000, 50):
        watch.knocks.in_view("viewer", "page", names[first : first + 50])
    await watch.looked_at(*names, seconds=6)
    assert len(watch.street.times("s999")) >= 6
    assert len(watch.street.times("s000")) <= 2


async def test_the_views_of_pages_are_bounded(watch: Watch) -> None:
    watch.register("a", "b", *(f"s{number:03}" for number in range(300)))
    watch.start()
    watch.knocks.in_view("one", "the first page", ["a"])
    for number in range(500):
        watch.knocks.in_view(f"viewer {number}", "page", ["b"])
    await watch.looked_at(*watch.targets, seconds=6)
    assert len(watch.street.times("b")) > len(watch.street.times("a"))


async def test_one_viewer_puts_out_nobody_elses_views(watch: Watch) -> None:
    watch.register("a", "b", *(f"s{number:03}" for number in range(300)))
    watch.start()
    watch.knocks.in_view("one", "page", ["a"])
    for number in range(500):
        watch.knocks.in_view("another", f"page {number}", ["b"])
    await watch.looked_at(*watch.targets, seconds=6)
    assert abs(len(watch.street.times("b")) - len(watch.street.times("a"))) <= 1


async def test_what_is_in_view_of_a_page_that_was_closed_is_not_knocked_at(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    watch.knocks.in_view("viewer", "page", ["a"])
    await watch.clock.advance(10)
    assert watch.street.knocks == []


async def test_a_healthy_server_that_refuses_is_checked_until_it_is_marked(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.looked_at("a", seconds=3)
    assert watch.checked == []
    watch.street.failures["a"] = REFUSED
    await watch.looked_at("a", seconds=2)
    assert len(watch.checked) >= 2
    assert watch.checked[0][0] <= 3.0 + GAP_SECONDS + 0.2
    watch.statuses["a"] = HealthStatus.UNHEALTHY
    watch.checked.clear()
    await watch.looked_at("a", seconds=5)
    assert watch.checked == []


async def test_a_server_that_was_down_before_anybody_looked_is_checked_at_the_first_knock(watch: Watch) -> None:
    watch.register("a")
    watch.street.failures["a"] = REFUSED
    watch.start()
    await watch.looked_at("a", seconds=1)
    assert watch.checked[0] == (pytest.approx(0.0, abs=0.11), "a")


async def test_a_server_that_is_slow_to_let_in_is_checked_once_and_not_every_second(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    watch.street.failures["a"] = NO_ANSWER
    await watch.looked_at("a", seconds=10)
    assert len(watch.checked) == 1


async def test_a_knock_that_hangs_is_given_up_and_is_no_open_door(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.knocks.PATIENCE_SECONDS", 0.0)
    watch.register("a")
    watch.street.hanging.add("a")
    watch.start()
    await watch.looked_at("a", seconds=3)
    assert len(watch.street.times("a")) >= 2
    assert [server_id for _, server_id in watch.checked] == ["a"]


async def test_a_server_is_not_knocked_at_while_a_knock_is_under_way(watch: Watch) -> None:
    watch.register("a")
    watch.street.hanging.add("a")
    watch.start()
    await watch.looked_at("a", seconds=5)
    assert len(watch.street.times("a")) == 1


async def test_a_server_that_is_there_again_is_checked_once(watch: Watch) -> None:
    watch.register("a")
    watch.statuses["a"] = HealthStatus.UNHEALTHY
    watch.street.failures["a"] = REFUSED
    watch.start()
    await watch.looked_at("a", seconds=3)
    assert watch.checked == []
    del watch.street.failures["a"]
    await watch.looked_at("a", seconds=5)
    assert [server_id for _, server_id in watch.checked] == ["a"]


@pytest.mark.parametrize("failure", [OUT_OF_SOCKETS, EndpointRefused("not allowed", code="private")])
async def test_what_says_nothing_of_a_server_accuses_it_of_nothing(watch: Watch, failure: Exception) -> None:
    watch.register("a")
    watch.street.failures["a"] = failure
    watch.start()
    await watch.looked_at("a", seconds=3)
    del watch.street.failures["a"]
    await watch.looked_at("a", seconds=3)
    assert watch.street.times("a")
    assert watch.checked == []


async def test_strangers_and_servers_that_left_are_not_knocked_at(watch: Watch) -> None:
    watch.register("a")
    watch.start()
    await watch.looked_at("a", "no such server", seconds=2)
    watch.targets = {}
    watch.street.knocks.clear()
    await watch.looked_at("a", seconds=3)
    assert watch.street.knocks == []
    assert not watch.knocks.is_watched("no such server")


async def test_no_tls_is_spoken(watch: Watch) -> None:
    watch.register("a", scheme="https")
    watch.start()
    await watch.looked_at("a", seconds=1)
    assert {scheme for _, _, scheme in watch.street.knocks} == {"http"}


async def test_a_real_server_sees_a_connection_that_ends_and_its_end_is_seen(watch: Watch) -> None:
    """Over the dial that all traffic takes: judged, opened, closed, and refused once nobody listens."""
    visits: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.put_nowait(await reader.read())
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    policy = AddressPolicy((ip_network("127.0.0.0/8"),))
    link = Link(
        policy, SystemResolver(), connect_timeout_seconds=5, tls_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    target = ProbeTarget(Endpoint("https", "127.0.0.1", port), None, ("llama",))
    wanted: asyncio.Queue[str] = asyncio.Queue()
    knocks = Knocks(
        link,
        watch.tasks,
        targets=lambda: {"a": target},
        status=lambda _: HealthStatus.HEALTHY,
        check_soon=wanted.put_nowait,
    )
    watch.tasks.spawn(knocks.run(), name="knocks over real sockets")
    knocks.listed(["a"])
    assert await asyncio.wait_for(visits.get(), 5) == b""
    assert wanted.empty()
    listening.close()
    await listening.wait_closed()
    knocks.listed(["a"])
    assert await asyncio.wait_for(wanted.get(), 5) == "a"
    await settle()
