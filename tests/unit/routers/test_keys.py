"""Does the admin API make, show, change and end keys as it says, and never wider than who asks?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.routers.import_schemas import ImportPeople
from app.routers.key_schemas import RotateKey
from app.services.core.keys import KeyForm, looks_minted
from tests.fakes.api import ADMIN_KEY, Api
from tests.fakes.people import People, people_of

PATH = "/admin/keys"
NO_LIMITS = dict.fromkeys(
    ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "concurrency")
)
LATER = "2031-02-28T23:59:59Z"


@pytest.fixture
async def people(api: Api) -> AsyncIterator[People]:
    async with people_of(api) as made:
        yield made


# ---------------------------------------------------------------------------------------------- make and show


async def test_a_key_is_made_shown_once_and_opens_the_gateway(people: People) -> None:
    group = await people.group()
    body = {
        "name": "ada's notebook",
        "role": "user",
        "group": "physics",
        "person": "ada@example.org",
        "models": ["b", "a"],
        "routes": ["/v1/chat/completions"],
        "reach": "group",
        "tools_anywhere": True,
        "background": True,
        "weight": 2,
        "expires_at": LATER,
        "limits": {"requests_per_minute": 60, "tokens_per_day": 10**12},
        "model_limits": {"a": {"concurrency": 1}},
    }
    answer = await people.api.client.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert looks_minted(key) is KeyForm.MINTED
    expected = {
        **body,
        "models": ["a", "b"],
        "weight": 2.0,
        "state": "active",
        "group_id": group["id"],
        "limits": NO_LIMITS | body["limits"],
        "model_limits": {"a": NO_LIMITS | {"concurrency": 1}},
        "minted_by": "admin",
        "names_people": False,
        "revoked_at": None,
        "secrets": [{"shown": f"mvk_...{key[-4:]}", "created_at": "2030-01-01T00:00:00Z", "expires_at": None}],
    }
    assert {name: made[name] for name in expected} == expected
    assert await people.call("GET", f"{PATH}/{made['id']}") == made
    listed = await people.call("GET", PATH)
    assert listed == {"keys": [made], "total": 1, "next_after": None}
    assert key not in str(listed)
    assert people.keys.ring.authenticate(key.encode()).name == "ada's notebook"


async def test_a_name_is_enough(people: People) -> None:
    made = await people.make()
    assert (made["role"], made["group"], made["models"], made["limits"]) == ("user", None, None, NO_LIMITS)
    nulls = dict.fromkeys(("group", "person", "models", "routes", "limits", "model_limits", "expires_at"))
    assert (await people.make(**nulls))["limits"] == NO_LIMITS


async def test_lists_are_filtered(people: People) -> None:
    group = await people.group()
    await people.make(name="one", group=group["id"])
    await people.make(name="two", role="owner")
    gone = await people.make(name="three", group="physics")
    await people.call("DELETE", f"{PATH}/{gone['id']}", 204)

    async def names(**filters: str) -> list[str]:
        return [key["name"] for key in (await people.call("GET", PATH, params=filters))["keys"]]

    assert await names() == ["one", "two", "three"]
    assert await names(group="physics") == ["one", "three"]
    assert await names(group=group["id"], state="active") == ["one"]
    assert await names(role="owner") == ["two"]
    assert await names(state="revoked") == ["three"]
    assert await names(state="expired") == []


async def test_a_list_comes_in_pages_and_can_be_searched(people: People) -> None:
    names = [f"key {number}" for number in range(5)]
    made = [await people.make(name=name) for name in names]
    seen, after = [], {}
    while True:
        page = await people.call("GET", PATH, params={"limit": "2", **after})
        seen += [key["name"] for key in page["keys"]]
        assert page["total"] == 5
        if page["next_after"] is None:
            break
        after = {"after": page["next_after"]}
    assert seen == names
    found = await people.call("GET", PATH, params={"q": "KEY 3"})
    assert ([key["id"] for key in found["keys"]], found["total"]) == ([made[3]["id"]], 1)
    found = await people.call("GET", PATH, params={"q": made[1]["key"][-4:]})
    assert made[1]["id"] in [key["id"] for key in found["keys"]]
    assert (await people.call("GET", PATH, params={"q": "\u0000"}))["keys"] == []


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"q": "x" * 201}, "q"),
        ({"after": "gone"}, "after"),
        ({"after": "x" * 201}, "after"),
        ({"role": "king"}, "role"),
        ({"state": "lost"}, "state"),
    ],
)
async def test_a_bad_question_is_refused_by_name(people: People, params: dict[str, str], param: str) -> None:
    error = (await people.call("GET", PATH, 422, params=params))["error"]
    assert error["param"] == param


async def test_an_ended_key_says_so(people: People) -> None:
    made = await people.make(expires_at="2030-01-01T00:01:00Z")
    people.api.world.clock.move(minutes=2)
    people.keys.refresh(people.api.world.clock())
    shown = await people.call("GET", f"{PATH}/{made['id']}")
    assert (shown["state"], shown["secrets"]) == ("expired", [])
    error = (await people.call("GET", PATH, 401, made["key"]))["error"]
    assert "expired" in error["message"]


# ---------------------------------------------------------------------------------------------- change and end


async def test_a_change_counts_at_once_and_leaves_the_rest(people: People) -> None:
    made = await people.make(models=["a"], limits={"concurrency": 1, "tokens_per_day": 5}, expires_at=LATER)
    changed = await people.call(
        "PATCH", f"{PATH}/{made['id']}", json={"models": None, "limits": {"concurrency": 9}, "name": "new"}
    )
    assert (changed["models"], changed["name"], changed["expires_at"]) == (None, "new", LATER)
    assert changed["limits"] == NO_LIMITS | {"concurrency": 9}
    assert "key" not in changed
    principal = people.keys.ring.authenticate(made["key"].encode())
    assert (principal.models, principal.name) == (None, "new")
    cleared = dict.fromkeys(("expires_at", "limits", "model_limits", "person", "group", "routes"))
    changed = await people.call("PATCH", f"{PATH}/{made['id']}", json=cleared)
    assert (changed["expires_at"], changed["limits"]) == (None, NO_LIMITS)
    assert await people.call("PATCH", f"{PATH}/{made['id']}", json={}) == changed


async def test_a_revoked_key_is_out_at_once_and_for_good(people: People) -> None:
    made = await people.make(role="owner")
    minted = await people.make(made["key"], name="minted")
    await people.call("DELETE", f"{PATH}/{made['id']}", 204)
    for key in (made["key"], minted["key"]):
        error = (await people.call("GET", PATH, 401, key))["error"]
        assert error["code"] == "invalid_api_key"
    assert (await people.call("GET", f"{PATH}/{made['id']}"))["state"] == "revoked"
    await people.call("DELETE", f"{PATH}/{made['id']}", 204)
    await people.call("PATCH", f"{PATH}/{made['id']}", 409, json={"name": "again"})
    await people.call("POST", f"{PATH}/{made['id']}/rotate", 409, json={"overlap_seconds": 1})


async def test_a_rotated_key_has_two_secrets_until_the_overlap_ends(people: People) -> None:
    made = await people.make()
    answer = await people.api.client.post(f"{PATH}/{made['id']}/rotate", json={"overlap_seconds": 60})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    rotated = answer.json()
    assert rotated["key"] not in {made["key"], ""}
    assert [secret["expires_at"] for secret in rotated["secrets"]] == ["2030-01-01T00:01:00Z", None]
    for key in (made["key"], rotated["key"]):
        assert people.keys.ring.authenticate(key.encode()).key_id == made["id"]
    people.api.world.clock.move(seconds=61)
    people.keys.refresh(people.api.world.clock())
    await people.call("GET", PATH, 401, made["key"])
    await people.call("GET", PATH, 403, rotated["key"])
    assert len((await people.call("GET", f"{PATH}/{made['id']}"))["secrets"]) == 1


@pytest.mark.parametrize("options", [{}, {"json": {}}], ids=["no body", "an empty one"])
async def test_unless_it_is_said_otherwise_both_secrets_open_a_key_for_an_hour(people: People, options: dict) -> None:
    made = await people.make()
    rotated = await people.call("POST", f"{PATH}/{made['id']}/rotate", **options)
    assert [secret["expires_at"] for secret in rotated["secrets"]] == ["2030-01-01T01:00:00Z", None]
    await people.call("GET", PATH, 403, made["key"])
    people.api.world.clock.move(hours=1)
    people.keys.refresh(people.api.world.clock())
    await people.call("GET", PATH, 401, made["key"])
    await people.call("GET", PATH, 403, rotated["key"])


async def test_an_overlap_of_0_ends_the_old_secret_at_once(people: People) -> None:
    made = await people.make()
    rotated = await people.call("POST", f"{PATH}/{made['id']}/rotate", json={"overlap_seconds": 0})
    await people.call("GET", PATH, 401, made["key"])
    await people.call("GET", PATH, 403, rotated["key"])


def test_the_description_tells_how_long_a_rotated_key_has_two_secrets() -> None:
    described = RotateKey.model_json_schema()["properties"]["overlap_seconds"]
    assert described["default"] == 3600
    assert "3600" in described["description"]
    assert "0" in described["description"]


@pytest.mark.parametrize("role", ["user", "owner", "admin"])
async def test_every_key_rotates_itself_and_nothing_widens(people: People, role: str) -> None:
    bounded = await people.make(role=role, models=["m"], limits={"requests_per_minute": 5}, expires_at=LATER)
    path = f"{PATH}/{bounded['id']}/rotate"
    rotated = await people.call("POST", path, key=bounded["key"], json={"overlap_seconds": 0})
    changing = ("key", "secrets", "updated_at")
    assert {name: rotated[name] for name in rotated if name not in changing} == {
        name: bounded[name] for name in bounded if name not in changing
    }
    await people.call("POST", path, 401, bounded["key"])
    await people.call("POST", path, 422, rotated["key"], json={"overlap": 1})
    await people.call("POST", path, key=rotated["key"])


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_bounded_admin_neither_changes_nor_ends_what_may_do_more(people: People, method: str) -> None:
    free = await people.make(role="admin", name="free")
    bounded = await people.make(role="admin", name="bounded", models=["m"])
    inside = await people.make(name="inside", models=["m"])
    path = f"{PATH}/{free['id']}"
    error = (await people.call(method, path, 403, bounded["key"], json={"name": "renamed"}))["error"]
    assert error["param"] == "models"
    shown = await people.call("GET", path)
    assert (shown["name"], shown["state"]) == ("free", "active")
    done = 200 if method == "PATCH" else 204
    await people.call(method, f"{PATH}/{inside['id']}", done, bounded["key"], json={"name": "renamed"})
    await people.call(method, f"{PATH}/{bounded['id']}", done, free["key"], json={"name": "renamed"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("2030-02-28", "2030-02-28T23:59:59Z"),
        ("2032-02-29", "2032-02-29T23:59:59Z"),
        ("2030-02-28T12:00:00+02:00", "2030-02-28T10:00:00Z"),
    ],
)
async def test_a_date_alone_is_the_end_of_that_day(people: People, given: str, told: str) -> None:
    made = await people.make(expires_at=given)
    assert made["expires_at"] == told
    other = await people.make()
    assert (await people.call("PATCH", f"{PATH}/{other['id']}", json={"expires_at": given}))["expires_at"] == told


# ---------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("POST", "/import"),
        ("GET", "/{id}"),
        ("PATCH", "/{id}"),
        ("DELETE", "/{id}"),
        ("POST", "/{other}/rotate"),
        ("POST", "/{id}/invite"),
    ],
)
async def test_a_users_key_reaches_none_of_it_and_hears_nothing_of_the_body(
    people: People, method: str, path: str
) -> None:
    user, other = await people.make(), await people.make()
    for status, key in ((403, user["key"]), (401, "mvk_unknown"), (401, "")):
        error = (
            await people.call(
                method, PATH + path.format(id=user["id"], other=other["id"]), status, key, json={"nonsense": 1}
            )
        )["error"]
        assert error["param"] is None
        assert "nonsense" not in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"role": "admin"}, "role"),
        ({"role": "owner"}, "role"),
        ({"models": None}, "models"),
        ({"models": ["a", "b"]}, "models"),
        ({"limits": {"requests_per_minute": 11}}, "limits"),
        ({"limits": None}, "limits"),
        ({"expires_at": None}, "expires_at"),
        ({"reach": "public"}, "reach"),
        ({"tools_anywhere": True}, "tools_anywhere"),
        ({"names_people": True}, "names_people"),
        ({"person": "somebody else"}, "person"),
        ({"weight": 50}, "weight"),
    ],
)
async def test_an_owner_makes_nothing_wider_than_itself(people: People, fields: dict, param: str) -> None:
    owner = await people.make(
        role="owner", models=["a"], limits={"requests_per_minute": 10}, expires_at=LATER, reach="group"
    )
    refused = await people.call("POST", PATH, 403, owner["key"], json={"name": "x"} | fields)
    assert refused["error"]["param"] == param
    inside = await people.make(owner["key"])
    assert (inside["models"], inside["expires_at"], inside["minted_by"]) == (["a"], LATER, owner["id"])
    refused = await people.call("PATCH", f"{PATH}/{inside['id']}", 403, owner["key"], json=fields)
    assert refused["error"]["param"] == param


async def test_an_owner_sees_and_steers_its_own_alone(people: People) -> None:
    owner, other = await people.make(role="owner"), await people.make(role="owner", name="other")
    mine = await people.make(owner["key"], name="mine")
    assert [key["name"] for key in (await people.call("GET", PATH, key=owner["key"]))["keys"]] == ["mine"]
    for target in (other["id"], owner["id"], "admin", "nothing", "..%2Fkeys", "a%00b", "%F0%9F%92%A9"):
        for method in ("GET", "DELETE"):
            await people.call(method, f"{PATH}/{target}", 404, owner["key"])
    await people.call("POST", f"{PATH}/{mine['id']}/rotate", 404, other["key"])
    await people.call("DELETE", f"{PATH}/{mine['id']}", 204, owner["key"])


async def test_the_operators_own_key_is_no_row(people: People) -> None:
    for method in ("GET", "DELETE"):
        error = (await people.call(method, f"{PATH}/admin", 404))["error"]
        assert "ADMIN_API_KEY" in error["message"]


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"role": "king"}, "role"),
        ({"role": None}, "role"),
        ({"models": []}, "models"),
        ({"models": ["m"] * 1001}, "models"),
        ({"models": ["m" * 257]}, "models[0]"),
        ({"models": "m"}, "models"),
        ({"routes": ["chat"]}, "routes[0]"),
        ({"routes": ["/v1/../admin"]}, "routes"),
        ({"expires_at": "2030-02-30"}, "expires_at"),
        ({"expires_at": "2029-12-31"}, "expires_at"),
        ({"expires_at": "2030-2-28"}, "expires_at"),
        ({"expires_at": "20300228"}, "expires_at"),
        ({"expires_at": "2029-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": 1900000000}, "expires_at"),
        ({"expires_at": "2030-02-28T00:00:00"}, "expires_at"),
        ({"limits": {"requests_per_minute": 0}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": 10**12 + 1}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": 1.5}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": True}}, "limits.requests_per_minute"),
        ({"limits": {"requests_per_minute": "60"}}, "limits.requests_per_minute"),
        ({"limits": {"rpm": 60}}, "limits.rpm"),
        ({"limits": []}, "limits"),
        ({"model_limits": {"": {}}}, "model_limits..[key]"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"weight": None}, "weight"),
        ({"reach": "all"}, "reach"),
        ({"tools_anywhere": "yes"}, "tools_anywhere"),
        ({"person": ""}, "person"),
        ({"group": "chemistry"}, "group"),
        ({"grup": "physics"}, "grup"),
        ({"id": "mine"}, "id"),
        ({"minted_by": "me"}, "minted_by"),
    ],
)
async def test_what_is_not_good_is_refused_by_name(people: People, fields: dict, param: str) -> None:
    await people.group()
    error = (await people.call("POST", PATH, 422, json={"name": "x"} | fields))["error"]
    assert error["message"]
    assert error["param"] == param
    made = await people.make()
    changed = {key: value for key, value in fields.items() if key != "name" or value is not None}
    if changed:
        await people.call("PATCH", f"{PATH}/{made['id']}", 422, json=changed)


async def test_an_unknown_group_names_those_that_there_are(people: People) -> None:
    error = (await people.call("GET", PATH, 422, params={"group": "physics"}))["error"]
    assert "POST /admin/groups" in error["message"]
    await people.group("physics")
    await people.group("chemistry")
    error = (await people.call("POST", PATH, 422, json={"name": "x", "group": "fysics"}))["error"]
    assert "chemistry, physics" in error["message"]
    assert error["param"] == "group"


@pytest.mark.parametrize(
    ("body", "status"),
    [({"overlap_seconds": -1}, 422), ({"overlap_seconds": 10**9}, 422), ({"overlap": 1}, 422), ([], 422)],
)
async def test_a_bad_overlap_is_refused(people: People, body: object, status: int) -> None:
    made = await people.make()
    await people.call("POST", f"{PATH}/{made['id']}/rotate", status, json=body)
    assert people.keys.ring.authenticate(made["key"].encode())


async def test_before_the_start_is_over_it_says_so(people: People) -> None:
    people.api.app.state.keys = None
    error = (await people.call("GET", PATH, 503))["error"]
    assert "starting" in error["message"]


# ---------------------------------------------------------------------------------------------- import


async def test_a_list_becomes_keys(people: People) -> None:
    await people.group()
    body = {
        "csv": "Email;Name\nada@example.org;Ada\nGRACE@example.org;Grace\n",
        "group": "physics",
        "models": ["a"],
        "expires_at": LATER,
        "limits": {"requests_per_minute": 5},
    }
    answer = await people.api.client.post(f"{PATH}/import", json=body)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    imported = answer.json()
    assert (imported["as"], imported["left_out"]) == ("keys", [])
    ada, grace = imported["made"]
    assert {**ada, "key": "", "id": ""} == {
        "line": 2,
        "person": "ada@example.org",
        "name": "Ada",
        "email": "ada@example.org",
        "id": "",
        "key": "",
        "link": None,
        "link_expires_at": None,
    }
    assert (grace["person"], grace["email"]) == ("grace@example.org", "GRACE@example.org")
    shown = await people.call("GET", f"{PATH}/{grace['id']}")
    assert (shown["group"], shown["models"], shown["expires_at"], shown["person"]) == (
        ("physics", ["a"], LATER, "grace@example.org")
    )
    assert people.keys.ring.authenticate(ada["key"].encode()).person == "ada@example.org"


async def test_a_list_is_imported_whole_or_not_at_all(people: People) -> None:
    bad = {"people": [{"person": "p1"}, {"name": "x", "email": "nowhere"}, {}]}
    error = (await people.call("POST", f"{PATH}/import", 422, json=bad))["error"]
    assert "person 2: its email is no address" in error["message"]
    assert "person 3 has no name" in error["message"]
    error = (await people.call("POST", f"{PATH}/import", 422, json={"csv": "name\na\n\x07\n"}))["error"]
    assert "line 3" in error["message"]
    assert (await people.call("GET", PATH))["total"] == 0


async def test_who_has_a_key_there_gets_no_other_unless_asked(people: People) -> None:
    await people.group()
    await people.make(group="physics", person="Ada@example.org")
    await people.make(person="grace@example.org", name="outside of the group")
    body = {"csv": "email\nada@example.org\ngrace@example.org\ngrace@example.org\n", "group": "physics"}
    error = (await people.call("POST", f"{PATH}/import", 409, json=body))["error"]
    assert "line 2: ada@example.org has a key in the group physics already" in error["message"]
    assert "line 4: grace@example.org is on line 3 already" in error["message"]
    assert (await people.call("GET", PATH))["total"] == 2
    imported = await people.call("POST", f"{PATH}/import", 201, json=body | {"skip_existing": True})
    assert [one["person"] for one in imported["made"]] == ["grace@example.org"]
    assert [one["line"] for one in imported["left_out"]] == [2, 4]
    again = await people.call("POST", f"{PATH}/import", 201, json=body | {"skip_existing": True})
    assert again["made"] == []


async def test_whose_key_has_ended_may_have_another(people: People) -> None:
    imported = await people.call("POST", f"{PATH}/import", 201, json={"people": [{"name": "Ada"}]})
    await people.call("POST", f"{PATH}/import", 409, json={"people": [{"name": "Ada"}]})
    await people.call("DELETE", f"{PATH}/{imported['made'][0]['id']}", 204)
    await people.call("POST", f"{PATH}/import", 201, json={"people": [{"name": "Ada"}]})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"people": [{"name": "a"}], "csv": "name\na\n"}, None),
        ({"people": []}, "people"),
        ({"people": [{"nme": "a"}]}, "people[0].nme"),
        ({"people": ["a"]}, "people[0]"),
        ({"csv": ""}, "csv"),
        ({"csv": ["name"]}, "csv"),
        ({"csv": "name\na\n", "as": "gifts"}, "as"),
        ({"csv": "name\na\n", "handed_out": "keys"}, "handed_out"),
        ({"csv": "name\na\n", "invite_days": 0}, "invite_days"),
        ({"csv": "name\na\n", "invite_days": 91}, "invite_days"),
        ({"csv": "name\na\n", "group": "none"}, "group"),
        ({"csv": "name\na\n", "name": "all the same"}, "name"),
        ({"csv": "name\na\n", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"people": [{"name": f"p{number}"} for number in range(5001)]}, "people"),
    ],
)
async def test_a_bad_import_is_refused(people: People, body: dict, param: str | None) -> None:
    assert (await people.call("POST", f"{PATH}/import", 422, json=body))["error"]["param"] == param


async def test_an_owner_imports_no_list_for_others(people: People) -> None:
    owner = await people.make(role="owner")
    body = {"csv": "name\nAda\n"}
    error = (await people.call("POST", f"{PATH}/import", 403, owner["key"], json=body))["error"]
    assert error["param"] == "person"
    wide = {"csv": "name\nAda\n", "role": "admin"}
    error = (await people.call("POST", f"{PATH}/import", 403, owner["key"], json=wide))["error"]
    assert error["param"] == "role"


async def test_a_whole_course_is_imported_at_once(people: People) -> None:
    text = "name,email\n" + "".join(f"Student {number},s{number}@example.org\n" for number in range(2000))
    imported = await people.call("POST", f"{PATH}/import", 201, json={"csv": text})
    assert len({one["key"] for one in imported["made"]}) == 2000
    assert len(people.keys.ring.principals) == 2001


def test_the_description_calls_the_field_as_the_wire_does() -> None:
    assert "as" in ImportPeople.model_json_schema()["properties"]


async def test_nothing_that_is_stored_holds_a_key(people: People) -> None:
    made = await people.make()
    await people.call("POST", f"{PATH}/import", 201, json={"csv": "name\nAda\n", "as": "invites"})
    folder = people.api.world.database.path.parent
    for file in folder.iterdir():
        content = file.read_bytes()
        assert made["key"].encode() not in content
        assert b"mvi_" not in content
        assert ADMIN_KEY.encode() not in content
