"""The fair queue: each person has their turn, a flood holds back its own, and nobody is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.core.queue.fair_queue import IDLE_SECONDS, Claim, FairQueue
from app.services.core.queue.use import RecentUse


def opened(most: int = 100) -> FairQueue[str]:
    use = RecentUse()
    use.turn(0.0)
    return FairQueue(most, use)


def filled(most: int, *items: str) -> FairQueue[str]:
    """A queue of items whose first letter is their person, and is in upper case for the background."""
    queue = opened(most)
    for item in items:
        assert join(queue, item) is None
    return queue


def join(queue: FairQueue[str], item: str, tokens: float = 100.0, **fields: object) -> str | None:
    claim = Claim(item[0].lower(), expected_tokens=tokens, background=item[0].isupper(), **fields)  # type: ignore[arg-type]
    return queue.join(item, claim)


def all_served(queue: FairQueue[str]) -> Iterator[str]:
    """Serve one after the other, each once the one before has ended, until nobody waits."""
    while queue:
        item = next(queue.in_turn())
        serve(queue, item)
        yield item


def serve(queue: FairQueue[str], item: str) -> None:
    """Serve one to its end; it uses what was expected."""
    charge = queue.serve(item)
    if charge is not None:
        queue._use.settle(charge, charge.amount / queue._use.scale)
        queue.refresh(charge.person)


def test_within_a_person_it_is_in_order_and_between_people_in_turn() -> None:
    queue = filled(10, "a1", "a2", "a3", "a4", "b1", "c1", "c2")
    assert list(all_served(queue)) == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]


def test_several_places_at_once_go_to_as_many_people() -> None:
    queue = filled(10, "a1", "a2", "a3", "b1", "b2", "c1")
    served = []
    for item in queue.in_turn():
        queue.serve(item)
        served.append(item)
        if len(served) == 4:
            break
    assert served == ["a1", "b1", "c1", "a2"]
    assert list(all_served(queue)) == ["b2", "a3"]


def test_who_used_less_of_late_comes_first() -> None:
    queue = opened()
    queue._use.charge("a", 250)
    for item in ("c1", "c2", "c3", "c4", "a1", "a2"):
        join(queue, item)
    assert list(all_served(queue)) == ["c1", "c2", "c3", "a1", "c4", "a2"]


def test_who_came_with_less_is_next_but_has_saved_nothing_up() -> None:
    queue = opened()
    queue._use.charge("a", 10_000)
    for item in ("a1", "a2", "a3", "b1", "b2", "b3"):
        join(queue, item)
    assert list(all_served(queue)) == ["b1", "a1", "b2", "a2", "b3", "a3"]


def test_a_charge_while_one_waits_counts_at_once() -> None:
    queue = filled(10, "a1", "b1")
    queue._use.charge("a", 10)
    assert next(queue.in_turn()) == "b1"


def test_a_correction_counts_at_once() -> None:
    queue = filled(10, "a1", "a2", "b1", "b2")
    assert next(all_served(queue)) == "a1"
    charge = queue._use.expect("b", 1000)
    assert next(queue.in_turn()) == "a2"
    queue._use.settle(charge, 1)
    queue.refresh("b")
    assert next(queue.in_turn()) == "b1"


def test_a_newcomer_is_next_and_no_more() -> None:
    queue = filled(100, *(f"{person}{number}" for number in range(10) for person in "abcd"))
    order = all_served(queue)
    for _service in range(18):
        next(order)
    for number in range(5):
        join(queue, f"n{number}")
    served = [next(order) for _service in range(10)]
    assert served[0] == "n0"
    assert 2 <= sum(item[0] == "n" for item in served) <= 3


def test_newcomers_are_served_as_they_came() -> None:
    queue = filled(100, *(f"a{number}" for number in range(20)))
    order = all_served(queue)
    for _service in range(7):
        next(order)
    for person in "xyz":
        join(queue, f"{person}1")
    assert [next(order) for _service in range(4)] == ["x1", "y1", "z1", "a7"]


def test_who_always_has_one_waiting_is_no_newcomer_each_time() -> None:
    queue = filled(1000, *(f"{person}{number}" for person in "abcd" for number in range(100)))
    order = all_served(queue)
    for _service in range(100):
        next(order)
    served = []
    join(queue, "n")
    for _service in range(100):
        served.append(next(order))
        if served[-1] == "n":
            join(queue, "n")
    assert served.count("n") in {20, 21}


def test_a_lift_in_one_line_is_none_in_another() -> None:
    """Where one model is used heavily, a newcomer to it is not behind the light users of another."""
    queue = opened(1000)
    for person in "ab":
        queue._use.charge(person, 1_000_000)
        for number in range(3):
            join(queue, f"{person}{number}", line="heavy")
    for person in "cd":
        queue._use.charge(person, 1000)
        for number in range(3):
            join(queue, f"{person}{number}", line="light")
    join(queue, "n1", line="heavy")
    serve(queue, "n1")
    join(queue, "n2", line="light")
    assert next(item for item in queue.in_turn() if item[0] in "ncd") == "n2"


def test_between_lines_that_share_places_a_newcomer_is_lifted_too() -> None:
    queue = opened(1000)
    for person in "ab":
        queue._use.charge(person, 10_000)
        for number in range(20):
            join(queue, f"{person}{number}", line="one")
    for number in range(20):
        queue.join(f"n{number}", Claim("n", "two", expected_tokens=100), lambda: ["one"])
    order = all_served(queue)
    served = [next(order) for _service in range(9)]
    assert served[0] == "n0"
    assert Counter(item[0] for item in served) == {"a": 3, "b": 3, "n": 3}


def test_who_waits_in_two_lines_is_served_in_the_order_of_arrival() -> None:
    queue = opened()
    for number, line in enumerate(["one", "two", "two", "one", "one"]):
        join(queue, f"a{number}", line=line)
    assert list(queue.in_turn()) == ["a0", "a1", "a2", "a3", "a4"]
    queue.leave("a0")
    assert list(all_served(queue)) == ["a1", "a2", "a3", "a4"]


def test_the_background_gets_what_nobody_else_can_use() -> None:
    queue = opened()
    for item in ("B1", "B2", "a1", "a2"):
        join(queue, item, line=item[0].lower())
    assert list(queue.in_turn()) == ["a1", "a2", "B1", "B2"]
    assert list(all_served(queue)) == ["a1", "a2", "B1", "B2"]


def test_hopeless_kinds_are_passed_over_and_keep_their_place() -> None:
    queue = opened()
    for item in ("a1", "b1", "c1", "a2", "b2", "c2"):
        join(queue, item, kind=item[0])
    found = []
    hopeless = set()
    for item in queue.in_turn(lambda kind: kind in hopeless):
        found.append(item)
        hopeless.add("a")
        if item[0] == "b":
            queue.serve(item)
    assert found == ["a1", "b1", "c1", "c2", "b2"]
    assert list(all_served(queue)) == ["a1", "c1", "a2", "c2"]


@pytest.mark.parametrize("kinds", [1, 5, 50])
def test_a_turn_ends_when_all_kinds_are_hopeless(kinds: int) -> None:
    queue: FairQueue[int] = FairQueue(1000, RecentUse())
    for number in range(200):
        queue.join(number, Claim(f"person-{number}", kind=number % kinds))
    hopeless: set[int] = set()
    offered = []
    for item in queue.in_turn(lambda kind: kind in hopeless):
        offered.append(item)
        hopeless.add(item % kinds)
    assert offered == list(range(kinds))
    assert len(list(queue.in_turn())) == 200


def test_those_that_leave_while_others_are_looked_at_are_left_out() -> None:
    queue = filled(10, "a1", "a2", "b1", "b2")
    seen = []
    for item in queue.in_turn():
        seen.append(item)
        if item == "a1":
            queue.leave("b1")
            queue.serve("a1")
            join(queue, "c1")
    assert seen == ["a1", "b2", "c1", "a2"]


def test_a_turn_that_is_given_up_leaves_the_order_as_it_was() -> None:
    queue = filled(10, "a1", "a2", "b1", "c1")
    before = list(queue.in_turn())
    turn = queue.in_turn()
    next(turn)
    next(turn)
    turn.close()
    assert list(queue.in_turn()) == before


def test_one_that_only_leaves_costs_its_person_nothing() -> None:
    queue = filled(10, "a1", "a2", "b1")
    queue.leave("a1")
    assert list(all_served(queue)) == ["a2", "b1"]


def test_joining_twice_changes_nothing_even_when_full() -> None:
    queue = filled(2, "a1", "a2")
    assert queue.join("a1", Claim("a")) is None
    assert queue.join("a1", Claim("b")) is None
    assert list(queue.in_turn()) == ["a1", "a2"]


def test_who_does_not_wait_may_leave() -> None:
    queue = filled(2, "a1")
    queue.leave("b1")
    assert queue.serve("b1") is None
    assert queue.claim_of("b1") is None
    assert (len(queue), "a1" in queue, "b1" in queue, list(queue)) == (1, True, False, ["a1"])


def test_what_was_charged_before_is_not_charged_again() -> None:
    queue = opened()
    join(queue, "a1", tokens=0.0)
    assert queue.serve("a1") is None
    assert queue._use.tokens("a") == 0.0


def test_when_full_the_newest_of_the_person_with_the_most_makes_room() -> None:
    queue = filled(4, "a1", "a2", "a3", "b1")
    assert join(queue, "c1") == "a3"
    assert join(queue, "b2") == "b2", "with it its person would have the most, as a has"
    assert join(queue, "a4") == "a4"
    assert set(queue) == {"a1", "b1", "c1", "a2"}


def test_when_full_the_background_makes_room_first() -> None:
    queue = filled(4, "a1", "a2", "X1", "Y1")
    assert join(queue, "a3") in {"X1", "Y1"}
    assert join(queue, "a4") in {"X1", "Y1"}
    assert join(queue, "Z1") == "Z1"
    assert join(queue, "a5") == "a5"
    assert join(queue, "b1") == "a4"


def test_in_a_full_background_it_is_as_among_people() -> None:
    queue = filled(4, "A1", "A2", "A3", "b1")
    assert join(queue, "C1") == "A3"
    assert join(queue, "A4") == "A4"


def test_nobody_makes_room_for_one_who_would_be_no_better_off() -> None:
    queue = filled(2, "a1", "b1")
    assert join(queue, "c1") == "c1"


def test_where_none_may_wait_all_are_turned_away() -> None:
    assert join(filled(0), "a1") == "a1"


def test_the_order_of_a_line_is_that_of_its_service() -> None:
    queue = opened()
    for item, tokens in (("a1", 300), ("a2", 100), ("b1", 100), ("b2", 100), ("b3", 100), ("c1", 50), ("D1", 1)):
        join(queue, item, tokens=tokens)
    join(queue, "x1", line="other")
    foretold = queue.in_order("")
    assert (queue.waiting_for(""), queue.waiting_for("other"), queue.waiting_for("unknown")) == (7, 1, 0)
    queue.leave("x1")
    assert foretold == list(all_served(queue)) == ["a1", "b1", "c1", "b2", "b3", "a2", "D1"]
    assert queue.in_order("unknown") == []


def test_lines_that_nobody_stands_in_are_forgotten_in_time() -> None:
    queue = filled(10, "a1", "b1")
    queue.turn(0.0)
    assert list(all_served(queue)) == ["a1", "b1"]
    for now in (1.0, 1.0 + IDLE_SECONDS):
        queue.turn(now)
        assert len(queue._lines[0]) == 1
    queue.turn(1.1 + IDLE_SECONDS)
    assert len(queue._lines[0]) == 0
    join(queue, "a2")
    assert list(queue.in_turn()) == ["a2"]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), 1e-300, float("inf")])
def test_no_weight_is_too_odd(weight: float) -> None:
    queue = opened()
    join(queue, "a1", weight=weight)
    join(queue, "a2", weight=weight)
    join(queue, "b1")
    assert set(all_served(queue)) == {"a1", "a2", "b1"}


@given(st.integers(1, 50), st.integers(0, 500), st.lists(st.sampled_from("bcdef"), max_size=8))
def test_a_flood_holds_back_only_itself(most: int, flood: int, others: list[str]) -> None:
    """One person sends hundreds; those of the others who ask for their fair part of the places all get to wait."""
    queue = opened(most)
    turned_away = Counter[str]()
    arrivals = ["a"] * flood + others
    for place, person in enumerate(arrivals):
        gone = join(queue, f"{person}{place}")
        if gone is not None:
            turned_away[gone[0]] += 1
    wanted = Counter(others)
    part = most // (len(wanted) + 1)
    for person, count in wanted.items():
        assert turned_away[person] <= max(0, count - part)
    order = [item[0] for item in all_served(queue)]
    for person in set(order):
        assert order.index(person) <= len(wanted), "the first of each waits one round, however long the flood is"


PEOPLE, LINES = "abcd", ("one", "two")


class FairQueueMachine(RuleBasedStateMachine):
    """Requests come, leave, are served and end in any order, and time passes: nobody is lost or served twice."""

    MOST = 12

    def __init__(self) -> None:
        super().__init__()
        self.use = RecentUse()
        self.now = 0.0
        self.use.turn(self.now)
        self.queue: FairQueue[int] = FairQueue(self.MOST, self.use)
        self.waiting: dict[int, Claim] = {}
        self.running: list[tuple[Claim, object]] = []
        self.number = 0

    @rule(
        person=st.sampled_from(PEOPLE), line=st.sampled_from(LINES), kind=st.integers(0, 2), background=st.booleans(),
        weight=st.sampled_from([0.5, 1.0, 4.0]), tokens=st.sampled_from([0.0, 1.0, 500.0]), shares=st.booleans(),
    )  # fmt: skip
    def join(
        self, person: str, line: str, kind: int, background: bool, weight: float, tokens: float, shares: bool
    ) -> None:
        self.number += 1
        claim = Claim(person, line, kind, weight, tokens, background)
        gone = self.queue.join(self.number, claim, lambda: LINES if shares else ())
        if len(self.waiting) < self.MOST:
            assert gone is None
        else:
            assert gone is not None
            if gone != self.number:
                left = self.waiting.pop(gone)
                assert left.background or not claim.background
                mine = [item for item, known in self.waiting.items() if self.same(known, left)]
                assert all(item < gone for item in mine), "the newest of theirs"
        if gone != self.number:
            self.waiting[self.number] = claim

    def same(self, one: Claim, two: Claim) -> bool:
        return (one.person, one.background) == (two.person, two.background)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.waiting)))
        self.queue.leave(item)
        del self.waiting[item]

    @rule(places=st.dictionaries(st.tuples(st.sampled_from(LINES), st.integers(0, 2)), st.integers(1, 4)))
    def turn(self, places: dict[tuple[str, int], int]) -> None:
        """Some places are free, each for one kind: all of them are used that anybody can use."""
        left = dict(places)
        hopeless: set[tuple[str, int]] = set()
        served: list[int] = []
        kept: set[int] = set()
        for item in self.queue.in_turn(lambda kind: all((line, kind) in hopeless for line in LINES)):
            assert item in self.waiting
            assert item not in served
            claim = self.waiting[item]
            want = (claim.line, claim.kind)
            if left.get(want, 0):
                left[want] -= 1
                self.serve(item, claim, kept)
                served.append(item)
            else:
                hopeless.add(want)
                kept.add(item)
        for claim in self.waiting.values():
            assert not left.get((claim.line, claim.kind), 0), "a place is free and one waits that could use it"

    def serve(self, item: int, claim: Claim, kept: set[int]) -> None:
        earlier = [
            other for other, known in self.waiting.items()
            if other < item and self.same(known, claim) and (known.line, known.kind) == (claim.line, claim.kind)
        ]  # fmt: skip
        assert not earlier, "those of one person are served in order"
        if claim.background:
            people = [known for known in self.waiting.values() if not known.background]
            assert all((known.line, known.kind) != (claim.line, claim.kind) for known in people)
        del kept
        charge = self.queue.serve(item)
        assert (charge is None) is (claim.expected_tokens == 0)
        del self.waiting[item]
        self.running.append((claim, charge))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.integers(0, 5000))
    def end(self, data: st.DataObject, tokens: int) -> None:
        place = data.draw(st.integers(0, len(self.running) - 1))
        claim, charge = self.running.pop(place)
        if charge is None:
            self.use.charge(claim.person, tokens)
        else:
            self.use.settle(charge, tokens)  # type: ignore[arg-type]
            self.queue.refresh(claim.person)

    @rule(seconds=st.sampled_from([0.1, 30.0, 130.0, 1300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.use.turn(self.now)
        self.queue.turn(self.now)

    @invariant()
    def agree(self) -> None:
        assert set(self.queue) == set(self.waiting)
        assert len(self.queue) == len(self.waiting) <= self.MOST
        assert sorted(self.queue.in_turn()) == sorted(self.waiting)
        for line in LINES:
            there = sorted(item for item, claim in self.waiting.items() if claim.line == line)
            assert sorted(self.queue.in_order(line)) == there
            assert self.queue.waiting_for(line) == len(there)


TestFairQueueMachine = FairQueueMachine.TestCase
TestFairQueueMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
