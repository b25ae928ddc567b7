"""Does the admin API say where a request would go, to whom it may?"""

from __future__ import annotations

import pytest

from app.services.core.choice.explain import Explanation, explain
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand, Home
from app.services.core.types import HealthStatus, ModelEntry, Server
from tests.fakes.api import USER_KEY

URL = "http://10.0.0.5:8000"
NOW = 1000.0


class ExplainingPlane:
    """A plane with the registered servers, all of them well."""

    def __init__(self, api) -> None:
        self._api = api
        self.board = Board()
        self.asked: list[tuple[object, ...]] = []

    def explain(
        self, model: str, prompt_tokens: int, answer_tokens: int, session: str | None, key_id: str
    ) -> Explanation:
        self.asked.append((model, prompt_tokens, answer_tokens, session, key_id))
        records = self._api.world.registry.servers.values()
        servers = [
            Server(record.id, record.endpoint, (ModelEntry("llama", "llama", 8192),), health=HealthStatus.HEALTHY)
            for record in records
        ]
        homes = tuple(Home(server.id, 0, "session") for server in servers) if session else ()
        demand = Demand(prompt_tokens // 2, prompt_tokens, answer_tokens, homes)
        return explain(model, build_snapshot(servers), self.board, NOW, demand)


@pytest.fixture
def plane(api) -> ExplainingPlane:
    api.gateway.plane = ExplainingPlane(api)
    return api.gateway.plane


async def test_it_says_where_the_next_request_goes(api, plane):
    server_id = await api.register(URL)
    answer = await api.client.get("/admin/explain", params={"model": "llama"})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["model"], told["verdict"], told["why"], told["message"]) == ("llama", "forward", "only", "")
    assert told["sentence"].startswith(f"The next request goes to {server_id[:8]}, because")
    (place,) = told["servers"]
    assert "server_id" not in place
    assert (place["registration_id"], place["endpoint_url"], place["share"]) == (server_id, URL, 1.0)
    assert plane.asked == [("llama", 0, 0, None, "admin")]


async def test_a_long_prompt_and_a_session_may_be_asked_about(api, plane):
    await api.register(URL)
    asked = {"model": "llama", "prompt_tokens": 30_000, "answer_tokens": 500, "session": "one"}
    told = (await api.client.get("/admin/explain", params=asked)).json()
    assert told["verdict"] == "refuse"
    assert "about 30,000 tokens" in told["message"]
    (place,) = told["servers"]
    assert (place["takes"], place["why"], place["home"]) == (False, "context 8,192 < about 30,000", "session")
    assert plane.asked == [("llama", 30_000, 500, "one", "admin")]


@pytest.mark.usefixtures("plane")
async def test_a_model_that_nobody_has_is_not_found(api):
    answer = await api.client.get("/admin/explain", params={"model": "gpt"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"model": ""},
        {"model": "x" * 300},
        {"model": "llama", "prompt_tokens": -1},
        {"model": "m", "session": "x" * 999},
    ],
)
@pytest.mark.usefixtures("plane")
async def test_what_makes_no_sense_is_refused(api, asked):
    assert (await api.client.get("/admin/explain", params=asked)).status_code == 422


@pytest.mark.usefixtures("plane")
async def test_only_the_operator_may_ask(api):
    headers = {"authorization": f"Bearer {USER_KEY}"}
    assert (await api.client.get("/admin/explain", params={"model": "llama"}, headers=headers)).status_code == 403
    nobody = {"authorization": "Bearer unknown"}
    assert (await api.client.get("/admin/explain", params={"model": "llama"}, headers=nobody)).status_code == 401
