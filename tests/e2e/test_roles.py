"""Is every route closed to whoever has no good key, but for a few that are listed here?

The routes are taken from the running application, not from a list of ours: one that is added tomorrow is closed, or
named here, or this fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

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
OPEN = {
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/docs/assets/{name}"),
    ("GET", "/health"),
    ("GET", "/openapi.json"),
    ("GET", "/ready"),
}
"""All that a stranger may call."""
MODEL_ROUTES = {*(("POST", path) for path in INFERENCE_PATHS), ("GET", "/v1/models"), ("GET", "/v1/models/{model}")}
SERVED = {
    (method, context.path.replace(":path", ""))
    for context in iter_route_contexts(create_api("0").routes)
    for method in context.methods or ()
} | MODEL_ROUTES
CLOSED = sorted(SERVED - OPEN)
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
    """A path whose object is there: what is refused is refused for want of a key alone."""
    server = (await gateway.client.get("/admin/servers")).json()["servers"][0]
    return path.format(server_id=server["registration_id"], model="m", name="init.js")


async def test_open_routes_are_all_there() -> None:
    assert OPEN <= SERVED
    assert len(CLOSED) >= 18


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
    for method, path in CLOSED:
        target = path.format(server_id="there-is-none", model="m", name="init.js")
        answer = await stranger.request(method, target, headers=headers)
        assert answer.status_code not in {401, 403, 500}, (method, path, answer.text)


async def test_open_routes_are_open(gateway: GatewayInProcess, stranger: httpx2.AsyncClient) -> None:
    for method, path in sorted(OPEN):
        answer = await stranger.request(method, await target_of(gateway, path))
        assert answer.status_code == 200, path
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
