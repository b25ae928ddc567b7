"""Does the admin API take, refuse and show servers as it says?"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.routers.views import server_view
from app.services.core.continuation.ability import Ability, Rung
from app.services.core.live.residence import Residence
from app.services.core.signals import Signals
from app.services.core.types import CheckFailure, DiscoveredModel, Inspection
from app.services.registry.records import EngineFacts, Finding
from tests.fakes.api import ADMIN_KEY, USER_KEY
from tests.fakes.registry import START, STRANGER

URL = "http://10.0.0.5:8000"
FULL = {
    "model_name": "llama-3-8b",
    "endpoint_url": f"{URL}/v1",
    "api_key": "sk-server-canary",
    "models": [{"name": "llama-3-8b", "upstream_name": "meta-llama/Llama-3.1-8B-Instruct"}],
    "capabilities": {"max_tokens": 4096, "context_length": 8192, "streaming": True},
    "metadata": {"owner": "alice", "description": "lab box"},
    "max_concurrency": 8,
    "priority": 0,
    "weight": 1,
    "share": "everyone",
}
SPECIFIED = {
    "registration_id", "endpoint_url", "models", "engine", "health_status", "reason", "paused", "quarantined",
    "blocked", "draining", "metadata", "max_concurrency", "priority", "weight", "share", "last_checked_at",
    "last_transition_at", "consecutive_failures",
}  # fmt: skip


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


async def test_registering_answers_what_was_found(api):
    api.world.inspector.listed[URL] = ["meta-llama/Llama-3.1-8B-Instruct"]
    answer = await api.client.post("/admin/register", json=FULL)
    assert answer.status_code == 201
    body = answer.json()
    assert str(UUID(body.pop("registration_id")))
    assert body == {"status": "registered", "health_status": "healthy", "models": ["llama-3-8b"], "engine": "llama.cpp"}


async def test_a_server_is_shown_flat_with_its_history_and_without_its_key(api):
    api.world.inspector.listed[URL] = ["meta-llama/Llama-3.1-8B-Instruct"]
    server_id = (await api.client.post("/admin/register", json=FULL)).json()["registration_id"]
    api.gateway.plane.board.lane(server_id).in_flight = 3
    answer = await api.client.get(f"/admin/servers/{server_id}")
    assert "canary" not in answer.text
    shown = answer.json()
    assert set(shown).issuperset(SPECIFIED)
    assert {name: shown[name] for name in ("metadata", "max_concurrency", "priority", "weight", "share")} == {
        name: FULL[name] for name in ("metadata", "max_concurrency", "priority", "weight", "share")
    }
    assert shown["endpoint_url"] == URL
    assert shown["models"] == ["llama-3-8b"]
    assert shown["model_details"] == [
        {
            "name": "llama-3-8b",
            "upstream_name": "meta-llama/Llama-3.1-8B-Instruct",
            "context_length": 8192,
            "context_in_effect": None,
            "loaded": None,
            "capabilities": [],
            "listed": True,
            "continuation": {
                "chat": "unjudged",
                "text": "unjudged",
                "reason": "",
                "thinking_off": False,
                "trims": False,
                "version": "",
                "probed_at": None,
            },
            "verification": [],
        }
    ]
    assert (shown["paused"], shown["reason"], shown["has_api_key"], shown["in_flight"]) == (False, "", True, 3)
    assert shown["capabilities"] == FULL["capabilities"]
    assert [(check["ok"], check["source"]) for check in shown["history"]] == [(True, "check")]
    assert shown["last_checked_at"] == "2030-01-01T00:00:00Z"


class Said:
    """What the engine of every server says."""

    def __init__(self, signals: Signals, told_at: datetime | None = START) -> None:
        self._signals, self._told_at = signals, told_at

    def signals(self, _server_id: str) -> Signals:
        return self._signals

    def told_at(self, _server_id: str) -> datetime | None:
        return self._told_at

    def facts(self, _server_id: str) -> EngineFacts:
        return EngineFacts(contexts=self._signals.contexts)


async def test_what_the_engine_says_of_itself_is_shown(api):
    api.world.inspector.listed[URL] = [DiscoveredModel("a", 131072), "b"]
    server_id = await api.register()
    shown = (await api.client.get(f"/admin/servers/{server_id}")).json()
    assert (shown["load"], shown["loaded_models"]) == (None, None)
    api.gateway.said = Said(
        Signals(3, 2, 4, 0.25, frozenset({"a", "mine"}), {"a": 4096}, {"a": frozenset({"tools", "chat"})})
    )
    shown = (await api.client.get(f"/admin/servers/{server_id}")).json()
    assert shown["load"] == {
        "running": 3,
        "waiting": 2,
        "places": 4,
        "cache_used": 0.25,
        "told_at": "2030-01-01T00:00:00Z",
    }
    assert shown["loaded_models"] == ["a", "mine"]
    names = ("context_length", "context_in_effect", "loaded", "capabilities")
    first, second = ([model[name] for name in names] for model in shown["model_details"])
    assert first == [131072, 4096, True, ["chat", "tools"]]
    assert second == [None, None, False, []]


async def test_who_may_not_steer_a_server_sees_figures_but_not_what_else_its_owner_runs(api):
    server_id = await api.register()
    api.gateway.said = Said(Signals(running=3, loaded=frozenset({"llama-3-8b", "mine"})))
    seen = server_view(api.gateway, STRANGER, api.world.registry.get(server_id))
    assert seen.endpoint_url is None
    assert seen.load is not None
    assert seen.load.running == 3
    assert seen.loaded_models == ["llama-3-8b"]
    assert seen.model_details[0].loaded


@pytest.mark.parametrize(
    "said", [Said(Signals(loaded=frozenset())), Said(Signals(running=1), told_at=None)], ids=["no figures", "never"]
)
async def test_an_engine_that_tells_no_figures_has_no_load(api, said):
    server_id = await api.register()
    api.gateway.said = said
    assert (await api.client.get(f"/admin/servers/{server_id}")).json()["load"] is None


async def test_what_was_found_of_a_model_is_shown(api):
    server_id = await api.register()
    ability = Ability(chat=Rung.NONE, text=Rung.TEXT, trims=True, reason="chats: it begins anew", version="b1")
    await api.world.registry.keep_finding(server_id, "llama-3-8b", Finding(ability, api.world.clock()))
    (listed,) = (await api.client.get("/admin/servers")).json()["servers"]
    assert listed["model_details"][0]["continuation"] == {
        "chat": "none",
        "text": "completions",
        "reason": "chats: it begins anew",
        "thinking_off": False,
        "trims": True,
        "version": "b1",
        "probed_at": "2030-01-01T00:00:00Z",
    }


async def test_the_plainest_registration_takes_what_the_server_lists(api):
    api.world.inspector.listed[URL] = ["a", DiscoveredModel("b", 4096)]
    answer = await api.client.post("/admin/register", json={"endpoint_url": URL})
    assert answer.json()["models"] == ["a", "b"]


async def test_models_may_be_plain_names_and_model_name_joins_them(api):
    api.world.inspector.listed[URL] = ["a", "b", "c"]
    server_id = await api.register(model_name="a", models=["b", {"name": "x", "upstream_name": "c"}])
    shown = (await api.client.get(f"/admin/servers/{server_id}")).json()
    pairs = [(model["name"], model["upstream_name"]) for model in shown["model_details"]]
    assert pairs == [("a", "a"), ("b", "b"), ("x", "c")]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (CheckFailure.REFUSED_ADDRESS, 400, "endpoint_refused"),
        (CheckFailure.UNREACHABLE, 503, "server_unreachable"),
    ],
)
async def test_a_server_that_fails_its_check_is_refused_with_the_reason(api, failure, status, code):
    api.world.inspector.failing[URL] = (failure, "connection refused")
    answer = await api.client.post("/admin/register", json={"endpoint_url": URL})
    error = error_of(answer, status)
    assert error["code"] == code
    assert "connection refused" in error["message"].lower()
    assert ("retry-after" in answer.headers) is (status == 503)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://10.0.0.5",
        "http://user:canary@10.0.0.5",
        "http://2130706433",
        "http://10.0.0.5:0",
        "nonsense",
        "http:// x",
        "",
        "http://" + "a" * 2042,
        "http://" + "a" * 10_000,
    ],
    ids=lambda url: repr(url)[:40],
)
async def test_a_url_of_bad_form_is_400(api, url):
    answer = await api.client.post("/admin/register", json={"endpoint_url": url})
    assert error_of(answer, 400)["param"] == "endpoint_url"
    assert "canary" not in answer.text


async def test_a_refused_address_is_told_by_its_rule_and_the_setting_that_opens_it(api):
    reason = "10.0.0.5 is private; the operator can allow it with ALLOWED_SERVER_NETWORKS=10.0.0.0/8."
    refused = Inspection(CheckFailure.REFUSED_ADDRESS, reason, code="address_not_public")
    server_id = await api.register("http://10.0.0.6")
    api.world.inspector.failing[URL] = refused
    for method, path in (("POST", ""), ("PUT", f"/{server_id}"), ("PATCH", f"/{server_id}")):
        answer = await api.client.request(method, f"/admin/register{path}", json={"endpoint_url": URL})
        error = error_of(answer, 400)
        assert (error["code"], error["param"]) == ("address_not_public", "endpoint_url")
        assert "ALLOWED_SERVER_NETWORKS" in error["message"]


async def test_a_stored_key_is_never_sent_to_another_address(api):
    path = f"/admin/register/{await api.register(api_key='sk-canary')}"
    looks = len(api.world.inspector.looks)
    error = error_of(await api.client.patch(path, json={"endpoint_url": "http://10.0.0.66"}), 422)
    assert error["param"] == "api_key"
    assert "Give api_key again" in error["message"]
    assert len(api.world.inspector.looks) == looks
    moved = await api.client.patch(path, json={"endpoint_url": "http://10.0.0.66", "api_key": None})
    assert (moved.json()["endpoint_url"], moved.json()["has_api_key"]) == ("http://10.0.0.66", False)


async def test_a_taken_endpoint_is_409(api):
    server_id = await api.register()
    error = error_of(await api.client.post("/admin/register", json={"endpoint_url": f"{URL}/v1/"}), 409)
    assert server_id in error["message"]


BAD_FIELDS = [
    ({"endpoint_url": 5}, "endpoint_url"),
    ({"model_name": ""}, "model_name"),
    ({"model_name": "x" * 257}, "model_name"),
    ({"model_name": "a\nb"}, "model_name"),
    ({"model_name": " a"}, "model_name"),
    ({"model_name": "nul\0"}, "model_name"),
    ({"models": []}, "models"),
    ({"models": "a"}, "models"),
    ({"models": ["a", 5]}, "models[1]"),
    ({"models": [{"name": "a", "upstream": "b"}]}, "models[0].upstream"),
    ({"models": [{"upstream_name": "b"}]}, "models[0].name"),
    ({"models": ["a", "a"]}, None),
    ({"api_key": ""}, "api_key"),
    ({"api_key": "canary\r\nX-Evil: 1"}, "api_key"),
    ({"api_key": "canary ü"}, "api_key"),
    ({"api_key": "c" * 4097}, "api_key"),
    ({"max_concurrency": 0}, "max_concurrency"),
    ({"max_concurrency": "8"}, "max_concurrency"),
    ({"max_concurrency": True}, "max_concurrency"),
    ({"max_concurrency": 1.5}, "max_concurrency"),
    ({"max_concurrency": 10**30}, "max_concurrency"),
    ({"priority": 1001}, "priority"),
    ({"weight": 0}, "weight"),
    ({"weight": -1}, "weight"),
    ({"weight": 1001}, "weight"),
    ({"weight": "1"}, "weight"),
    ({"weight": None}, "weight"),
    ({"share": "nobody"}, "share"),
    ({"metadata": []}, "metadata"),
    ({"metadata": {"x": "y" * 17_000}}, "metadata"),
    ({"metadata": {"x": 10**30}}, "metadata"),
    ({"metadata": {"x": "\0"}}, "metadata"),
    ({"capabilities": {"max_tokens": "many"}}, "capabilities.max_tokens"),
    ({"capabilities": {"other": "y" * 17_000}}, "capabilities"),
    ({"max_concurency": 8}, "max_concurency"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_FIELDS, ids=[repr(fields)[:60] for fields, _ in BAD_FIELDS])
async def test_bad_fields_are_422_and_named(api, fields, param):
    body = {"endpoint_url": URL} | fields
    for method, path in (("POST", "/admin/register"), ("PUT", "/admin/register/unknown")):
        answer = await api.client.request(method, path, json=body)
        error = error_of(answer, 422)
        assert error["param"] == param
        assert "canary" not in answer.text
    assert api.world.inspector.looks == []


async def test_an_unknown_field_is_told_with_those_that_are_known(api):
    answer = await api.client.post("/admin/register", json={"endpoint_url": URL, "max_concurency": 8})
    assert (
        "max_concurency: is not a field here. Known fields: endpoint_url, model_name"
        in error_of(answer, 422)["message"]
    )


async def test_a_missing_field_is_named(api):
    answer = await api.client.post("/admin/register", json={})
    assert error_of(answer, 422)["message"] == "endpoint_url is missing."


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"endpoint_url": "\xff"}',
        b'{"endpoint_url": "\\ud800"}',
        b'{"endpoint_url": "http://10.0.0.5", "metadata": {"\\ud800": 1}}',
        b'{"endpoint_url": "http://10.0.0.5", "metadata": {"x": NaN}}',
        b'{"endpoint_url": "http://10.0.0.5", "metadata": {"x": 1e999}}',
        b'{"endpoint_url": "http://10.0.0.5", "weight": NaN}',
        b'{"endpoint_url": "http://10.0.0.5", "weight": Infinity}',
        b'{"endpoint_url": "http://10.0.0.5", "\\ud800": 1}',
        b'{"endpoint_url": "http://10.0.0.5", "priority": ' + b"9" * 5000 + b"}",
        b'{"endpoint_url": "http://10.0.0.5", "metadata": ' + b'{"x":' * 20 + b"1" + b"}" * 21,
        b'{"endpoint_url": "http://10.0.0.5", "metadata": {"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body)[:50],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_hostile_json_is_refused(api, body, method):
    path = "/admin/register" if method == "POST" else f"/admin/register/{await api.register()}"
    answer = await api.client.request(method, path, content=body, headers={"content-type": "application/json"})
    error_of(answer, answer.status_code)
    assert answer.status_code in {400, 422}


DECLARED = [
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data",
    "application/json; charset=x",
    "",
    None,
]


@pytest.mark.parametrize("declared", DECLARED)
async def test_a_body_is_read_as_json_whatever_it_is_declared_as(api, declared):
    headers = {} if declared is None else {"content-type": declared}
    answer = await api.client.post("/admin/register", content=json.dumps({"endpoint_url": URL}), headers=headers)
    assert answer.status_code == 201
    path = f"/admin/servers/{answer.json()['registration_id']}/pause"
    assert (await api.client.post(path, content=b'{"reason": "night"}', headers=headers)).json()["paused"] is True


@pytest.mark.parametrize("declared", DECLARED)
@pytest.mark.parametrize(
    "body", [b"{", b"endpoint_url=x", b"\xff\xfe\xfa", b" ", b'{"a": 1} x', b'{"endpoint_url": "\xff"}']
)
async def test_broken_json_is_400_whatever_it_is_declared_as(api, declared, body):
    headers = {} if declared is None else {"content-type": declared}
    path = f"/admin/servers/{await api.register()}/pause"
    for target in ("/admin/register", path):
        answer = await api.client.post(target, content=body, headers=headers)
        assert error_of(answer, 400)["code"] == "invalid_json"


async def test_whole_numbers_may_be_written_with_a_point(api):
    server_id = await api.register(max_concurrency=8.0, weight=2)
    shown = (await api.client.get(f"/admin/servers/{server_id}")).json()
    assert (shown["max_concurrency"], shown["weight"]) == (8, 2.0)


async def test_put_describes_anew_and_patch_changes_parts(api):
    server_id = await api.register(api_key="key", max_concurrency=4, priority=3, metadata={"owner": "alice"})
    patched = await api.client.patch(f"/admin/register/{server_id}", json={"max_concurrency": None, "weight": 2.5})
    assert patched.status_code == 200
    shown = patched.json()
    assert (shown["max_concurrency"], shown["weight"], shown["priority"], shown["has_api_key"]) == (None, 2.5, 3, True)
    assert (await api.client.patch(f"/admin/register/{server_id}", json={"api_key": None})).json()[
        "has_api_key"
    ] is False
    unchanged = await api.client.patch(f"/admin/register/{server_id}", json={})
    assert unchanged.json()["metadata"] == {"owner": "alice"}
    replaced = await api.client.put(f"/admin/register/{server_id}", json={"endpoint_url": "http://10.0.0.9"})
    shown = replaced.json()
    assert (shown["endpoint_url"], shown["priority"], shown["metadata"]) == ("http://10.0.0.9", 0, {})


async def test_patch_changes_models_and_goes_back_to_discovery(api):
    api.world.inspector.listed[URL] = ["a", "b"]
    path = f"/admin/register/{await api.register(model_name='a')}"
    assert (await api.client.patch(path, json={"model_name": "b"})).json()["models"] == ["b"]
    assert (await api.client.patch(path, json={"models": ["a", "b"]})).json()["models"] == ["a", "b"]
    error_of(await api.client.patch(path, json={"models": ["c"]}), 503)
    shown = (await api.client.patch(path, json={"models": None})).json()
    assert (shown["models"], shown["discovers_models"]) == (["a", "b"], True)
    shown = (await api.client.patch(path, json={"capabilities": {"context_length": 4096, "vision": True}})).json()
    assert shown["capabilities"] == {"context_length": 4096, "vision": True}
    assert [model["context_length"] for model in shown["model_details"]] == [4096, 4096]
    shown = (await api.client.patch(path, json={"capabilities": None, "metadata": None})).json()
    assert (shown["capabilities"], shown["metadata"]) == ({}, {})


@pytest.mark.parametrize("field", ["endpoint_url", "model_name", "priority", "weight", "share"])
async def test_patch_refuses_to_clear_what_must_be_there(api, field):
    server_id = await api.register()
    answer = await api.client.patch(f"/admin/register/{server_id}", json={field: None})
    assert f"{field} cannot be null" in error_of(answer, 422)["message"]


async def test_a_removed_server_is_204_then_404(api):
    server_id = await api.register()
    gone = await api.client.delete(f"/admin/register/{server_id}")
    assert (gone.status_code, gone.content) == (204, b"")
    for method, path in (
        ("DELETE", f"/admin/register/{server_id}"),
        ("GET", f"/admin/servers/{server_id}"),
        ("POST", f"/admin/servers/{server_id}/check"),
        ("POST", f"/admin/servers/{server_id}/pause"),
    ):
        error_of(await api.client.request(method, path), 404)
    await api.register()


@pytest.mark.parametrize("server_id", ["unknown", "%00", "%ff", "..%2f..", "a" * 3000, "💥"])
async def test_any_unknown_id_is_404(api, server_id):
    error_of(await api.client.get(f"/admin/servers/{server_id}"), 404)


async def test_lists_are_filtered(api):
    first = await api.register(metadata={"owner": "alice"})
    api.world.inspector.listed["http://10.0.0.6"] = ["other"]
    second = await api.register("http://10.0.0.6")
    for _ in range(3):
        api.world.book.record(second, Inspection(CheckFailure.UNREACHABLE, "connection refused"), api.world.clock())

    async def ids(query: str) -> list[str]:
        body = (await api.client.get(f"/admin/servers{query}")).json()
        assert body["total"] == len(body["servers"])
        return [server["registration_id"] for server in body["servers"]]

    assert await ids("") == [first, second]
    assert await ids("?model=other") == [second]
    assert await ids("?status=unhealthy") == [second]
    assert await ids("?owner=alice") == [first]
    assert await ids("?owner=alice&status=unhealthy") == []
    assert await ids("?model=%00") == []
    assert error_of(await api.client.get("/admin/servers?status=sleepy"), 422)["param"] == "status"


async def test_holds_are_set_shown_and_lifted(api):
    path = f"/admin/servers/{await api.register()}"
    until = api.world.clock() + timedelta(hours=1)
    shown = (await api.client.post(f"{path}/pause", json={"reason": "moving", "until": until.isoformat()})).json()
    assert (shown["paused"], shown["paused_reason"], shown["paused_until"]) == (True, "moving", "2030-01-01T01:00:00Z")
    assert shown["reason"] == "paused: moving"
    assert (await api.client.post(f"{path}/drain")).json()["draining"] is True
    assert (await api.client.post(f"{path}/block", json={})).json()["blocked"] is True
    shown = (await api.client.post(f"{path}/resume")).json()
    assert (shown["paused"], shown["draining"], shown["blocked"], shown["paused_until"]) == (False, False, True, None)
    assert (await api.client.post(f"{path}/unblock")).json()["blocked"] is False


async def test_a_hold_that_ran_out_is_not_shown(api):
    path = f"/admin/servers/{await api.register()}"
    until = api.world.clock() + timedelta(hours=1)
    await api.client.post(f"{path}/pause", json={"until": until.isoformat()})
    api.world.clock.move(hours=1)
    assert (await api.client.get(path)).json()["paused"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"until": "2030-06-01T00:00:00"},
        {"until": "2029-06-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59-23:59"},
        {"until": "0001-01-01T00:00:00+23:59"},
        {"until": "tomorrow"},
        {"until": "2030-06-01"},
        {"until": 1_900_000_000},
        {"until": ""},
        {"reason": "a\nb"},
        {"reason": "x" * 501},
        {"reason": 5},
        {"resaon": "x"},
        [],
    ],
    ids=repr,
)
async def test_a_hold_with_bad_fields_is_422(api, body):
    path = f"/admin/servers/{await api.register()}"
    error_of(await api.client.post(f"{path}/pause", json=body), 422)
    assert (await api.client.get(path)).json()["paused"] is False


async def test_a_check_out_of_turn_shows_what_it_found(api):
    path = f"/admin/servers/{await api.register()}"
    api.world.inspector.failing[URL] = (CheckFailure.UNREACHABLE, "connection refused")
    for failures in (1, 2, 3):
        shown = (await api.client.post(f"{path}/check")).json()
        assert (shown["consecutive_failures"], shown["reason"]) == (failures, "connection refused")
    assert shown["health_status"] == "unhealthy"
    assert [check["ok"] for check in shown["history"]] == [False, False, False, True]


ACTS = ("check", "pause", "resume", "drain", "block", "unblock", "approve", "trust")
EVERY_SERVER_ROUTE = [
    ("POST", "/admin/register"),
    ("PUT", "/admin/register/{id}"),
    ("PATCH", "/admin/register/{id}"),
    ("DELETE", "/admin/register/{id}"),
    ("GET", "/admin/servers"),
    ("GET", "/admin/servers/{id}"),
    *(("POST", f"/admin/servers/{{id}}/{act}") for act in ACTS),
]


def test_no_server_route_is_left_out_of_the_role_tests(api):
    documented = {
        (method.upper(), path.replace("{server_id}", "{id}"))
        for path, methods in api.app.openapi()["paths"].items()
        for method in methods
        if path.startswith(("/admin/register", "/admin/servers"))
    }
    assert documented == set(EVERY_SERVER_ROUTE)


@pytest.mark.parametrize(("method", "path"), EVERY_SERVER_ROUTE)
async def test_no_users_key_opens_the_server_routes(api, method, path):
    server_id = await api.register()
    path = path.format(id=server_id)
    body = {"json": {"endpoint_url": "http://10.0.0.6"}} if method in {"POST", "PUT"} and "register" in path else {}
    body = {"json": {"priority": 5}} if method == "PATCH" else body
    body = {"json": {"trust": "public"}} if path.endswith("/trust") else body
    for headers, status in (
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer wrong-key-0123456789"}, 401),
        ({"authorization": "Basic YTpi"}, 401),
        ({"authorization": f"Bearer {USER_KEY}"}, 403),
        ({"x-api-key": USER_KEY}, 401),
    ):
        answer = await api.client.request(method, path, headers=headers, **body)
        error_of(answer, status)
        assert ("www-authenticate" in answer.headers) is (status == 401)
        assert "canary" not in answer.text
    assert api.world.registry.servers[server_id].priority == 0
    assert len(api.world.registry.servers) == 1
    answer = await api.client.request(method, path, headers={"authorization": "", "x-api-key": ADMIN_KEY}, **body)
    assert answer.status_code < 300


async def test_when_the_database_fails_changes_are_503_and_lists_go_on(api):
    server_id = await api.register()
    await api.world.database.close()
    error = error_of(await api.client.post(f"/admin/servers/{server_id}/pause"), 503)
    assert error["code"] == "storage_unavailable"
    assert (await api.client.get("/admin/servers")).json()["total"] == 1


async def test_a_model_that_is_being_loaded_is_shown_with_about_how_long_it_takes(api):
    server_id = await api.register()
    lane = api.gateway.plane.board.lane(server_id)
    lane.swaps(Residence())
    assert (await api.client.get(f"/admin/servers/{server_id}")).json()["loading"] == []
    moment = api.gateway.plane.clock()
    lane.residence.take("laptop:8b", moment - 12.0)
    (loading,) = (await api.client.get(f"/admin/servers/{server_id}")).json()["loading"]
    assert (loading["model"], loading["about_seconds"]) == ("laptop:8b", None)
    since = datetime.fromisoformat(loading["since"])
    assert timedelta(seconds=12) <= api.gateway.now() - since < timedelta(seconds=60)
