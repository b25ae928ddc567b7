"""What does a residence make of any requests that come to a laptop, simulated under a clock of its own?"""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.core.live.residence import (
    IDLE_SHARE,
    LONGEST_DWELL_SECONDS,
    LONGEST_WAIT_SECONDS,
    SHORTEST_DWELL_SECONDS,
    TOLD_LAG_SECONDS,
    Residence,
)
from tests.fakes.simulated_laptop import STEP_SECONDS, Gateway, Job, SimulatedLaptop, may_take, mean_wait

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
MODELS = "abcd"
LONGEST_RUN_SECONDS = 15.0
JOBS = st.lists(
    st.builds(
        Job,
        st.sampled_from(MODELS),
        st.integers(0, 600).map(lambda tenths: tenths / 10),
        st.integers(1, int(LONGEST_RUN_SECONDS * 10)).map(lambda tenths: tenths / 10),
    ),
    min_size=1,
    max_size=25,
)
LAPTOPS = st.builds(
    SimulatedLaptop,
    sizes=st.fixed_dictionaries({model: st.integers(1, 3) for model in MODELS}),
    memory=st.integers(3, 6),
    load_seconds=st.sampled_from([0.5, 3.0, 12.0, 70.0]),
    parallel=st.integers(1, 4),
)
LATE = st.integers(0, int(TOLD_LAG_SECONDS / STEP_SECONDS) - 1)


def copied(jobs: list[Job]) -> list[Job]:
    return [Job(job.model, job.asked_at, job.runs_seconds) for job in jobs]


@settings(max_examples=60)
@given(JOBS, LAPTOPS, LATE)
def test_all_are_served_in_time(jobs: list[Job], laptop: SimulatedLaptop, late: int) -> None:
    """A model waits for a turn of each of the others at most, and for what stands in line for its own."""
    dwell = min(max(laptop.load_seconds, SHORTEST_DWELL_SECONDS), LONGEST_DWELL_SECONDS)
    gateway = Gateway(laptop, Residence(), told_late_steps=late)
    turn = laptop.load_seconds + max(dwell, LONGEST_WAIT_SECONDS) + LONGEST_RUN_SECONDS + 1.0
    in_line = sum(job.runs_seconds for job in jobs)
    done = gateway.serve(jobs, at_most_seconds=math.inf)
    assert max(job.waited_seconds for job in done) <= len(MODELS) * turn + laptop.load_seconds + in_line


@settings(max_examples=60)
@given(JOBS, LAPTOPS, LATE)
def test_what_runs_at_once_fits_into_memory_at_once(jobs: list[Job], laptop: SimulatedLaptop, late: int) -> None:
    """So the engine has nothing to put out that is at work, and none has to wait in its line for a load."""

    def watch(gateway: Gateway) -> None:
        models = {job.model for job in gateway.open_jobs}
        assert sum(laptop.sizes[model] for model in models) <= laptop.memory

    Gateway(laptop, Residence(), told_late_steps=late, watch=watch).serve(jobs, at_most_seconds=math.inf)


@settings(max_examples=60)
@given(JOBS, st.sampled_from([0.5, 3.0, 12.0, 70.0]), LATE)
def test_a_turn_costs_one_load_and_lasts(jobs: list[Job], load_seconds: float, late: int) -> None:
    """Where no two fit, loads are no closer than a load and the least that a model stays."""
    laptop = SimulatedLaptop(dict.fromkeys(MODELS, 1), load_seconds=load_seconds)
    gateway = Gateway(laptop, Residence(), told_late_steps=late)
    gateway.serve(jobs, at_most_seconds=math.inf)
    assert len(laptop.loads) == gateway.cold_starts
    turn = load_seconds + IDLE_SHARE * SHORTEST_DWELL_SECONDS
    assert len(laptop.loads) <= 1 + gateway.now / turn


@given(JOBS, st.integers(4, 9), LATE)
def test_memory_for_all_makes_each_load_once(jobs: list[Job], memory: int, late: int) -> None:
    laptop = SimulatedLaptop(dict.fromkeys(MODELS, 1), memory=memory)
    Gateway(laptop, Residence(), told_late_steps=late).serve(jobs, at_most_seconds=math.inf)
    assert len(laptop.loads) == len({job.model for job in jobs})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["wish", "take", "began", "give_back", "told"]),
            st.sampled_from(MODELS),
            st.frozensets(st.sampled_from([*MODELS, "x", ""])),
            st.floats(0, 30),
        ),
        max_size=60,
    )
)
def test_any_order_of_events_leaves_it_whole(events: list[tuple[str, str, frozenset[str], float]]) -> None:
    residence, now = Residence(), 0.0
    for event, model, listed, later in events:
        now += later
        if event == "told":
            residence.told(listed, now)
        else:
            getattr(residence, event)(model, now)
        assert residence._here.keys().isdisjoint(residence._loading)
        assert residence._company == residence._here.keys() | residence._loading.keys()
        assert residence._used_at.keys() <= residence._here.keys()
        assert residence._loading.keys() <= residence._running.keys()
        assert (residence._stays_until < math.inf) or residence._loading
    for model in MODELS:  # when all have ended and left, anybody may come
        for _request in range(len(events)):
            residence.give_back(model, now)
    for model in MODELS:
        assert may_take(residence, model, now + 100.0)


@pytest.mark.parametrize(
    ("load_seconds", "gap_seconds", "fewer_loads", "shorter_waits"),
    [(5.0, 3.0, 3, 25), (15.0, 3.0, 9, 40), (40.0, 3.0, 20, 40), (40.0, 10.0, 5, 10)],
)
def test_two_models_do_not_thrash_one_laptop(
    load_seconds: float, gap_seconds: float, fewer_loads: int, shorter_waits: int
) -> None:
    """Ten minutes of requests for two models in turn, 2 s of work each, with and without a residence.

    How many times fewer loads there are at least, and how many times shorter the mean wait is.
    """
    random, jobs, now = Random(1), [], 0.0
    while now < 600.0:
        jobs.append(Job("ab"[len(jobs) % 2], now, 2.0))
        now += random.expovariate(1 / gap_seconds)
    laptops = [SimulatedLaptop({"a": 1, "b": 1}, load_seconds=load_seconds) for _each in range(2)]
    bare = Gateway(laptops[0], None).serve(copied(jobs), at_most_seconds=math.inf)
    kept = Gateway(laptops[1], Residence()).serve(copied(jobs), at_most_seconds=750.0)
    assert len(laptops[1].loads) * fewer_loads <= len(laptops[0].loads)
    assert mean_wait(kept) * shorter_waits <= mean_wait(bare)
