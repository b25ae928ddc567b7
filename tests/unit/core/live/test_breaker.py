"""The breaker: what ejects a server, for how long, and what brings it back."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.breaker import (
    FORGET_SECONDS,
    JITTER,
    LONGEST_SECONDS,
    NEW,
    OPEN_SECONDS,
    TRANSITIONS,
    Breaker,
    Phase,
    Signal,
    When,
    advance,
)

NOW = 1000.0
FAILURES = (Signal.CONNECT_ERROR, Signal.BAD_ANSWER, Signal.LOST, Signal.CUT)


class Server:
    """A breaker under a clock that only the test moves; each request is taken a little before it ends."""

    def __init__(self, dice: float = 0.0) -> None:
        self.state, self.now, self.dice = NEW, NOW, dice

    def tell(self, *signals: Signal, taken_at: float | None = None) -> Phase:
        for signal in signals:
            self.now += 0.001
            taken = self.now if taken_at is None else taken_at
            self.state = advance(self.state, signal, self.now, taken, lambda: self.dice)
        return self.state.phase

    def eject(self) -> float:
        """How long it is out."""
        while self.tell(Signal.BAD_ANSWER) is not Phase.OPEN:
            pass
        return self.state.until - self.now

    def wait_out(self) -> None:
        self.now = self.state.until


@pytest.mark.parametrize(
    ("signal", "times"), [(Signal.CONNECT_ERROR, 3), (Signal.BAD_ANSWER, 5), (Signal.LOST, 5), (Signal.CUT, 5)]
)
def test_so_many_in_a_row_eject_it(signal: Signal, times: int) -> None:
    server = Server()
    assert server.tell(*[signal] * (times - 1)) is Phase.CLOSED
    assert not server.state.is_shut(server.now)
    assert server.tell(signal) is Phase.OPEN
    assert server.state.is_shut(server.now)


def test_failures_of_all_kinds_add_up() -> None:
    server = Server()
    mixed = (Signal.CONNECT_ERROR, Signal.CUT, Signal.CONNECT_ERROR, Signal.LOST)
    assert server.tell(*mixed) is Phase.CLOSED
    assert server.tell(Signal.CONNECT_ERROR) is Phase.OPEN


def test_a_good_answer_ends_a_run() -> None:
    server = Server()
    for _round in range(10):
        assert server.tell(*[Signal.BAD_ANSWER] * 4, Signal.BEGAN) is Phase.CLOSED
        assert server.tell(*[Signal.CONNECT_ERROR] * 2, Signal.BEGAN) is Phase.CLOSED


def test_any_answer_shows_that_it_can_be_dialled() -> None:
    server = Server()
    assert server.tell(Signal.CONNECT_ERROR, Signal.BAD_ANSWER, *[Signal.CONNECT_ERROR] * 2) is Phase.CLOSED
    assert server.state.connect_errors == 2


def test_answers_that_begin_do_not_excuse_those_that_break_off() -> None:
    server = Server()
    assert server.tell(*[Signal.BEGAN, Signal.CUT] * 4) is Phase.CLOSED
    assert server.tell(Signal.BEGAN, Signal.CUT) is Phase.OPEN
    other = Server()
    for _round in range(10):
        assert other.tell(*[Signal.BEGAN, Signal.CUT] * 4, Signal.BEGAN, Signal.WHOLE) is Phase.CLOSED


@pytest.mark.parametrize("signal", [Signal.LOST, Signal.CUT])
def test_one_crash_is_one_failure_however_many_it_takes_with_it(signal: Signal) -> None:
    server = Server()
    before = server.now
    assert server.tell(*[signal] * 40, taken_at=before) is Phase.CLOSED
    assert server.state.failures + server.state.cuts == 1
    assert server.tell(*[signal] * 4) is Phase.OPEN, "those that were sent since are news"


def test_statuses_and_time_outs_at_once_count_each() -> None:
    server = Server()
    assert server.tell(*[Signal.BAD_ANSWER] * 5, taken_at=server.now) is Phase.OPEN


def test_it_is_out_for_five_seconds_doubling_to_five_minutes() -> None:
    server = Server()
    out = [server.eject()]
    for _time in range(8):
        server.wait_out()
        assert not server.state.is_shut(server.now)
        server.tell(Signal.TAKEN, Signal.BAD_ANSWER)
        out.append(server.state.until - server.now)
    assert out == pytest.approx([5, 10, 20, 40, 80, 160, 300, 300, 300])


def test_it_stays_bounded_after_thousands_of_openings() -> None:
    server = Server()
    server.eject()
    for _time in range(5000):
        server.wait_out()
        server.tell(Signal.TAKEN, Signal.LOST)
    assert server.state.until - server.now == pytest.approx(LONGEST_SECONDS)


@given(st.floats(0, 1, exclude_max=True))
def test_chance_shortens_it_by_a_fifth_at_most(dice: float) -> None:
    assert OPEN_SECONDS * (1 - JITTER) <= Server(dice).eject() + 1e-9 <= OPEN_SECONDS + 1e-6


def test_one_request_is_the_trial_and_its_answer_brings_it_back() -> None:
    server = Server()
    server.eject()
    assert server.tell(Signal.TAKEN) is Phase.OPEN, "its time is not over"
    server.wait_out()
    assert server.tell(Signal.TAKEN) is Phase.HALF_OPEN
    assert server.state.is_shut(server.now + 1e6), "no other is sent while one tries"
    assert server.tell(Signal.BEGAN) is Phase.CLOSED
    assert server.tell(*[Signal.BAD_ANSWER] * 4) is Phase.CLOSED, "runs begin anew"


def test_a_trial_without_a_verdict_leaves_the_next_to_be_one() -> None:
    server = Server()
    server.eject()
    server.wait_out()
    server.tell(Signal.TAKEN)
    assert server.tell(Signal.FREED) is Phase.OPEN
    assert not server.state.is_shut(server.now)
    assert server.tell(Signal.TAKEN) is Phase.HALF_OPEN


def test_stragglers_decide_no_trial() -> None:
    server = Server()
    sent = server.now
    server.eject()
    assert server.tell(*FAILURES, Signal.FREED, taken_at=sent) is Phase.OPEN
    server.wait_out()
    server.tell(Signal.TAKEN)
    assert server.tell(*FAILURES, Signal.FREED, taken_at=sent) is Phase.HALF_OPEN
    server.tell(Signal.BEGAN)
    assert server.tell(*FAILURES * 5, taken_at=sent) is Phase.CLOSED


def test_checks_that_find_it_well_bring_it_back_and_the_doubling_stays() -> None:
    server = Server()
    assert server.eject() == pytest.approx(5)
    assert server.tell(Signal.FOUND_WELL) is Phase.CLOSED
    assert server.eject() == pytest.approx(10)
    server.wait_out()
    server.tell(Signal.TAKEN)
    assert server.tell(Signal.FOUND_WELL) is Phase.CLOSED
    server.tell(*[Signal.CUT] * 4, Signal.FOUND_WELL)
    assert server.tell(*[Signal.CUT] * 4) is Phase.CLOSED


def test_five_good_minutes_make_the_doubling_forgotten() -> None:
    server = Server()
    server.eject()
    server.tell(Signal.FOUND_WELL)
    server.now += FORGET_SECONDS - 1
    assert server.eject() == pytest.approx(10)
    server.tell(Signal.FOUND_WELL)
    server.now += FORGET_SECONDS
    assert server.eject() == pytest.approx(5)


def test_chance_is_asked_only_when_it_ejects() -> None:
    def forbidden() -> float:
        raise AssertionError

    state = NEW
    for signal in (Signal.BEGAN, *[Signal.BAD_ANSWER] * 4, Signal.WHOLE, Signal.FREED, Signal.TAKEN, Signal.FOUND_WELL):
        state = advance(state, signal, NOW, NOW, forbidden)
    assert state.phase is Phase.CLOSED


def test_good_answers_change_nothing_where_all_is_well() -> None:
    for signal in (Signal.BEGAN, Signal.WHOLE, Signal.TAKEN, Signal.FREED, Signal.FOUND_WELL):
        assert advance(NEW, signal, NOW, NOW, random.random) is NEW


def test_what_is_not_in_the_table_changes_nothing() -> None:
    states = {
        Phase.CLOSED: Breaker(failures=2, cuts=1, connect_errors=1),
        Phase.OPEN: Breaker(Phase.OPEN, until=NOW + 1, times=2),
        Phase.HALF_OPEN: Breaker(Phase.HALF_OPEN, since=NOW, times=2),
    }
    for phase, signal in itertools.product(Phase, Signal):
        if (phase, signal) not in TRANSITIONS:
            assert advance(states[phase], signal, NOW, NOW, random.random) is states[phase]


def test_every_failure_of_a_trial_opens_it_anew() -> None:
    for signal in FAILURES:
        assert TRANSITIONS[Phase.HALF_OPEN, signal].to is Phase.OPEN
        assert TRANSITIONS[Phase.HALF_OPEN, signal].when is When.AT_ONCE


STEPS = st.lists(
    st.tuples(st.sampled_from(Signal), st.floats(0, 400), st.floats(0, 500), st.floats(0, 1, exclude_max=True)),
    max_size=60,
)


@given(STEPS)
def test_it_is_never_out_for_longer_than_five_minutes(steps: list[tuple[Signal, float, float, float]]) -> None:
    state, now = NEW, NOW
    for signal, later, age, dice in steps:
        now += later
        before = state
        state = advance(state, signal, now, now - age, lambda drawn=dice: drawn)  # type: ignore[misc]
        assert state.since <= now
        if state.phase is Phase.OPEN:
            assert state.until - state.since <= LONGEST_SECONDS
            assert state.times >= 1
        if before.phase is Phase.OPEN and state.phase is Phase.HALF_OPEN:
            assert signal is Signal.TAKEN
            assert now >= before.until
        if before.phase is Phase.CLOSED and state.phase is Phase.OPEN:
            assert signal in FAILURES
            assert before.failures + before.cuts == 4 or before.connect_errors == 2
