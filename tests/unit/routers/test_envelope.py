"""Does everything that goes wrong come in the one envelope?"""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from app.routers.envelope import error_response
from app.services.core.errors import NotAuthenticated, Unavailable


def test_an_error_carries_the_headers_of_its_status():
    response = error_response(Unavailable("busy", retry_after_seconds=7), {"x-more": "1"})
    assert (response.status_code, response.headers["retry-after"], response.headers["x-more"]) == (503, "7", "1")
    assert error_response(NotAuthenticated("no key")).headers["www-authenticate"].startswith("Bearer")
    assert "retry-after" not in error_response(NotAuthenticated("no key")).headers


@pytest.mark.parametrize("path", ["/nothing", "/admin", "/admin/", "/health/", "/admin/servers/", "/docs/assets/"])
async def test_an_unknown_path_is_404_in_the_envelope(api, path):
    answer = await api.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("GET", "/admin/register", "POST"),
        ("GET", "/admin/register/x", "DELETE, PATCH, PUT"),
        ("DELETE", "/admin/servers", "GET, HEAD"),
        ("PUT", "/admin/servers/x/check", "POST"),
        ("TRACE", "/docs", "GET, HEAD"),
        ("HEAD", "/admin/register", "POST"),
        ("NONSENSE", "/", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_and_names_the_right_ones(api, method, path, allowed):
    answer = await api.client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    if method != "HEAD":
        assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_a_bug_in_a_route_is_500_in_the_envelope(api, caplog):
    def fails() -> bytes:
        raise ZeroDivisionError("secret detail")

    api.gateway.render_metrics = fails
    answer = await api.client.get("/metrics", headers={"x-request-id": "abc"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "abc"
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret detail" not in answer.text
    assert "by a bug" in caplog.text


@pytest.mark.parametrize(("raised", "code"), [(503, "unavailable"), (418, "internal_error")])
async def test_what_the_framework_raises_by_itself_is_translated(api, raised, code):
    def fails() -> bytes:
        raise HTTPException(raised)

    api.gateway.render_metrics = fails
    assert (await api.client.get("/metrics")).json()["error"]["code"] == code


async def test_many_faults_are_told_up_to_a_bound(api):
    answer = await api.client.post("/admin/register", json={f"wrong{number}": 1 for number in range(9)})
    message = answer.json()["error"]["message"]
    assert "and 4 more faults" in message
    assert message.count("Known fields") == 5


async def test_names_of_fields_are_shown_harmless_and_short(api):
    name = "\x1b[31m\n" + "x" * 5000
    answer = await api.client.post("/admin/register", json={"endpoint_url": "http://10.0.0.5", name: 1})
    error = answer.json()["error"]
    assert error["param"].startswith("?[31m?x")
    assert len(error["param"]) <= 64
    assert "\x1b" not in error["message"]
