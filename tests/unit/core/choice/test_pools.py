"""Whole pools, drawn at random: who is never sent a request, who gets how much, and who goes first."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.services.core.choice.load import has_model, is_crowded, is_open
from app.services.core.choice.plan import Await, Forward, Queue, Refuse, plan
from app.services.core.choice.snapshot import Candidate, Snapshot, build_snapshot
from app.services.core.live.board import Board, Lane
from app.services.core.prompt.contexts import Room, room_at
from app.services.core.prompt.demand import Demand, Home
from app.services.core.retry import Failure
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
NOW = 1000.0
UP, UNKNOWN, DOWN = HealthStatus.HEALTHY, HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY


@dataclass(frozen=True)
class Shape:
    """One server as a test lays it out."""

    health: HealthStatus = UP
    held: str = ""
    trouble: str = ""
    priority: int = 0
    weight: float = 1.0
    cap: int | None = None
    places: int | None = None
    in_flight: int = 0
    foreign: int = 0
    context: int | None = None
    loaded: bool | None = None
    swaps: bool = False
    missing: bool = False
    tried: bool = False


SHAPES = st.builds(
    Shape,
    health=st.sampled_from([UP, UP, UP, UNKNOWN, DOWN]),
    held=st.sampled_from(["", "", "", "", "paused", "quarantined", "blocked", "draining", "misconfigured"]),
    trouble=st.sampled_from(["", "", "", "suspect", "cools", "ejected", "ramps", "capped"]),
    priority=st.integers(0, 1),
    weight=st.sampled_from([0.01, 1.0, 1.0, 2.5, 1000.0]),
    cap=st.sampled_from([None, None, 0, 1, 3]),
    places=st.sampled_from([None, 1, 8]),
    in_flight=st.sampled_from([0, 0, 1, 2, 30]),
    foreign=st.sampled_from([0, 0, 5]),
    context=st.sampled_from([None, 2048, 8192, 131_072]),
    loaded=st.sampled_from([None, True, False]),
    swaps=st.booleans(),
    missing=st.sampled_from([False, False, False, True]),
    tried=st.sampled_from([False, False, False, True]),
)
DEMANDS = st.none() | st.builds(
    Demand,
    least_tokens=st.sampled_from([0, 500, 5000]),
    prompt_tokens=st.sampled_from([0, 1000, 9000, 200_000]),
    answer_tokens=st.sampled_from([0, 500]),
    homes=st.lists(
        st.builds(Home, st.integers(0, 9).map(str), st.just(9000), st.sampled_from(["session", "prefix"])), max_size=3
    ).map(tuple),
)


def server(name: str, shape: Shape) -> Server:
    others = (ModelEntry("other", "other"),) if shape.swaps else ()
    return Server(
        name,
        Endpoint("http", f"server-{name}", 80),
        (ModelEntry("llama", "up", shape.context), *others),
        health=shape.health,
        max_concurrency=shape.cap,
        priority=shape.priority,
        weight=shape.weight,
        places=shape.places,
        loaded=None if shape.loaded is None else frozenset({"up"} if shape.loaded else ()),
        swaps_models=shape.swaps,
        missing_models=frozenset({"up"} if shape.missing else ()),
        **({shape.held: True} if shape.held else {}),  # type: ignore[arg-type]
    )


def befall(lane: Lane, shape: Shape) -> None:
    lane.in_flight = shape.in_flight
    if shape.foreign:
        lane.told(Signals(running=shape.in_flight + shape.foreign), NOW)
    match shape.trouble:
        case "suspect":
            lane.failed(Failure.FAILED, NOW, random.random, NOW)
        case "cools":
            lane.cool(NOW, 5)
        case "ejected":
            for _failure in range(5):
                lane.failed(Failure.FAILED, NOW, random.random, NOW)
        case "ramps":
            lane.returned(NOW - 10)
        case "capped":
            lane.overloaded(NOW, NOW)
        case _:
            pass


def lay_out(shapes: list[Shape]) -> tuple[Snapshot, Board, list[str]]:
    servers = [server(str(place), shape) for place, shape in enumerate(shapes)]
    snapshot, board = build_snapshot(servers), Board()
    board.keep(snapshot.servers)
    for single, shape in zip(servers, shapes, strict=True):
        befall(board.lane(single.id), shape)
    return snapshot, board, [str(place) for place, shape in enumerate(shapes) if shape.tried]


def may_ever(candidate: Candidate, shape: Shape, demand: Demand | None) -> bool:
    held = shape.held or shape.missing or shape.health is DOWN
    return not held and (demand is None or room_at(candidate, demand) is not Room.NONE)


@settings(max_examples=400)
@given(st.lists(SHAPES, min_size=1, max_size=9), DEMANDS, st.integers(0, 2**32))
@example([Shape(loaded=False, priority=1), Shape(loaded=True)], None, 0)
@example([Shape(loaded=False), Shape(loaded=True, trouble="suspect")], None, 0)
@example([Shape(context=8192), Shape(context=8192, priority=1)], Demand(prompt_tokens=9000), 0)
def test_nobody_is_sent_a_request_who_may_not_have_it(shapes: list[Shape], demand: Demand | None, seed: int) -> None:
    snapshot, board, tried = lay_out(shapes)
    verdict = plan("llama", snapshot, board, tried, NOW, random.Random(seed).random, demand=demand)
    route = snapshot.routes["llama"]
    ever = [
        candidate
        for candidate in (*route.ready, *route.standby)
        if may_ever(candidate, shapes[int(candidate.server.id)], demand) and candidate.server.id not in tried
    ]
    fit = [candidate for candidate in ever if is_open(candidate, board.lane(candidate.server.id), NOW)]
    if not isinstance(verdict, Forward):
        could = [candidate for candidate in fit if candidate.server.health is UP]
        if isinstance(verdict, Queue) and demand is not None:  # who hardly has room is no reason not to wait
            could = [candidate for candidate in could if room_at(candidate, demand) is not Room.UNLIKELY]
        assert not could, verdict
        if isinstance(verdict, Refuse) and verdict.error.status == 400:
            assert demand is not None
            assert all(room_at(each, demand) is Room.NONE for each in (*route.ready, *route.standby, *route.down))
        return
    taken = verdict.candidate
    lane = board.lane(taken.server.id)
    assert any(taken is candidate for candidate in ever)
    assert lane.cooling_until <= NOW
    assert not lane.is_shut(NOW)
    assert lane.has_room(taken.server.max_concurrency)
    assert lane.residence is None or lane.residence.is_open("up", NOW)
    alike = [
        candidate
        for candidate in fit
        if candidate.server.health is taken.server.health
        and (demand is None or room_at(candidate, demand) <= room_at(taken, demand))
    ]
    if lane.suspect_until > NOW:
        assert not alike, "a sound one was passed over"
    else:
        assert taken.server.priority == max(candidate.server.priority for candidate in alike)
    assert taken.server.health is UP or not [each for each in fit if each.server.health is UP]
    if demand is not None and room_at(taken, demand) is Room.UNSURE:
        assert not [each for each in alike if room_at(each, demand) is Room.SURE], "one that surely fits goes first"
    if not has_model(taken, lane, NOW) and lane.suspect_until <= NOW:
        warm = [(each, board.lane(each.server.id)) for each in alike if each.server.priority == taken.server.priority]
        having = [each for each in warm if has_model(*each, NOW)]
        assert not having or any(is_crowded(*each, NOW) for each in having), "it is in memory elsewhere, with room"


@given(st.lists(SHAPES, min_size=1, max_size=9), DEMANDS, st.integers(0, 2**32))
def test_planning_leaves_the_lanes_as_they_are(shapes: list[Shape], demand: Demand | None, seed: int) -> None:
    snapshot, board, tried = lay_out(shapes)
    dice = random.Random(seed)

    def state() -> list[object]:
        return [
            (lane.in_flight, lane.closer_look_until, lane.breaker, lane.foreign(NOW)) for lane in board.lanes.values()
        ]

    for name in snapshot.servers:
        board.lane(name)
    before = state()
    first = plan("llama", snapshot, board, tried, NOW, dice.random, demand=demand)
    assert state() == before
    again = plan("llama", snapshot, board, tried, NOW, dice.random, demand=demand)
    assert type(first) is type(again)


# -- shares


def shares(weights: list[float], busy: int, times: int, seed: int = 7, **members: float) -> list[float]:
    """What each server gets of requests of one length, of which so many run at once; 0: none."""
    shapes = [Shape(weight=weight, **members) for weight in weights]  # type: ignore[arg-type]
    snapshot, board, _tried = lay_out(shapes)
    dice, running, drawn = random.Random(seed), deque[Lane](), Counter[str]()
    for count in range(times + 5 * busy):
        verdict = plan("llama", snapshot, board, (), NOW, dice.random)
        assert isinstance(verdict, Forward)
        drawn[verdict.candidate.server.id] += count >= 5 * busy
        lane = board.lane(verdict.candidate.server.id)
        lane.take(NOW)
        running.append(lane)
        if len(running) > busy:
            running.popleft().give_back(NOW, NOW)
    return [drawn[str(place)] / times for place in range(len(weights))]


WEIGHTS = st.lists(st.floats(0.1, 10.0), min_size=2, max_size=6)


@settings(max_examples=12, deadline=None)
@given(WEIGHTS, st.integers(0, 2**32))
def test_idle_servers_get_what_their_weights_say(weights: list[float], seed: int) -> None:
    for got, weight in zip(shares(weights, 0, 10_000, seed), weights, strict=True):
        assert got == pytest.approx(weight / sum(weights), abs=0.02)


@settings(max_examples=8, deadline=None)
@given(WEIGHTS, st.integers(0, 2**32))
@example([1.0, 4.0], 7)
@example([1.0, 1.0, 2.0, 4.0], 7)
def test_busy_servers_get_what_their_weights_say(weights: list[float], seed: int) -> None:
    for got, weight in zip(shares(weights, 20 * len(weights), 6_000, seed), weights, strict=True):
        assert got == pytest.approx(weight / sum(weights), abs=0.02)


@pytest.mark.parametrize("busy", [1, 2, 4, 8])
@pytest.mark.parametrize("weights", [[1, 1], [1, 4], [1, 2, 4], [1, 1, 2, 4], [1, 1, 1, 5, 5, 5]])
def test_at_any_load_nobody_starves(weights: list[float], busy: int) -> None:
    for got, weight in zip(shares(weights, busy, 8000), weights, strict=True):
        assert got > 0.4 * weight / sum(weights)


@pytest.mark.parametrize("count", [2, 10, 40, 1000])
def test_every_fit_server_is_drawn_before_long(count: int) -> None:
    """Idle or busy alike, even and uneven. Collectors of coupons need 8 draws for each of 1,000, half as likely 15."""
    for weights in ([1.0] * count, [1.0 + place % 2 for place in range(count)]):
        for busy in (0, 3):
            shapes = [Shape(weight=weight, in_flight=int(busy * weight)) for weight in weights]
            snapshot, board, _tried = lay_out(shapes)
            dice, drawn = random.Random(5), set()
            for _time in range(25 * count):
                verdict = plan("llama", snapshot, board, (), NOW, dice.random)
                assert isinstance(verdict, Forward)
                drawn.add(verdict.candidate.server.id)
            assert len(drawn) == count


def test_a_larger_server_holds_more_in_proportion_to_its_places() -> None:
    snapshot, board, _tried = lay_out([Shape(places=2), Shape(places=8), Shape(places=8)])
    dice = random.Random(5)
    for _request in range(360):
        verdict = plan("llama", snapshot, board, (), NOW, dice.random)
        assert isinstance(verdict, Forward)
        board.lane(verdict.candidate.server.id).take(NOW)
    for place, share in enumerate((40, 160, 160)):
        assert board.in_flight(str(place)) == pytest.approx(share, rel=0.1)


def test_foreign_requests_count_as_much_as_ours() -> None:
    snapshot, board, _tried = lay_out([Shape(foreign=30), Shape(), Shape()])
    dice = random.Random(5)
    for _request in range(60):
        verdict = plan("llama", snapshot, board, (), NOW, dice.random)
        assert isinstance(verdict, Forward)
        board.lane(verdict.candidate.server.id).take(NOW)
    assert board.in_flight("0") < 5
    for _request in range(60):
        verdict = plan("llama", snapshot, board, (), NOW + 31, dice.random)
        assert isinstance(verdict, Forward)
        board.lane(verdict.candidate.server.id).take(NOW + 31)
    assert board.in_flight("0") == pytest.approx(40, abs=4), "it is long ago that it was told of them"


def test_a_server_with_a_full_cache_is_taken_for_twice_as_busy() -> None:
    snapshot, board, _tried = lay_out([Shape(in_flight=6), Shape(in_flight=9)])
    board.lane("0").told(Signals(running=4, waiting=2, cache_used=0.99), NOW)
    dice = random.Random(5)
    names = {plan("llama", snapshot, board, (), NOW, dice.random).candidate.server.id for _try in range(100)}  # type: ignore[union-attr]
    assert names == {"1"}


@pytest.mark.parametrize("count", [20, 1000])
@pytest.mark.parametrize("fit", [0, 1, 3])
def test_the_few_that_may_be_taken_are_found_in_a_large_pool(count: int, fit: int) -> None:
    shapes = [Shape(trouble="ejected")] * (count - fit) + [Shape()] * fit
    snapshot, board, _tried = lay_out(shapes)
    verdicts = [plan("llama", snapshot, board, (), NOW, random.random) for _try in range(30)]
    if fit == 0:
        assert all(isinstance(verdict, Await) for verdict in verdicts)
    else:
        taken = {int(verdict.candidate.server.id) for verdict in verdicts}  # type: ignore[union-attr]
        assert taken == set(range(count - fit, count))


def test_a_large_pool_that_is_full_makes_requests_wait() -> None:
    snapshot, board, _tried = lay_out([Shape(cap=1, in_flight=1, weight=1.0 + place % 2) for place in range(50)])
    assert isinstance(plan("llama", snapshot, board, (), NOW, random.random), Queue)
    board.lane("7").give_back(NOW, NOW)
    verdict = plan("llama", snapshot, board, (), NOW, random.random)
    assert isinstance(verdict, Forward)
    assert verdict.candidate.server.id == "7"


def test_the_gaming_pc_goes_first_when_it_is_on() -> None:
    pc = Shape(priority=10, cap=2)
    shapes = [pc, *[Shape(weight=1000.0)] * 5]
    for health, trouble, in_flight, expected in (
        (UP, "", 0, {"0"}),
        (UP, "", 1, {"0"}),
        (UP, "", 2, {"1", "2", "3", "4", "5"}),
        (DOWN, "", 0, {"1", "2", "3", "4", "5"}),
        (UP, "cools", 0, {"1", "2", "3", "4", "5"}),
    ):
        shapes[0] = replace(pc, health=health, trouble=trouble, in_flight=in_flight)
        snapshot, board, _tried = lay_out(shapes)
        verdicts = [plan("llama", snapshot, board, (), NOW, random.random) for _try in range(100)]
        assert {verdict.candidate.server.id for verdict in verdicts} == expected  # type: ignore[union-attr]
