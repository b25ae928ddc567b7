"""Balancing: who may be taken, who goes first, and how traffic spreads."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.core.choice.balancing import Cooling, Full, choose
from app.services.core.choice.snapshot import Candidate
from app.services.core.live.board import Board
from app.services.core.retry import Failure
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
NOW = 1000.0
MODEL = ModelEntry("llama", "llama")


@dataclass(frozen=True)
class Place:
    """One server as a test lays it out."""

    priority: int = 0
    weight: float = 1.0
    cap: int | None = None
    in_flight: int = 0
    cooling: bool = False
    suspect: bool = False
    shut: bool = False
    ramp_seconds: float = 30.0
    tried: bool = False
    first_token_seconds: float = 0.0

    @property
    def full(self) -> bool:
        return self.cap is not None and self.in_flight >= self.cap

    @property
    def open(self) -> bool:
        """Whether nothing but its load stands against it."""
        return not (self.tried or self.cooling or self.shut)


def lay_out(places: list[Place]) -> tuple[list[Candidate], Board, set[str]]:
    """Candidates named by their index, best priority first, with their lanes."""
    board, candidates, tried = Board(), [], set()
    for index, place in enumerate(places):
        server = Server(
            id=str(index),
            endpoint=Endpoint("http", f"server-{index}", 8000),
            models=(MODEL,),
            max_concurrency=place.cap,
            priority=place.priority,
            weight=place.weight,
            health=HealthStatus.HEALTHY,
        )
        candidates.append(Candidate(server, MODEL))
        lane = board.lane(server.id)
        lane.returned(NOW - place.ramp_seconds)
        lane.answered(place.first_token_seconds, NOW)
        if place.cooling:
            lane.cool(NOW, 1)
        if place.suspect and not place.shut:
            lane.failed(Failure.FAILED, NOW, random.random, NOW)
        for _failure in range(5 if place.shut else 0):
            lane.failed(Failure.FAILED, NOW, random.random, NOW)
        lane.in_flight = place.in_flight
        if place.tried:
            tried.add(server.id)
    candidates.sort(key=lambda candidate: -candidate.server.priority)
    return candidates, board, tried


def draw(places: list[Place], times: int, seed: int = 7) -> Counter[int]:
    candidates, board, tried = lay_out(places)
    dice = random.Random(seed)
    drawn: Counter[int] = Counter()
    for _time in range(times):
        chosen = choose(candidates, board, tried, NOW, dice.random)
        assert isinstance(chosen, Candidate)
        drawn[int(chosen.server.id)] += 1
    return drawn


PLACES = st.lists(
    st.builds(
        Place,
        priority=st.integers(-1, 1),
        weight=st.floats(0.01, 1000),
        cap=st.none() | st.integers(0, 3),
        in_flight=st.integers(0, 4),
        cooling=st.booleans(),
        suspect=st.booleans(),
        shut=st.booleans(),
        ramp_seconds=st.floats(0, 40),
        tried=st.booleans(),
        first_token_seconds=st.floats(0, 10),
    ),
    max_size=6,
)
DICE = st.floats(0, 1, exclude_max=True)


@given(PLACES, st.lists(DICE, min_size=2, max_size=2))
@example([Place(suspect=True, priority=1), Place(suspect=True)], [0.9, 0.9])
@example([Place(suspect=True, priority=1), Place()], [0.0, 0.0])
def test_the_choice_keeps_to_the_rules(places: list[Place], dice: list[float]) -> None:
    candidates, board, tried = lay_out(places)
    chosen = choose(candidates, board, tried, NOW, iter(dice).__next__)
    may_be_taken = [place for place in places if place.open and not place.full]
    if isinstance(chosen, Candidate):
        taken = places[int(chosen.server.id)]
        assert taken in may_be_taken
        alike = [place for place in may_be_taken if place.suspect is taken.suspect]
        assert not taken.suspect or len(alike) == len(may_be_taken), "a sound server was passed over"
        assert taken.priority == max(place.priority for place in alike)
    else:
        assert not may_be_taken
        held_up = any(place.open and place.full for place in places)
        cools = any(place.cooling and not place.tried for place in places)
        expected = Full if held_up else Cooling if cools else type(None)
        assert isinstance(chosen, expected)


@given(PLACES, DICE)
def test_choosing_changes_nothing(places: list[Place], dice: float) -> None:
    candidates, board, tried = lay_out(places)
    before = [(lane.in_flight, lane.suspect_until, lane.cooling_until) for lane in board.lanes.values()]
    choose(candidates, board, tried, NOW, lambda: dice)
    assert before == [(lane.in_flight, lane.suspect_until, lane.cooling_until) for lane in board.lanes.values()]


def test_nobody_is_chosen_of_none() -> None:
    assert choose([], Board(), (), NOW, random.random) is None


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 1, 1, 1], [3, 1], [1, 2, 4], [0.01, 0.03], [1000, 500, 500]])
def test_idle_servers_share_traffic_by_weight(weights: list[float]) -> None:
    times = 20_000
    drawn = draw([Place(weight=weight) for weight in weights], times)
    for index, weight in enumerate(weights):
        assert drawn[index] / times == pytest.approx(weight / sum(weights), abs=0.02)


def test_a_lower_tier_gets_nothing_while_a_higher_one_has_room() -> None:
    places = [Place(priority=0), Place(priority=5), Place(priority=5, in_flight=50), Place(priority=0, weight=1000)]
    assert set(draw(places, 500)) <= {1, 2}


def test_a_lower_tier_takes_over_when_the_higher_is_full_cooling_tried_or_suspect() -> None:
    out_of_play = [
        Place(priority=5, cap=2, in_flight=2),
        Place(priority=5, cooling=True),
        Place(priority=5, tried=True),
        Place(priority=5, suspect=True),
        Place(priority=5, shut=True),
    ]
    assert set(draw([*out_of_play, Place(), Place()], 200)) == {5, 6}


def test_the_less_loaded_of_two_is_taken() -> None:
    assert draw([Place(in_flight=3), Place(in_flight=1)], 200) == {1: 200}


def test_an_idle_server_goes_before_a_busy_one() -> None:
    assert draw([Place(in_flight=1), Place()], 200) == {1: 200}


def test_load_is_seen_in_proportion_to_weight() -> None:
    assert draw([Place(in_flight=5, weight=4), Place(in_flight=2, weight=1)], 200) == {0: 200}
    assert draw([Place(in_flight=3, weight=1), Place(in_flight=1, weight=4)], 200) == {1: 200}


def test_between_about_equally_busy_ones_the_draw_decides() -> None:
    drawn = draw([Place(in_flight=2, weight=2), Place(in_flight=6, weight=6)], 10_000)
    assert drawn[0] / 10_000 == pytest.approx(0.25, abs=0.02)


def test_the_faster_of_two_equally_busy_ones_is_taken() -> None:
    places = [Place(in_flight=2, first_token_seconds=0.9), Place(in_flight=2, first_token_seconds=0.1)]
    assert draw(places, 200) == {1: 200}


def test_between_idle_ones_speed_does_not_count() -> None:
    drawn = draw([Place(first_token_seconds=0.9), Place(first_token_seconds=0.1)], 10_000)
    assert drawn[0] / 10_000 == pytest.approx(0.5, abs=0.02)


def test_the_busiest_of_many_is_never_taken() -> None:
    drawn = draw([Place(in_flight=9), *[Place(in_flight=1)] * 4], 2000)
    assert drawn[0] == 0
    assert set(drawn) == {1, 2, 3, 4}


def test_many_requests_at_once_spread_by_weight() -> None:
    """Two choices keep what is in flight close to the weights, without looking at every server."""
    candidates, board, _tried = lay_out([Place(weight=weight) for weight in (1, 1, 2, 4)])
    dice = random.Random(7)
    for _request in range(800):
        chosen = choose(candidates, board, (), NOW, dice.random)
        assert isinstance(chosen, Candidate)
        board.lane(chosen.server.id).in_flight += 1
    for index, share in enumerate((100, 100, 200, 400)):
        assert board.in_flight(str(index)) == pytest.approx(share, rel=0.1)


def test_full_and_cooling_end_in_time() -> None:
    candidates, board, _tried = lay_out([Place(cooling=True, suspect=True)])
    still = choose(candidates, board, (), NOW + 0.9, random.random)
    assert isinstance(still, Cooling)
    assert still.seconds == pytest.approx(0.1)
    assert choose(candidates, board, (), NOW + 1, random.random) is candidates[0]


def test_suspects_are_taken_when_nobody_else_is_left() -> None:
    assert draw([Place(suspect=True), Place(cap=0)], 20) == {0: 20}
    assert set(draw([Place(suspect=True), Place(suspect=True)], 100)) == {0, 1}
    assert draw([Place(suspect=True), Place(suspect=True, priority=1)], 50) == {1: 50}


def test_rounding_never_leaves_the_draw_empty() -> None:
    weights = [1.49, 0.71, 0.7]  # taken off one by one they leave a little of their sum
    candidates, board, _tried = lay_out([Place(weight=weight) for weight in weights])
    assert choose(candidates, board, (), NOW, lambda: 1 - 2**-53) is candidates[-1]


def test_a_server_that_came_back_gets_a_growing_part_of_its_weight() -> None:
    for ramp_seconds, share in ((0, 0.1), (6, 0.2), (15, 0.5), (30, 1.0)):
        drawn = draw([Place(ramp_seconds=ramp_seconds), Place(), Place()], 20_000)
        assert drawn[0] / 20_000 == pytest.approx(share / (2 + share), abs=0.01)


def test_its_load_counts_for_more_while_it_ramps() -> None:
    assert draw([Place(in_flight=3, ramp_seconds=3), Place(in_flight=20)], 200) == {1: 200}
    assert draw([Place(in_flight=1, ramp_seconds=3), Place(in_flight=20)], 200) == {0: 200}


def test_nobody_is_chosen_of_ejected_ones() -> None:
    candidates, board, _tried = lay_out([Place(shut=True), Place(shut=True)])
    assert choose(candidates, board, (), NOW, random.random) is None


def test_an_ejected_server_whose_time_is_over_is_tried_by_one_request() -> None:
    candidates, board, _tried = lay_out([Place(shut=True)])
    later = NOW + 5
    assert choose(candidates, board, (), later, random.random) is candidates[0]
    board.lane("0").take(later)
    assert choose(candidates, board, (), later, random.random) is None


def test_a_server_that_refused_for_load_is_full_at_its_cap() -> None:
    candidates, board, _tried = lay_out([Place(in_flight=4)])
    board.lane("0").overloaded(NOW, NOW)
    assert isinstance(choose(candidates, board, (), NOW, random.random), Full)
    board.lane("0").in_flight = 1
    assert choose(candidates, board, (), NOW, random.random) is candidates[0]
