"""Does an owner lend, see and steer its own servers over HTTP, and no other's?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.routers.deps import NothingSaid
from app.services.core.keys import KeyRing, Principal, Role, digest
from app.services.core.live.residence import Residence
from app.services.core.signals import Signals
from app.services.core.types import CheckFailure
from app.services.registry.terms import Owners
from tests.fakes.api import ADMIN_KEY, Api, api_world
from tests.fakes.registry import START

URL = "http://10.0.0.5:8000"
OTHER_URL = "http://10.0.0.6:8000"
KEYS = {name: f"{name}-key-canary-0123456789" for name in ("ada", "bob", "eve", "user", "lab-admin")}
PEOPLE = {
    "ada": Principal("ada", "ada", Role.OWNER, group="lab"),
    "bob": Principal("bob", "bob", Role.OWNER, group="lab"),
    "eve": Principal("eve", "eve", Role.OWNER),
    "user": Principal("user", "user", Role.USER, group="lab"),
    "lab-admin": Principal("lab-admin", "lab admin", Role.ADMIN, group="lab"),
}
NIGHTS = {"timezone": "Europe/Berlin", "windows": [{"days": ["mon", "tue"], "from": "18:00", "to": "08:00"}]}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_world(tmp_path) as made:
        good = {digest(KEYS[name]): principal for name, principal in PEOPLE.items()}
        operator = {digest(ADMIN_KEY): Principal("admin", "operator", Role.ADMIN)}
        made.gateway.key_ring = KeyRing({**good, **operator})
        roles = {"admin": Role.ADMIN, **{name: one.role for name, one in PEOPLE.items() if name != "lab-admin"}}
        owners = Owners(roles.get, lambda name: PEOPLE[name].group if name in PEOPLE else None)
        made.world.registry.owners = made.world.registry._roster._publisher.owners = owners
        yield made


class Said(NothingSaid):
    """Every server has these models in memory."""

    def __init__(self, loaded: frozenset[str]) -> None:
        self._loaded = loaded

    def signals(self, _server_id: str) -> Signals:
        return Signals(loaded=self._loaded)


async def ask(api: Api, who: str, method: str, path: str, **body: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {KEYS.get(who, ADMIN_KEY)}"}
    return await api.client.request(method, path, headers=headers, **({"json": body} if body else {}))


async def lend(api: Api, who: str = "ada", url: str = URL, **body: Any) -> str:
    answer = await ask(api, who, "POST", "/admin/register", endpoint_url=url, **body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["registration_id"])


async def test_an_owner_does_all_that_there_is_to_do_with_its_own_server(api: Api) -> None:
    server_id = await lend(api, share="group", hours=NIGHTS, max_concurrency=2)
    for method, path, body in (
        ("PUT", f"/admin/register/{server_id}", {"endpoint_url": URL}),
        ("PATCH", f"/admin/register/{server_id}", {"priority": -1, "weight": 10}),
        ("GET", f"/admin/servers/{server_id}", {}),
        *(("POST", f"/admin/servers/{server_id}/{act}", {}) for act in ("check", "pause", "resume", "drain")),
    ):
        answer = await ask(api, "ada", method, path, **body)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.json()["endpoint_url"] == URL
        assert answer.json()["owner"] == "ada"
    assert (await ask(api, "ada", "DELETE", f"/admin/register/{server_id}")).status_code == 204


@pytest.mark.parametrize(("field", "value"), [("priority", 1), ("weight", 10.5)])
async def test_an_owner_is_told_who_may_prefer_a_server(api: Api, field: str, value: float) -> None:
    server_id = await lend(api)
    for method, path, body in (
        ("POST", "/admin/register", {"endpoint_url": OTHER_URL}),
        ("PUT", f"/admin/register/{server_id}", {"endpoint_url": URL}),
        ("PATCH", f"/admin/register/{server_id}", {}),
    ):
        answer = await ask(api, "ada", method, path, **body, **{field: value})
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["param"] == field
        assert "admin" in answer.json()["error"]["message"]
    raised = await ask(api, "admin", "PATCH", f"/admin/register/{server_id}", **{field: value})
    assert raised.json()[field] == value
    kept = await ask(api, "ada", "PATCH", f"/admin/register/{server_id}", max_concurrency=2)
    assert (kept.status_code, kept.json()[field]) == (200, value)


STEERING = [
    ("PUT", "/admin/register/{}", {"endpoint_url": URL}),
    ("PATCH", "/admin/register/{}", {"priority": -1}),
    ("DELETE", "/admin/register/{}", {}),
    *(("POST", f"/admin/servers/{{}}/{act}", {}) for act in ("check", "pause", "resume", "drain")),
]
OPERATORS = [
    *(("POST", f"/admin/servers/{{}}/{act}", {}) for act in ("block", "unblock", "approve")),
    ("POST", "/admin/servers/{}/trust", {"trust": "trusted"}),
]


@pytest.mark.parametrize(("method", "path", "body"), [*STEERING, *OPERATORS])
async def test_nobody_elses_server_is_touched(api: Api, method: str, path: str, body: dict[str, Any]) -> None:
    server_id = await lend(api, share="group")
    before, looks = api.world.registry.get(server_id), len(api.world.inspector.looks)
    for who, status in (("bob", 403), ("eve", 404 if (method, path, body) in STEERING else 403), ("user", 403)):
        answer = await ask(api, who, method, path.format(server_id), **body)
        assert answer.status_code == status, (who, answer.text)
        assert URL not in answer.text
    assert api.world.registry.get(server_id) is before
    assert len(api.world.inspector.looks) == looks


@pytest.mark.parametrize(("method", "path", "body"), OPERATORS)
async def test_the_operators_word_is_no_owners_and_no_groups(
    api: Api, method: str, path: str, body: dict[str, Any]
) -> None:
    server_id = await lend(api)
    for who in ("ada", "lab-admin"):
        assert (await ask(api, who, method, path.format(server_id), **body)).status_code == 403
    assert (await ask(api, "admin", method, path.format(server_id), **body)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/admin/register"),
        ("GET", "/admin/servers"),
        ("GET", "/admin/servers/{}"),
        *((method, path) for method, path, _body in STEERING),
    ],
)
async def test_users_are_sent_to_the_models_before_their_body_is_judged(api: Api, method: str, path: str) -> None:
    answer = await ask(api, "user", method, path.format(await lend(api)), nonsense=True)
    assert answer.status_code == 403
    assert "GET /v1/models" in answer.json()["error"]["message"]


async def test_an_owner_sees_what_is_shared_with_it_and_only_its_own_in_full(api: Api) -> None:
    metadata = {"owner": "ada", "description": "lab box", "rack": "canary-7"}
    own = await lend(api, "bob", "http://10.0.0.1")
    public = await lend(api, metadata=metadata, hours=NIGHTS)
    group = await lend(api, url=OTHER_URL, share="group")
    hidden = await lend(api, url="http://10.0.0.7", share="me")
    await ask(api, "ada", "POST", f"/admin/servers/{public}/pause", reason="canary: at the dentist's")
    seen = {}
    for who in ("bob", "eve", "ada", "admin", "lab-admin"):
        answer = (await ask(api, who, "GET", "/admin/servers")).json()
        seen[who] = {server["registration_id"]: server for server in answer["servers"]}
        assert answer["total"] == len(seen[who])
    assert [set(seen[who]) for who in ("bob", "eve")] == [{own, public, group}, {own, public}]
    assert set(seen["ada"]) == set(seen["admin"]) == set(seen["lab-admin"]) == {own, public, group, hidden}
    strangers = seen["bob"][public]
    assert (strangers["endpoint_url"], strangers["reason"], strangers["paused_reason"]) == (None, "", "")
    assert (strangers["paused"], strangers["metadata"]) == (True, {"owner": "ada", "description": "lab box"})
    assert seen["bob"][own]["endpoint_url"] == "http://10.0.0.1"
    for who in ("ada", "admin", "lab-admin"):
        assert (seen[who][public]["endpoint_url"], seen[who][public]["metadata"]) == (URL, metadata)
    details = await ask(api, "bob", "GET", f"/admin/servers/{public}")
    assert details.status_code == 200
    assert "canary" not in details.text
    assert (await ask(api, "bob", "GET", f"/admin/servers/{hidden}")).status_code == 404
    assert (await ask(api, "bob", "GET", "/admin/servers?owner=ada")).json()["total"] == 2


async def test_a_taken_endpoint_is_told_without_its_owner(api: Api) -> None:
    server_id = await lend(api, share="me")
    answer = await ask(api, "bob", "POST", "/admin/register", endpoint_url=URL)
    assert answer.status_code == 409
    assert server_id not in answer.text


async def test_share_with_a_group_needs_one(api: Api) -> None:
    answer = await ask(api, "eve", "POST", "/admin/register", endpoint_url=URL, share="group")
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "share"
    assert "everyone or me" in answer.json()["error"]["message"]


async def test_hours_are_shown_with_what_follows_from_them(api: Api) -> None:
    server_id = await lend(api, hours=NIGHTS)
    path = f"/admin/servers/{server_id}"
    shown = (await ask(api, "ada", "GET", path)).json()  # 2030 begins on a Tuesday, 01:00 in Berlin
    assert shown["hours"] == NIGHTS
    assert (shown["off_hours"], shown["next_change_at"], shown["reason"]) == (False, "2030-01-01T07:00:00Z", "")
    api.world.clock.move(hours=9)
    shown = (await ask(api, "ada", "GET", path)).json()
    assert (shown["off_hours"], shown["next_change_at"]) == (True, "2030-01-01T17:00:00Z")
    assert shown["reason"] == "lent at other hours: opens 18:00 Europe/Berlin"
    assert (await ask(api, "bob", "GET", path)).json()["reason"] == ""
    shown = (await ask(api, "ada", "PATCH", f"/admin/register/{server_id}", hours=None)).json()
    assert (shown["hours"], shown["off_hours"], shown["next_change_at"]) == (None, False, None)


async def test_days_may_be_left_out_and_midnight_written_as_24(api: Api) -> None:
    hours = {"timezone": "UTC", "windows": [{"from": "00:00", "to": "24:00"}]}
    server_id = await lend(api, hours=hours)
    shown = (await ask(api, "ada", "GET", f"/admin/servers/{server_id}")).json()
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    assert shown["hours"]["windows"] == [{"days": days, "from": "00:00", "to": "00:00"}]
    assert (shown["off_hours"], shown["next_change_at"]) == (False, None)


BAD_HOURS = [
    ({"timezone": "Europe/Berln"}, "hours.timezone", "Europe/Berlin"),
    ({"timezone": "../../etc/passwd"}, "hours.timezone", "no such time zone"),
    ({"timezone": ""}, "hours.timezone", "character"),
    ({"timezone": 5}, "hours.timezone", "string"),
    ({"timezone": "x" * 65}, "hours.timezone", "64"),
    ({"windows": []}, "hours.windows", "item"),
    ({"windows": [{"from": "00:00", "to": "01:00"}] * 29}, "hours.windows", "28"),
    ({"windows": [{"days": [], "from": "00:00", "to": "01:00"}]}, "hours.windows[0].days", "item"),
    ({"windows": [{"days": ["monday"], "from": "00:00", "to": "01:00"}]}, "hours.windows[0].days[0]", "mon"),
    ({"windows": [{"from": "24:00", "to": "01:00"}]}, "hours.windows[0].from", "pattern"),
    ({"windows": [{"from": "8:00", "to": "09:00"}]}, "hours.windows[0].from", "pattern"),
    ({"windows": [{"from": "08:00\n", "to": "09:00"}]}, "hours.windows[0].from", "pattern"),
    ({"windows": [{"from": "08:00", "to": "24:01"}]}, "hours.windows[0].to", "pattern"),
    ({"windows": [{"from": "08:00"}]}, "hours.windows[0].to", "missing"),
    ({"windows": [{"from": "08:00", "to": "09:00", "at": 1}]}, "hours.windows[0].at", "days, from, to"),
    ({"windows": [{"opens": "08:00", "to": "09:00"}]}, "hours.windows[0].opens", "days, from, to"),
    ({"zone": "UTC"}, "hours.zone", "timezone, windows"),
]


@pytest.mark.parametrize(("fields", "param", "words"), BAD_HOURS, ids=[repr(fields)[:50] for fields, *_ in BAD_HOURS])
async def test_bad_hours_are_named(api: Api, fields: dict[str, Any], param: str, words: str) -> None:
    server_id = await lend(api, url=OTHER_URL)
    looks = len(api.world.inspector.looks)
    for method, path in (("POST", "/admin/register"), ("PATCH", f"/admin/register/{server_id}")):
        body = {"endpoint_url": URL} if method == "POST" else {}
        answer = await ask(api, "ada", method, path, hours=NIGHTS | fields, **body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["param"] == param
        assert words in answer.json()["error"]["message"]
    assert len(api.world.inspector.looks) == looks


async def test_a_registration_that_waits_says_so_and_is_approved(api: Api) -> None:
    api.world.registry._needs_approval = True
    answer = await ask(api, "ada", "POST", "/admin/register", endpoint_url=URL)
    assert answer.status_code == 201
    assert (answer.json()["status"], answer.json()["pending"]) == ("registered", True)
    assert "operator approves" in answer.json()["note"]
    server_id = answer.json()["registration_id"]
    shown = (await ask(api, "ada", "GET", f"/admin/servers/{server_id}")).json()
    assert (shown["pending"], shown["reason"]) == (True, "pending: waits for the operator's approval")
    approved = await ask(api, "admin", "POST", f"/admin/servers/{server_id}/approve", trust="trusted")
    assert (approved.json()["pending"], approved.json()["trust"], approved.json()["trust_given"]) == (
        False,
        "trusted",
        "trusted",
    )
    moved = (await ask(api, "ada", "PATCH", f"/admin/register/{server_id}", endpoint_url=OTHER_URL)).json()
    assert (moved["pending"], moved["trust"], moved["trust_given"]) == (True, "public", None)
    assert "trust was for another endpoint" in moved["note"]
    assert "until the operator approves it" in moved["note"]
    again = (await ask(api, "ada", "PATCH", f"/admin/register/{server_id}", priority=-2)).json()
    assert (again["pending"], again["note"]) == (True, "")
    plain = await ask(api, "admin", "POST", "/admin/register", endpoint_url=URL)
    assert set(plain.json()) == {"registration_id", "status", "health_status", "models", "engine"}


async def test_routing_hears_of_a_server_that_waits_only_once_it_is_approved(api: Api) -> None:
    api.world.registry._needs_approval = True
    server_id, other_id = await lend(api), await lend(api, url=OTHER_URL)
    assert api.world.routed() == {}
    looks = len(api.world.inspector.looks)
    for act in ("check", "pause", "resume"):
        answer = await ask(api, "ada", "POST", f"/admin/servers/{server_id}/{act}")
        assert (answer.status_code, answer.json()["pending"]) == (200, True)
        assert (answer.json()["health_status"], answer.json()["in_flight"]) == ("healthy", 0)
    assert len(api.world.inspector.looks) == looks + 1
    assert len(api.world.book.history(server_id)) == 2
    assert api.world.routed() == {}
    assert (await ask(api, "ada", "DELETE", f"/admin/register/{other_id}")).status_code == 204
    await ask(api, "admin", "POST", f"/admin/servers/{server_id}/approve")
    assert [server.accepts_work for server in api.world.routed().values()] == [True]


@pytest.mark.parametrize("body", [{}, {"trust": "utterly"}, {"trust": 1}, {"trust": "TRUSTED"}, {"trsut": None}])
async def test_trust_is_one_of_three_words_or_null(api: Api, body: dict[str, Any]) -> None:
    path = f"/admin/servers/{await lend(api)}/trust"
    answer = await api.client.post(path, json=body)
    assert answer.status_code == 422
    for word, effective in (("trusted", "trusted"), ("group", "group"), ("public", "public"), (None, "public")):
        shown = (await api.client.post(path, json={"trust": word})).json()
        assert (shown["trust"], shown["trust_given"]) == (effective, word)


async def test_a_passing_check_lets_its_owner_out_of_quarantine(api: Api) -> None:
    server_id = await lend(api)
    path, until = f"/admin/servers/{server_id}", START + timedelta(minutes=10)
    reason = "9 of its last 9 answers were no good (it answered 500), though its checks pass"
    for act in ("check", "resume"):
        await api.world.registry.quarantine(server_id, reason, until)
        shown = (await ask(api, "ada", "GET", path)).json()
        assert (shown["quarantined"], shown["quarantined_reason"], shown["quarantined_until"]) == (
            True,
            reason,
            "2030-01-01T00:10:00Z",
        )
        api.world.inspector.failing[URL] = (CheckFailure.UNREACHABLE, "connection refused")
        shown = (await ask(api, "ada", "POST", f"{path}/{act}")).json()
        assert (shown["quarantined"], shown["note"]) == (True, "")
        del api.world.inspector.failing[URL]
        shown = (await ask(api, "ada", "POST", f"{path}/{act}")).json()
        assert (shown["quarantined"], shown["note"]) == (False, "The check passed, so its quarantine is lifted.")
        shown = (await ask(api, "ada", "POST", f"{path}/{act}")).json()
        assert shown["note"] == ""
    await ask(api, "admin", "POST", f"{path}/block")
    assert (await ask(api, "ada", "POST", f"{path}/check")).json()["blocked"] is True


async def test_what_a_server_calls_its_models_is_its_owners_business(api: Api) -> None:
    path = "/home/ada/models/canary.gguf"
    api.world.inspector.listed[URL] = [path]
    server_id = await lend(api, models=[{"name": "m", "upstream_name": path}])
    lane = api.gateway.plane.board.lane(server_id)
    lane.swaps(Residence())
    moment = api.gateway.plane.clock()
    lane.residence.take(path, moment)
    api.gateway.said = Said(frozenset({path, "/home/ada/other-canary.gguf"}))
    own = (await ask(api, "ada", "GET", f"/admin/servers/{server_id}")).json()
    assert (own["model_details"][0]["upstream_name"], own["loading"][0]["model"]) == (path, path)
    assert len(own["loaded_models"]) == 2
    others = await ask(api, "bob", "GET", f"/admin/servers/{server_id}")
    assert "canary" not in others.text
    shown = others.json()
    assert (shown["model_details"][0]["upstream_name"], shown["loaded_models"]) == ("m", ["m"])
    assert [load["model"] for load in shown["loading"]] == ["m"]
    lane.swaps(Residence())
    lane.residence.take("/home/ada/other-canary.gguf", moment)
    assert (await ask(api, "bob", "GET", f"/admin/servers/{server_id}")).json()["loading"] == []
