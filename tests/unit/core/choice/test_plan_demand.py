"""The plan for long prompts: where they fit surely, where they may, and what is said when they fit nowhere."""

from __future__ import annotations

import random

import pytest

from app.services.core.choice.plan import Await, Forward, Plan, Queue, Refuse, plan
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.errors import RequestInvalid
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand
from app.services.core.retry import Failure
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
UP, UNKNOWN, DOWN = HealthStatus.HEALTHY, HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY
LONG = Demand(least_tokens=5000, prompt_tokens=10_000, answer_tokens=1000)


def server(name: str, context: int | None, health: HealthStatus = UP, **members: object) -> Server:
    entry = ModelEntry("llama", "llama", context)
    return Server(name, Endpoint("http", name, 80), (entry,), health=health, **members)  # type: ignore[arg-type]


def decide(*servers: Server, board: Board | None = None, demand: Demand = LONG, tried: tuple[str, ...] = ()) -> Plan:
    return plan("llama", build_snapshot(servers), board or Board(), tried, NOW, random.random, demand=demand)


def sent(*servers: Server, board: Board | None = None, demand: Demand = LONG) -> set[tuple[str, str]]:
    verdicts = [decide(*servers, board=board, demand=demand) for _try in range(60)]
    return {(each.candidate.server.id, each.why) for each in verdicts if isinstance(each, Forward)}


def eject(board: Board, name: str) -> None:
    for _failure in range(5):
        board.lane(name).failed(Failure.FAILED, NOW, lambda: 0.0, NOW)


@pytest.mark.parametrize("short", [1, 5, 40])
def test_a_long_prompt_goes_where_it_fits(short: int) -> None:
    pool = [*[server(str(place), 4096) for place in range(short)], server("a", 32_768), server("b", 16_384)]
    assert sent(*pool) == {("a", "roomy"), ("b", "roomy")}
    assert {name for name, _why in sent(*pool, demand=Demand(answer_tokens=100))} - {"a", "b"}


def test_it_goes_where_it_surely_fits_whatever_the_priority() -> None:
    pool = [server("unknown", None, priority=9), server("short", 4096, priority=9), server("long", 32_768)]
    assert sent(*pool) == {("long", "roomy")}


def test_those_that_nobody_knows_of_are_tried_where_it_surely_fits_nowhere() -> None:
    pool = [server("short", 4096, priority=9), server("a", None), server("b", None)]
    assert sent(*pool) == {("a", "roomy"), ("b", "roomy")}
    assert {name for name, _why in sent(*pool[1:], server("c", None))} == {"a", "b", "c"}


def test_an_unsure_one_is_taken_when_the_sure_ones_are_full() -> None:
    board = Board()
    board.lane("long").in_flight = 1
    pool = [server("long", 32_768, max_concurrency=1), server("unknown", None), server("short", 4096)]
    assert sent(*pool, board=board) == {("unknown", "roomy")}


def test_it_waits_for_a_place_where_it_fits() -> None:
    board = Board()
    board.lane("long").in_flight = 1
    assert isinstance(decide(server("long", 32_768, max_concurrency=1), server("short", 4096), board=board), Queue)


@pytest.mark.parametrize("health", [UP, UNKNOWN, DOWN])
def test_what_fits_nowhere_is_refused_with_the_figures(health: HealthStatus) -> None:
    pool = [server("a", 4096), server("b", 8000, health), server("gone", 131_072, paused=True)]
    verdict = decide(*pool, demand=Demand(least_tokens=9000, prompt_tokens=10_000, answer_tokens=1000))
    assert isinstance(verdict, Refuse)
    assert isinstance(verdict.error, RequestInvalid)
    assert verdict.error.status == 400
    assert verdict.error.code == "context_length_exceeded"
    assert "10,000" in verdict.error.message
    assert "8,000" in verdict.error.message


@pytest.mark.parametrize("health", [UP, DOWN])
def test_what_fits_only_where_nobody_is_there_is_awaited(health: HealthStatus) -> None:
    board = Board()
    if health is UP:
        eject(board, "long")
    eject(board, "short-ejected")
    pool = [server("short", 4096), server("short-ejected", 4096), server("long", 32_768, health)]
    verdict = decide(*pool, board=board)
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("long",)
    assert isinstance(decide(*pool, board=board, tried=("long",)), Refuse)


def test_one_on_standby_that_fits_goes_before_ready_ones_that_do_not() -> None:
    assert sent(server("short", 4096), server("long", 32_768, UNKNOWN)) == {("long", "roomy")}


def test_a_model_with_no_server_that_takes_work_is_unavailable_not_too_long() -> None:
    verdict = decide(server("gone", 4096, paused=True))
    assert isinstance(verdict, Refuse)
    assert verdict.error.status == 503


def test_many_different_contexts_are_looked_at_one_by_one() -> None:
    pool = [server(str(place), 1000 + place) for place in range(40)]
    pool += [server("long", 32_768), server("unknown", None, priority=3)]
    assert sent(*pool) == {("long", "roomy")}
    names = {name for name, _why in sent(*pool, demand=Demand(prompt_tokens=10))}
    assert "unknown" not in names, "it surely fits in all others"
    assert len(names) > 15


def test_a_server_that_loads_the_model_is_not_gathered_at_without_room() -> None:
    cold = frozenset[str]()
    pool = [server("short", 4096, loaded=cold), server("a", 32_768, loaded=cold), server("b", 32_768, loaded=cold)]
    board = Board()
    board.lane("short").take(NOW)
    board.gather("llama", "short")
    assert {name for name, _why in sent(*pool, board=board)} <= {"a", "b"}


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        ([server("a", None)], "only"),
        ([server("a", None), server("b", None)], "drawn"),
        ([server("a", None), server("b", None, weight=3.0)], "drawn"),
        ([server("a", None), server("b", None, loaded=frozenset[str]())], "loaded"),
    ],
)
def test_a_request_that_demands_nothing_is_told_why_too(pool: list[Server], why: str) -> None:
    for demand in (None, Demand()):
        verdict = plan("llama", build_snapshot(pool), Board(), (), NOW, lambda: 0.0, demand=demand)
        assert isinstance(verdict, Forward)
        assert (verdict.candidate.server.id, verdict.why) == ("a", why)


def test_the_longest_answer_decides_between_equals_and_never_before_priority_or_memory() -> None:
    long_answer = Demand(least_tokens=500, prompt_tokens=1000, answer_tokens=4096)
    assert sent(server("short", 4096), server("long", 32_768), demand=long_answer) == {("long", "roomy")}
    pool = [server("pc", 4096, priority=5), server("long", 32_768)]
    assert {name for name, _why in sent(*pool, demand=long_answer)} == {"pc"}
    pool = [server("warm", 4096, loaded=frozenset({"llama"})), server("cold", 32_768, loaded=frozenset())]
    assert {name for name, _why in sent(*pool, demand=long_answer)} == {"warm"}
    assert {name for name, _why in sent(server("a", 4096), server("b", 4096), demand=long_answer)} == {"a", "b"}


def test_where_it_hardly_fits_is_nobody_asked_while_it_fits_elsewhere() -> None:
    heavy = Demand(least_tokens=2000, prompt_tokens=10_000)
    board = Board()
    board.lane("long").in_flight = 1
    pool = [server("long", 32_768, max_concurrency=1), server("short", 4096)]
    assert isinstance(decide(*pool, board=board, demand=heavy), Queue)
    assert sent(server("short", 4096), demand=heavy) == {("short", "roomy")}
