"""Cold and warm: where a request goes when its model is in memory here, is being loaded there, or in none."""

from __future__ import annotations

import random

import pytest

from app.services.core.choice.classes import ModelClass
from app.services.core.choice.load import COLD_PENALTY, backlog, has_model, is_crowded
from app.services.core.choice.plan import Forward, Plan, Queue, plan
from app.services.core.choice.snapshot import Snapshot, build_snapshot
from app.services.core.live.board import Board
from app.services.core.retry import Failure
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
WARM, COLD = frozenset({"llama"}), frozenset[str]()


def server(name: str, *models: str, **members: object) -> Server:
    return Server(
        name,
        Endpoint("http", name, 80),
        tuple(ModelEntry(model, model) for model in models or ("llama",)),
        health=HealthStatus.HEALTHY,
        **members,  # type: ignore[arg-type]
    )


def pool(*servers: Server) -> tuple[Snapshot, Board]:
    snapshot, board = build_snapshot(servers), Board()
    board.keep(snapshot.servers)
    return snapshot, board


def decide(snapshot: Snapshot, board: Board, now: float = NOW, model: str = "llama") -> Plan:
    return plan(model, snapshot, board, (), now, random.random)


def taken(snapshot: Snapshot, board: Board, times: int = 50, now: float = NOW) -> set[str]:
    verdicts = [decide(snapshot, board, now) for _try in range(times)]
    return {verdict.candidate.server.id for verdict in verdicts if isinstance(verdict, Forward)}


def send(snapshot: Snapshot, board: Board, now: float = NOW, model: str = "llama") -> str:
    """One request, as the data plane sends it."""
    verdict = decide(snapshot, board, now, model)
    assert isinstance(verdict, Forward)
    candidate = verdict.candidate
    lane = board.lane(candidate.server.id)
    lane.take(now)
    if lane.residence is not None:
        lane.residence.take(candidate.model.upstream_name, now)
    return candidate.server.id


def test_those_that_have_the_model_go_first() -> None:
    snapshot, board = pool(server("cold", loaded=COLD), server("warm", loaded=WARM), server("silent"))
    assert taken(snapshot, board) == {"warm", "silent"}
    board.lane("warm").in_flight = board.lane("silent").in_flight = 12
    assert taken(snapshot, board) == {"warm", "silent"}, "four are computed, two wait for each of their places"


def test_a_long_queue_is_worse_than_a_load() -> None:
    snapshot, board = pool(server("cold", loaded=COLD), server("warm", loaded=WARM, places=2))
    board.lane("warm").in_flight = 6
    assert taken(snapshot, board) == {"warm"}
    board.lane("warm").in_flight = 7
    assert taken(snapshot, board) == {"cold"}


def test_a_cold_one_that_is_as_busy_is_not_sent_more() -> None:
    snapshot, board = pool(server("cold", "llama", "other", loaded=COLD), server("warm", loaded=WARM, places=2))
    board.lane("warm").in_flight = 8
    board.lane("cold").in_flight = 5
    assert taken(snapshot, board) == {"warm"}


def test_foreign_requests_make_a_queue_too() -> None:
    snapshot, board = pool(server("cold", loaded=COLD), server("warm", loaded=WARM, places=2))
    board.lane("warm").told(Signals(running=2, waiting=5), NOW)
    assert taken(snapshot, board) == {"cold"}
    assert taken(snapshot, board, now=NOW + 25) == {"warm"}


def test_one_that_was_seen_to_compute_many_is_not_taken_to_be_crowded() -> None:
    snapshot, board = pool(server("cold", loaded=COLD), server("warm", loaded=WARM))
    lane = board.lane("warm")
    lane.in_flight = 40
    assert taken(snapshot, board) == {"cold"}
    board = Board()
    lane = board.lane("warm")
    lane.in_flight = 40
    lane.told(Signals(running=40, waiting=0), NOW)
    assert taken(snapshot, board) == {"warm"}


def test_requests_for_all_names_of_a_class_gather_behind_one_load() -> None:
    servers = [server(str(place), loaded=COLD) for place in range(40)]
    snapshot = build_snapshot(servers, [ModelClass("class", frozenset({"llama", "other"}))])
    board = Board()
    assert len({send(snapshot, board, model=name) for name in ("llama", "class", "other", "llama")}) == 1


def test_a_better_priority_loads_before_a_lower_one_answers() -> None:
    snapshot, board = pool(server("pc", loaded=COLD, priority=5), server("warm", loaded=WARM))
    assert taken(snapshot, board) == {"pc"}


def test_a_suspect_that_has_the_model_goes_behind_a_cold_one() -> None:
    snapshot, board = pool(server("cold", loaded=COLD), server("warm", loaded=WARM))
    board.lane("warm").failed(Failure.FAILED, NOW, random.random, NOW)
    assert taken(snapshot, board) == {"cold"}


# -- gathering behind one load


