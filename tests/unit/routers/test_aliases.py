"""Does the admin API take, refuse and show aliases as it says?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app.services.core.choice.aliases import Alias, Target
from app.services.registry.aliases.service import Aliases
from app.services.registry.aliases.store import AliasStore
from tests.fakes.api import USER_KEY, Api

PATH = "/admin/aliases"
FAST = {
    "name": "fast",
    "targets": [{"model": "llama", "weight": 3}, {"model": "qwen", "weight": 1, "max_context_tokens": 8000}],
    "fallbacks": ["mistral", {"model": "phi", "min_context_tokens": 5}],
}


@dataclass
class Here:
    api: Api
    aliases: Aliases

    async def call(self, method: str, path: str = "", status: int = 200, **options):
        answer = await self.api.client.request(method, PATH + path, **options)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def here(api: Api) -> AsyncIterator[Here]:
    world = api.world
    made = Aliases(AliasStore(world.database), lambda: world.installed[-1], world.clock, world.registry.publish)
    await made.load()
    api.app.state.aliases = made
    world.inspector.listed |= {"http://10.0.0.5:8000": ["llama", "qwen"]}
    await api.register("http://10.0.0.5:8000")
    yield Here(api, made)
    await made.settle()


async def test_an_alias_is_created_with_a_warning_where_nobody_has_a_model(here: Here) -> None:
    published = len(here.api.world.installed)
    made = await here.call("POST", status=201, json=FAST)
    assert made == FAST | {
        "missing": ["mistral", "phi"],
        "hides_model": False,
        "decided_by": "admin",
        "created_at": "2030-01-01T00:00:00Z",
        "updated_at": "2030-01-01T00:00:00Z",
    }
    assert len(here.api.world.installed) == published + 1
    assert here.aliases.routed == (
        Alias(
            "fast",
            (Target("llama", 3.0), Target("qwen", 1.0, None, 8000)),
            (Target("mistral"), Target("phi", 1.0, 5)),
        ),
    )
    assert await here.call("GET") == {"aliases": [made]}
    assert await here.call("GET", "/fast") == made


async def test_plain_names_are_targets_of_the_same_weight(here: Here) -> None:
    made = await here.call("POST", status=201, json={"name": "both", "targets": ["llama", {"model": "qwen"}]})
    assert made["targets"] == [{"model": "llama", "weight": 1.0}, {"model": "qwen", "weight": 1.0}]
    assert (made["fallbacks"], made["missing"]) == ([], [])


async def test_what_is_shown_can_be_put_back(here: Here) -> None:
    made = await here.call("POST", status=201, json=FAST)
    body = {name: made[name] for name in ("name", "targets", "fallbacks")}
    assert await here.call("PUT", "/fast", json=body) == made


async def test_an_alias_is_changed_and_removed_by_any_name(here: Here) -> None:
    await here.call("POST", status=201, json=FAST)
    changed = await here.call("PUT", "/fast", json={"name": "org/fast:1 é", "targets": ["qwen"]})
    assert (changed["name"], changed["fallbacks"]) == ("org/fast:1 é", [])
    again = await here.call("PUT", "/org%2Ffast%3A1%20%C3%A9", json={"name": "/models/x", "targets": ["qwen"]})
    assert (await here.call("GET", "/%2Fmodels%2Fx"))["name"] == again["name"] == "/models/x"
    await here.call("DELETE", "/%2Fmodels%2Fx", 204)
    await here.call("DELETE", "/%2Fmodels%2Fx", 404)
    assert await here.call("GET") == {"aliases": []}


async def test_a_model_that_came_later_is_said_to_be_hidden(here: Here) -> None:
    await here.call("POST", status=201, json=FAST)
    here.api.world.inspector.listed |= {"http://10.0.0.6:8000": ["fast"]}
    await here.api.register("http://10.0.0.6:8000")
    assert (await here.call("GET", "/fast"))["hides_model"] is True


TARGET = {"model": "llama"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "", {"name": "new"}, 422, "targets"),
        ("POST", "", {"targets": [TARGET]}, 422, "name"),
        ("POST", "", {"name": "new", "targets": []}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": ["llama"] * 33}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": ["llama"] * 2}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": ["llama"], "fallbacks": ["x"] * 33}, 422, "fallbacks"),
        ("POST", "", {"name": "new", "targets": [1]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": [None]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": "llama"}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"weight": 0}]}, 422, "targets[0].weight"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"weight": 1001}]}, 422, "targets[0].weight"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"weight": True}]}, 422, "targets[0].weight"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"weight": "3"}]}, 422, "targets[0].weight"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"min_context_tokens": 0}]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"max_context_tokens": 10**30}]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"max_context_tokens": 1.5}]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": [TARGET | {"wieght": 1}]}, 422, "targets[0].wieght"),
        ("POST", "", {"name": "new", "targets": ["a"], "fallbacks": [TARGET | {"weight": 1}]}, 422, "fallbacks[0]"),
        (
            "POST",
            "",
            {"name": "new", "targets": [TARGET | {"min_context_tokens": 9, "max_context_tokens": 8}]},
            422,
            "targets",
        ),
        ("POST", "", {"name": "x" * 257, "targets": ["a"]}, 422, "name"),
        ("POST", "", {"name": "..", "targets": ["a"]}, 422, "name"),
        ("POST", "", {"name": "a\nb", "targets": ["a"]}, 422, "name"),
        ("POST", "", {"name": "new", "targets": ["a\u2028b"]}, 422, "targets[0]"),
        ("POST", "", {"name": "new", "targets": ["a"], "target": 1}, 422, "target"),
        ("POST", "", {"name": "new", "targets": ["new"]}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": ["taken"]}, 422, "targets"),
        ("POST", "", {"name": "new", "targets": ["a"], "fallbacks": ["taken"]}, 422, "fallbacks"),
        ("POST", "", {"name": "taken", "targets": ["a"]}, 409, "name"),
        ("POST", "", {"name": "t1", "targets": ["a"]}, 409, "name"),
        ("POST", "", {"name": "llama", "targets": ["a"]}, 409, "name"),
        ("PUT", "/nothing", FAST, 404, None),
        ("PUT", "/taken", {"name": "taken"}, 422, "targets"),
        ("PUT", "/taken", {"name": "llama", "targets": ["a"]}, 409, "name"),
        ("GET", "/nothing", None, 404, None),
        ("DELETE", "/nothing", None, 404, None),
        ("POST", "", [], 422, None),
    ],
)
async def test_what_may_not_be_is_refused_in_the_one_envelope(here: Here, method, path, body, status, param) -> None:
    await here.call("POST", status=201, json={"name": "taken", "targets": ["t1"]})
    options = {} if body is None else {"json": body}
    error = (await here.call(method, path, status, **options))["error"]
    assert error["message"]
    assert (error["param"] or "").startswith(param or "")
    assert (error["param"] is None) is (param is None)
    assert [alias["name"] for alias in (await here.call("GET"))["aliases"]] == ["taken"]


@pytest.mark.parametrize("content", [b"{", b'{"name":"a","targets":[{"model":"b","weight":NaN}]}', b"[" * 5000])
async def test_a_body_that_is_no_json_is_refused(here: Here, content: bytes) -> None:
    answer = await here.api.client.post(PATH, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert json.loads(answer.content)["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("POST", ""), ("GET", "/fast"), ("PUT", "/fast"), ("DELETE", "/fast")]
)
async def test_only_admins_come_in(here: Here, method: str, path: str) -> None:
    for key, status in (("", 401), (USER_KEY, 403)):
        headers = {"authorization": f"Bearer {key}" if key else ""}
        await here.call(method, path, status, headers=headers, json=FAST)
    assert here.aliases.records == ()


async def test_before_the_start_is_over_it_says_so(here: Here) -> None:
    here.api.app.state.aliases = None
    error = (await here.call("GET", status=503))["error"]
    assert "starting" in error["message"]


async def test_the_document_says_that_bounds_may_be_left_out(here: Here) -> None:
    here.api.app.openapi_schema = None
    schemas = here.api.app.openapi()["components"]["schemas"]
    assert schemas["TargetView"]["required"] == ["model", "weight"]
    assert schemas["FallbackView"]["required"] == ["model"]
    assert set(schemas["AliasView"]["required"]) == set(schemas["AliasView"]["properties"])
