"""Does the API tell each key how its part of the pool does, now and over time?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from app.services.core.keys import KeyRing, digest
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.tallies import Tallies
from app.services.core.types import CheckFailure, Inspection
from app.services.happenings import Happenings
from app.services.registry.accounting.traffic_store import TrafficStore
from app.services.traffic import Sources, Traffic
from tests.fakes.accounts import ended
from tests.fakes.api import ADMIN_KEY, Api

KEYS = {
    ADMIN_KEY: Principal("admin", "operator", Role.ADMIN),
    "lab-admin-key-0123456789": Principal("lab-admin", "lab admin", Role.ADMIN, group="lab"),
    "owner-key-0123456789": Principal("own-a", "Ann", Role.OWNER),
    "user-key-0123456789": Principal("use-a", "Ann's student", Role.USER),
}
LAB_ADMIN, OWNER, USER = list(KEYS)[1:]
PATH = "/admin/stats"
LISTS = {
    "times", "requests_per_second", "prompt_tokens_per_second", "completion_tokens_per_second", "errors_share",
    "continuations", "queued_most", "first_token_p50_seconds", "first_token_p95_seconds",
}  # fmt: skip


@dataclass
class Here:
    api: Api
    tallies: Tallies = field(default_factory=Tallies)
    monotonic: float = 0.0

    def __post_init__(self) -> None:
        world, state = self.api.world, self.api.app.state
        sources = Sources(
            lambda: self.tallies,
            lambda: {record.id: record.owner or "" for record in world.registry.servers.values()},
            lambda: 3,
        )
        state.traffic = self.traffic = Traffic(
            sources,
            TrafficStore(world.database),
            monotonic=lambda: self.monotonic,
            wall=lambda: world.clock().timestamp(),
        )
        state.happenings = self.happenings = Happenings(
            snapshot=lambda: world.installed[-1],
            servers=lambda: world.registry.servers,
            state=world.book.state,
            now=world.clock,
        )

    async def get(self, key: str = ADMIN_KEY, status: int = 200, **params: Any) -> Any:
        answer = await self.api.client.get(PATH, params=params, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def register(self, key: str, url: str) -> str:
        body, headers = {"endpoint_url": url}, {"authorization": f"Bearer {key}"}
        answer = await self.api.client.post("/admin/register", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["registration_id"])

    def serve(self, server_id: str, count: int = 10, status: int = 200) -> None:
        outcome = replace(ended("use-a", server_id, "llama-3-8b"), stream=True, first_token_seconds=0.2, status=status)
        self.tallies.count([outcome] * count, {"llama-3-8b"}, self.api.world.registry.servers)

    def pass_by(self, seconds: float) -> None:
        self.monotonic += seconds
        self.api.world.clock.move(seconds=seconds)
        self.traffic.tick()
        self.happenings.tick()


@pytest.fixture
def here(api: Api) -> Here:
    api.gateway.key_ring = KeyRing({digest(key): principal for key, principal in KEYS.items()})
    return Here(api)


async def test_an_empty_gateway_says_so(here: Here) -> None:
    told = await here.get()
    assert told["scope"] == "pool"
    assert (told["servers"]["total"], told["models"], told["in_flight"], told["queued"]) == (
        0,
        {"total": 0, "available": 0},
        0,
        3,
    )
    assert (told["requests_per_second"], told["series"]) == (None, None)
    assert told["lately"] == {
        "seconds": 300, "requests": 0, "errors": 0, "errors_share": None, "continuations": 0,
        "first_token_p50_seconds": None, "first_token_p95_seconds": None,
    }  # fmt: skip
    assert [one["sentence"] for one in told["happened"]] == ["The gateway started."]


async def test_the_pool_is_told_to_its_operator(here: Here) -> None:
    mine = await here.register(ADMIN_KEY, "http://10.0.0.5:8000")
    anns = await here.register(OWNER, "http://10.0.0.6:8000")
    here.serve(mine)
    here.serve(anns, status=502)
    await here.api.client.post(f"/admin/servers/{mine}/pause", json={"reason": "rehearsal"})
    here.api.world.book.record(anns, Inspection(CheckFailure.CREDENTIALS, "answered 401"), here.api.world.clock())
    here.pass_by(10)
    told = await here.get()
    servers = told["servers"]
    assert (servers["total"], servers["serving"], servers["paused"], servers["unhealthy"]) == (2, 0, 1, 1)
    assert told["models"] == {"total": 1, "available": 0}
    assert (told["requests_per_second"], told["completion_tokens_per_second"]) == (2.0, 6.0)
    lately = told["lately"]
    assert (lately["requests"], lately["errors"], lately["errors_share"]) == (20, 10, 0.5)
    assert 0.1 <= lately["first_token_p50_seconds"] <= lately["first_token_p95_seconds"] <= 0.25
    assert {one["sentence"] for one in told["happened"]} == {
        "The gateway started.",
        "10.0.0.5:8000 was registered.",
        "10.0.0.5:8000 was paused: rehearsal.",
        "10.0.0.6:8000 was registered.",
    }


async def test_an_owner_is_told_of_its_own_servers(here: Here) -> None:
    mine = await here.register(ADMIN_KEY, "http://10.0.0.5:8000")
    anns = await here.register(OWNER, "http://10.0.0.6:8000")
    here.serve(mine, 30)
    here.serve(anns, 10)
    here.pass_by(10)
    told = await here.get(OWNER)
    assert (told["scope"], told["servers"]["total"], told["servers"]["healthy"]) == ("own", 1, 1)
    assert (told["requests_per_second"], told["queued"], told["lately"]["requests"]) == (1.0, None, 10)
    assert told["lately"]["first_token_p50_seconds"] is not None
    assert [one["registration_id"] for one in told["happened"]] == [anns]
    assert "10.0.0.5" not in str(told)


async def test_a_groups_admin_and_a_user(here: Here) -> None:
    await here.register(ADMIN_KEY, "http://10.0.0.5:8000")
    told = await here.get(LAB_ADMIN)
    assert (told["scope"], told["servers"]["total"], told["happened"]) == ("group", 0, [])
    error = (await here.get(USER, 403))["error"]
    assert "GET /v1/usage" in error["message"]


@pytest.mark.parametrize(("span", "step", "points"), [("15m", 10, 90), ("6h", 60, 360), ("7d", 1800, 336)])
async def test_a_span_has_a_value_for_each_step(here: Here, span: str, step: int, points: int) -> None:
    mine = await here.register(ADMIN_KEY, "http://10.0.0.5:8000")
    here.pass_by(10)
    here.serve(mine)
    here.pass_by(10)
    series = (await here.get(span=span))["series"]
    assert (series["span"], series["step_seconds"]) == (span, step)
    assert {name: len(series[name]) for name in LISTS} == dict.fromkeys(LISTS, points)
    assert series["times"][1] - series["times"][0] == step
    rate = next(value for value in reversed(series["requests_per_second"]) if value is not None)
    assert rate == (1.0 if span == "15m" else 0.5)
    assert series["requests_per_second"][0] is None


async def test_another_span_is_refused_by_name(here: Here) -> None:
    error = (await here.get(status=422, span="1y"))["error"]
    assert "15m" in error["message"]


async def test_while_the_gateway_starts_it_says_so(api: Api) -> None:
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
