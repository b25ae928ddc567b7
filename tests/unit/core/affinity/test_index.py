"""The index: finds what was recorded, keeps its bounds, and forgets without breaking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.services.core.affinity.index import FRESH_SECONDS, MOST_SERVERS_A_BLOCK, Index

NOW = 10_000.0


def trail_of(text: str) -> tuple[int, ...]:
    """Marks as a trail has them: each stands for all before it."""
    return tuple(hash(text[: place + 1]) for place in range(len(text)))


def test_nobody_knows_anything_at_first() -> None:
    assert Index().knowing(trail_of("abc"), NOW, 4) == []
    assert Index().sharing(trail_of("abc"), NOW) == {}
    assert Index().knowing((), NOW, 4) == []


def test_the_longest_known_part_comes_first() -> None:
    index = Index()
    index.record(trail_of("abcdef"), "long", NOW)
    index.record(trail_of("abcx"), "middle", NOW)
    index.record(trail_of("a"), "short", NOW)
    index.record(trail_of("zzz"), "other", NOW)
    assert index.knowing(trail_of("abcdefgh"), NOW, 4) == [("long", 6), ("middle", 3), ("short", 1)]
    assert index.knowing(trail_of("abcdefgh"), NOW, 2) == [("long", 6), ("middle", 3)]
    assert index.sharing(trail_of("abcdefgh"), NOW)["long"] == 4  # the middle


def test_of_equals_the_latest_comes_first() -> None:
    index = Index()
    for number, server_id in enumerate("abc"):
        index.record(trail_of("same"), server_id, NOW + number)
    assert [server_id for server_id, _blocks in index.knowing(trail_of("same"), NOW + 9, 4)] == ["c", "b", "a"]


def test_recording_tells_what_was_known_and_adds_only_what_is_new() -> None:
    index = Index()
    assert index.record(trail_of("abc"), "a", NOW) == 0
    assert index.record(trail_of("abcde"), "a", NOW) == 3
    assert index.record(trail_of("abcde"), "a", NOW) == 5
    assert index.record(trail_of("ab"), "b", NOW) == 0
    assert len(index) == 7


def test_what_is_old_counts_for_nothing() -> None:
    index = Index()
    index.record(trail_of("abc"), "a", NOW)
    assert index.knowing(trail_of("abc"), NOW + FRESH_SECONDS, 4)
    assert not index.knowing(trail_of("abc"), NOW + FRESH_SECONDS + 1, 4)
    assert not index.sharing(trail_of("abc"), NOW + FRESH_SECONDS + 1)
    assert index.record(trail_of("abc"), "a", NOW + FRESH_SECONDS + 1) == 0


def test_what_is_used_again_stays() -> None:
    index = Index()
    for minute in range(0, 120, 10):
        index.record(trail_of("used"), "a", NOW + minute * 60)
        index.record(trail_of(f"once {minute}"), "a", NOW + minute * 60)
    now = NOW + 110 * 60
    assert index.knowing(trail_of("used"), now, 4) == [("a", 4)]
    assert not index.knowing(trail_of("once 0")[5:], now, 4)


def test_the_least_recently_used_go_first() -> None:
    index = Index(most_blocks_a_server=40)
    for number in range(20):
        index.record(trail_of("kept"), "a", NOW)
        index.record(trail_of(f"{number:02} and more"), "a", NOW)
    assert index.knowing(trail_of("kept"), NOW, 4) == [("a", 4)]
    assert index.knowing(trail_of("19 and more"), NOW, 4) == [("a", 11)]
    assert index.knowing(trail_of("00 and more")[2:], NOW, 4) == []


def test_a_trail_longer_than_a_server_may_have_is_cut() -> None:
    index = Index(most_blocks_a_server=8)
    index.record(trail_of("abcdefghij"), "a", NOW)
    assert index.knowing(trail_of("abcdefghij"), NOW, 4) == [("a", 4)]


def test_many_servers_may_know_one_beginning_the_latest_are_named() -> None:
    index = Index()
    for number in range(MOST_SERVERS_A_BLOCK + 5):
        index.record(trail_of("system"), f"server-{number}", NOW)
        index.record(trail_of(f"system, {number:02}"), f"server-{number}", NOW)
    found = dict(index.knowing(trail_of("system"), NOW, 100))
    assert len(found) == MOST_SERVERS_A_BLOCK
    assert "server-0" not in found
    assert index.knowing(trail_of("system, 00"), NOW, 1) == [("server-0", 10)]  # its own blocks lead to it all the same


def test_a_missing_block_in_the_middle_only_finds_less() -> None:
    index = Index()
    trail = trail_of("abcdefgh")
    index.record(trail, "a", NOW)
    index._shelves[trail[4] % len(index._shelves)].pop(trail[4])
    [(server_id, blocks)] = index.knowing(trail, NOW, 4)
    assert (server_id, blocks in (4, 8)) == ("a", True)
    index.record(trail, "a", NOW)
    index.forget("a")
    index.record(trail_of("z" * 200), "b", NOW)
    assert index.knowing(trail, NOW, 4) == []


def test_servers_that_are_gone_are_forgotten_at_once_and_removed_later() -> None:
    index = Index()
    for server_id in ("a", "b"):
        index.record(trail_of("x" * 500), server_id, NOW)
    index.keep({"b", "c"})
    assert index.knowing(trail_of("x" * 500), NOW, 4) == [("b", 500)]
    assert len(index) == 1000
    for number in range(8):
        index.record(trail_of(f"{number}"), "b", NOW)
    assert len(index) == 508
    assert index.record(trail_of("x" * 500), "a", NOW) == 0
    index.forget("never seen")


def test_all_together_keep_the_bound() -> None:
    index = Index(most_blocks=1000, most_blocks_a_server=400)
    for number in range(400):
        index.record(trail_of(f"{number % 50} {'x' * (number % 90)}"), f"server-{number % 7}", NOW + number)
        assert len(index) <= 1000
    latest = trail_of(f"{399 % 50} {'x' * (399 % 90)}")
    assert index.knowing(latest, NOW + 400, 1) == [(f"server-{399 % 7}", len(latest))]


def test_many_new_servers_take_the_place_of_those_unused() -> None:
    index = Index(most_blocks=1000, most_blocks_a_server=1000)
    index.record(trail_of("a" * 400), "first", NOW)
    index.record(trail_of("b" * 400), "first", NOW)  # now the former is its old generation
    for number in range(30):
        index.record(trail_of(f"{number}" + "y" * 200), f"server-{number}", NOW)
        assert len(index) <= 1000
    assert not index.knowing(trail_of("b" * 400), NOW, 4)
    assert index.knowing(trail_of("29" + "y" * 200), NOW, 1)[0][0] == "server-29"


class Recording(RuleBasedStateMachine):
    """Against a model that never forgets: the index knows nothing that was not recorded, and keeps its bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index(most_blocks=120, most_blocks_a_server=40)
        self.seen: dict[str, set[int]] = {}
        self.now = NOW

    @rule(text=st.text("ab", max_size=30), server_id=st.sampled_from("abcdef"))
    def record(self, text: str, server_id: str) -> None:
        trail = trail_of(text)
        known = self.index.record(trail, server_id, self.now)
        assert known <= len(trail)
        assert set(trail[:known]) <= self.seen.setdefault(server_id, set())
        self.seen[server_id] |= set(trail)
        if trail:
            assert dict(self.index.knowing(trail, self.now, 99))[server_id] >= min(len(trail), 10)

    @rule(kept=st.sets(st.sampled_from("abcdef")))
    def keep(self, kept: set[str]) -> None:
        self.index.keep(kept)
        self.seen = {server_id: blocks for server_id, blocks in self.seen.items() if server_id in kept}

    @rule(seconds=st.floats(0, 2000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(text=st.text("ab", max_size=30))
    def look(self, text: str) -> None:
        trail = trail_of(text)
        found = self.index.knowing(trail, self.now, 99)
        assert [blocks for _server_id, blocks in found] == sorted(
            (blocks for _server_id, blocks in found), reverse=True
        )
        assert len({server_id for server_id, _blocks in found}) == len(found)
        for server_id, blocks in [*found, *self.index.sharing(trail, self.now).items()]:
            assert set(trail[:blocks]) <= self.seen[server_id]

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.index) <= 120
        assert sum(len(shelf) for shelf in self.index._shelves) <= len(self.index)


TestRecording = Recording.TestCase
TestRecording.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("blocks", [1, 7, 2048])
@given(known=st.integers(0, 2048))
@settings(max_examples=20)
def test_any_depth_is_found(blocks: int, known: int) -> None:
    trail = tuple(range(blocks))
    known = min(known, blocks)
    index = Index()
    index.record(trail[:known], "a", NOW)
    assert index.knowing(trail, NOW, 4) == ([("a", known)] if known else [])
