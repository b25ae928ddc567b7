"""Does the admin API take, refuse and show decisions on names as it says?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app.routers import classes as classes_router
from app.services.core.choice.classes import ModelClass
from app.services.registry.class_store import ClassStore
from app.services.registry.classes import ModelClasses
from tests.fakes.api import USER_KEY, Api

PATH = "/admin/model-classes"
LLAMA = "llama3.1:8b"
HUB = "meta-llama/Llama-3.1-8B-Instruct"
CLASS = {"name": "house", "members": [HUB, LLAMA]}


@dataclass
class Here:
    api: Api
    classes: ModelClasses

    async def call(self, method: str, path: str = "", status: int = 200, **options):
        answer = await self.api.client.request(method, PATH + path, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def here(api: Api) -> AsyncIterator[Here]:
    world = api.world
    if not any(getattr(route, "path", "").startswith(PATH) for route in api.app.routes):
        api.app.include_router(classes_router.router)
    made = ModelClasses(ClassStore(world.database), lambda: world.installed[-1], world.clock, world.registry.publish)
    await made.load()
    api.app.state.classes = made
    world.inspector.listed |= {"http://10.0.0.5:8000": [LLAMA], "http://10.0.0.6:8000": [HUB]}
    await api.register("http://10.0.0.5:8000")
    await api.register("http://10.0.0.6:8000")
    yield Here(api, made)
    await made.settle()


async def test_a_proposal_is_shown_with_its_reason_and_confirmed(here: Here) -> None:
    found = await here.call("GET")
    assert found["confirmed"] == []
    (proposal,) = found["proposals"]
    assert proposal == {
        "name": "llama-3.1-8b-instruct",
        "members": [LLAMA, HUB],
        "reason": "same family, version and size",
        "extends": False,
    }
    body = {"name": proposal["name"], "members": proposal["members"]}
    made = await here.call("POST", status=201, json=body)
    assert made | body == made
    assert (made["decided_by"], made["created_at"]) == ("admin", "2030-01-01T00:00:00Z")
    assert here.classes.routed == (ModelClass(body["name"], frozenset(body["members"])),)
    assert await here.call("GET") == {"confirmed": [made], "proposals": []}


async def test_a_class_is_changed_and_dissolved_by_any_name(here: Here) -> None:
    await here.call("POST", status=201, json=CLASS)
    changed = await here.call("PUT", "/house", json={"name": "org/house:1 é", "members": [LLAMA, HUB, "third"]})
    assert changed["members"] == [LLAMA, HUB, "third"]
    again = await here.call(
        "PUT", "/org%2Fhouse%3A1%20%C3%A9", json={"name": "/models/x.gguf", "members": [LLAMA, HUB]}
    )
    assert again["name"] == "/models/x.gguf"
    await here.call("DELETE", "/%2Fmodels%2Fx.gguf", 204)
    assert (await here.call("GET"))["confirmed"] == []


async def test_a_proposal_is_dismissed(here: Here) -> None:
    await here.call("POST", "/dismiss", 204, json={"members": [LLAMA, HUB]})
    assert await here.call("GET") == {"confirmed": [], "proposals": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "", {"name": "house"}, 422, "members"),
        ("POST", "", {"name": "house", "members": []}, 422, "members"),
        ("POST", "", {"name": "house", "members": ["a"] * 101}, 422, "members"),
        ("POST", "", {"name": "house", "members": [1]}, 422, "members[0]"),
        ("POST", "", {"name": "x" * 257, "members": ["a", "b"]}, 422, "name"),
        ("POST", "", {"name": "..", "members": ["a", "b"]}, 422, "name"),
        ("POST", "", {"name": "house", "members": ["a", "b"], "member": 1}, 422, "member"),
        ("POST", "", {"name": "house", "members": ["house"]}, 422, "members"),
        ("POST", "", {"name": "taken", "members": ["a", "b"]}, 409, "name"),
        ("POST", "", {"name": "house", "members": ["a", "t1"]}, 409, "members"),
        ("PUT", "/nothing", CLASS, 404, None),
        ("PUT", "/taken", {"name": "taken"}, 422, "members"),
        ("DELETE", "/nothing", None, 404, None),
        ("POST", "/dismiss", {"members": []}, 422, "members"),
        ("POST", "/dismiss", [], 422, None),
    ],
)
async def test_what_may_not_be_is_refused_in_the_one_envelope(here: Here, method, path, body, status, param) -> None:
    await here.call("POST", status=201, json={"name": "taken", "members": ["t1", "t2"]})
    options = {} if body is None else {"json": body}
    error = (await here.call(method, path, status, **options))["error"]
    assert error["message"]
    assert error["param"] == param


async def test_a_body_that_is_no_json_is_refused(here: Here) -> None:
    error = (await here.call("POST", "", 400, content=b"{", headers={"content-type": "application/json"}))["error"]
    assert error["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("POST", "/dismiss"), ("PUT", "/house"), ("DELETE", "/house")]
)
async def test_only_admins_come_in(here: Here, method: str, path: str) -> None:
    for key, status in (("", 401), (USER_KEY, 403)):
        headers = {"authorization": f"Bearer {key}" if key else ""}
        await here.call(method, path, status, headers=headers, json=CLASS)


async def test_before_the_start_is_over_it_says_so(here: Here) -> None:
    here.api.app.state.classes = None
    error = (await here.call("GET", status=503))["error"]
    assert "starting" in error["message"]
