"""Who may call which route? Every route against every role, and every way to come without a good key.

The routes are taken from the running application, not from a list of ours: one that is added tomorrow has a line in
``WHO``, or this fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import iter_route_contexts

from app.routers.api import create_api
from app.services.core.http.surfaces import INFERENCE_PATHS
from tests.fakes.gateway_in_process import ADMIN_KEY, GatewayInProcess, open_in_process
from tests.fakes.model_server import FakeModelServer, serving
from tests.fakes.raw_http import exchange, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

METRICS_KEY = "metrics-key-0123456789"
ROLES = ("nobody", "revoked admin", "user", "another owner", "its owner", "admin of a group", "admin")
"""Who asks; what a path names is the one owner's: a server, a key that it minted. No owner is in the admin's group."""


class Who(Enum):
    """What each of ``ROLES`` gets; "ok" is any answer of a route that does what it is there for."""

    EVERYBODY = ("ok", "ok", "ok", "ok", "ok", "ok", "ok")
    KEYS = (401, 401, "ok", "ok", "ok", "ok", "ok")
    OWNERS = (401, 401, 403, "ok", "ok", "ok", "ok")
    ITS_OWNER = (401, 401, 403, 403, "ok", 403, "ok")
    ITS_MINTER = (401, 401, 403, 404, "ok", 404, "ok")
    ADMINS = (401, 401, 403, 403, 403, "ok", "ok")
    OPERATORS = (401, 401, 403, 403, 403, 403, "ok")
    """Admins that are bound to no group: what concerns everybody."""
    MEMBERS = (401, 401, 403, 404, 404, 404, "ok")
    """Of the group that is named; none of these is in it."""
    ITS_ADMINS = (401, 401, 403, 403, 403, 404, "ok")
    """Of the group that is named."""
    BY_COOKIE = (401, 401, 401, 401, 401, 401, 401)
    """Whoever has signed in to the pages: no key opens them by itself (``tests/unit/routers/dashboard``)."""


WHO = {
    ("GET", "/"): Who.EVERYBODY,
    ("GET", "/docs"): Who.EVERYBODY,
    ("GET", "/docs/assets/{name}"): Who.EVERYBODY,
    ("GET", "/health"): Who.EVERYBODY,
    ("GET", "/openapi.json"): Who.EVERYBODY,
    ("GET", "/ready"): Who.EVERYBODY,
    ("GET", "/invite/{token}"): Who.EVERYBODY,
    ("POST", "/invite/{token}"): Who.EVERYBODY,
    ("GET", "/metrics"): Who.OPERATORS,
    ("POST", "/v1/chat/completions"): Who.KEYS,
    ("POST", "/v1/completions"): Who.KEYS,
    ("POST", "/v1/embeddings"): Who.KEYS,
    ("GET", "/v1/models"): Who.KEYS,
    ("GET", "/v1/models/{model}"): Who.KEYS,
    ("GET", "/v1/usage"): Who.KEYS,
    ("POST", "/admin/register"): Who.OWNERS,
    ("PUT", "/admin/register/{server_id}"): Who.ITS_OWNER,
    ("PATCH", "/admin/register/{server_id}"): Who.ITS_OWNER,
    ("DELETE", "/admin/register/{server_id}"): Who.ITS_OWNER,
    ("GET", "/admin/servers"): Who.OWNERS,
    ("GET", "/admin/servers/{server_id}"): Who.OWNERS,
    ("POST", "/admin/servers/{server_id}/check"): Who.ITS_OWNER,
    ("POST", "/admin/servers/{server_id}/pause"): Who.ITS_OWNER,
    ("POST", "/admin/servers/{server_id}/resume"): Who.ITS_OWNER,
    ("POST", "/admin/servers/{server_id}/drain"): Who.ITS_OWNER,
    ("POST", "/admin/servers/{server_id}/block"): Who.OPERATORS,
    ("POST", "/admin/servers/{server_id}/unblock"): Who.OPERATORS,
    ("POST", "/admin/servers/{server_id}/approve"): Who.OPERATORS,
    ("POST", "/admin/servers/{server_id}/trust"): Who.OPERATORS,
    ("GET", "/admin/explain"): Who.OPERATORS,
    ("GET", "/admin/model-classes"): Who.ADMINS,
    ("POST", "/admin/model-classes"): Who.OPERATORS,
    ("POST", "/admin/model-classes/dismiss"): Who.OPERATORS,
    ("PUT", "/admin/model-classes/{name}"): Who.OPERATORS,
    ("DELETE", "/admin/model-classes/{name}"): Who.OPERATORS,
    ("GET", "/admin/aliases"): Who.ADMINS,
    ("POST", "/admin/aliases"): Who.OPERATORS,
    ("GET", "/admin/aliases/{name}"): Who.ADMINS,
    ("PUT", "/admin/aliases/{name}"): Who.OPERATORS,
    ("DELETE", "/admin/aliases/{name}"): Who.OPERATORS,
    ("GET", "/admin/keys"): Who.OWNERS,
    ("POST", "/admin/keys"): Who.OWNERS,
    ("POST", "/admin/keys/import"): Who.ADMINS,
    ("GET", "/admin/keys/{key_id}"): Who.ITS_MINTER,
    ("PATCH", "/admin/keys/{key_id}"): Who.ITS_MINTER,
    ("DELETE", "/admin/keys/{key_id}"): Who.ITS_MINTER,
    ("POST", "/admin/keys/{key_id}/rotate"): Who.ITS_MINTER,
    ("POST", "/admin/keys/{key_id}/invite"): Who.ITS_MINTER,
    ("GET", "/admin/groups"): Who.OWNERS,
    ("POST", "/admin/groups"): Who.OPERATORS,
    ("GET", "/admin/groups/{group_id}"): Who.MEMBERS,
    ("PATCH", "/admin/groups/{group_id}"): Who.ITS_ADMINS,
    ("DELETE", "/admin/groups/{group_id}"): Who.ITS_ADMINS,
    ("GET", "/admin/model-limits"): Who.ADMINS,
    ("PUT", "/admin/model-limits/{name}"): Who.OPERATORS,
    ("DELETE", "/admin/model-limits/{name}"): Who.OPERATORS,
    ("GET", "/admin/usage"): Who.OWNERS,
    ("GET", "/admin/usage/contributions"): Who.OWNERS,
    ("GET", "/admin/stats"): Who.OWNERS,
    ("GET", "/admin/audit"): Who.OPERATORS,
}
"""Each route, and who may call it."""
OPEN_PAGES = {
    ("GET", "/ui/sign-in"),
    ("POST", "/ui/sign-in"),
    ("POST", "/ui/theme"),
    ("GET", "/ui/assets/{asked_version}/{name}"),
}
"""The pages that are there for everybody; they have tests of their own."""
OPEN = {route for route, who in WHO.items() if who is Who.EVERYBODY}
"""All that a stranger may call."""
MODEL_ROUTES = {*(("POST", path) for path in INFERENCE_PATHS), ("GET", "/v1/models"), ("GET", "/v1/models/{model}")}
SERVED = {
    (method, context.path.replace(":path", ""))
    for context in iter_route_contexts(create_api("0").routes)
    for method in context.methods or ()
} | MODEL_ROUTES
SERVED -= OPEN_PAGES
PAGES = {route for route in SERVED if route[1].startswith("/ui")}
WHO |= dict.fromkeys(PAGES, Who.BY_COOKIE)
CLOSED = sorted(SERVED - OPEN)
NOT_THERE = defaultdict(lambda: "there-is-none") | {
    "server_id": "there-is-none",
    "key_id": "there-is-none",
    "group_id": "there-is-none",
    "model": "m",
    "name": "init.js",
    "token": "mvi_there-is-none",
}
WRONG = {
    "none": {},
    "unknown": {"authorization": "Bearer another-key-0123456789"},
    "unknown, in its own header": {"x-api-key": "another-key-0123456789"},
    "minted in form": {"authorization": "Bearer mvk_0123456789abcdefghijklmnopqrst4Zw5dE"},
    "mistyped": {"authorization": f"Bearer {ADMIN_KEY[:-1]}"},
    "one character more": {"authorization": f"Bearer {ADMIN_KEY}0"},
    "in other case": {"authorization": f"Bearer {ADMIN_KEY.upper()}"},
    "another scheme": {"authorization": f"Basic {ADMIN_KEY}"},
    "no scheme": {"authorization": ADMIN_KEY},
    "empty": {"authorization": "Bearer"},
    "two that disagree": {"authorization": f"Bearer {ADMIN_KEY}", "x-api-key": "another-key-0123456789"},
    "a cookie": {"cookie": f"api_key={ADMIN_KEY}; authorization=Bearer {ADMIN_KEY}"},
    "too long": {"authorization": f"Bearer {'k' * 5000}"},
    "a proxy's word": {"x-forwarded-user": "admin", "x-authenticated-user": "admin", "x-forwarded-for": "127.0.0.1"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GatewayInProcess]:
    folder = tmp_path_factory.mktemp("roles")
    async with (
        serving(FakeModelServer()) as (server,),
        open_in_process(
            folder, metrics_key=METRICS_KEY, continuation_enabled=False, verification_enabled=False
        ) as opened,
    ):
        assert (await opened.register(server.url)).status_code == 201
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strangers(gateway: GatewayInProcess) -> AsyncIterator[dict[str, httpx2.AsyncClient]]:
    """A client without a key for each way in."""
    clients = {name: httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") for name, port in gateway.ports.items()}
    yield clients
    for client in clients.values():
        await client.aclose()


@pytest.fixture
def stranger(strangers: dict[str, httpx2.AsyncClient], shell: str) -> httpx2.AsyncClient:
    return strangers[shell]


async def target_of(gateway: GatewayInProcess, path: str) -> str:
    """A path whose server is there: what is refused is refused for want of a key alone."""
    server = (await gateway.client.get("/admin/servers")).json()["servers"][0]
    return path.format_map(NOT_THERE | {"server_id": server["registration_id"]})


@dataclass
class People:
    """A client for each of ``ROLES``, and what its owner has made."""

    clients: dict[str, httpx2.AsyncClient]
    gateway: GatewayInProcess
    server_url: str
    numbers: count[int]

    async def targets(self, path: str) -> dict[str, str]:
        """Make what a path names, where it is not there (any more)."""
        number, owner, admin = next(self.numbers), self.clients["its owner"], self.clients["admin"]
        named = NOT_THERE | {"name": "init.js" if path.startswith("/docs") else f"name-{number}"}
        if "{server_id}" in path:
            named["server_id"] = await self.server_id()
        if "{key_id}" in path:
            named["key_id"] = (await posted(owner, "/admin/keys", name=f"key-{number}", role="user"))["id"]
        if "{group_id}" in path:
            named["group_id"] = (await posted(admin, "/admin/groups", name=f"group-{number}"))["id"]
        if "{token}" in path:
            named["token"] = await self.invite(number)
        if "/aliases/" in path:
            await posted(admin, "/admin/aliases", name=named["name"], targets=[{"model": "m"}])
        if "/model-classes/" in path:
            names = [f"{named['name']}-a", f"{named['name']}-b"]
            await posted(admin, "/admin/model-classes", name=named["name"], members=names)
        if "/model-limits/" in path:
            limits = {"limits": {"requests_per_minute": 1000}}
            assert (await admin.put(f"/admin/model-limits/{named['name']}", json=limits)).status_code < 300
        return named

    async def begin_anew(self) -> None:
        """Register the server of its owner anew: others may have left it paused."""
        await self.clients["its owner"].delete(f"/admin/register/{await self.server_id()}")
        await self.server_id()

    async def server_id(self) -> str:
        """The server of its owner; registered anew, should it have been removed."""
        listed = (await self.clients["its owner"].get("/admin/servers")).json()["servers"]
        for server in listed:
            if server["endpoint_url"] == self.server_url:
                return str(server["registration_id"])
        made = await posted(self.clients["its owner"], "/admin/register", endpoint_url=self.server_url)
        return str(made["registration_id"])

    async def invite(self, number: int) -> str:
        """A link by which a key can be fetched once."""
        people = [{"name": f"guest-{number}"}]
        made = await posted(self.clients["admin"], "/admin/keys/import", people=people, **{"as": "invites"})
        return str(made["made"][0]["link"]).rpartition("/")[2]

    def body(self, method: str, path: str, named: dict[str, str]) -> dict[str, Any] | None:
        """What a route takes, good enough that only the role can be at fault."""
        number, name = next(self.numbers), named["name"]
        bodies: dict[str, dict[str, Any]] = {
            "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
            "/v1/completions": {"model": "m", "prompt": "hi"},
            "/v1/embeddings": {"model": "m", "input": "hi"},
            "/admin/register": {"endpoint_url": self.server_url},
            "/admin/register/{server_id}": {"endpoint_url": self.server_url},
            "/admin/servers/{server_id}/trust": {"trust": None},
            "/admin/model-classes": {"name": f"class-{number}", "members": [f"a-{number}", f"b-{number}"]},
            "/admin/model-classes/{name}": {"name": name, "members": [f"{name}-a", f"{name}-b"]},
            "/admin/model-classes/dismiss": {"members": [f"c-{number}", f"d-{number}"]},
            "/admin/aliases": {"name": f"alias-{number}", "targets": [{"model": "m"}]},
            "/admin/aliases/{name}": {"name": name, "targets": [{"model": "m"}]},
            "/admin/keys": {"name": f"key-{number}", "role": "user"},
            "/admin/keys/import": {"people": [{"name": f"person-{number}"}]},
            "/admin/groups": {"name": f"new-group-{number}"},
            "/admin/model-limits/{name}": {"limits": {"requests_per_minute": 1000}},
        }
        return None if method in {"GET", "DELETE"} else bodies.get(path, {})


async def posted(client: httpx2.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code < 300, (path, answer.text)
    return answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, People]]:
    """A gateway of its own, and a client for each role on each way in."""
    async with (
        serving(FakeModelServer()) as (server,),
        open_in_process(
            tmp_path_factory.mktemp("people"), continuation_enabled=False, verification_enabled=False
        ) as gateway,
    ):
        keys = {"admin": ADMIN_KEY}
        await posted(gateway.client, "/admin/groups", name="physics")
        for name, role in (
            ("user", "user"),
            ("another owner", "owner"),
            ("its owner", "owner"),
            ("admin of a group", "admin"),
            ("revoked admin", "admin"),
        ):
            group = {"group": "physics"} if name == "admin of a group" else {}
            made = await posted(gateway.client, "/admin/keys", name=name, role=role, **group)
            keys[name] = made["key"]
        assert (await gateway.client.delete(f"/admin/keys/{made['id']}")).status_code == 204
        numbers = count()
        opened: dict[str, People] = {}
        for shell, port in gateway.ports.items():
            clients = {
                role: httpx2.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}",
                    headers={"authorization": f"Bearer {keys[role]}"} if role in keys else {},
                    timeout=20,
                )
                for role in ROLES
            }
            opened[shell] = People(clients, gateway, server.url, numbers)
        yield opened
        for shell in opened.values():
            for client in shell.clients.values():
                await client.aclose()


async def test_every_route_is_declared_and_every_declared_route_is_there() -> None:
    assert set(WHO) == SERVED


@pytest.mark.parametrize(("method", "path"), sorted(WHO, key=lambda route: route[::-1]), ids=str)
async def test_each_role_gets_what_is_declared(people: dict[str, People], shell: str, method: str, path: str) -> None:
    world = people[shell]
    await world.begin_anew()
    got: list[object] = []
    for role, client in world.clients.items():
        named = await world.targets(path)
        params = {"model": "m"} if path == "/admin/explain" else {}
        answer = await client.request(
            method, path.format_map(named), json=world.body(method, path, named), params=params
        )
        works = answer.status_code < 400 or answer.status_code == 409
        got.append("ok" if works else answer.status_code)
        if not works:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}, role
    assert got == list(WHO[method, path].value)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/admin/register/{server_id}"),
        ("POST", "/admin/servers/{server_id}/pause"),
        ("POST", "/admin/servers/{server_id}/trust"),
        ("DELETE", "/admin/register/{server_id}"),
        ("PATCH", "/admin/keys/{key_id}"),
    ],
)
async def test_what_is_refused_changes_nothing(people: dict[str, People], shell: str, method: str, path: str) -> None:
    world = people[shell]
    named = await world.targets(path)
    shown = f"/admin/servers/{named['server_id']}" if "server" in path else f"/admin/keys/{named['key_id']}"
    before = (await world.clients["admin"].get(shown)).json()
    bodies = {"PATCH": {"weight": 9.0}, "POST": {"trust": "trusted"} if path.endswith("trust") else {"reason": "mine"}}
    for role in (*ROLES[:4], "admin of a group"):
        answer = await world.clients[role].request(method, path.format(**named), json=bodies.get(method))
        assert answer.status_code in {401, 403, 404}
        assert "mvk_" not in answer.text
    after = (await world.clients["admin"].get(shown)).json()
    volatile = dict.fromkeys(("last_checked_at", "history", "model_details"))
    assert after | volatile == before | volatile


@pytest.mark.parametrize("credentials", WRONG.values(), ids=WRONG)
async def test_no_closed_route_opens_without_a_good_key(
    gateway: GatewayInProcess, stranger: httpx2.AsyncClient, credentials: dict[str, str]
) -> None:
    before = (await gateway.client.get("/admin/servers")).json()
    for method, path in CLOSED:
        target = await target_of(gateway, path)
        answer = await stranger.request(method, target, headers=credentials, params={"api_key": ADMIN_KEY})
        assert answer.status_code == 401, (method, path, answer.text)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert ADMIN_KEY not in answer.text
        if method == "GET":
            head = await stranger.head(target, headers=credentials)
            assert (head.status_code, head.content) == (401, b"")
    after = (await gateway.client.get("/admin/servers")).json()
    volatile = {"last_checked_at"}
    assert [{**server, **dict.fromkeys(volatile)} for server in after["servers"]] == [
        {**server, **dict.fromkeys(volatile)} for server in before["servers"]
    ]


async def test_a_bad_body_is_not_looked_at_before_the_key(
    gateway: GatewayInProcess, stranger: httpx2.AsyncClient
) -> None:
    for method, path in CLOSED:
        target = await target_of(gateway, path)
        answer = await stranger.request(method, target, content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 401, (method, path, answer.text)


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}])
async def test_the_admin_key_opens_every_route(stranger: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    for method, path in sorted(set(CLOSED) - PAGES):
        target = path.format_map(NOT_THERE)
        answer = await stranger.request(method, target, headers=headers)
        assert answer.status_code not in {401, 403, 500}, (method, path, answer.text)


async def test_open_routes_are_open(gateway: GatewayInProcess, stranger: httpx2.AsyncClient) -> None:
    for method, path in sorted(OPEN):
        answer = await stranger.request(method, await target_of(gateway, path))
        assert answer.status_code == (404 if path.startswith("/invite") else 200), path
        assert ADMIN_KEY not in answer.text


async def test_the_metrics_key_opens_the_metrics_and_nothing_else(
    gateway: GatewayInProcess, stranger: httpx2.AsyncClient
) -> None:
    for method, path in CLOSED:
        headers = {"authorization": f"Bearer {METRICS_KEY}"}
        answer = await stranger.request(method, await target_of(gateway, path), headers=headers)
        assert answer.status_code == (200 if path == "/metrics" else 401), (path, answer.text)


@pytest.mark.parametrize(
    "target",
    ["//admin/servers", "/admin//servers", "/admin/servers/", "/ADMIN/SERVERS", "/%61dmin/servers", "/admin%2fservers",
     "/v1/../admin/servers", "/v1/models/../../admin/servers", "/health/../admin/servers",
     "/docs/assets/../../admin/servers", "/admin/servers;a",
     "/admin/servers?/health", "/admin/servers#/health", "/admin/servers%00", "/./admin/servers",
     "/metrics/", "/%6detrics", "/v1%2fmodels", "/v1//models", "/V1/models", "/health/%2e%2e/metrics",
     "http://gateway.test/admin/servers", "http://gateway.test/v1/models", "https://127.0.0.1/metrics", "http://admin/servers"],
)  # fmt: skip
async def test_no_way_of_writing_a_path_gets_round_the_key(gateway: GatewayInProcess, shell: str, target: str) -> None:
    """The path is judged as it stands in the request, and never rebuilt from Host or from what a proxy says."""
    for extra in ((), (("X-Original-URL", "/health"), ("X-Rewrite-URL", "/health"), ("X-Forwarded-Prefix", "/health"))):
        for host in ("gateway.test", "gateway.test/health?", "gateway.test:80"):
            answer = await exchange(gateway.ports[shell], request("GET", target, extra, host=host))
            assert answer.status in {400, 401, 404}, (target, host, answer)
            assert answer.error


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "POST"])
async def test_no_method_gets_round_the_key(gateway: GatewayInProcess, shell: str, method: str) -> None:
    override = (("X-HTTP-Method-Override", "GET"), ("X-HTTP-Method", "GET"), ("X-Method-Override", "GET"))
    for path in ("/admin/servers", "/v1/models", "/metrics"):
        sent = request(method, path, override)
        answer = await exchange(gateway.ports[shell], sent) if method != "HEAD" else None
        assert answer is None or answer.status in {204, 401, 405}, (path, answer)
        assert answer is None or b"registration_id" not in answer.body


async def test_without_client_keys_the_models_are_open_and_the_rest_is_not(
    tmp_path_factory: pytest.TempPathFactory, shell: str
) -> None:
    folder = tmp_path_factory.mktemp("open")
    async with (
        serving(FakeModelServer()) as (server,),
        open_in_process(folder, require_client_auth=False) as opened,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{opened.ports[shell]}") as client,
    ):
        assert (await opened.register(server.url)).status_code == 201
        for method, path in CLOSED:
            body = {"model": "m", "messages": []} if method == "POST" and path in INFERENCE_PATHS else None
            target = await target_of(opened, path)
            answer = await client.request(method, target, json=body)
            assert answer.status_code == (200 if (method, path) in MODEL_ROUTES else 401), (path, answer.text)
