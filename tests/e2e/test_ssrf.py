"""Can anybody make the gateway dial an address that its operator did not mean to open?

Every attempt goes through the real API: registering, replacing and changing a server, and the traffic and the checks
that follow. A listener that must never be reached counts its connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2
import pytest
import pytest_asyncio

from tests.fakes.gateway_in_process import GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, Seen, json_answer, ordinary, serving
from tests.fakes.name_server import NameServer, NameServerResolver

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORM = {
    "decimal": "http://2130706433:{port}",
    "hexadecimal": "http://0x7f000001:{port}",
    "octal": "http://0177.0.0.1:{port}",
    "octal throughout": "http://017700000001:{port}",
    "two parts": "http://127.1:{port}",
    "three parts": "http://127.0.1:{port}",
    "zero": "http://0:{port}",
    "hexadecimal parts": "http://0x7f.0.0.1:{port}",
    "leading zeros": "http://127.000.000.001:{port}",
    "five parts": "http://127.0.0.0.1:{port}",
    "too large a part": "http://127.0.0.256:{port}",
    "a dot after a quad": "http://127.0.0.1.:{port}",
    "a number after a name": "http://localhost.1:{port}",
    "fullwidth digits": "http://\uff11\uff12\uff17.0.0.1:{port}",
    "fullwidth dots": "http://127\uff0e0\uff0e0\uff0e1:{port}",
    "ideographic dots": "http://127\u30020\u30020\u30021:{port}",
    "circled digits": "http://\u2460\u2461\u2466.0.0.1:{port}",
    "a soft hyphen": "http://local\u00adhost:{port}",
    "a zone": "http://[fe80::1%25eth0]:{port}",
    "a zone, unescaped": "http://[::1%lo]:{port}",
    "mapped with zeros": "http://[::ffff:127.0.0.01]:{port}",
    "a future address": "http://[v1.127.0.0.1]:{port}",
    "no address in brackets": "http://[localhost]:{port}",
    "a name behind brackets": "http://[::1].example.com:{port}",
    "userinfo": "http://a@127.0.0.1:{port}",
    "userinfo with a password": "http://a:hunter2@127.0.0.1:{port}",
    "an empty userinfo": "http://@127.0.0.1:{port}",
    "userinfo that looks like a host": "http://example.com:80@127.0.0.1:{port}",
    "two at signs": "http://a@b@127.0.0.1:{port}",
    "an escaped at sign": "http://a%40127.0.0.1:{port}",
    "a backslash before an at sign": "http://a\\@127.0.0.1:{port}",
    "backslashes for slashes": "http:\\\\127.0.0.1:{port}",
    "a backslash in the path": "http://127.0.0.1:{port}\\v1",
    "a fragment before an at sign": "http://a#@127.0.0.1:{port}",
    "a query before an at sign": "http://a?@127.0.0.1:{port}",
    "a query": "http://127.0.0.1:{port}?x=/v1",
    "a tab": "http://127.0.0.1\t:{port}",
    "a newline": "http://127.0.0.1\n:{port}",
    "CRLF and a header": "http://127.0.0.1:{port}/\r\nX-Injected: 1",
    "escaped CRLF": "http://127.0.0.1:{port}/%0d%0aX-Injected:%201",
    "NUL": "http://127.0.0.1:{port}/\0",
    "an escaped NUL in the host": "http://127.0.0.1%00.example.com:{port}",
    "a leading space": " http://127.0.0.1:{port}",
    "a trailing space": "http://127.0.0.1:{port} ",
    "a space in the host": "http://127.0.0.1 :{port}",
    "an invisible character": "http://127.0.0.1\u200b:{port}",
    "an escaped host": "http://%31%32%37.0.0.1:{port}",
    "no host": "http://:{port}",
    "nothing": "http://",
    "three slashes": "http:///127.0.0.1:{port}",
    "one slash": "http:/127.0.0.1:{port}",
    "no scheme": "127.0.0.1:{port}",
    "no scheme but slashes": "//127.0.0.1:{port}",
    "port 0": "http://127.0.0.1:0",
    "port 99999": "http://127.0.0.1:99999",
    "port 65536": "http://127.0.0.1:65536",
    "a negative port": "http://127.0.0.1:-1",
    "an empty port": "http://127.0.0.1:",
    "a signed port": "http://127.0.0.1:+{port}",
    "a port with zeros": "http://127.0.0.1:0{port}",
    "a port in other digits": "http://127.0.0.1:\u0661\u0662",
    "two ports": "http://127.0.0.1:80:{port}",
    "dots in the path": "http://127.0.0.1:{port}/a/../../admin",
    "escaped dots": "http://127.0.0.1:{port}/%2e%2e/admin",
    "an escaped slash": "http://127.0.0.1:{port}/a%2fb",
    "gopher": "gopher://127.0.0.1:{port}/_GET",
    "file": "file:///etc/passwd",
    "file with a host": "file://127.0.0.1/etc/passwd",
    "unix": "unix:/var/run/docker.sock",
    "unix over http": "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1",
    "ftp": "ftp://127.0.0.1:{port}",
    "data": "data:text/plain,hello",
    "javascript": "javascript:alert(1)",
    "websocket": "ws://127.0.0.1:{port}",
    "dict": "dict://127.0.0.1:{port}/d",
    "a URL in a URL": "url:http://127.0.0.1:{port}",
    "too long": "http://127.0.0.1:{port}/" + "a" * 5000,
}
"""Refused by form: whatever networks are allowed."""

NEVER = [
    "169.254.169.254", "169.254.170.2", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0",
    "0.0.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "[::]", "[fd00:ec2::254]", "[fd20:ce::254]",
    "[fe80::1]", "[ff02::1]", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]", "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]", "[2001:0:a9fe:a9fe::1]", "[64:ff9b:1::a9fe:a9fe]",
]  # fmt: skip
"""Addresses that no setting opens."""

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.5", "172.16.0.1", "192.168.1.1", "100.64.0.1", "198.18.0.1", "198.19.255.255",
    "192.0.0.9", "192.0.2.1", "240.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[2001:db8::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[100::1]",
]  # fmt: skip
"""Addresses that the operator alone can open."""

NAMES = {
    "loopback.test": ["127.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "mixed.test": ["93.184.216.34", "127.0.0.1"],
    "mixed-families.test": ["93.184.216.34", "::1"],
    "private.test": ["10.0.0.5"],
    "nat64.test": ["64:ff9b::7f00:1"],
}
"""What a name resolves to; each has an answer that nobody opened."""

NAMES_NEVER = {
    "metadata.test": ["169.254.169.254"],
    "mixed-metadata.test": ["127.0.0.1", "169.254.169.254"],
    "unspecified.test": ["0.0.0.0"],
    "linklocal.test": ["fe80::1"],
}

ANYWHERE = "0.0.0.0/0,::/0"
REDIRECTS = ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect")


@dataclass
class Range:
    """Three gateways that differ in what they allow, and a listener that none of them may reach.

    Those that allow loopback have one good server, ``home``.
    """

    nothing: GatewayInProcess
    loopback: GatewayInProcess
    anywhere: GatewayInProcess
    canary: FakeModelServer
    home: FakeModelServer
    names: NameServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Range]:
    async with AsyncExitStack() as stack:
        servers = serving(FakeModelServer(), FakeModelServer(models=["home"]))
        canary, home = await stack.enter_async_context(servers)
        names = stack.enter_context(NameServer())
        for name, addresses in {**NAMES, **NAMES_NEVER}.items():
            names.publish(name, addresses)
        gateways = [
            await stack.enter_async_context(
                open_in_process(
                    tmp_path_factory.mktemp("gateway"),
                    resolver=NameServerResolver(names),
                    allowed_server_networks=networks,
                    health_check_timeout_seconds=1,
                )
            )
            for networks in ("", "127.0.0.0/8", ANYWHERE)
        ]
        for gateway in gateways[1:]:
            assert (await gateway.register(home.url)).status_code == 201
        yield Range(*gateways, canary, home, names)


@pytest.fixture
def untouched(opened: Range):
    """Nothing reached the listener while the test ran."""
    before = opened.canary.connections
    yield opened.canary
    assert opened.canary.connections == before


async def refused(answer: httpx2.Response) -> str:
    """The message of a refusal."""
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "endpoint_url"), error
    return str(error["message"])


async def try_all_ways(gateway: GatewayInProcess, url: str) -> list[str]:
    """Try to register a server, to replace and to change the one that is there; nothing of it may leave a trace."""
    before = (await gateway.client.get("/admin/servers")).json()["servers"]
    messages = [await refused(await gateway.register(url))]
    for server in before:
        path = f"/admin/register/{server['registration_id']}"
        messages.append(await refused(await gateway.client.put(path, json={"endpoint_url": url})))
        messages.append(await refused(await gateway.client.patch(path, json={"endpoint_url": url})))
    after = (await gateway.client.get("/admin/servers")).json()["servers"]
    for was, server in zip(before, after, strict=True):
        for name in ("registration_id", "endpoint_url", "models", "updated_at"):
            assert server[name] == was[name]
    return messages


@pytest.mark.parametrize("url", FORM.values(), ids=FORM)
async def test_a_url_of_bad_form_is_refused_whatever_is_allowed(
    opened: Range, untouched: FakeModelServer, url: str
) -> None:
    written = url.replace("{port}", str(untouched.port))
    for gateway, ways in ((opened.nothing, 1), (opened.anywhere, 3)):
        messages = await try_all_ways(gateway, written)
        assert len(messages) == ways
        for message in messages:
            assert "hunter2" not in message
            assert message.isprintable()


@pytest.mark.parametrize("host", NEVER)
async def test_some_addresses_no_setting_opens(opened: Range, untouched: FakeModelServer, host: str) -> None:
    for gateway in (opened.nothing, opened.loopback, opened.anywhere):
        for message in await try_all_ways(gateway, f"http://{host}:{untouched.port}"):
            assert "ALLOWED_SERVER_NETWORKS" not in message


@pytest.mark.parametrize("host", PRIVATE)
async def test_a_private_address_is_refused_and_the_setting_named(
    opened: Range, untouched: FakeModelServer, host: str
) -> None:
    closed_to = [opened.nothing] if "127." in host or "7f00" in host else [opened.nothing, opened.loopback]
    for gateway in closed_to:
        for message in await try_all_ways(gateway, f"http://{host}:{untouched.port}"):
            assert "ALLOWED_SERVER_NETWORKS=" in message


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_is_judged_by_the_worst_of_its_addresses(
    opened: Range, untouched: FakeModelServer, name: str
) -> None:
    for message in await try_all_ways(opened.nothing, f"http://{name}:{untouched.port}"):
        assert "ALLOWED_SERVER_NETWORKS=" in message
        assert name in message


@pytest.mark.parametrize("name", [*NAMES_NEVER, "metadata.test.", "METADATA.test"])
async def test_a_name_that_leads_where_nothing_may_go_is_refused_whatever_is_allowed(
    opened: Range, untouched: FakeModelServer, name: str
) -> None:
    for gateway in (opened.nothing, opened.loopback, opened.anywhere):
        await try_all_ways(gateway, f"http://{name}:{untouched.port}")


async def test_the_gateway_does_not_dial_itself(opened: Range) -> None:
    opened.names.publish("me.test", ["127.0.0.1"])
    for gateway in (opened.loopback, opened.anywhere):
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "me.test"):
            messages = await try_all_ways(gateway, f"http://{host}:{gateway.ports['door']}")
            assert all("this gateway itself" in message for message in messages)


async def test_no_route_widens_what_is_allowed(opened: Range, untouched: FakeModelServer) -> None:
    wishes = {"allowed_server_networks": ANYWHERE, "allow_private": True, "skip_check": True, "verify": False}
    for name, value in wishes.items():
        answer = await opened.nothing.register(untouched.url, **{name: value})
        assert answer.status_code == 422, answer.text
    answer = await opened.nothing.client.post(
        "/admin/register", params={"allowed_server_networks": ANYWHERE}, json={"endpoint_url": untouched.url}
    )
    await refused(answer)


def redirecting(status: str, location: str) -> bytes:
    return json_answer({}, status, extra=f"location: {location}\r\nrefresh: 0; url={location}\r\n")


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_check_follows_no_redirect(opened: Range, untouched: FakeModelServer, status: str) -> None:
    async def redirect(_fake: FakeModelServer, _seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(redirecting(status, f"{untouched.url}/v1/models"))

    async with serving(FakeModelServer(behaviours={"/v1/models": redirect})) as (server,):
        answer = await opened.loopback.register(server.url)
        assert answer.status_code == 503, answer.text
        assert "redirects are not followed" in answer.json()["error"]["message"]
    async with serving(FakeModelServer(behaviours={"/": redirect, "/info": redirect})) as (server,):
        answer = await opened.loopback.register(server.url)  # what only tells the engine may fail
        assert answer.status_code == 201, answer.text
        server_id = answer.json()["registration_id"]
        server.behaviours["/v1/models"] = redirect
        found = await opened.loopback.client.post(f"/admin/servers/{server_id}/check")
        assert "redirects are not followed" in found.json()["reason"]
        await opened.loopback.client.delete(f"/admin/register/{server_id}")


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_traffic_follows_no_redirect(
    opened: Range, untouched: FakeModelServer, status: str, stream: bool
) -> None:
    async def redirect(fake: FakeModelServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.method == "POST":
            writer.write(redirecting(status, f"{untouched.url}{seen.path}"))
        else:
            await ordinary(fake, seen, writer)

    async with serving(FakeModelServer(behaviours={"*": redirect})) as (server,):
        registered = await opened.loopback.register(server.url)
        answer = await opened.loopback.chat(stream=stream)
        assert answer.status_code == 502, answer.text
        assert str(untouched.port) not in answer.text
        assert "location" not in answer.headers
        assert len(server.inference) == 1
        await opened.loopback.client.delete(f"/admin/register/{registered.json()['registration_id']}")


@pytest.mark.parametrize("later", [["169.254.169.254"], ["10.0.0.5"], ["127.0.0.1", "10.0.0.5"], ["::ffff:10.0.0.5"]])
async def test_a_name_that_changes_is_judged_again_at_each_dial(opened: Range, later: list[str]) -> None:
    """DNS rebinding: good while it is registered, bad as soon as it counts."""
    opened.names.publish("rebind.test", ["127.0.0.1"])
    gateway = opened.loopback
    async with serving(FakeModelServer()) as (server,):
        registered = await gateway.register(f"http://rebind.test:{server.port}")
        assert registered.status_code == 201, registered.text
        server_id = registered.json()["registration_id"]
        opened.names.publish("rebind.test", later)
        answer = await gateway.chat()
        assert answer.status_code == 503, answer.text
        assert not any(address in answer.text for address in later)
        assert server.inference == []
        found = (await gateway.client.post(f"/admin/servers/{server_id}/check")).json()
        assert "resolves to a refused address" in found["reason"]
        checks = len(server.requests)
        await refused(await gateway.client.patch(f"/admin/register/{server_id}", json={"api_key": "another"}))
        assert len(server.requests) == checks
        await gateway.client.delete(f"/admin/register/{server_id}")


async def test_a_name_that_changes_while_it_is_registered_is_not_reached(
    opened: Range, untouched: FakeModelServer
) -> None:
    """The address that is judged is the one that is dialled: there is no second look-up in between."""
    opened.names.publish("flips.test", ["93.184.216.34", "127.0.0.1"], ["127.0.0.1"])
    await refused(await opened.nothing.register(f"http://flips.test:{untouched.port}"))
    assert opened.names.resolutions["flips.test"] == 1
