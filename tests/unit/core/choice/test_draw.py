"""Does the quick draw take only whom the full rules would take, and share as they do?"""

from __future__ import annotations

import random
from collections import Counter
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.balancing import choose
from app.services.core.choice.draw import draw
from app.services.core.choice.load import load
from app.services.core.choice.snapshot import Candidate, Route, build_snapshot
from app.services.core.live.board import Board, Lane
from app.services.core.retry import Failure
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
MODEL = ModelEntry("llama", "llama")


def make_server(index: int, *, priority: int = 0, weight: float = 1.0, cap: int | None = None) -> Server:
    return Server(
        id=str(index),
        endpoint=Endpoint("http", f"server-{index}", 8000),
        models=(MODEL,),
        max_concurrency=cap,
        priority=priority,
        weight=weight,
        health=HealthStatus.HEALTHY,
    )


def route_of(servers: list[Server]) -> tuple[Route, Board]:
    route, board = build_snapshot(servers).routes["llama"], Board()
    for server in servers:
        board.lane(server.id)
    return route, board


SERVERS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([1.0, 2.0]), st.none() | st.integers(1, 2)), min_size=1, max_size=5
)


def befall(lane: Lane, trouble: str) -> None:
    """Bring a lane into trouble."""
    match trouble:
        case "suspect":
            lane.failed(Failure.FAILED, NOW, random.random, NOW)
        case "cools":
            lane.cool(NOW, 1)
        case "ejected" | "due":
            ejected_at = NOW if trouble == "ejected" else NOW - 5
            for _failure in range(5):
                lane.failed(Failure.FAILED, ejected_at, random.random, ejected_at)
        case "ramps":
            lane.returned(NOW - 10)
        case "capped":
            lane.in_flight = 4
            lane.overloaded(NOW, NOW)
        case _:
            pass


TROUBLES = st.sampled_from(["", "", "suspect", "cools", "ejected", "due", "ramps", "capped"])
LANES = st.tuples(st.integers(0, 3), TROUBLES, st.floats(0, 2))


@given(SERVERS, st.data(), st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
def test_it_takes_nobody_whom_the_rules_would_not(
    shapes: list[tuple[int, float, int | None]], data: st.DataObject, dice: list[float]
) -> None:
    servers = [make_server(index, priority=rank, weight=weight, cap=cap)
               for index, (rank, weight, cap) in enumerate(shapes)]  # fmt: skip
    route, board = route_of(servers)
    for server in servers:
        in_flight, trouble, seconds = data.draw(LANES)
        lane = board.lane(server.id)
        lane.answered(seconds, NOW)
        befall(lane, trouble)
        lane.in_flight = in_flight
    taken = draw(route, board, NOW, cycle(dice).__next__)
    if taken is not None:
        possible = {
            chosen.server.id
            for _try in range(60)
            if isinstance(chosen := choose(route.ready, board, (), NOW, random.random), Candidate)
        }
        lane = board.lane(taken.server.id)
        assert lane.suspect_until <= NOW >= lane.cooling_until
        assert not lane.is_shut(NOW)
        assert lane.has_room(taken.server.max_concurrency)
        assert taken.server.priority == max(server.priority for server in servers)
        by_id = {candidate.server.id: candidate for candidate in route.ready}
        loads = [load(by_id[server_id], board.lane(server_id), NOW) for server_id in possible]
        assert lane.in_flight == 0 or max(loads) >= load(taken, lane, NOW)


@pytest.mark.parametrize("count", [2, 3, 4, 10])
@pytest.mark.parametrize("ramped_seconds", [3, 15, 27])
def test_one_that_ramps_gets_about_the_share_that_the_full_rules_give_it(count: int, ramped_seconds: int) -> None:
    route, board = route_of([make_server(index) for index in range(count)])
    board.lane("0").returned(NOW - ramped_seconds)
    dice, times = random.Random(3), 20_000
    drawn = 0
    for _time in range(times):
        taken = draw(route, board, NOW, dice.random) or choose(route.ready, board, (), NOW, dice.random)
        drawn += isinstance(taken, Candidate) and taken.server.id == "0"
    share = ramped_seconds / 30
    assert drawn / times == pytest.approx(share / (count - 1 + share), rel=0.2, abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_idle_equals_share_evenly(count: int) -> None:
    route, board = route_of([make_server(index) for index in range(count)])
    dice, times = random.Random(3), 10_000
    drawn = Counter(
        taken.server.id for _time in range(times) if (taken := draw(route, board, NOW, dice.random)) is not None
    )
    assert drawn.total() == times
    for share in drawn.values():
        assert share / times == pytest.approx(1 / count, abs=0.03)


def test_the_less_busy_of_two_is_taken_and_then_the_quicker() -> None:
    route, board = route_of([make_server(0), make_server(1)])
    board.lane("0").in_flight = 2
    board.lane("1").in_flight = 1
    for first in (0.0, 0.9):
        taken = draw(route, board, NOW, lambda drawn=first: drawn)  # type: ignore[misc]
        assert taken is not None
        assert taken.server.id == "1"
    board.lane("1").in_flight = 2
    board.lane("0").first_token_ewma_seconds = 1.0
    board.lane("1").first_token_ewma_seconds = 2.0
    for first in (0.0, 0.9):
        taken = draw(route, board, NOW, lambda drawn=first: drawn)  # type: ignore[misc]
        assert taken is not None
        assert taken.server.id == "0"


def test_what_takes_a_closer_look_is_left() -> None:
    for count in (1, 2):
        for trouble in ("suspect", "cools", "ejected", "capped"):
            route, board = route_of([make_server(index) for index in range(count)])
            for server_id in list(board.lanes):
                befall(board.lane(server_id), trouble)
            assert draw(route, board, NOW, random.random) is None
    assert draw(Route("x", (), (), (), 0, None), Board(), NOW, random.random) is None


def test_servers_that_are_new_are_drawn_too() -> None:
    route, _board = route_of([make_server(0), make_server(1)])
    drawn = {taken.server.id for _try in range(100) if (taken := draw(route, Board(), NOW, random.random))}
    assert drawn == {"0", "1"}
    only, _board = route_of([make_server(0)])
    assert draw(only, Board(), NOW, random.random) is only.ready[0]


def test_a_full_one_is_left() -> None:
    for count in (1, 2):
        route, board = route_of([make_server(index, cap=2) for index in range(count)])
        for lane in board.lanes.values():
            lane.in_flight = 2
        assert draw(route, board, NOW, random.random) is None
