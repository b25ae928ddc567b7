"""Does a dial reach the server, by TCP and TLS, and say in words why it does not?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network

import pytest
import trustme
import uvloop

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy, parse_endpoint
from app.services.dataplane.descriptors import Descriptors
from app.services.dataplane.link import ConnectFailed, ConnectFailure, Link, default_tls_context

LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"), ip_network("::1/128")))
NAME = "box.example"


class Answers:
    """A resolver with fixed answers that remembers what it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.addresses


class Unanswered:
    """A resolver that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.set()
        return await asyncio.get_running_loop().create_future()


class Nameless:
    """A resolver that knows no name; what happens meanwhile may be chosen."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile = meanwhile

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.meanwhile()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Echo(asyncio.Protocol):
    """A server's side: sends back what comes, and tells who came and went."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.server.came.set()

    def data_received(self, data: bytes) -> None:
        self.server.received.set()
        if self.server.closes_at_once:
            self.transport.close()
        elif not self.server.silent:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.left.set()


class Server:
    def __init__(self, *, silent: bool = False, closes_at_once: bool = False) -> None:
        self.silent = silent
        self.closes_at_once = closes_at_once
        self.came = asyncio.Event()
        self.received = asyncio.Event()
        self.left = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def on(self, address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
        server = await asyncio.get_running_loop().create_server(lambda: Echo(self), address, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


class Client(asyncio.Protocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set_result(None)

    async def greet(self) -> bytes:
        """Send a word, return the answer and hang up."""
        self.transport.write(b"hello")
        answer = await self.answer
        self.transport.close()
        await self.left
        return answer


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Scenario = Callable[[], Coroutine[object, object, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a scenario on each kind of event loop; afterwards no socket may be open that was not open before."""

    async def run_and_count(scenario: Scenario) -> None:
        before = open_sockets()
        await scenario()
        async with asyncio.timeout(5):
            while open_sockets() != before:
                await asyncio.sleep(0)  # closing takes a turn or two of the loop, and sets no event

    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda scenario: runner.run(run_and_count(scenario))


def open_sockets() -> int:
    """How many descriptors of this process are sockets."""
    count = 0
    for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, not paths
        try:
            count += stat.S_ISSOCK(os.fstat(int(descriptor)).st_mode)
        except OSError:  # the descriptor by which the folder was read
            continue
    return count


@contextmanager
def no_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that drops every SYN: its queue is full, and nobody accepts. Yields the port, on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        filler = [socket.socket() for _position in range(4)]
        for client in filler:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for client in filler:
            client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = default_tls_context()
    authority.configure_trust(context)
    return context


def link_to(
    *addresses: str, policy: AddressPolicy = LOOPBACK, timeout_seconds: float = 5.0, tls: ssl.SSLContext | None = None
) -> Link:
    return Link(policy, Answers(*addresses), connect_timeout_seconds=timeout_seconds, tls_context=tls)


async def failure_of(dialling: Awaitable[Client]) -> tuple[ConnectFailure, str]:
    with pytest.raises(ConnectFailed) as failure:
        await dialling
    return failure.value.kind, failure.value.reason


