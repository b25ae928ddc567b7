"""Does the admin API make, show, change and remove groups, and do their keys follow?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.api import Api
from tests.fakes.people import People, people_of

PATH = "/admin/groups"
NO_LIMITS = dict.fromkeys(
    ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "concurrency")
)


@pytest.fixture
async def people(api: Api) -> AsyncIterator[People]:
    async with people_of(api) as made:
        yield made


async def test_a_group_is_made_shown_changed_and_removed(people: People) -> None:
    body = {
        "name": "physics-101",
        "description": "Spring term",
        "models": ["b", "a"],
        "reach": "group",
        "weight": 0.5,
        "limits": {"tokens_per_day": 5},
        "person_limits": {"requests_per_minute": 20},
        "model_limits": {"a": {"concurrency": 2}},
    }
    made = await people.call("POST", PATH, 201, json=body)
    assert made["models"] == ["a", "b"]
    assert made["limits"] == NO_LIMITS | {"tokens_per_day": 5}
    assert made["person_limits"] == NO_LIMITS | {"requests_per_minute": 20}
    assert made["model_limits"] == {"a": NO_LIMITS | {"concurrency": 2}}
    assert (made["reach"], made["weight"], made["description"]) == ("group", 0.5, "Spring term")
    assert await people.call("GET", f"{PATH}/{made['id']}") == made
    assert await people.call("GET", PATH) == {"groups": [made], "total": 1}
    changed = await people.call("PATCH", f"{PATH}/{made['id']}", json={"models": None, "limits": None, "name": "p"})
    assert (changed["models"], changed["limits"], changed["name"]) == (None, NO_LIMITS, "p")
    assert changed["person_limits"] == made["person_limits"]
    await people.call("DELETE", f"{PATH}/{made['id']}", 204)
    await people.call("GET", f"{PATH}/{made['id']}", 404)


async def test_keys_follow_their_group(people: People) -> None:
    group = await people.group(models=["a"])
    key = (await people.make(group="physics"))["key"].encode()
    assert people.keys.ring.authenticate(key).models == {"a"}
    await people.call("PATCH", f"{PATH}/{group['id']}", json={"models": ["b"], "name": "chemistry"})
    assert people.keys.ring.authenticate(key).models == {"b"}
    (shown,) = (await people.call("GET", "/admin/keys"))["keys"]
    assert (shown["group"], shown["models"]) == ("chemistry", None)


async def test_a_group_with_live_keys_is_not_removed(people: People) -> None:
    group = await people.group()
    made = await people.make(group="physics")
    error = (await people.call("DELETE", f"{PATH}/{group['id']}", 409))["error"]
    assert "1 key is in physics" in error["message"]
    await people.call("DELETE", f"/admin/keys/{made['id']}", 204)
    await people.call("DELETE", f"{PATH}/{group['id']}", 204)
    assert (await people.call("GET", f"/admin/keys/{made['id']}"))["group"] is None


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"name": ""}, 422, "name"),
        ({"name": "a\u2028b"}, 422, "name"),
        ({"name": None}, 422, "name"),
        ({"name": "taken"}, 409, "name"),
        ({"description": "x" * 2001}, 422, "description"),
        ({"description": "a\nb"}, 422, "description"),
        ({"description": None}, 422, "description"),
        ({"models": []}, 422, "models"),
        ({"weight": 0.001}, 422, "weight"),
        ({"reach": None}, 422, "reach"),
        ({"person_limits": {"concurrency": -1}}, 422, "person_limits.concurrency"),
        ({"members": ["ada"]}, 422, "members"),
        ({"id": "mine"}, 422, "id"),
    ],
)
async def test_what_is_not_good_is_refused_by_name(people: People, fields: dict, status: int, param: str) -> None:
    await people.group("taken")
    group = await people.group()
    for method, path, body in (("POST", PATH, {"name": "x"}), ("PATCH", f"{PATH}/{group['id']}", {})):
        error = (await people.call(method, path, status, json=body | fields))["error"]
        assert error["param"] == param
        assert error["message"]


async def test_only_admins_change_groups_and_members_see_their_own(people: People) -> None:
    group, other = await people.group(), await people.group("other")
    owner = await people.make(role="owner", group="physics")
    user = await people.make(group="physics")
    path = f"{PATH}/{group['id']}"
    for key in (owner["key"], user["key"]):
        await people.call("POST", PATH, 403, key, json={"name": "x"})
        await people.call("PATCH", path, 403, key, json={"name": "x"})
        await people.call("DELETE", path, 403, key)
    assert [one["name"] for one in (await people.call("GET", PATH, key=owner["key"]))["groups"]] == ["physics"]
    await people.call("GET", path, key=owner["key"])
    await people.call("GET", f"{PATH}/{other['id']}", 404, owner["key"])
    for target in ("", f"/{group['id']}"):
        await people.call("GET", PATH + target, 403, user["key"])
        await people.call("GET", PATH + target, 401, "")
