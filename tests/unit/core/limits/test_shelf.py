"""Are counters bounded, however many people strangers name?"""

from __future__ import annotations

from datetime import UTC, datetime

from app.services.core.limits.counter import Need
from app.services.core.limits.gate import Admitted, Gate, Refused
from app.services.core.limits.shelf import MOST_CHARACTERS, Shelf
from app.services.core.people.principal import LimitRule, Limits

NOW = 5000.0
WALL = datetime(2030, 5, 10, 12, tzinfo=UTC).timestamp()
NEED = Need(10, 90)
ONE = Limits(requests_per_minute=1)


def ask(gate: Gate, subject: str, limits: Limits = ONE, after: float = 0.0) -> Admitted | Refused:
    return gate.admit([LimitRule(subject, limits, "this user")], {"m"}, NEED, NOW + after, WALL + after)


def served(gate: Gate, subject: str, limits: Limits = ONE, after: float = 0.0) -> None:
    """Let a request through that ends at once."""
    admitted = ask(gate, subject, limits, after)
    assert isinstance(admitted, Admitted)
    admitted.settle(100, NOW + after, WALL + after)


def test_of_people_only_so_many_are_kept_and_what_they_had_is_saved():
    gate = Gate(most_people=100)
    for number in range(1000):
        served(gate, f"person:k/{number}")
        assert len(gate) <= 100
    saved = gate.changed(NOW, WALL)
    assert len(saved) == 1000
    assert all(state is not None for _, _, state in saved)


def test_keys_groups_and_models_are_never_let_go():
    gate = Gate(most_people=10)
    subjects = [*(f"key:{number}" for number in range(50)), "group:g", "model:m"]
    for subject in subjects:
        served(gate, subject)
    for number in range(100):
        served(gate, f"person:k/{number}")
    assert len(gate) == 62
    assert all(isinstance(ask(gate, subject), Refused) for subject in subjects)


def test_one_that_is_empty_goes_before_one_that_counts():
    gate = Gate(most_people=3)
    served(gate, "person:idle", after=-100)
    served(gate, "person:ada", Limits(tokens_per_day=500), after=-200)
    served(gate, "person:bob", after=-10)
    served(gate, "person:new")
    assert isinstance(ask(gate, "person:bob"), Refused)
    left = gate.left([LimitRule("person:ada", Limits(tokens_per_day=500), "this user")], NOW, WALL)
    assert left[0].used == 100


def test_else_the_one_that_was_idle_for_longest_goes():
    gate, wide = Gate(most_people=3), Limits(requests_per_minute=9)
    for after, name in enumerate(("ada", "bob", "eve")):
        served(gate, f"person:{name}", wide, after=after)
    served(gate, "person:ada", wide, after=5)
    served(gate, "person:new", wide, after=6)
    used = {
        name: gate.left([LimitRule(f"person:{name}", wide, "this user")], NOW + 6, WALL + 6)[0].used
        for name in ("ada", "bob", "eve", "new")
    }
    assert used == {"ada": 2, "bob": 0, "eve": 1, "new": 1}


def test_who_has_something_in_flight_never_goes():
    gate, one = Gate(most_people=20), Limits(concurrency=1)
    running = [ask(gate, f"person:{number}", one) for number in range(40)]
    assert len(gate) == 40
    assert all(isinstance(ask(gate, f"person:{number}", one), Refused) for number in range(40))
    for admitted in running:
        assert isinstance(admitted, Admitted)
        admitted.settle(5, NOW, WALL)
    for number in range(100, 200):
        served(gate, f"person:{number}", one)
    assert len(gate) <= 20


def test_who_is_refused_takes_no_place():
    gate = Gate(most_people=5)
    for number in range(100):
        assert isinstance(ask(gate, f"person:{number}", Limits(tokens_per_day=1)), Refused)
    assert len(gate) == 0


def test_names_are_bounded_and_stay_apart():
    gate = Gate()
    names = ["person:" + "x" * 10_000 + end for end in "ab"] + ["person:\ud800" + "y" * 5000]
    for name in names:
        assert isinstance(ask(gate, name), Admitted)
        assert isinstance(ask(gate, name), Refused)
    saved = gate.changed(NOW, WALL)
    assert len({subject for subject, _, _ in saved}) == 3
    assert all(len(subject) <= MOST_CHARACTERS for subject, _, _ in saved)
    other = Gate()
    other.restore([(subject, model, state or b"") for subject, model, state in saved], NOW, WALL)
    assert all(isinstance(ask(other, name), Refused) for name in names)


def test_of_many_states_the_first_are_restored():
    gate = Gate()
    for number in range(50):
        ask(gate, f"person:{number}")
    ask(gate, "group:g")
    states = [(subject, model, state or b"") for subject, model, state in gate.changed(NOW, WALL)]
    other = Gate(most_people=20)
    other.restore(states, NOW, WALL)
    assert len(other) == 21
    assert isinstance(ask(other, "person:19"), Refused)
    assert isinstance(ask(other, "group:g"), Refused)


def test_a_new_counter_is_kept_when_it_is_told_to():
    shelf = Shelf()
    counter = shelf.counter("key:a", "m")
    assert len(shelf) == 0
    assert shelf.keep(counter, NOW, WALL) == []
    assert shelf.counter("key:a", "m") is counter
    assert shelf.counter("key:a", None) is not counter


def test_what_nobody_asks_for_any_more_lets_go_of_its_minute():
    shelf, limits = Shelf(), Limits(requests_per_minute=500)
    counter = shelf.counter("person:ada", None)
    shelf.keep(counter, NOW, WALL)
    for step in range(500):
        counter.draw(limits, NEED, 0, NOW + step / 10, WALL)
    assert list(shelf.forget_idle(5, NOW + 30, WALL)) == []
    assert len(counter.minute) == 500
    assert list(shelf.forget_idle(5, NOW + 120, WALL)) == []
    assert len(counter.minute) == 0
