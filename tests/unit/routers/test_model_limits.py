"""Does the admin API limit models for everybody together, and hand the limits on?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.services.core.people.principal import Limits
from tests.fakes.api import Api
from tests.fakes.people import People, people_of

PATH = "/admin/model-limits"
NO_LIMITS = dict.fromkeys(
    ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "tokens_per_month", "concurrency")
)


@pytest.fixture
async def people(api: Api) -> AsyncIterator[People]:
    async with people_of(api) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "name"), [("llama", "llama"), ("org/model%3A1%20%C3%A9", "org/model:1 é"), ("%2Fx.gguf", "/x.gguf")]
)
async def test_limits_are_set_replaced_and_dropped_by_any_name(people: People, path: str, name: str) -> None:
    limits = {"tokens_per_minute": 100, "concurrency": 2}
    assert await people.call("PUT", f"{PATH}/{path}", json={"limits": limits}) == (
        {"name": name, "limits": NO_LIMITS | limits}
    )
    assert people.rules[name].limits == Limits(tokens_per_minute=100, concurrency=2)
    await people.call("PUT", f"{PATH}/{path}", json={"limits": {"concurrency": 3}})
    assert await people.call("GET", PATH) == {
        "model_limits": [{"name": name, "limits": NO_LIMITS | {"concurrency": 3}}]
    }
    await people.call("DELETE", f"{PATH}/{path}", 204)
    assert people.rules == {}
    error = (await people.call("DELETE", f"{PATH}/{path}", 404))["error"]
    assert error["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "limits"),
        ({"limits": None}, "limits"),
        ({"limits": {}}, "limits"),
        ({"limits": {"concurrency": None}}, "limits"),
        ({"limits": {"concurrency": 0}}, "limits.concurrency"),
        ({"limits": {"concurency": 1}}, "limits.concurency"),
        ({"limits": {"concurrency": 1}, "name": "x"}, "name"),
        ([], None),
    ],
)
async def test_what_is_not_good_is_refused_by_name(people: People, body: object, param: str | None) -> None:
    assert (await people.call("PUT", f"{PATH}/llama", 422, json=body))["error"]["param"] == param


@pytest.mark.parametrize("path", ["x" * 257, "%20x", "a%00b", "a%E2%80%A8b"])
async def test_what_no_model_is_called_is_refused(people: People, path: str) -> None:
    await people.call("PUT", f"{PATH}/{path}", 422, json={"limits": {"concurrency": 1}})
    assert (await people.call("DELETE", f"{PATH}/{path}", 404))["error"]


async def test_only_admins_of_all_groups_come_in(people: People) -> None:
    await people.group()
    owner, user = await people.make(role="owner"), await people.make()
    teacher = await people.make(role="admin", group="physics")
    body = {"limits": {"concurrency": 1}}
    for key, status in ((owner["key"], 403), (user["key"], 403), ("", 401)):
        await people.call("GET", PATH, status, key)
    for key, status in ((owner["key"], 403), (user["key"], 403), (teacher["key"], 403), ("", 401)):
        await people.call("PUT", f"{PATH}/llama", status, key, json=body)
        await people.call("DELETE", f"{PATH}/llama", status, key)
    assert people.rules == {}
