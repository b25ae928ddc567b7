"""Does what a gate counted come back after a restart, and is what is empty forgotten?"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.limits.counter import Counter, Need
from app.services.core.limits.gate import Admitted, Gate, Refused
from app.services.core.limits.state import StateDamaged, from_state, to_state
from app.services.core.people.principal import LimitRule, Limits

NOW = 5000.0
WALL = datetime(2030, 5, 10, 12, tzinfo=UTC).timestamp()
NEED = Need(10, 90)
ALL = Limits(60, 10_000, 20_000, 30_000, 5)
RULE = LimitRule("key:a", ALL, "your key")


def used(gate: Gate, rule: LimitRule, now: float, wall: float) -> dict[str, int]:
    return {standing.kind.value: standing.used for standing in gate.left([rule], now, wall)}


def filled(requests: int, rule: LimitRule = RULE, now: float = NOW, wall: float = WALL) -> Gate:
    gate = Gate()
    for _ in range(requests):
        admitted = gate.admit([rule], {"m"}, NEED, now, wall)
        assert isinstance(admitted, Admitted)
        admitted.settle(100, now, wall)
    return gate


def restarted(gate: Gate, now: float, wall: float, saved_at: tuple[float, float] = (NOW, WALL)) -> Gate:
    states = [(subject, model, state) for subject, model, state in gate.changed(*saved_at) if state is not None]
    other = Gate()
    assert other.restore(states, now, wall) == 0
    return other


@pytest.mark.parametrize(
    ("now", "wall", "left_of_the_minute"),
    [
        (NOW + 20, WALL + 20, 40),
        (NOW + 20, WALL + 99_999, 40),  # the wall clock was set: the computer was on all the while
        (NOW + 20, WALL - 99_999, 60),  # nobody knows for how long: as if no time had passed
        (3.0, WALL + 20, 40),  # the computer was started anew
        (3.0, WALL - 500, 60),
        (NOW + 10**6, WALL + 20, 40),  # started anew, and on for longer than before
    ],
)
def test_a_minute_goes_on_where_it_was_whatever_the_clocks_do(now, wall, left_of_the_minute):
    gate = restarted(filled(60), now, wall)
    for after in (0.0, left_of_the_minute - 0.01):
        verdict = gate.admit([RULE], {"m"}, NEED, now + after, wall + after)
        assert isinstance(verdict, Refused)
    later = gate.admit([RULE], {"m"}, NEED, now + left_of_the_minute + 0.01, wall + left_of_the_minute)
    assert isinstance(later, Admitted)


def test_days_and_months_go_on_and_end_when_they_end():
    gate = restarted(filled(10), 3.0, WALL + 3600)
    assert used(gate, RULE, 3.0, WALL + 3600) == {
        "requests_per_minute": 0,
        "tokens_per_minute": 0,
        "tokens_per_day": 1000,
        "tokens_per_month": 1000,
        "concurrency": 0,
    }
    next_day = WALL + 86_400
    assert used(gate, RULE, 4.0, next_day)["tokens_per_day"] == 0
    assert used(gate, RULE, 4.0, next_day)["tokens_per_month"] == 1000


def test_what_was_in_flight_dies_with_the_process_but_stays_counted():
    gate = Gate()
    for _ in range(5):
        gate.admit([RULE], {"m"}, NEED, NOW, WALL)
    other = restarted(gate, NOW + 1, WALL + 1)
    assert used(other, RULE, NOW + 1, WALL + 1) == {
        "requests_per_minute": 5,
        "tokens_per_minute": 500,
        "tokens_per_day": 500,
        "tokens_per_month": 500,
        "concurrency": 0,
    }


def test_what_is_usual_is_remembered():
    gate = Gate()
    for _ in range(10):
        admitted = gate.admit([RULE], {"m"}, Need(10, 0), NOW, WALL)
        assert isinstance(admitted, Admitted)
        admitted.settle(100, NOW, WALL)
    other = restarted(gate, NOW + 120, WALL + 120)
    other.admit([RULE], {"m"}, Need(10, 0), NOW + 120, WALL + 120)
    assert used(other, RULE, NOW + 120, WALL + 120)["tokens_per_minute"] == 100


def test_answers_that_were_asked_to_be_short_say_nothing_of_others():
    gate = Gate()
    for _ in range(30):
        admitted = gate.admit([RULE], {"m"}, Need(10, 1), NOW, WALL)
        assert isinstance(admitted, Admitted)
        admitted.settle(11, NOW, WALL)
    before = used(gate, RULE, NOW, WALL)["tokens_per_minute"]
    gate.admit([RULE], {"m"}, Need(10, 0), NOW, WALL)
    assert used(gate, RULE, NOW, WALL)["tokens_per_minute"] - before == 266


def test_only_what_changed_is_saved():
    gate = filled(3)
    assert [(subject, model) for subject, model, _ in gate.changed(NOW, WALL)] == [("key:a", None)]
    assert gate.changed(NOW, WALL) == []
    other = LimitRule("group:g", ALL, "your group", "m")
    admitted = gate.admit([other], {"m"}, NEED, NOW, WALL)
    assert isinstance(admitted, Admitted)
    assert [(subject, model) for subject, model, _ in gate.changed(NOW, WALL)] == [("group:g", "m")]
    admitted.settle(50, NOW + 1, WALL + 1)
    assert [(subject, model) for subject, model, _ in gate.changed(NOW, WALL)] == [("group:g", "m")]


def test_what_limits_requests_at_once_alone_is_never_saved():
    gate, rule = Gate(), LimitRule("key:a", Limits(concurrency=2), "your key")
    admitted = gate.admit([rule], {"m"}, NEED, NOW, WALL)
    assert isinstance(admitted, Admitted)
    admitted.settle(5, NOW, WALL)
    assert gate.changed(NOW, WALL) == []


def test_what_is_there_already_is_not_replaced_by_what_was_saved():
    states = [(subject, model, state or b"") for subject, model, state in filled(50).changed(NOW, WALL)]
    gate = filled(3)
    gate.restore(states, NOW, WALL)
    assert used(gate, RULE, NOW, WALL)["requests_per_minute"] == 3


def test_what_is_empty_for_an_hour_is_forgotten_and_its_state_too():
    rule = LimitRule("person:ada", Limits(requests_per_minute=5), "this user")
    gate = filled(3, rule)
    assert gate.changed(NOW, WALL)[0][2] is not None
    assert gate.changed(NOW + 3599, WALL + 3599) == []
    assert len(gate) == 1
    assert gate.changed(NOW + 3600, WALL + 3600) == [("person:ada", None, None)]
    assert len(gate) == 0


def test_what_still_counts_is_not_forgotten():
    gate = filled(3)
    gate.changed(NOW, WALL)
    for hours in range(1, 5):
        assert gate.changed(NOW + 3600 * hours, WALL + 3600 * hours) == []
    assert len(gate) == 1
    june = WALL + 22 * 86_400
    assert [state for _, _, state in gate.changed(NOW + 22 * 86_400, june)] == [None]


def test_what_runs_for_hours_is_not_forgotten():
    gate, rule = Gate(), LimitRule("person:ada", Limits(concurrency=1), "this user")
    admitted = gate.admit([rule], {"m"}, NEED, NOW, WALL)
    assert isinstance(admitted, Admitted)
    gate.changed(NOW + 9999, WALL + 9999)
    assert isinstance(gate.admit([rule], {"m"}, NEED, NOW + 9999, WALL), Refused)
    admitted.settle(1, NOW + 9999, WALL)
    assert isinstance(gate.admit([rule], {"m"}, NEED, NOW + 9999, WALL), Admitted)


def good_state() -> bytes:
    counter = Counter("key:a")
    counter.settle(counter.draw(ALL, NEED, 100, NOW, WALL), 70, NOW + 1, WALL + 1)
    return to_state(counter, NOW + 2, WALL + 2)


def mangled(**changes: object) -> bytes:
    names = ("version", "saved_at", "saved_wall", "minute", "day", "month", "usual", "answers")
    values = dict(zip(names, msgspec.msgpack.decode(good_state()), strict=True)) | changes
    return msgspec.msgpack.encode(list(values.values()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        good_state()[:-1],
        good_state() + b"\x00",
        b"\xff" * 5000,
        mangled(version=2),
        mangled(saved_at=float("nan")),
        mangled(saved_wall=float("inf")),
        mangled(minute=[[0, -1, 0]]),
        mangled(minute=[[0, 1, 0]] * 1000),
        mangled(minute=[[0, 2**60, 0]]),
        mangled(day=[5, 10, None, 0, False]),
        mangled(month=[2**52, 10, None, 0, False]),
        mangled(month=[0, 10, 7, 0, True]),
        mangled(usual=-1.0),
        mangled(usual=float("nan")),
        mangled(answers="many"),
    ],
)
def test_a_damaged_state_is_told_and_left_out(data):
    with pytest.raises(StateDamaged):
        from_state("key:a", None, data, NOW, WALL)
    gate = Gate()
    states = [("key:a", None, data), ("key:b", None, good_state())]
    assert gate.restore(states, NOW + 2, WALL + 2) == 1
    assert len(gate) == 1


@given(st.binary(max_size=200))
def test_no_bytes_break_the_restore(data):
    gate = Gate()
    assert gate.restore([("key:a", None, data)], NOW, WALL) in {0, 1}
    assert isinstance(gate.admit([RULE], {"m"}, NEED, NOW, WALL), Admitted | Refused)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_no_flipped_bytes_break_what_comes_after(position, noise):
    state = good_state()
    damaged = state[:position] + noise + state[position + len(noise) :]
    gate = Gate()
    gate.restore([("key:a", None, damaged)], NOW, WALL)
    verdict = gate.admit([RULE], {"m"}, NEED, NOW, WALL)
    assert isinstance(verdict, Admitted | Refused)
    assert len(gate.changed(NOW, WALL)) <= 1
    gate.left([RULE], NOW + 5, WALL - 99_999)


def test_a_state_is_small():
    gate, rule = Gate(), LimitRule("key:a", Limits(10**6, 10**9, 10**9, 10**9), "your key")
    for step in range(20_000):
        admitted = gate.admit([rule], {"m"}, NEED, NOW + step / 250, WALL + step / 250)
        assert isinstance(admitted, Admitted)
        admitted.settle(500, NOW + step / 250, WALL + step / 250)
    [(_, _, state)] = gate.changed(NOW + 80, WALL + 80)
    assert state is not None
    assert len(state) < 1000
