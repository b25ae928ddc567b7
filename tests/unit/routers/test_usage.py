"""Does the API tell each key of use what it may know, as JSON and as CSV?"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.services.core.keys import KeyRing, digest
from app.services.core.limits.standing import Kind, Standing
from app.services.core.people.principal import LimitRule, Limits, Principal, Role
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_store import UsageStore
from tests.fakes.accounts import MODELS, SERVERS, ended, fill
from tests.fakes.api import ADMIN_KEY, Api

KEYS = {
    ADMIN_KEY: Principal("admin", "operator", Role.ADMIN),
    "lab-admin-key-0123456789": Principal("lab-admin", "lab admin", Role.ADMIN, group="lab"),
    "owner-key-0123456789": Principal("own-a", "Ann", Role.OWNER, group="lab"),
    "user-key-0123456789": Principal("use-a", "Ann's student", Role.USER, group="lab"),
}
LAB_ADMIN, OWNER, USER = list(KEYS)[1:]
PATH = "/admin/usage"
SUMS = {
    "requests", "errors", "prompt_tokens", "completion_tokens", "total_tokens", "estimated_tokens", "continuations",
    "seconds",
}  # fmt: skip


@dataclass
class Here:
    api: Api
    usage: Usage

    async def get(self, path: str = PATH, key: str = ADMIN_KEY, status: int = 200, **params: Any) -> Any:
        params = {name.rstrip("_"): value for name, value in params.items()}
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.api.client.get(path, params=params, headers=headers)
        assert answer.status_code == status, answer.text
        return answer if params.get("format") == "csv" else answer.json()

    async def table(self, path: str = PATH, **params: Any) -> list[dict[str, str]]:
        answer = await self.get(path, format="csv", **params)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert answer.text.endswith("\r\n")
        return list(csv.DictReader(io.StringIO(answer.text, newline="")))


@pytest.fixture
async def here(api: Api) -> AsyncIterator[Here]:
    api.gateway.key_ring = KeyRing({digest(key): principal for key, principal in KEYS.items()})
    api.app.state.usage = usage = Usage(UsageStore(api.world.database), api.world.clock)
    await fill(api.world.database)
    outcomes = [ended("use-a", "s1"), ended("use-a", "s3", group="lab"), ended("use-b", "s1"), ended("use-b", "s1")]
    usage.tally.count(outcomes, MODELS, SERVERS)
    yield Here(api, usage)
    await usage.close()


async def test_an_admin_sees_who_used_what(here: Here) -> None:
    told = await here.get()
    assert (told["group_by"], told["side"], told["total"]) == ("key", None, 2)
    assert (told["from"], told["to"]) == ("2029-12-02T00:00:00Z", "2030-01-01T01:00:00Z")
    assert [(row["id"], row["name"], row["requests"], row["total_tokens"]) for row in told["rows"]] == [
        ("use-a", "Ann's student", 2, 20),
        ("use-b", "=Ben's user", 2, 20),
    ]
    assert set(told["rows"][0]) == {"id", "name"} | SUMS
    assert set(told["totals"]) == SUMS
    assert (told["totals"]["requests"], told["totals"]["seconds"]) == (4, 2.0)


async def test_it_is_grouped_filtered_and_cut_as_asked(here: Here) -> None:
    by_server = await here.get(group_by="server", key=ADMIN_KEY)
    assert [(row["id"], row["requests"]) for row in by_server["rows"]] == [("s1", 3), ("s3", 1)]
    narrow = await here.get(group_by="day", server=["s1", "s3"], owner="own-b", from_="2030-01-01", to="2030-01-02")
    assert [(row["id"], row["requests"]) for row in narrow["rows"]] == [("2030-01-01", 1)]
    assert (await here.get(from_="2029-01-01", to="2030-01-01"))["rows"] == []
    paged = await here.get(limit=1, offset=1)
    assert ([row["id"] for row in paged["rows"]], paged["total"]) == (["use-b"], 2)
    client = here.api.client
    answer = await client.get(f"{PATH}?group_by=group&key=use-a&key=use-b&from=2030-01-01T02:00:00+02:00")
    assert [(row["id"], row["name"]) for row in answer.json()["rows"]] == [("", "(none)"), ("lab", "The lab")]


async def test_keys_owners_and_groups_may_be_named(here: Here) -> None:
    for params in ({"key_": "Ann's student"}, {"key_": ["use-a", "=x"]}, {"owner": ["Ann", "Ben"], "key_": "use-a"}):
        told = await here.get(group_by="key", **params)
        assert [(row["id"], row["requests"]) for row in told["rows"]] == [("use-a", 2)]
    assert (await here.get(group="The lab"))["totals"]["requests"] == 1
    assert (await here.get(key=OWNER, key_="use-b"))["rows"] == []
    assert (await here.get(key_="nobody"))["rows"] == []


async def test_as_csv_a_name_is_never_a_formula(here: Here) -> None:
    rows = await here.table()
    assert [row["name"] for row in rows] == ["Ann's student", "'=Ben's user"]
    assert list(rows[0])[:3] == ["id", "name", "requests"]
    assert set(rows[0]) == {"id", "name"} | SUMS
    assert await here.table(from_="2040-01-01", to="2040-01-02") == []


async def test_an_owner_sees_both_its_sides_and_nobody_elses(here: Here) -> None:
    served = await here.get(key=OWNER, group_by="model")
    assert (served["side"], served["totals"]["requests"]) == ("served", 3)
    used = await here.get(key=OWNER)
    assert (used["side"], [row["id"] for row in used["rows"]]) == ("used", ["use-a"])
    error = (await here.get(key=OWNER, status=403, group_by="person", side="served"))["error"]
    assert "side=used" in error["message"]
    assert "use-b" not in str([served, used, error])


async def test_an_admin_of_a_group_and_a_user(here: Here) -> None:
    assert (await here.get(key=LAB_ADMIN))["totals"]["requests"] == 1
    for path in (PATH, f"{PATH}/contributions"):
        error = (await here.get(path, key=USER, status=403))["error"]
        assert "GET /v1/usage" in error["message"]


async def test_what_owners_gave_and_took(here: Here) -> None:
    told = await here.get(f"{PATH}/contributions", from_="2030-01-01")
    assert [(row["id"], row["name"], row["balance_tokens"]) for row in told["rows"]] == [
        ("own-a", "Ann", 10),
        ("own-b", "Ben", -10),
    ]
    assert (told["from"], told["to"]) == ("2030-01-01T00:00:00Z", "2030-01-01T01:00:00Z")
    assert set(told["rows"][0]["served"]) == SUMS
    rows = await here.table(f"{PATH}/contributions")
    assert [(row["served_requests"], row["used_total_tokens"], row["balance_tokens"]) for row in rows] == [
        ("3", "20", "10"),
        ("1", "20", "-10"),
    ]
    assert [row["group_used_requests"] for row in rows] == ["1", ""]
    assert [row["id"] for row in (await here.get(f"{PATH}/contributions", key=OWNER))["rows"]] == ["own-a"]


async def test_every_key_sees_its_own_use_and_what_is_left(here: Here) -> None:
    rule = LimitRule("key:use-a", Limits(requests_per_minute=60), "your key", model="llama")
    here.usage.left = lambda _principal: [Standing(rule, Kind.REQUESTS_PER_MINUTE, 60, 61, 12.3456)]
    told = await here.get("/v1/usage", key=USER)
    assert (told["key_id"], told["name"]) == ("use-a", "Ann's student")
    assert (told["today_since"], told["month_since"]) == ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
    assert told["today"]["requests"] == told["month"]["requests"] == 2
    assert [(row["model"], row["total_tokens"]) for row in told["models"]] == [("llama", 20)]
    assert told["limits"] == [
        {
            "subject": "key", "model": "llama", "name": "requests_per_minute", "limit": 60, "used": 61, "remaining": 0,
            "resets_in_seconds": 12.346,
        }
    ]  # fmt: skip
    for key in (ADMIN_KEY, OWNER, LAB_ADMIN):
        assert (await here.get("/v1/usage", key=key))["today"]["requests"] == 0


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"group_by": "shoe size"}, "group_by"),
        ({"from_": "yesterday"}, "from"),
        ({"to": "2030-99-99"}, "to"),
        ({"from_": "2030-01-02", "to": "2030-01-01"}, "from"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"offset": -1}, "offset"),
        ({"format": "xml"}, "format"),
        ({"side": "other"}, "side"),
        ({"model": "x" * 513}, "model[0]"),
        ({"model": ["x"] * 101}, "model"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(here: Here, params: dict[str, Any], param: str) -> None:
    error = (await here.get(status=422, **params))["error"]
    assert error["param"] == param


@pytest.mark.parametrize("path", [PATH, f"{PATH}/contributions", "/v1/usage"])
async def test_strangers_stay_out_and_a_gateway_that_starts_says_so(here: Here, path: str) -> None:
    for key in ("", "nobody-knows-this-key"):
        await here.get(path, key=key, status=401)
    here.api.app.state.usage = None
    assert "starting" in (await here.get(path, status=503))["error"]["message"]
    here.api.app.state.usage = here.usage
    await here.api.world.database.close()
    assert (await here.get(path, status=503))["error"]["code"] == "storage_unavailable"


async def test_the_description_is_whole(here: Here) -> None:
    here.api.app.openapi_schema = None
    paths = here.api.app.openapi()["paths"]
    for path in (PATH, f"{PATH}/contributions", "/v1/usage"):
        described = paths[path]["get"]
        assert {"200", "401", "403", "503"} <= set(described["responses"])
        assert described["security"]
    assert set(paths[PATH]["get"]["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    assert "from" in {one["name"] for one in paths[PATH]["get"]["parameters"]}
