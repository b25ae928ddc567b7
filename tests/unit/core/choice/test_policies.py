"""The policies together, on simulated pools in trouble: slow, flapping, half down, coming back, overloaded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.core.live.breaker import Phase
from app.services.core.retry import Failure
from app.services.core.types import HealthStatus
from tests.fakes.simulated_pool import Engine, SimulatedPool, engines

pytestmark = pytest.mark.no_cover  # the same lines thousands of times: other tests tell which are reached
SEEDS = range(2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("count", "rate"), [(4, 12.0), (10, 40.0), (30, 100.0)])
def test_the_share_of_a_server_that_is_ten_times_slower_falls_inside_ten_seconds(
    count: int, rate: float, seed: int
) -> None:
    pool = SimulatedPool(engines(count), seed=seed)
    pool.arrivals(rate, 60)
    pool.run(30)
    before = pool.share("0", pool.now - 20)
    slow = pool.engines["0"]
    slow.first_token_seconds *= 10
    slow.rest_seconds *= 10
    pool.run(10)
    pool.run(20)
    after = pool.share("0", pool.now - 20)
    assert before == pytest.approx(1 / count, rel=0.4)
    assert after < 0.45 * before
    assert pool.failed_requests() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_that_came_back_is_ramped(seed: int) -> None:
    pool = SimulatedPool(engines(4), seed=seed)
    pool.arrivals(100, 80)
    pool.run(10)
    pool.fail("0", Failure.DIAL)
    pool.run(10)
    assert pool.engines["0"].health is HealthStatus.UNHEALTHY
    pool.mend("0")
    pool.run(3)
    assert pool.engines["0"].health is HealthStatus.HEALTHY
    shares = []
    for _span in range(6):
        pool.run(5)
        shares.append(pool.share("0", pool.now - 5))
    pool.run(10)
    assert shares[0] < 0.08
    assert shares[0] < shares[2] < shares[5]
    assert 0.10 < shares[3] < 0.22
    assert pool.share("0", pool.now - 10) == pytest.approx(0.25, abs=0.04)
    assert pool.failed_requests() == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("failure", [Failure.DIAL, Failure.FAILED, Failure.RESET])
@pytest.mark.parametrize("health_checks", [True, False])
def test_what_a_flapping_server_costs_is_bounded(failure: Failure, seed: int, *, health_checks: bool) -> None:
    """One of four is up for a second and down for a second, for a minute."""
    pool = SimulatedPool(engines(4), seed=seed, health_checks=health_checks)
    pool.arrivals(60, 60)
    for _turn in range(30):
        pool.run(1)
        pool.fail("0", failure)
        pool.run(1)
        pool.mend("0")
    pool.settle()
    extra = len(pool.attempts) / len(pool.requests) - 1
    assert pool.failed_requests() == 0
    assert extra < 0.06, "without ejection and suspicion it would be an eighth, and more for lost streams"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("failure", [Failure.DIAL, Failure.FAILED, Failure.RESET, Failure.SILENT, Failure.BROKEN])
@pytest.mark.parametrize(("count", "rate", "seconds"), [(2, 20.0, 15), (4, 60.0, 10), (20, 400.0, 10)])
def test_with_half_of_the_pool_down_at_most_a_fifth_more_is_sent(
    failure: Failure, count: int, rate: float, seconds: int, seed: int
) -> None:
    """At full load, from the first moment on: the few hundred requests of the outage count by themselves."""
    pool = SimulatedPool(engines(count), seed=seed)
    pool.arrivals(rate, seconds + 10)
    pool.run(5)
    asked, sent = len(pool.requests), len(pool.sent)
    for place in range(count // 2):
        pool.fail(str(place), failure)
    pool.run(seconds)
    pool.settle()
    assert len(pool.sent) - sent <= 1.2 * (len(pool.requests) - asked)
    assert pool.failed_requests() <= 0.01 * len(pool.requests)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.3, 0.4, 0.5])
def test_even_where_nobody_is_ejected_at_most_a_fifth_more_is_sent(share: float, seed: int) -> None:
    """All of the pool fails at random, so that runs end again and again: the budget alone bounds what is sent."""
    pool = SimulatedPool(engines(8), seed=seed)
    for place in range(8):
        pool.fail(str(place), Failure.FAILED, share)
    pool.arrivals(50, 6)
    pool.run(6)
    pool.settle()
    assert 200 < len(pool.requests) < 400
    assert 1.15 * len(pool.requests) < len(pool.sent) <= 1.2 * len(pool.requests)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from([Failure.DIAL, Failure.FAILED, Failure.RESET, None]),
            st.floats(0.1, 1.0),
            st.floats(0.1, 4.0),
        ),
        max_size=12,
    ),
    st.integers(0, 2**32),
)
def test_whatever_happens_retries_stay_inside_the_budget(
    troubles: list[tuple[int, Failure | None, float, float]], seed: int
) -> None:
    pool = SimulatedPool(engines(5), seed=seed)
    pool.arrivals(40, 20)
    for place, failure, share, later in troubles:
        if failure is None:
            pool.mend(str(place))
        else:
            pool.fail(str(place), failure, share)
        pool.run(later)
        assert len(pool.sent) <= len(pool.requests) + max(40, 0.2 * len(pool.requests) + 1)
    for name in pool.engines:
        pool.mend(name)
    pool.settle()
    for name, lane in pool.board.lanes.items():
        assert lane.in_flight == 0
        assert lane.breaker.phase is not Phase.HALF_OPEN, name
    pool.run(400)
    last = [pool.ask() for _request in range(5)]
    pool.settle()
    assert [request.state for request in last] == ["done"] * 5


@pytest.mark.parametrize("failure", [Failure.DIAL, Failure.FAILED])
def test_all_down_is_told_inside_a_second_and_back_inside_a_check(failure: Failure) -> None:
    pool = SimulatedPool(engines(3))
    for name in pool.engines:
        pool.fail(name, failure)
    pool.arrivals(20, 40)
    pool.run(20)
    late = [request for request in pool.requests if request.state == "failed"]
    assert late
    assert max(request.ended_at - request.asked_at for request in late) <= 1.15
    for name in pool.engines:
        pool.mend(name)
    pool.run(0.5)
    mended_at = pool.now
    pool.settle()
    assert all(request.state == "done" for request in pool.requests if request.asked_at >= mended_at)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_ejected_server_is_tried_by_one_request_at_a_time(seed: int) -> None:
    pool = SimulatedPool(engines(4, Engine("", first_token_seconds=1.0)), seed=seed)
    pool.fail("0", Failure.FAILED)
    pool.arrivals(50, 120)
    pool.run(120)
    to_it = [at for at, name in pool.attempts if name == "0"]
    opened_at = to_it[4]
    trials = [at for at in to_it if at > opened_at + 4]
    gaps = [later - earlier for earlier, later in pairwise(trials)]
    assert all(gap >= 4 for gap in gaps), "five seconds less a fifth by chance, then twice as long"
    assert 3 <= len(trials) <= 5


def test_a_server_that_refuses_for_load_is_sent_about_what_it_can_hold() -> None:
    requests = refusals = failed = 0
    for seed in range(6):
        pool = SimulatedPool(engines(4, Engine("", slots=8)), seed=seed)
        pool.engines["0"].slots = 2
        pool.arrivals(16, 60)
        pool.run(60)
        pool.settle()
        requests += len(pool.requests)
        refusals += len(pool.sent) - len(pool.requests)
        failed += pool.failed_requests()
        assert pool.board.lane("0").ejections == 0
    assert 0 < refusals <= 0.2 * requests
    assert failed <= 0.01 * requests, "bursts that found three of them full"
