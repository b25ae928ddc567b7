"""Does the API tell the operator, and nobody else, who changed what?"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app.services.core.keys import KeyRing, digest
from app.services.core.people.principal import Principal, Role
from app.services.registry.accounting.audit import Audit
from app.services.registry.accounting.audit_entry import append, entry
from app.services.registry.accounting.origin import Origin, coming_from
from tests.fakes.api import ADMIN_KEY, USER_KEY, Api
from tests.fakes.registry import ADMIN, START

PATH = "/admin/audit"
LAB_ADMIN, OWNER = "lab-admin-key-0123456789", "owner-key-0123456789"
KEYS = {
    ADMIN_KEY: ADMIN,
    LAB_ADMIN: Principal("lab-admin", "lab admin", Role.ADMIN, group="lab"),
    OWNER: Principal("own-a", "Ann", Role.OWNER),
    USER_KEY: Principal("use-a", "student", Role.USER),
}


@dataclass
class Here:
    api: Api

    async def get(self, status: int = 200, key: str = ADMIN_KEY, **params: Any) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.api.client.get(PATH, params=params, headers=headers)
        assert answer.status_code == status, answer.text
        return answer if params.get("format") == "csv" else answer.json()


@pytest.fixture
async def here(api: Api) -> Here:
    api.gateway.key_ring = KeyRing({digest(key): principal for key, principal in KEYS.items()})
    api.app.state.audit = Audit(api.world.database, api.world.clock)
    with coming_from(Origin("192.0.2.7", "r-9")):
        lines = [
            entry(ADMIN, START, "key.created", "key", "k1", "=evil()", after={"role": "user"}),
            entry(
                ADMIN,
                START + timedelta(hours=1),
                "server.paused",
                "server",
                "s1",
                "box",
                before={"a": 1},
                after={"a": 2},
            ),
        ]
    async with api.world.database.write() as connection:
        await append(connection, *lines)
    return Here(api)


async def test_changes_are_told_the_newest_first(here: Here) -> None:
    told = await here.get()
    assert told["next_before"] is None
    assert [row["id"] for row in told["rows"]] == [2, 1]
    assert told["rows"][1] == {
        "id": 1, "at": "2030-01-01T00:00:00Z", "actor_id": "admin", "actor_name": "operator", "client": "192.0.2.7",
        "request_id": "r-9", "action": "key.created", "kind": "key", "object_id": "k1", "name": "=evil()",
        "before": None, "after": {"role": "user"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"kind": "key"}, [1]), ({"action": "server.paused"}, [2]), ({"actor": "operator"}, [2, 1]),
        ({"object": "s1"}, [2]), ({"since": "2030-01-01T00:30:00Z"}, [2]), ({"until": "2030-01-01T00:30:00"}, [1]),
        ({"since": "2030-01-02"}, []), ({"before": 2}, [1]), ({"before": 2**63 - 1}, [2, 1]),
        ({"limit": 1}, [2]),
    ],
)  # fmt: skip
async def test_changes_are_found(here: Here, params: dict[str, Any], expected: list[int]) -> None:
    assert [row["id"] for row in (await here.get(**params))["rows"]] == expected


async def test_pages_lead_to_each_other(here: Here) -> None:
    first = await here.get(limit=1)
    second = await here.get(limit=1, before=first["next_before"])
    assert (first["next_before"], second["rows"][0]["id"], second["next_before"]) == (2, 1, None)


async def test_as_csv_a_name_is_never_a_formula(here: Here) -> None:
    rows = list(csv.DictReader(io.StringIO((await here.get(format="csv")).text, newline="")))
    assert [row["name"] for row in rows] == ["box", "'=evil()"]
    assert [(row["before"], row["after"]) for row in rows] == [('{"a": 1}', '{"a": 2}'), ("", '{"role": "user"}')]


async def test_only_the_operator_comes_in(here: Here) -> None:
    for key, status in (("", 401), (USER_KEY, 403), (OWNER, 403), (LAB_ADMIN, 403)):
        await here.get(status, key)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"before": 0}, "before"),
        ({"before": 2**63}, "before"),
        ({"limit": 1001}, "limit"),
        ({"since": "then"}, "since"),
        ({"until": "0001-01-01T00:00:00+01:00"}, "until"),
        ({"kind": "x" * 513}, "kind"),
        ({"format": "pdf"}, "format"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(here: Here, params: dict[str, Any], param: str) -> None:
    assert (await here.get(422, **params))["error"]["param"] == param


async def test_before_the_start_is_over_it_says_so(here: Here) -> None:
    here.api.app.state.audit = None
    assert "starting" in (await here.get(503))["error"]["message"]
