"""Homes: a request goes where its beginning is known, while that server is not busier than the others by much."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.affinity.bound import is_within
from app.services.core.choice.plan import Forward, plan
from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.live.board import Board
from app.services.core.prompt.demand import Demand, Home
from app.services.core.retry import Failure
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
LONG = Demand(least_tokens=1000, prompt_tokens=5000, answer_tokens=500)


def server(name: str, context: int | None = None, **members: object) -> Server:
    return Server(
        name,
        Endpoint("http", name, 80),
        (ModelEntry("llama", "llama", context),),
        health=HealthStatus.HEALTHY,
        **members,  # type: ignore[arg-type]
    )


def pool(*servers: Server, in_flight: int = 0) -> tuple[Snapshot, Board]:
    board = Board()
    for single in servers:
        board.lane(single.id).in_flight = in_flight
    return build_snapshot(servers), board


def demanding(*homes: str, by: str = "prefix", of: Demand = LONG) -> Demand:
    known = tuple(Home(name, 10_000, by) for name in homes)
    return Demand(of.least_tokens, of.prompt_tokens, of.answer_tokens, known)


def send(
    snapshot: Snapshot, board: Board, demand: Demand, tried: tuple[str, ...] = (), seed: float = 0.99
) -> tuple[str, str]:
    verdict = plan("llama", snapshot, board, tried, NOW, random.Random(seed).random, demand=demand)
    assert isinstance(verdict, Forward)
    return verdict.candidate.server.id, verdict.why


def goes_home(snapshot: Snapshot, board: Board, demand: Demand) -> bool:
    """Whether every request goes home, or else hardly any more than by chance."""
    sent = Counter(send(snapshot, board, demand, seed=seed) for seed in range(40))
    homes = {(home.server_id, home.by) for home in demand.homes}
    assert all((server_id, by) in homes for server_id, by in sent) or not homes & sent.keys()
    return bool(homes & sent.keys())


@pytest.mark.parametrize("by", ["session", "prefix", "placed"])
@pytest.mark.parametrize("count", [2, 10, 60])
def test_a_request_goes_home_and_says_why(by: str, count: int) -> None:
    snapshot, board = pool(*[server(str(place)) for place in range(count)], in_flight=2)
    assert {send(snapshot, board, demanding("1", by=by), seed=seed) for seed in range(20)} == {("1", by)}


def test_the_first_home_that_may_be_taken_is() -> None:
    snapshot, board = pool(server("a"), server("b"), server("c"))
    assert send(snapshot, board, demanding("gone", "b", "a")) == ("b", "prefix")
    assert send(snapshot, board, demanding("b", "a"), tried=("b",)) == ("a", "prefix")
    board.lane("b").in_flight = 30
    assert send(snapshot, board, demanding("b", "a")) == ("a", "prefix")


@pytest.mark.parametrize("trouble", ["suspect", "cools", "ejected", "capped", "full", "strained"])
def test_a_home_in_trouble_is_left(trouble: str) -> None:
    snapshot, board = pool(server("home", max_concurrency=4 if trouble == "full" else None), server("a"), server("b"))
    lane = board.lane("home")
    match trouble:
        case "suspect":
            lane.failed(Failure.FAILED, NOW, random.random, NOW)
        case "cools":
            lane.cool(NOW, 5)
        case "ejected":
            for _failure in range(5):
                lane.failed(Failure.FAILED, NOW, random.random, NOW)
        case "capped":
            lane.in_flight = 2
            lane.overloaded(NOW, NOW)
        case "full":
            lane.in_flight = 4
            board.lane("a").in_flight = board.lane("b").in_flight = 9
        case _:
            board.lane("a").in_flight = board.lane("b").in_flight = 9
            lane.in_flight = 3
            lane.told(Signals(running=2, waiting=1, cache_used=0.97), NOW)
    assert ("home", "prefix") not in {send(snapshot, board, demanding("home"), seed=seed) for seed in range(40)}


@given(st.integers(0, 40), st.lists(st.integers(0, 12), min_size=1, max_size=15))
def test_the_bound_is_exact_up_to_sixteen_servers(at_home: int, others: list[int]) -> None:
    snapshot, board = pool(server("home"), *[server(str(place)) for place in range(len(others))])
    board.lane("home").in_flight = at_home
    for place, in_flight in enumerate(others):
        board.lane(str(place)).in_flight = in_flight
    _name, why = send(snapshot, board, demanding("home"))
    assert (why == "prefix") is is_within(at_home, sum(others), len(others))


@pytest.mark.parametrize("count", [17, 31, 200, 1000])
def test_of_many_servers_a_sample_makes_the_mean(count: int) -> None:
    snapshot, board = pool(*[server(str(place)) for place in range(count)], in_flight=10)
    for at_home, expected in ((12, True), (40, False)):
        board.lane("3").in_flight = at_home
        assert goes_home(snapshot, board, demanding("3")) is expected


def test_those_that_may_not_be_taken_do_not_make_the_mean() -> None:
    snapshot, board = pool(server("home"), server("a"), server("b"), server("c"))
    board.lane("home").in_flight = board.lane("a").in_flight = 10
    assert not goes_home(snapshot, board, demanding("home"))
    for name in ("b", "c"):
        board.lane(name).cool(NOW, 5)
    assert goes_home(snapshot, board, demanding("home"))


def test_the_bound_goes_by_places_weight_and_foreign_load() -> None:
    snapshot, board = pool(server("home", places=16), server("a", places=4), server("b", places=4))
    board.lane("home").in_flight = 16
    board.lane("a").in_flight = board.lane("b").in_flight = 4
    assert goes_home(snapshot, board, demanding("home"))
    board.lane("home").told(Signals(running=60), NOW)
    assert not goes_home(snapshot, board, demanding("home"))
    snapshot, board = pool(server("home"), server("a"), server("b"), in_flight=1)
    board.lane("home").told(Signals(running=9), NOW)
    assert not goes_home(snapshot, board, demanding("home"))
    for name in ("a", "b"):
        board.lane(name).told(Signals(running=9), NOW)
    assert goes_home(snapshot, board, demanding("home"))


def test_a_better_priority_with_room_goes_before_home() -> None:
    snapshot, board = pool(server("pc", priority=5, max_concurrency=1), server("home"), server("a"))
    assert send(snapshot, board, demanding("home"))[0] == "pc"
    board.lane("pc").in_flight = 1
    assert send(snapshot, board, demanding("home")) == ("home", "prefix")
    board.lane("home").in_flight = 20
    assert send(snapshot, board, demanding("home"))[0] == "a"


def test_a_home_of_a_lower_priority_is_taken_when_the_better_ones_do_not_fit() -> None:
    snapshot, board = pool(server("pc", 4096, priority=5), server("home", 32_768), server("a", 32_768))
    assert send(snapshot, board, demanding("home")) == ("home", "prefix")
    snapshot, board = pool(server("pc", 4096, priority=5), server("home"), server("a"))
    assert send(snapshot, board, demanding("home")) == ("home", "prefix")


def test_a_home_that_let_the_model_go_has_forgotten_the_prompt() -> None:
    cold = server("home", loaded=frozenset[str]())
    snapshot, board = pool(cold, server("a"))
    assert send(snapshot, board, demanding("home")) == ("a", "loaded")


def test_a_home_without_room_is_left_for_one_that_fits() -> None:
    snapshot, board = pool(server("small", 4096), server("large", 32_768))
    assert send(snapshot, board, demanding("small")) == ("large", "roomy")
    assert send(snapshot, board, demanding("large")) == ("large", "prefix")
    unsure = Demand(1000, 3900, 500)
    assert send(snapshot, board, demanding("small", of=unsure)) == ("large", "roomy"), "it would have to be cut"
    alone, board = pool(server("small", 4096), server("other", 4096))
    assert send(alone, board, demanding("small", of=unsure)) == ("small", "prefix"), "it surely fits nowhere"


def test_many_turns_of_few_conversations_stay_at_home_and_make_no_hot_spot() -> None:
    """Every request knows one server; the bound holds the busiest near the mean."""
    count = 8
    snapshot, board = pool(*[server(str(place)) for place in range(count)])
    dice = random.Random(5)
    for _request in range(400):
        home = "0" if dice.random() < 0.5 else str(int(dice.random() * count))
        verdict = plan("llama", snapshot, board, (), NOW, dice.random, demand=demanding(home))
        assert isinstance(verdict, Forward)
        board.lane(verdict.candidate.server.id).take(NOW)
    busiest = max(board.in_flight(str(place)) for place in range(count))
    assert busiest <= 1.25 * 400 / count + 3