@pytest.mark.parametrize("count", [2, 5, 40])
def test_requests_gather_behind_one_load(count: int) -> None:
    snapshot, board = pool(*[server(str(place), loaded=COLD) for place in range(count)])
    first = send(snapshot, board)
    assert {send(snapshot, board) for _request in range(11)} == {first}
    assert backlog(snapshot.routes["llama"].by_id[first], board.lane(first), NOW) == COLD_PENALTY
    assert send(snapshot, board) == first, "the thirteenth finds four at work and eight that wait"
    assert send(snapshot, board) != first


@pytest.mark.parametrize("count", [3, 40])
def test_servers_that_swap_models_gather_too(count: int) -> None:
    snapshot, board = pool(
        *[server(str(place), "llama", "other", loaded=COLD, swaps_models=True) for place in range(count)]
    )
    first, other = send(snapshot, board), send(snapshot, board, model="other")
    assert {send(snapshot, board) for _request in range(8)} == {first}
    assert {send(snapshot, board, model="other") for _request in range(8)} == {other}
    assert first != other


@pytest.mark.parametrize("count", [2, 40])
def test_those_that_leave_a_long_queue_gather_too(count: int) -> None:
    cold = [server(str(place), loaded=COLD) for place in range(count)]
    snapshot, board = pool(server("warm", loaded=WARM, places=2), *cold)
    board.lane("warm").in_flight = 30
    first = send(snapshot, board)
    assert first != "warm"
    assert {send(snapshot, board) for _request in range(12)} == {first}
    assert send(snapshot, board) not in {first, "warm"}


def test_nobody_gathers_in_a_lower_priority() -> None:
    snapshot, board = pool(server("pc", loaded=COLD, priority=5), server("laptop", loaded=COLD))
    board.lane("laptop").in_flight = 1
    board.gather("llama", "laptop")
    assert taken(snapshot, board) == {"pc"}


def test_nobody_gathers_behind_one_that_fails() -> None:
    snapshot, board = pool(server("a", loaded=COLD), server("b", loaded=COLD))
    first = send(snapshot, board)
    board.lane(first).failed(Failure.FAILED, NOW, random.random, NOW)
    assert send(snapshot, board) != first


def test_one_that_answered_just_now_has_the_model() -> None:
    snapshot, board = pool(server("a", loaded=COLD), server("b", loaded=COLD))
    lane = board.lane("a")
    lane.answered(1.0, NOW)
    assert taken(snapshot, board, now=NOW + 10) == {"a"}
    assert taken(snapshot, board, now=NOW + 20) == {"a", "b"}
    candidate = snapshot.routes["llama"].by_id["a"]
    assert not has_model(candidate, lane, NOW + 20)
    assert not is_crowded(candidate, lane, NOW)


# -- taking turns


def test_whose_turn_it_is_not_waits_and_is_noted_at_one_server() -> None:
    names = ["a", "b", "c"]
    snapshot, board = pool(*[server(name, "llama", "other", loaded=WARM, swaps_models=True) for name in names])
    for name in names:
        lane = board.lane(name)
        lane.take(NOW)
        assert lane.residence is not None
        lane.residence.take("llama", NOW)
    residences = [board.lane(name).residence for name in names]
    for tenth in range(30):
        now = NOW + tenth / 10
        assert isinstance(decide(snapshot, board, now, "other"), Queue)
        waited_for = [each for each in residences if each is not None and each.waits_since("other", now) is not None]
        assert len(waited_for) == 1
    board.lane("b").give_back(NOW + 3, NOW)
    assert residences[1] is not None
    residences[1].give_back("llama", NOW + 3)
    found = [decide(snapshot, board, NOW + 60, "other") for _try in range(20)]
    assert {each.candidate.server.id for each in found if isinstance(each, Forward)} == {"b"}


def test_another_models_turn_leaves_the_request_to_a_lower_priority() -> None:
    swapping = server("swapping", "llama", "other", loaded=WARM, swaps_models=True, priority=5)
    snapshot, board = pool(swapping, server("plain", "other"))
    residence = board.lane("swapping").residence
    assert residence is not None
    residence.take("llama", NOW)
    verdict = decide(snapshot, board, NOW, "other")
    assert isinstance(verdict, Forward)
    assert verdict.candidate.server.id == "plain"
    assert residence.waits_since("other", NOW) is None


def test_what_the_memory_holds_now_goes_before_what_the_snapshot_says() -> None:
    first = server("first", "llama", "other", loaded=WARM, swaps_models=True)
    snapshot, board = pool(first, server("second", "llama", "other", loaded=COLD, swaps_models=True))
    for name, loaded in (("first", frozenset({"other"})), ("second", WARM)):
        board.lane(name).told(Signals(loaded=loaded), NOW)
    assert taken(snapshot, board) == {"second"}
    assert decide(snapshot, board) == Forward(snapshot.routes["llama"].by_id["second"], "drawn")
