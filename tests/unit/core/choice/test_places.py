"""Places of different kinds: who gets how much, where some tell a thousand, some four, and some nothing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.load import load
from app.services.core.choice.places import MOST_COUNTED, USUAL_PLACES, places_of, strength_of
from app.services.core.choice.plan import Forward, plan
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.live.board import Board
from app.services.core.signals import Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

NOW = 1000.0
STEP_SECONDS = 0.05


def server(name: str, engine: str = "unknown", **members: object) -> Server:
    return Server(
        name,
        Endpoint("http", name, 80),
        (ModelEntry("llama", "llama"),),
        engine=engine,
        health=HealthStatus.HEALTHY,
        **members,  # type: ignore[arg-type]
    )


@dataclass
class Simulated:
    """Clients that keep so many requests in flight, on servers that compute so many at once, each for so long."""

    servers: dict[str, Server]
    computes: dict[str, int]
    seconds: dict[str, float]
    in_flight: int
    taken: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    def run(self, requests: int) -> None:
        snapshot, board, draw = build_snapshot(self.servers.values()), Board(), random.Random(3)
        queues: dict[str, list[float]] = {name: [] for name in self.servers}  # of those that run or wait: seconds left
        while self.taken.total() < requests:
            for name, queue in queues.items():
                running = self.computes[name]
                queue[:running] = [left - STEP_SECONDS for left in queue[:running]]
                ended = sum(left <= 0.0 for left in queue[:running])
                queue[:] = [left for left in queue if left > 0.0]
                board.lane(name).in_flight -= ended
            while sum(map(len, queues.values())) < self.in_flight:
                verdict = plan("llama", snapshot, board, (), NOW, draw.random)
                assert isinstance(verdict, Forward)
                name = verdict.candidate.server.id
                board.lane(name).take(NOW)
                queues[name].append(self.seconds[name] * draw.uniform(0.5, 1.5))
                self.taken[name] += 1
                self.most[name] = max(self.most[name], len(queues[name]))

    def share(self, name: str) -> float:
        return self.taken[name] / self.taken.total()


@pytest.mark.parametrize("in_flight", [10, 32, 100])
@pytest.mark.parametrize("told", [1024, 256, 64])
def test_an_engine_that_tells_a_thousand_leaves_one_as_fast_its_half(told: int, in_flight: int) -> None:
    pair = {"vllm": server("vllm", "vllm"), "sglang": server("sglang", "sglang", places=told)}
    simulated = Simulated(pair, dict.fromkeys(pair, 256), dict.fromkeys(pair, 1.0), in_flight)
    simulated.run(3000)
    assert 0.45 < simulated.share("vllm") < 0.55


@pytest.mark.parametrize("in_flight", [10, 40, 60])
@pytest.mark.parametrize(
    ("engine", "told", "computes"),
    [("llama.cpp", 4, 4), ("ollama", None, 2), ("lmstudio", None, 4), ("unknown", None, 4)],
)
def test_a_laptop_beside_a_large_engine_is_not_overrun(
    engine: str, told: int | None, computes: int, in_flight: int
) -> None:
    pair = {"vllm": server("vllm", "vllm"), "laptop": server("laptop", engine, places=told)}
    simulated = Simulated(pair, {"vllm": 64, "laptop": computes}, {"vllm": 1.0, "laptop": 3.0}, in_flight)
    simulated.run(2000)
    assert simulated.most["laptop"] <= computes, "nobody waits there while the other has a free place"
    assert simulated.taken["laptop"] > 0


def test_where_both_are_full_the_laptop_has_no_longer_queue_than_the_other() -> None:
    pair = {"vllm": server("vllm", "vllm"), "laptop": server("laptop", "llama.cpp", places=4)}
    simulated = Simulated(pair, {"vllm": 64, "laptop": 4}, {"vllm": 1.0, "laptop": 3.0}, in_flight=160)
    simulated.run(4000)
    assert simulated.most["laptop"] <= 4 * 3


@pytest.mark.parametrize(
    ("engine", "usual"),
    [("vllm", 64), ("sglang", 64), ("tgi", 64), ("ollama", 2), ("llama-cpp-python", 1), ("lmstudio", USUAL_PLACES)],
)
def test_what_is_usual_for_an_engine_counts_where_nobody_tells(engine: str, usual: int) -> None:
    assert places_of(server("one", engine)) == usual
    assert places_of(server("one", engine, places=7)) == 7
    assert places_of(server("one", engine, max_concurrency=9)) == 9
    assert places_of(server("one", engine, places=7, max_concurrency=3)) == 3


@given(st.integers(-(10**40), 10**40), st.none() | st.integers(-5, 10**9), st.sampled_from([0.01, 1.0, 1000.0]))
def test_no_word_of_an_engine_makes_it_more_than_sixty_four_times_as_strong(
    told: int, bound: int | None, weight: float
) -> None:
    one = server("one", places=told, max_concurrency=bound, weight=weight)
    assert 1 <= places_of(one) <= 1024
    assert weight <= strength_of(one, places_of(one)) <= MOST_COUNTED * weight


def test_what_was_seen_to_run_with_nothing_waiting_counts_as_places() -> None:
    candidate = build_snapshot([server("one", weight=2.0)]).routes["llama"].ready[0]
    lane = Board().lane("one")
    lane.in_flight = 20
    assert load(candidate, lane, NOW, 4) == 24 / 8
    lane.told(Signals(running=20, waiting=0), NOW)
    assert load(candidate, lane, NOW, 4) == 24 / 40
    lane.told(Signals(running=10**6, waiting=0), NOW)
    lane.told(Signals(), NOW)
    assert load(candidate, lane, NOW, 4) == 24 / (2 * MOST_COUNTED)


def test_one_that_was_seen_to_compute_many_is_taken_before_one_that_was_not() -> None:
    snapshot, board = build_snapshot([server("seen"), server("plain"), server("other", weight=2.0)]), Board()
    for name, in_flight in (("seen", 12), ("plain", 6), ("other", 12)):
        board.lane(name).in_flight = in_flight
    board.lane("seen").told(Signals(running=12, waiting=0), NOW)
    one, two = (snapshot.routes["llama"].by_id[name] for name in ("seen", "plain"))
    assert load(one, board.lane("seen"), NOW, 1) < load(two, board.lane("plain"), NOW)
    draw = random.Random(5)
    verdicts = [plan("llama", snapshot, board, (), NOW, draw.random) for _try in range(200)]
    counts = Counter(verdict.candidate.server.id for verdict in verdicts if isinstance(verdict, Forward))
    assert counts["seen"] > counts["plain"]
