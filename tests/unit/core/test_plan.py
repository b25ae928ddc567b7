"""The plan: Forward, Queue or Refuse, over snapshot and board."""

from __future__ import annotations

import random

import pytest

from app.services.core.board import Board
from app.services.core.errors import ModelNotFound, Unavailable
from app.services.core.plan import Forward, Plan, Queue, Refuse, plan, unknown_model
from app.services.core.retry import RETRY_AFTER_SECONDS
from app.services.core.snapshot import Snapshot, build_snapshot
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
UP, UNKNOWN, DOWN = HealthStatus.HEALTHY, HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY


def server(name: str, health: HealthStatus = UP, *, model: str = "llama", cap: int | None = None) -> Server:
    endpoint = Endpoint("http", name, 8000)
    return Server(id=name, endpoint=endpoint, models=(ModelEntry(model, model),), max_concurrency=cap, health=health)


def decide(
    snapshot: Snapshot, *, model: str = "llama", board: Board | None = None, tried: tuple[str, ...] = ()
) -> Plan:
    return plan(model, snapshot, board or Board(), tried, NOW, random.Random(7).random)


def forwarded_to(verdict: Plan) -> str:
    assert isinstance(verdict, Forward)
    assert verdict.candidate.model.name == "llama"
    return verdict.candidate.server.id


def test_a_ready_server_goes_before_one_that_is_not_known_yet() -> None:
    snapshot = build_snapshot([server("standby", UNKNOWN), server("ready"), server("down", DOWN)])
    assert forwarded_to(decide(snapshot)) == "ready"
    assert forwarded_to(decide(snapshot, tried=("ready",))) == "standby"


def test_a_server_that_is_down_is_looked_at_and_not_tried() -> None:
    snapshot = build_snapshot([server("ready"), server("one", DOWN), server("two", DOWN)])
    verdict = decide(snapshot, tried=("ready",))
    assert isinstance(verdict, Refuse)
    assert isinstance(verdict.error, Unavailable)
    assert verdict.look_again == ("one", "two")
    assert verdict.error.retry_after_seconds == RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("count", "words"), [(1, "registered on 1 server, but none"), (2, "registered on 2 servers, but none")]
)
def test_a_refusal_says_how_many_servers_there_are(count: int, words: str) -> None:
    verdict = decide(build_snapshot([server(f"down-{index}", DOWN) for index in range(count)]))
    assert isinstance(verdict, Refuse)
    assert words in verdict.error.message
    assert "'llama'" in verdict.error.message


def test_waits_only_when_capacity_is_what_is_missing() -> None:
    snapshot = build_snapshot([server("one", cap=1), server("two", cap=1), server("down", DOWN)])
    board = Board()
    board.lane("one").in_flight = 1
    assert forwarded_to(decide(snapshot, board=board)) == "two"
    board.lane("two").in_flight = 1
    assert isinstance(decide(snapshot, board=board), Queue)
    assert isinstance(decide(snapshot, board=board, tried=("one",)), Queue)
    assert isinstance(decide(snapshot, board=board, tried=("one", "two")), Refuse)


def test_does_not_wait_for_servers_that_asked_to_be_left_alone() -> None:
    board = Board()
    board.lane("one").cool(NOW, 5)
    assert isinstance(decide(build_snapshot([server("one")]), board=board), Refuse)
    snapshot = build_snapshot([server("one"), server("standby", UNKNOWN)])
    assert forwarded_to(decide(snapshot, board=board)) == "standby"


def test_an_unknown_model_is_told_what_there_is() -> None:
    verdict = decide(build_snapshot([server("one"), server("two", model="qwen/2")]), model="gpt")
    assert isinstance(verdict, Refuse)
    assert isinstance(verdict.error, ModelNotFound)
    assert verdict.error.message == "Model 'gpt' not found. Available: llama, qwen/2."
    assert verdict.error.param == "model"
    assert verdict.look_again == ()


def test_an_empty_registry_says_how_to_fill_it() -> None:
    assert "register a server with POST /admin/register" in unknown_model("gpt", build_snapshot([])).message


def test_a_long_list_is_cut_and_a_long_name_too() -> None:
    snapshot = build_snapshot([server(f"s{index}", model=f"model-{index:02}") for index in range(23)])
    message = unknown_model("x" * 5000, snapshot).message
    assert message.endswith("model-18, model-19 and 3 more, see GET /v1/models.")
    assert len(message) < 600
    assert unknown_model("x", build_snapshot([server("one")])).message.endswith("Available: llama.")
