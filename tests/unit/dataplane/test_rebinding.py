"""Can a name that changes its addresses lead a connection to where none may go? Asked of a real name server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from app.services.core.errors import EndpointRefused
from app.services.core.network.addresses import AddressPolicy, Allowed, judge_all, parse_endpoint
from app.services.dataplane.link import ConnectFailed, ConnectFailure, Link
from tests.fakes.name_server import NameServer, NameServerResolver

NAME = "box.rebind.example"
PUBLIC = "93.184.216.34"
EVERYTHING = AddressPolicy((ip_network("0.0.0.0/0"), ip_network("::/0")))


class Silent(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    @property
    def peer(self) -> str:
        return self.transport.get_extra_info("peername")[0]


class Listener:
    """A model server's port on both loopback addresses; counts who came."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0

    def accept(self) -> asyncio.Protocol:
        self.connections += 1
        return Silent()


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    loop = asyncio.get_running_loop()
    on_ipv4 = socket.create_server(("127.0.0.1", 0))
    listener = Listener(on_ipv4.getsockname()[1])
    on_ipv6 = socket.create_server(("::1", listener.port), family=socket.AF_INET6)
    first = await loop.create_server(listener.accept, sock=on_ipv4)
    second = await loop.create_server(listener.accept, sock=on_ipv6)
    async with first, second:
        yield listener


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with NameServer() as running:
        yield running


def link_over(name_server: NameServer, policy: AddressPolicy, timeout_seconds: float = 5.0) -> Link:
    return Link(policy, NameServerResolver(name_server), connect_timeout_seconds=timeout_seconds)


async def test_a_name_that_was_public_at_registration_is_refused_once_it_turns_private(name_server: NameServer) -> None:
    name_server.publish(NAME, [PUBLIC], ["127.0.0.1"])
    async with listening() as listener:
        at_registration = await NameServerResolver(name_server).resolve(NAME, listener.port)
        assert judge_all(NAME, at_registration, listener.port, AddressPolicy()) == Allowed((PUBLIC,))
        with pytest.raises(EndpointRefused, match=r"127\.0\.0\.1 is a loopback address") as refusal:
            await link_over(name_server, AddressPolicy()).dial(parse_endpoint(f"http://{NAME}:{listener.port}"), Silent)
        assert listener.connections == 0
    assert refusal.value.code == "address_not_public"
    assert "ALLOWED_SERVER_NETWORKS=127.0.0.0/8" in refusal.value.message
    assert name_server.resolutions[NAME] == 2


@pytest.mark.parametrize(
    "bad", ["127.0.0.1", "10.0.0.5", "::1", "169.254.169.254", "fd00:ec2::254", "::ffff:127.0.0.1"]
)
@pytest.mark.parametrize("bad_first", [True, False])
async def test_a_name_with_a_public_and_another_answer_is_refused(
    name_server: NameServer, bad: str, bad_first: bool
) -> None:
    name_server.publish(NAME, [bad, PUBLIC] if bad_first else [PUBLIC, bad])
    with pytest.raises(EndpointRefused, match=f"{NAME} resolves to a refused address"):
        await link_over(name_server, AddressPolicy()).dial(parse_endpoint(f"http://{NAME}:9"), Silent)


async def test_no_setting_lets_a_name_lead_to_metadata(name_server: NameServer) -> None:
    name_server.publish(NAME, ["169.254.169.254"])
    with pytest.raises(EndpointRefused, match="no setting opens it"):
        await link_over(name_server, EVERYTHING).dial(parse_endpoint(f"http://{NAME}"), Silent)


async def test_a_name_cannot_lead_back_to_the_gateway(name_server: NameServer) -> None:
    name_server.publish(NAME, ["127.0.0.1"])
    async with listening() as listener:
        policy = AddressPolicy(EVERYTHING.allowed_networks, frozenset({("127.0.0.1", listener.port)}))
        with pytest.raises(EndpointRefused, match="is this gateway itself"):
            await link_over(name_server, policy).dial(parse_endpoint(f"http://{NAME}:{listener.port}"), Silent)
        assert listener.connections == 0


async def test_the_connection_goes_to_the_literal_that_was_judged_although_the_name_has_changed(
    name_server: NameServer,
) -> None:
    name_server.publish(NAME, ["127.0.0.1"], ["::1"], ["169.254.169.254"])
    async with listening() as listener:
        endpoint = parse_endpoint(f"http://{NAME}:{listener.port}")
        link = link_over(name_server, EVERYTHING)

        first = await link.dial(endpoint, Silent)
        assert (first.peer, name_server.resolutions[NAME]) == ("127.0.0.1", 1)

        second = await link.dial(endpoint, Silent)
        assert (second.peer, name_server.resolutions[NAME]) == ("::1", 2)

        with pytest.raises(EndpointRefused):
            await link.dial(endpoint, Silent)
        first.transport.close()
        second.transport.close()


async def test_a_name_that_does_not_exist_is_told_in_words(name_server: NameServer) -> None:
    with pytest.raises(ConnectFailed) as failure:
        await link_over(name_server, EVERYTHING).dial(parse_endpoint(f"http://{NAME}"), Silent)
    assert failure.value.kind is ConnectFailure.DNS
    assert failure.value.reason == f"name does not resolve: {NAME}"


async def test_a_silent_name_server_ends_at_the_one_deadline(name_server: NameServer) -> None:
    name_server.publish(NAME, None)
    link = Link(EVERYTHING, NameServerResolver(name_server, timeout_seconds=0.3), connect_timeout_seconds=0.1)
    with pytest.raises(ConnectFailed) as failure:
        await link.dial(parse_endpoint(f"http://{NAME}"), Silent)
    assert failure.value.kind is ConnectFailure.DNS
    assert failure.value.reason == f"the name server gave no answer for {NAME} within 0.1 s"
