"""Recent use: what is new counts more, and what was expected is corrected."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.queue import use as use_module
from app.services.core.queue.use import HALF_LIFE_SECONDS, RecentUse

ERA_SECONDS = 20 * HALF_LIFE_SECONDS


def used(**tokens: float) -> RecentUse:
    use = RecentUse()
    use.turn(1000.0)
    for person, count in tokens.items():
        use.charge(person, count)
    return use


def test_half_of_it_is_forgotten_with_each_minute() -> None:
    use = used(ann=800)
    use.turn(1000.0 + 60.0)
    assert use.tokens("ann") == pytest.approx(400)
    use.charge("ann", 100)
    use.turn(1000.0 + 180.0)
    assert use.tokens("ann") == pytest.approx(125)
    assert use.tokens("nobody") == 0.0


def test_time_changes_nothing_between_people() -> None:
    use = used(ann=300, ben=100)
    before = use.scaled("ann"), use.scaled("ben")
    use.turn(1000.0 + 300.0)
    assert (use.scaled("ann"), use.scaled("ben")) == before


def test_time_that_runs_backwards_is_taken_for_none() -> None:
    use = used(ann=300)
    use.turn(10.0)
    assert use.tokens("ann") == pytest.approx(300)


def test_what_was_expected_counts_until_it_is_settled() -> None:
    use = used(ann=100)
    charge = use.expect("ann", 1000)
    assert (use.tokens("ann"), use.pending("ann")) == (1100, 1000)
    use.settle(charge, 30)
    assert (use.tokens("ann"), use.pending("ann")) == (130, 0)


def test_a_request_that_came_to_nothing_costs_nothing() -> None:
    use = used(ann=100)
    use.settle(use.expect("ann", 5000), 0)
    assert use.tokens("ann") == 100


def test_a_charge_is_settled_as_it_was_made_however_long_it_took() -> None:
    """Else a large request that is given up after a while would wash away other use."""
    use = used(ann=1000, ben=1000)
    charge = use.expect("ann", 100_000)
    use.turn(1000.0 + 120.0)
    use.settle(charge, 0)
    assert use.tokens("ann") == pytest.approx(use.tokens("ben"))


@pytest.mark.parametrize("eras", [1, 2, 7])
def test_a_charge_outlives_eras(eras: int) -> None:
    use = used(ann=10)
    charge = use.expect("ann", 4000)
    use.charge("ben", 4000)
    use.turn(1000.0 + eras * ERA_SECONDS + 1.0)
    assert use.era == eras
    use.charge("ann", 300)
    use.settle(charge, 50)
    assert use.tokens("ann") == pytest.approx(350, abs=0.1)
    assert use.pending("ann") == 0.0


def test_those_with_nothing_left_are_dropped() -> None:
    use = used(ann=1_000_000, ben=100)
    use.turn(1000.0 + ERA_SECONDS - 1.0)
    assert len(use) == 2
    use.turn(1000.0 + ERA_SECONDS)
    assert len(use) == 1
    assert use.tokens("ann") == pytest.approx(1_000_000 / 2**20)
    use.turn(1000.0 + 2 * ERA_SECONDS)
    assert len(use) == 0


@pytest.mark.parametrize("seconds", [1e5, 1e9, 1e15])
def test_a_machine_may_sleep_for_as_long_as_it_likes(seconds: float) -> None:
    use = used(ann=100)
    charge = use.expect("ann", 100)
    use.turn(1000.0 + seconds)
    assert len(use) == 0
    use.settle(charge, 7)
    assert use.tokens("ann") == pytest.approx(7)
    assert 1.0 <= use.scale < 2**20


def test_of_too_many_those_with_the_most_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_module, "MOST_PEOPLE", 10)
    use = used(**{f"person-{number}": number for number in range(1, 12)})
    use.turn(1000.1)
    assert len(use) == 5
    assert use.tokens("person-11") > 0
    assert use.tokens("person-6") == 0.0


def test_figures_that_no_request_can_have_are_not_believed() -> None:
    use = used(ann=10**18)
    assert use.tokens("ann") == 2_000_000
    charge = use.expect("ben", 10**18)
    assert use.tokens("ben") == 2_000_000
    use.settle(charge, 10**18)
    assert use.tokens("ben") == 2_000_000


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 100_000), st.integers(0, 100_000), st.floats(0, 2000)),
        max_size=30,
    )
)
def test_it_is_what_a_sum_with_decay_says(steps: list[tuple[str, int, int, float]]) -> None:
    """Each step charges somebody directly, expects and settles the same again, and lets time pass."""
    use, now, history = RecentUse(), 0.0, []
    use.turn(now)
    for person, tokens, guess, seconds in steps:
        use.charge(person, tokens)
        use.settle(use.expect(person, guess), tokens)
        history.append((person, now, 2 * tokens))
        now += seconds
        use.turn(now)
    for person in "ab":
        exact = sum(tokens * 2 ** (-(now - at) / HALF_LIFE_SECONDS) for who, at, tokens in history if who == person)
        assert use.tokens(person) == pytest.approx(exact, rel=1e-6, abs=1.0)
        assert math.isfinite(use.scaled(person))
        assert use.pending(person) < 1.0