class TestPlain:
    @pytest.mark.parametrize(("address", "literal"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
    def test_a_literal_is_dialled_as_it_stands(self, run: Run, address: str, literal: str) -> None:
        async def scenario() -> None:
            resolver = Answers("192.0.2.1")
            link = Link(LOOPBACK, resolver, connect_timeout_seconds=5)
            async with Server().on(address) as server:
                client = await link.dial(parse_endpoint(f"http://{literal}:{server.port}/v1"), Client)
                assert await client.greet() == b"hello"
                await server.left.wait()
            assert resolver.asked == []

        run(scenario)

    def test_small_writes_leave_at_once_and_a_dead_peer_is_noticed(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1") as server:
                client = await link_to().dial(parse_endpoint(f"http://127.0.0.1:{server.port}"), Client)
                plug = client.transport.get_extra_info("socket")
                assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                await client.greet()

        run(scenario)

    def test_the_second_address_serves_where_the_first_refuses(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1") as server:
                link = link_to("::1", "127.0.0.1")
                client = await link.dial(parse_endpoint(f"http://{NAME}:{server.port}"), Client)
                assert await client.greet() == b"hello"

        run(scenario)

    def test_a_factory_that_fails_leaves_no_socket(self, run: Run) -> None:
        def broken() -> Client:
            raise LookupError("no protocol")

        async def scenario() -> None:
            async with Server().on("127.0.0.1") as server:
                with pytest.raises(LookupError, match="no protocol"):
                    await link_to().dial(parse_endpoint(f"http://127.0.0.1:{server.port}"), broken)
                await server.left.wait()

        run(scenario)


class TestJudgement:
    @pytest.mark.parametrize(
        ("host", "code"),
        [
            ("127.0.0.1", "address_not_public"),
            ("[::1]", "address_not_public"),
            ("[::ffff:127.0.0.1]", "address_not_public"),
            ("169.254.169.254", "address_forbidden"),
            ("[fd00:ec2::254]", "address_forbidden"),
            ("0.0.0.0", "address_forbidden"),
        ],
    )
    async def test_a_literal_is_judged_before_any_socket_opens(self, host: str, code: str) -> None:
        async with Server().on("127.0.0.1") as server:
            with pytest.raises(EndpointRefused) as refusal:
                await link_to(policy=AddressPolicy()).dial(parse_endpoint(f"http://{host}:{server.port}"), Client)
            assert not server.came.is_set()
        assert (refusal.value.code, refusal.value.param, refusal.value.status) == (code, "endpoint_url", 400)

    async def test_one_denied_answer_refuses_the_dial(self) -> None:
        async with Server().on("127.0.0.1") as server:
            link = link_to("127.0.0.1", "10.0.0.5")
            with pytest.raises(EndpointRefused, match=r"10\.0\.0\.5 is a private address"):
                await link.dial(parse_endpoint(f"http://{NAME}:{server.port}"), Client)
            assert not server.came.is_set()

    async def test_the_gateway_never_dials_itself(self) -> None:
        async with Server().on("127.0.0.1") as server:
            policy = AddressPolicy(LOOPBACK.allowed_networks, frozenset({("127.0.0.1", server.port)}))
            with pytest.raises(EndpointRefused, match="this gateway itself"):
                await link_to(policy=policy).dial(parse_endpoint(f"http://127.0.0.1:{server.port}"), Client)
            assert not server.came.is_set()


class TestTls:
    @pytest.mark.parametrize(("host", "certified"), [(NAME, NAME), ("127.0.0.1", "127.0.0.1")])
    def test_the_certificate_is_checked_for_the_host_that_the_owner_gave(
        self, run: Run, authority: trustme.CA, host: str, certified: str
    ) -> None:
        async def scenario() -> None:
            names: list[str | None] = []
            tls = server_side(authority, certified)
            tls.sni_callback = lambda _connection, name, _context: names.append(name)
            async with Server().on("127.0.0.1", tls) as server:
                link = link_to("127.0.0.1", tls=trusting(authority))
                client = await link.dial(parse_endpoint(f"https://{host}:{server.port}"), Client)
                assert await client.greet() == b"hello"
            assert names == [NAME if host == NAME else None]

        run(scenario)

    def test_a_certificate_for_another_name_is_refused(self, run: Run, authority: trustme.CA) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1", server_side(authority, "other.example")) as server:
                link = link_to("127.0.0.1", tls=trusting(authority))
                kind, reason = await failure_of(link.dial(parse_endpoint(f"https://{NAME}:{server.port}"), Client))
            assert kind is ConnectFailure.TLS
            assert reason.startswith("TLS: certificate verify failed: Hostname mismatch")

        run(scenario)

    def test_a_certificate_of_an_unknown_authority_is_refused(self, run: Run, authority: trustme.CA) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1", server_side(authority, NAME)) as server:
                link = link_to("127.0.0.1")
                kind, reason = await failure_of(link.dial(parse_endpoint(f"https://{NAME}:{server.port}"), Client))
            assert kind is ConnectFailure.TLS
            assert reason.startswith("TLS: certificate verify failed: unable to get local issuer certificate;")
            assert "UPSTREAM_CA_FILE" in reason

        run(scenario)

    def test_a_server_without_tls_is_named_as_that(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1") as server:  # echoes our own greeting, which no TLS server sends
                kind, reason = await failure_of(
                    link_to("127.0.0.1").dial(parse_endpoint(f"https://{NAME}:{server.port}"), Client)
                )
            assert kind is ConnectFailure.TLS
            assert reason.startswith("TLS: ")

        run(scenario)

    def test_a_handshake_that_never_comes_ends_at_the_deadline(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server(silent=True).on("127.0.0.1") as server:
                link = link_to("127.0.0.1", timeout_seconds=0.2)
                failure = await failure_of(link.dial(parse_endpoint(f"https://{NAME}:{server.port}"), Client))
                await server.left.wait()
            assert failure == (ConnectFailure.TIMEOUT, "connected, but no TLS handshake within 0.2 s")

        run(scenario)

    def test_a_server_that_hangs_up_in_the_handshake(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server(closes_at_once=True).on("127.0.0.1") as server:
                failure = await failure_of(
                    link_to("127.0.0.1").dial(parse_endpoint(f"https://{NAME}:{server.port}"), Client)
                )
            assert failure == (ConnectFailure.RESET, "TLS: the server closed the connection during the handshake")

        run(scenario)


class TestFailures:
    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
    def test_a_refused_port_says_so_once(self, run: Run, addresses: list[str]) -> None:
        async def scenario() -> None:
            endpoint = parse_endpoint(f"http://{NAME}:{free_port()}")
            failure = await failure_of(link_to(*addresses).dial(endpoint, Client))
            assert failure == (ConnectFailure.REFUSED, "connection refused")

        run(scenario)

    def test_a_black_hole_ends_at_the_deadline(self, run: Run) -> None:
        async def scenario() -> None:
            with black_hole() as port:
                link = link_to(timeout_seconds=0.2)
                failure = await failure_of(link.dial(parse_endpoint(f"http://127.0.0.1:{port}"), Client))
            assert failure == (ConnectFailure.TIMEOUT, "no answer within 0.2 s")

        run(scenario)

    async def test_an_unanswered_name_ends_at_the_deadline(self) -> None:
        link = Link(LOOPBACK, Unanswered(), connect_timeout_seconds=0.1)
        failure = await failure_of(link.dial(parse_endpoint(f"http://{NAME}"), Client))
        assert failure == (ConnectFailure.DNS, f"the name server gave no answer for {NAME} within 0.1 s")

    async def test_a_name_is_not_asked_for_without_a_descriptor(self) -> None:
        resolver = Answers("127.0.0.1")
        link = Link(LOOPBACK, resolver, connect_timeout_seconds=5)
        with no_descriptors():
            failure = await failure_of(link.dial(parse_endpoint(f"http://{NAME}"), Client))
        assert failure == (ConnectFailure.OWN, "the gateway is out of file descriptors; raise its limit (ulimit -n)")
        assert resolver.asked == []

    async def test_a_name_that_does_not_resolve_soon_after_a_shortage_blames_nobody(self) -> None:
        """A resolver that can't read its files says that there is no such name."""
        link = Link(LOOPBACK, Nameless(), connect_timeout_seconds=5)
        endpoint = parse_endpoint(f"http://{NAME}")
        assert await failure_of(link.dial(endpoint, Client)) == (
            ConnectFailure.DNS,
            f"name does not resolve: {NAME}",
        )
        link.descriptors.felt()
        assert (await failure_of(link.dial(endpoint, Client)))[0] is ConnectFailure.OWN

    async def test_a_shortage_that_comes_while_a_name_is_asked_for_blames_nobody(self) -> None:
        with contextlib.ExitStack() as shortage:
            link = Link(LOOPBACK, Nameless(lambda: shortage.enter_context(no_descriptors())), connect_timeout_seconds=5)
            kind, _reason = await failure_of(link.dial(parse_endpoint(f"http://{NAME}"), Client))
        assert kind is ConnectFailure.OWN

    async def test_the_last_descriptors_are_not_for_dials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Descriptors, "has_room", lambda _descriptors: False)
        async with Server().on("127.0.0.1") as server:
            kind, _reason = await failure_of(link_to().dial(parse_endpoint(f"http://127.0.0.1:{server.port}"), Client))
            assert kind is ConnectFailure.OWN
            assert not server.came.is_set()

    def test_out_of_descriptors_is_told_with_the_fix(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server().on("127.0.0.1") as server:
                endpoint = parse_endpoint(f"http://127.0.0.1:{server.port}")
                with no_descriptors():
                    kind, reason = await failure_of(link_to().dial(endpoint, Client))
                assert kind is ConnectFailure.OWN
                assert reason == "the gateway is out of file descriptors; raise its limit (ulimit -n)"
                assert await (await link_to().dial(endpoint, Client)).greet() == b"hello"

        run(scenario)


class TestCancellation:
    def test_while_the_name_resolves(self, run: Run) -> None:
        async def scenario() -> None:
            resolver = Unanswered()
            link = Link(LOOPBACK, resolver, connect_timeout_seconds=5)
            await cancel_at(resolver.asked, link.dial(parse_endpoint(f"http://{NAME}"), Client))

        run(scenario)

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
    def test_while_a_connection_is_on_its_way(self, run: Run, addresses: list[str]) -> None:
        async def scenario() -> None:
            with black_hole() as port:
                before = open_sockets()
                dialling = asyncio.ensure_future(
                    link_to(*addresses).dial(parse_endpoint(f"http://{NAME}:{port}"), Client)
                )
                while open_sockets() == before:
                    await asyncio.sleep(0)
                await cancelled(dialling)

        run(scenario)

    def test_during_the_handshake(self, run: Run) -> None:
        async def scenario() -> None:
            async with Server(silent=True).on("127.0.0.1") as server:
                endpoint = parse_endpoint(f"https://{NAME}:{server.port}")
                await cancel_at(server.received, link_to("127.0.0.1").dial(endpoint, Client))
                await server.left.wait()

        run(scenario)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_after_every_number_of_turns_of_the_loop(self, run: Run, authority: trustme.CA, scheme: str) -> None:
        async def scenario() -> None:
            tls = server_side(authority, NAME) if scheme == "https" else None
            async with Server().on("127.0.0.1", tls) as server:
                link = link_to("127.0.0.1", tls=trusting(authority))
                for turns in range(25):
                    dialling = asyncio.ensure_future(
                        link.dial(parse_endpoint(f"{scheme}://{NAME}:{server.port}"), Client)
                    )
                    for _turn in range(turns):
                        await asyncio.sleep(0)
                    dialling.cancel()
                    for client in await asyncio.gather(dialling, return_exceptions=True):
                        if isinstance(client, Client):
                            await client.greet()

        run(scenario)


async def cancel_at(moment: asyncio.Event, dialling: Coroutine[object, object, Client]) -> None:
    task = asyncio.ensure_future(dialling)
    await moment.wait()
    await cancelled(task)


async def cancelled(task: asyncio.Future[Client]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
