"""The plan: Forward, Queue, Await or Refuse, over snapshot and board."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.plan import Await, Forward, Plan, Queue, Refuse, plan, unknown_model
from app.services.core.choice.snapshot import Candidate, Snapshot, build_snapshot
from app.services.core.errors import ModelNotFound, Unavailable
from app.services.core.live.board import Board
from app.services.core.retry import RETRY_AFTER_SECONDS, Failure
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
UP, UNKNOWN, DOWN = HealthStatus.HEALTHY, HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY


def server(
    name: str, health: HealthStatus = UP, *, model: str = "llama", cap: int | None = None, **members: bool
) -> Server:
    return Server(
        id=name,
        endpoint=Endpoint("http", name, 8000),
        models=(ModelEntry(model, model),),
        max_concurrency=cap,
        health=health,
        **members,  # type: ignore[arg-type]
    )


def eject(board: Board, server_id: str, now: float = NOW) -> None:
    for _failure in range(5):
        board.lane(server_id).failed(Failure.FAILED, now, lambda: 0.0, now)


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


def test_servers_that_are_down_are_awaited_and_not_tried() -> None:
    snapshot = build_snapshot([server("ready"), server("one", DOWN), server("two", DOWN)])
    verdict = decide(snapshot, tried=("ready",))
    assert isinstance(verdict, Await)
    assert isinstance(verdict.error, Unavailable)
    assert verdict.server_ids == ("one", "two")
    assert verdict.error.retry_after_seconds == RETRY_AFTER_SECONDS


def test_one_that_was_tried_is_not_awaited() -> None:
    snapshot = build_snapshot([server("one", DOWN), server("two", DOWN)])
    verdict = decide(snapshot, tried=("one",))
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("two",)
    refused = decide(snapshot, tried=("one", "two"))
    assert isinstance(refused, Refuse)
    assert refused.look_again == ("one", "two")


def test_ejected_servers_are_awaited_until_their_time_is_over() -> None:
    snapshot, board = build_snapshot([server("ejected"), server("standby", UNKNOWN), server("down", DOWN)]), Board()
    eject(board, "ejected")
    eject(board, "standby")
    verdict = decide(snapshot, board=board)
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("ejected", "standby", "down")
    later = plan("llama", snapshot, board, (), NOW + 5, random.random)
    assert forwarded_to(later) == "ejected"
    board.lane("ejected").take(NOW + 5)
    after = plan("llama", snapshot, board, (), NOW + 5, random.random)
    assert forwarded_to(after) == "standby"


@pytest.mark.parametrize("reason", ["paused", "blocked", "quarantined", "draining", "misconfigured"])
@pytest.mark.parametrize("health", HealthStatus)
def test_what_somebody_holds_back_is_not_awaited(reason: str, health: HealthStatus) -> None:
    verdict = decide(build_snapshot([server("held", health, **{reason: True})]))
    assert isinstance(verdict, Refuse)
    assert verdict.look_again == ()
    assert "1 server" in verdict.error.message


def test_a_place_that_will_come_free_is_nearer_than_a_server_that_may_be_back() -> None:
    snapshot, board = build_snapshot([server("full", cap=1), server("ejected"), server("down", DOWN)]), Board()
    board.lane("full").in_flight = 1
    eject(board, "ejected")
    assert isinstance(decide(snapshot, board=board), Queue)


def test_one_that_is_not_known_yet_is_not_tried_while_a_place_will_come_free() -> None:
    snapshot, board = build_snapshot([server("full", cap=1), server("standby", UNKNOWN)]), Board()
    board.lane("full").in_flight = 1
    assert isinstance(decide(snapshot, board=board), Queue)
    assert forwarded_to(decide(snapshot, board=board, tried=("full",))) == "standby"


def test_an_ejected_server_has_no_place_that_comes_free() -> None:
    snapshot, board = build_snapshot([server("ejected", cap=1)]), Board()
    board.lane("ejected").in_flight = 1
    eject(board, "ejected")
    verdict = decide(snapshot, board=board)
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("ejected",)


def test_those_that_cool_for_long_are_waited_for_if_another_may_be_back() -> None:
    snapshot, board = build_snapshot([server("cools"), server("down", DOWN)]), Board()
    board.lane("cools").cool(NOW, 30)
    verdict = decide(snapshot, board=board)
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("down",)
    assert verdict.error.retry_after_seconds == 30
    soon = plan("llama", snapshot, board, (), NOW + 28.5, random.random)
    assert isinstance(soon, Queue)


# -- groups


def by_name(candidates: Sequence[Candidate]) -> Sequence[Sequence[Candidate]]:
    """Those whose name begins with a, then those with b; no others will do."""
    return [[one for one in candidates if one.server.id.startswith(letter)] for letter in "ab"]


def grouped(snapshot: Snapshot, board: Board, tried: tuple[str, ...] = ()) -> Plan:
    return plan("llama", snapshot, board, tried, NOW, random.random, by_name)


def test_groups_are_looked_at_in_turn_and_what_is_in_none_is_left() -> None:
    snapshot, board = build_snapshot([server("c"), server("b"), server("a2", cap=1), server("a1")]), Board()
    assert forwarded_to(grouped(snapshot, board, ("a1",))) == "a2"
    assert forwarded_to(grouped(snapshot, board, ("a1", "a2"))) == "b"
    assert isinstance(grouped(snapshot, board, ("a1", "a2", "b")), Refuse)
    board.lane("a2").in_flight = 1
    assert forwarded_to(grouped(snapshot, board, ("a1",))) == "b", "a stream does not wait for the better one"
    assert isinstance(grouped(snapshot, board, ("a1", "b")), Queue)


def test_the_shorter_wait_of_two_groups_counts() -> None:
    for first, second in (("a", "b"), ("b", "a")):
        snapshot, board = build_snapshot([server("a"), server("b")]), Board()
        board.lane(first).cool(NOW, 30)
        board.lane(second).cool(NOW, 1)
        assert isinstance(grouped(snapshot, board), Queue)
        board.lane(second).cool(NOW, 20)
        verdict = grouped(snapshot, board)
        assert isinstance(verdict, Refuse)
        assert verdict.error.retry_after_seconds == 20


def test_only_those_that_will_do_are_awaited() -> None:
    snapshot = build_snapshot([server("c", DOWN), server("b", DOWN), server("a"), server("d")])
    board = Board()
    eject(board, "a")
    eject(board, "d")
    verdict = grouped(snapshot, board)
    assert isinstance(verdict, Await)
    assert verdict.server_ids == ("a", "b")
    assert isinstance(grouped(build_snapshot([server("c", DOWN)]), Board()), Refuse)


STATES = st.lists(
    st.tuples(
        st.sampled_from(HealthStatus),
        st.sampled_from(["", "", "ejected", "cools", "full", "suspect"]),
        st.sampled_from(["", "", "", "paused", "misconfigured"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(STATES, st.booleans())
def test_every_verdict_has_its_reason(states: list[tuple[HealthStatus, str, str, bool]], in_groups: bool) -> None:
    board, servers, tried = Board(), [], []
    for place, (health, trouble, held, was_tried) in enumerate(states):
        name = f"{'abc'[place % 3]}{place}"
        servers.append(server(name, health, cap=1, **({held: True} if held else {})))
        lane = board.lane(name)
        if trouble == "ejected":
            eject(board, name)
        elif trouble == "cools":
            lane.cool(NOW, 30)
        elif trouble == "suspect":
            lane.failed(Failure.FAILED, NOW, lambda: 0.0, NOW)
        lane.in_flight = int(trouble == "full")
        tried += [name] if was_tried else []
    snapshot = build_snapshot([*servers, server("paused", paused=True)])
    select = by_name if in_groups else None
    verdict = plan("llama", snapshot, board, tried, NOW, random.random, select)
    eligible = {
        single.id: state
        for single, state in zip(servers, states, strict=True)
        if not state[2] and single.id not in tried and not (in_groups and single.id[0] == "c")
    }
    up = {name: trouble for name, (health, trouble, _held, _tried) in eligible.items() if health is not DOWN}
    match verdict:
        case Forward(candidate):
            assert up[candidate.server.id] in {"", "suspect"}
        case Queue():
            assert "full" in up.values()
        case Await(server_ids):
            down = {name for name, state in eligible.items() if state[0] is DOWN}
            assert set(server_ids) == down | {name for name, trouble in up.items() if trouble == "ejected"}
            assert server_ids
            assert set(up.values()) <= {"ejected", "cools"}
        case Refuse():
            assert set(up.values()) <= {"cools"}
            assert len(up) == len(eligible)


@pytest.mark.parametrize(
    ("count", "words"), [(1, "registered on 1 server, but none"), (2, "registered on 2 servers, but none")]
)
def test_a_refusal_says_how_many_servers_there_are(count: int, words: str) -> None:
    verdict = decide(build_snapshot([server(f"down-{index}", DOWN) for index in range(count)]))
    assert isinstance(verdict, Await)
    assert words in verdict.error.message
    assert "'llama'" in verdict.error.message


def test_waits_only_when_capacity_is_what_is_missing() -> None:
    snapshot = build_snapshot([server("one", cap=1), server("two", cap=1)])
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
