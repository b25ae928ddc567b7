"""The fair queue: each key has its turn, and a flood holds back its own."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.core.fair_queue import FairQueue


def filled(most: int, *items: str) -> FairQueue[str, str]:
    """A queue of items whose first letter is their key."""
    queue: FairQueue[str, str] = FairQueue(most)
    for item in items:
        assert queue.join(item, item[0]) is None
    return queue


def test_within_a_key_it_is_in_order_and_between_keys_in_turn() -> None:
    queue = filled(10, "a1", "a2", "a3", "a4", "b1", "c1", "c2")
    assert list(queue.in_turn()) == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]


def test_the_key_that_was_served_comes_last() -> None:
    queue = filled(10, "a1", "a2", "b1", "b2")
    served = []
    while queue:
        first = next(queue.in_turn())
        queue.serve(first)
        served.append(first)
    assert served == ["a1", "b1", "a2", "b2"]


def test_one_that_only_leaves_costs_its_key_no_turn() -> None:
    queue = filled(10, "a1", "a2", "b1")
    queue.leave("a1")
    assert list(queue.in_turn()) == ["a2", "b1"]


def test_joining_twice_changes_nothing_even_when_full() -> None:
    queue = filled(2, "a1", "a2")
    assert queue.join("a1", "a") is None
    assert queue.join("a1", "b") is None
    assert list(queue.in_turn()) == ["a1", "a2"]


def test_who_does_not_wait_may_leave() -> None:
    queue = filled(2, "a1")
    queue.leave("b1")
    queue.serve("b1")
    assert (len(queue), "a1" in queue, "b1" in queue) == (1, True, False)


def test_when_full_the_newest_of_the_key_with_the_most_makes_room() -> None:
    queue = filled(4, "a1", "a2", "a3", "b1")
    assert queue.join("c1", "c") == "a3"
    assert queue.join("b2", "b") == "b2", "with it its key would have the most, as a has"
    assert queue.join("a4", "a") == "a4"
    assert list(queue.in_turn()) == ["a1", "b1", "c1", "a2"]


def test_nobody_makes_room_for_one_who_would_be_no_better_off() -> None:
    queue = filled(2, "a1", "b1")
    assert queue.join("c1", "c") == "c1"


def test_where_none_may_wait_all_are_turned_away() -> None:
    assert filled(0).join("a1", "a") == "a1"


def test_those_that_leave_while_others_are_looked_at_are_left_out() -> None:
    queue = filled(10, "a1", "a2", "b1", "b2")
    seen = []
    for item in queue.in_turn():
        seen.append(item)
        if item == "a1":
            queue.leave("b1")
            queue.serve("a1")
            queue.join("c1", "c")
    assert seen == ["a1", "a2", "b2"]


@given(st.integers(1, 50), st.integers(0, 500), st.lists(st.sampled_from("bcdef"), max_size=8))
def test_a_flood_holds_back_only_itself(most: int, flood: int, others: list[str]) -> None:
    """One key sends hundreds; those of the others who ask for their fair part of the places all get to wait."""
    queue: FairQueue[str, str] = FairQueue(most)
    turned_away = Counter[str]()
    arrivals = ["a"] * flood + others
    for place, key in enumerate(arrivals):
        gone = queue.join(f"{key}{place}", key)
        if gone is not None:
            turned_away[gone[0]] += 1
    wanted = Counter(others)
    part = most // (len(wanted) + 1)
    for key, count in wanted.items():
        assert turned_away[key] <= max(0, count - part)
        waits_before = 0
        for item in queue.in_turn():
            if item[0] == key:
                break
            waits_before += 1
        else:
            continue
        assert waits_before <= len(wanted), "the first of each key waits one round, however long the flood is"


@given(st.integers(1, 40), st.integers(1, 400), st.integers(1, 100))
def test_a_trickle_is_served_at_once_beside_a_flood(most: int, flood: int, turns: int) -> None:
    queue: FairQueue[str, str] = FairQueue(most)
    for place in range(flood):
        queue.join(f"a{place}", "a")
    waited = []
    for turn in range(turns):
        queue.join(f"a-more-{turn}", "a")
        gone = queue.join(f"b{turn}", "b")
        assert gone is None or gone[0] == "a" or most == 1
        if gone is not None and gone[0] == "b":
            continue
        for served in range(1, 4):
            item = next(queue.in_turn())
            queue.serve(item)
            if item == f"b{turn}":
                waited.append(served)
                break
    assert all(place <= 2 for place in waited)
    assert most == 1 or len(waited) == turns


class FairQueueMachine(RuleBasedStateMachine):
    """The queue beside a plain model of it: a list of items per key, and the keys in the order of their turns."""

    MOST = 5

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int, str] = FairQueue(self.MOST)
        self.model: dict[str, list[int]] = {}
        self.count = 0

    @rule(key=st.sampled_from("abc"))
    def join(self, key: str) -> None:
        self.count += 1
        gone = self.queue.join(self.count, key)
        sizes = {other: len(items) for other, items in self.model.items()}
        if sum(sizes.values()) < self.MOST:
            assert gone is None
        elif sizes.get(key, 0) + 1 >= max(sizes.values()):
            assert gone == self.count
            return
        else:
            assert gone in {items[-1] for items in self.model.values() if len(items) == max(sizes.values())}
            self.drop(gone)
        self.model.setdefault(key, []).append(self.count)

    def drop(self, item: int) -> str:
        key = next(key for key, items in self.model.items() if item in items)
        self.model[key].remove(item)
        if not self.model[key]:
            del self.model[key]
        return key

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([item for items in self.model.values() for item in items]))
        self.queue.leave(item)
        self.drop(item)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([item for items in self.model.values() for item in items]))
        self.queue.serve(item)
        key = self.drop(item)
        if key in self.model:
            self.model[key] = self.model.pop(key)

    @invariant()
    def agree(self) -> None:
        rounds: dict[int, list[int]] = defaultdict(list)
        for items in self.model.values():
            for place, item in enumerate(items):
                rounds[place].append(item)
        assert list(self.queue.in_turn()) == [item for place in sorted(rounds) for item in rounds[place]]
        assert len(self.queue) == sum(map(len, self.model.values())) <= self.MOST
        for key in "abc":
            assert self.queue.waiting_of(key) == len(self.model.get(key, ()))


TestFairQueueMachine = FairQueueMachine.TestCase
