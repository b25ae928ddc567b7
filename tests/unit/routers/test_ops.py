"""Does the gateway say how it is doing, to whom it may?"""

from __future__ import annotations

import pytest

from app.routers.deps import Phase
from app.services.core.types import CheckFailure, Inspection
from tests.fakes.api import ADMIN_KEY, METRICS_KEY, USER_KEY

NO_KEY = {"authorization": ""}


async def test_health_counts_servers_and_needs_no_key(api):
    await api.register()
    sick = await api.register("http://10.0.0.6")
    for _ in range(3):
        api.world.book.record(sick, Inspection(CheckFailure.UNREACHABLE, "connection refused"), api.world.clock())
    answer = await api.client.get("/health", headers=NO_KEY)
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("uptime_seconds") >= 0
    assert body["database"].pop("latency_ms") >= 0
    assert body == {
        "status": "healthy",
        "version": "1.2.3",
        "database": {"status": "healthy"},
        "servers": {"total": 2, "healthy": 1},
    }


async def test_health_is_503_when_the_database_fails(api):
    await api.register()
    await api.world.database.close()
    answer = await api.client.get("/health")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["database"]["status"], body["servers"]["total"]) == ("unhealthy", "unhealthy", 1)


@pytest.mark.parametrize(("phase", "status"), [(Phase.READY, 200), (Phase.STARTING, 503), (Phase.DRAINING, 503)])
async def test_ready_says_whether_to_send_requests(api, phase, status):
    api.gateway.phase = phase
    answer = await api.client.get("/ready", headers=NO_KEY)
    assert answer.status_code == status
    assert answer.json() == {"status": phase.value}
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_before_the_start_is_done_all_is_503(api):
    del api.app.state.gateway
    answer = await api.client.get("/ready", headers=NO_KEY)
    assert (answer.status_code, answer.json()) == (503, {"status": "starting"})
    assert answer.headers["retry-after"] == "1"
    for method, path in (("GET", "/health"), ("GET", "/metrics"), ("GET", "/"), ("POST", "/admin/register")):
        answer = await api.client.request(method, path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "starting" in answer.json()["error"]["message"]
    assert (await api.client.get("/docs")).status_code == 200


async def test_the_root_says_what_there_is_to_call(api):
    body = (await api.client.get("/", headers=NO_KEY | {"accept": "application/json"})).json()
    assert body["version"] == "1.2.3"
    assert body["documentation"] == "/docs"
    assert "POST /v1/chat/completions" in body["endpoints"]


async def test_the_root_names_every_admin_route(api):
    named = " ".join((await api.client.get("/")).json()["endpoints"])
    for path in api.app.openapi()["paths"]:
        assert path.split("/{")[0] in named
        assert path.rsplit("}", 1)[-1] in named


async def test_a_browser_is_sent_to_the_pages(api):
    answer = await api.client.get("/", headers={"accept": "text/html,application/xhtml+xml"}, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == "ui"
    assert (await api.client.get("/", headers={"accept": "text/html"}, follow_redirects=True)).url.path == "/ui"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (NO_KEY, 401),
        ({"authorization": "Bearer nonsense-0123456789"}, 401),
        ({"authorization": f"Bearer {USER_KEY}"}, 403),
        ({"authorization": f"Bearer {METRICS_KEY}"}, 200),
        (NO_KEY | {"x-api-key": METRICS_KEY}, 200),
        (NO_KEY | {"x-api-key": ADMIN_KEY}, 200),
    ],
)
async def test_metrics_open_to_their_own_key_and_to_admins(api, headers, status):
    answer = await api.client.get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == "requests_total 1\n"
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    else:
        assert "requests_total" not in answer.text


async def test_without_a_metrics_key_an_empty_key_opens_nothing(api):
    api.gateway.metrics_key = None
    assert (await api.client.get("/metrics", headers=NO_KEY)).status_code == 401
    api.gateway.metrics_key = ""
    assert (await api.client.get("/metrics", headers=NO_KEY)).status_code == 401


async def test_the_metrics_key_opens_nothing_else(api):
    answer = await api.client.get("/admin/servers", headers={"authorization": f"Bearer {METRICS_KEY}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/health", "/ready", "/", "/docs", "/openapi.json", "/metrics", "/admin/servers"])
async def test_head_answers_as_get_does_without_a_body(api, path):
    full = await api.client.get(path)
    head = await api.client.head(path)
    assert (head.status_code, head.content) == (full.status_code, b"")
    assert head.headers["content-type"] == full.headers["content-type"]
