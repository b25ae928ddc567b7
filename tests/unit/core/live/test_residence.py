"""Whose turn is it in the memory of a server that loads models inside requests?"""

from __future__ import annotations

import sys

import pytest

from app.services.core.live.loading import Loading
from app.services.core.live.residence import Residence
from tests.fakes.simulated_laptop import may_take

LOAD_SECONDS = 8.0


def holding(*models: str) -> Residence:
    """A memory with these models in it, by the engine's word, at 0 s."""
    residence = Residence()
    residence.told(frozenset(models), 0.0)
    return residence


def with_loaded(model: str = "a", load_seconds: float = LOAD_SECONDS) -> Residence:
    """A memory that a model was loaded into for a request that still runs; it is there from 0 s on."""
    residence = Residence()
    residence.take(model, -load_seconds)
    residence.began(model, 0.0)
    return residence


def asked(residence: Residence, model: str, since: float, until: float) -> float | None:
    """Ask ten times a second, as one does that waits; return when it was let in."""
    for tick in range(round((until - since) * 10) + 1):
        now = since + tick / 10
        if may_take(residence, model, now):
            return now
    return None


class TestStates:
    def test_absent_at_first(self) -> None:
        residence = Residence()
        assert not residence.is_warm("a")
        assert residence.loading_since("a") is None
        assert residence.loading() == ()

    def test_a_request_for_an_absent_model_loads_it(self) -> None:
        residence = Residence()
        residence.take("a", 5.0)
        assert not residence.is_warm("a")
        assert residence.loading_since("a") == 5.0
        assert residence.loading() == (Loading("a", 5.0),)
        assert residence.load_of("a") == Loading("a", 5.0)
        assert residence.load_of("b") is None

    def test_a_second_request_gathers_behind_the_same_load(self) -> None:
        residence = Residence()
        residence.take("a", 5.0)
        assert may_take(residence, "a", 9.0)
        residence.take("a", 9.0)
        assert residence.loading_since("a") == 5.0

    def test_it_is_in_memory_when_an_answer_begins(self) -> None:
        residence = with_loaded()
        assert residence.is_warm("a")
        assert residence.loading_since("a") is None

    def test_a_load_that_nobody_waits_for_is_off(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        residence.take("a", 1.0)
        residence.give_back("a", 2.0)
        assert residence.loading_since("a") == 0.0
        residence.give_back("a", 3.0)
        assert residence.loading_since("a") is None
        assert not residence.is_warm("a")
        assert may_take(residence, "b", 3.0)

    def test_whoever_does_not_fit_is_gone_with_the_first_request_for_another(self) -> None:
        residence = holding("a")
        residence.take("b", 10.0)
        assert not residence.is_warm("a")

    def test_a_model_that_was_put_out_while_its_request_stood_in_line_comes_back_in(self) -> None:
        residence = holding("a")
        residence.take("a", 1.0)
        residence.take("b", 1.0)  # nobody asked whether it may
        residence.began("a", 2.0)
        assert residence.is_warm("a")
        assert residence.loading_since("b") is None
        residence.give_back("b", 3.0)
        residence.give_back("a", 3.0)
        assert asked(residence, "b", 3.0, 20.0) is not None

    def test_what_ends_more_often_than_it_began_does_no_harm(self) -> None:
        residence = with_loaded()
        residence.give_back("a", 1.0)
        residence.give_back("a", 1.0)
        residence.give_back("b", 1.0)
        residence.take("a", 2.0)
        assert asked(residence, "b", 20.0, 30.0) is None  # it is one that runs


class TestTold:
    def test_what_the_engine_lists_is_in_memory(self) -> None:
        residence = holding("a", "b")
        assert residence.is_warm("a")
        assert residence.is_warm("b")
        assert not residence.is_warm("c")

    def test_what_it_lists_no_more_is_gone(self) -> None:
        residence = with_loaded()
        residence.give_back("a", 1.0)
        residence.told(frozenset(), 30.0)
        assert not residence.is_warm("a")

    def test_what_an_answer_showed_is_newer(self) -> None:
        residence = with_loaded()
        residence.give_back("a", 0.5)
        residence.told(frozenset({"b"}), 3.0)
        assert residence.is_warm("a")
        assert not residence.is_warm("b")

    def test_a_list_without_a_model_that_answers_is_not_believed(self) -> None:
        residence = with_loaded()
        residence.told(frozenset({"b"}), 100.0)
        assert residence.is_warm("a")
        assert not residence.is_warm("b")

    def test_a_load_goes_on_whether_it_is_listed_or_not(self) -> None:
        residence = holding("a")
        residence.take("b", 10.0)
        residence.told(frozenset({"a"}), 12.0)  # asked before, or the engine has not got so far
        assert not residence.is_warm("a")
        residence.told(frozenset({"b"}), 14.0)
        assert residence.loading_since("b") == 10.0


class TestFittingTogether:
    def test_models_listed_at_once_never_wait(self) -> None:
        residence = holding("a", "b")
        for _request in range(5):
            for model in "ab":
                assert may_take(residence, model, 1.0)
                residence.take(model, 1.0)
                residence.began(model, 1.5)

    def test_it_is_learnt_when_one_is_still_listed_after_another_was_loaded(self) -> None:
        residence = with_loaded("a")
        residence.give_back("a", 1.0)
        residence.take("b", 20.0)
        residence.began("b", 28.0)
        assert not may_take(residence, "a", 29.0)
        residence.told(frozenset({"a", "b"}), 30.0)
        assert may_take(residence, "a", 30.0)

    def test_it_is_known_after_one_of_them_was_gone(self) -> None:
        residence = holding("a", "b")
        residence.told(frozenset({"a"}), 400.0)
        residence.take("a", 401.0)
        assert may_take(residence, "b", 401.0)
        residence.take("b", 401.0)
        assert residence.is_warm("a")

    def test_it_is_unlearnt_when_one_is_missing_that_was_just_used(self) -> None:
        residence = holding("a", "b")
        for model in "ab":
            residence.take(model, 1.0)
            residence.began(model, 1.0)
            residence.give_back(model, 10.0)
        residence.told(frozenset({"b"}), 20.0)
        residence.take("b", 21.0)
        assert not may_take(residence, "a", 21.0)

    def test_a_small_one_beside_both_stays_when_they_change(self) -> None:
        residence = holding("a", "small")
        residence.told(frozenset({"b", "small"}), 100.0)
        residence.take("small", 101.0)
        residence.take("b", 101.0)
        assert not may_take(residence, "a", 101.0)
        residence.give_back("b", 110.0)
        assert may_take(residence, "a", 110.0)  # though the small one runs
        residence.take("a", 110.0)
        assert residence.is_warm("small")
        assert not residence.is_warm("b")


class TestTurns:
    def test_an_empty_memory_is_anybodys(self) -> None:
        assert may_take(Residence(), "a", 0.0)
        assert may_take(holding(), "a", 0.0)

    def test_a_model_in_memory_may_be_taken_at_any_time(self) -> None:
        residence = with_loaded()
        assert all(may_take(residence, "a", float(second)) for second in range(1000))

    def test_another_that_nobody_uses_makes_room_at_once(self) -> None:
        assert may_take(holding("a"), "b", 1.0)

    def test_none_comes_while_another_loads(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        assert asked(residence, "b", 0.0, 119.0) is None
        assert may_take(residence, "a", 119.0)  # those who want it gather

    def test_nothing_gathers_behind_a_load_that_does_not_end_while_another_waits(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        assert asked(residence, "b", 90.0, 121.0) is None
        assert not may_take(residence, "a", 121.0)
        residence.give_back("a", 300.0)
        assert asked(residence, "b", 300.0, 301.0) is not None

    def test_a_long_load_is_gathered_behind_where_nobody_else_waits(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        assert may_take(residence, "a", 500.0)

    def test_within_its_dwell_a_model_stays_until_it_was_idle_for_a_quarter_of_it(self) -> None:
        residence = with_loaded("a", 8.0)
        residence.give_back("a", 1.0)
        assert asked(residence, "b", 1.0, 20.0) == pytest.approx(3.0)

    def test_after_its_dwell_it_goes_as_soon_as_it_is_idle(self) -> None:
        residence = with_loaded("a", 8.0)
        assert asked(residence, "b", 7.0, 12.0) is None
        residence.give_back("a", 12.1)
        assert may_take(residence, "b", 12.1)

    @pytest.mark.parametrize(("load_seconds", "dwell_seconds"), [(0.5, 5.0), (30.0, 30.0), (500.0, 60.0)])
    def test_the_dwell_is_as_long_as_the_load(self, load_seconds: float, dwell_seconds: float) -> None:
        residence = with_loaded("a", load_seconds)
        residence.give_back("a", dwell_seconds - 0.1)
        assert not may_take(residence, "b", dwell_seconds - 0.05)
        assert may_take(residence, "b", dwell_seconds)

    def test_a_busy_model_takes_nothing_new_when_another_has_waited_for_20_s(self) -> None:
        residence = with_loaded("a", 8.0)
        assert asked(residence, "b", 5.0, 24.9) is None
        assert may_take(residence, "a", 24.9)
        assert not may_take(residence, "b", 25.0)
        assert not may_take(residence, "a", 25.0)
        residence.give_back("a", 25.5)
        assert not may_take(residence, "a", 25.5)  # it is not its turn
        assert may_take(residence, "b", 25.5)
        residence.take("b", 25.5)
        assert not may_take(residence, "a", 25.6)

    def test_nor_before_its_dwell_is_over(self) -> None:
        residence = with_loaded("a", 40.0)
        assert asked(residence, "b", 1.0, 39.9) is None
        assert may_take(residence, "a", 39.9)
        assert not may_take(residence, "b", 40.0)
        assert not may_take(residence, "a", 40.0)

    def test_what_runs_is_waited_for(self) -> None:
        residence = with_loaded("a", 8.0)
        residence.take("a", 1.0)
        assert asked(residence, "b", 1.0, 300.0) is None
        residence.give_back("a", 300.0)
        assert asked(residence, "b", 300.0, 400.0) is None
        residence.give_back("a", 400.0)
        assert may_take(residence, "b", 400.0)

    def test_turns_go_by_who_waits_longest(self) -> None:
        residence = with_loaded("a", 8.0)
        may_take(residence, "b", 8.0)
        may_take(residence, "c", 8.1)
        residence.give_back("a", 8.5)
        assert not may_take(residence, "c", 8.6)
        assert may_take(residence, "b", 8.6)

    def test_a_wish_that_is_not_renewed_is_void(self) -> None:
        residence = with_loaded("a", 8.0)
        assert asked(residence, "b", 5.0, 25.5) is None
        assert not may_take(residence, "a", 25.5)
        assert may_take(residence, "a", 26.6)
        assert not may_take(residence, "b", 26.7)
        assert may_take(residence, "a", 26.7)  # that one has waited for no time

    def test_one_that_left_holds_nobody_up(self) -> None:
        residence = with_loaded("a", 8.0)
        may_take(residence, "b", 8.0)
        may_take(residence, "c", 8.1)
        residence.give_back("a", 9.0)
        assert asked(residence, "c", 8.5, 12.0) == pytest.approx(9.1)

    def test_one_that_may_come_and_does_not_gives_the_turn_back(self) -> None:
        residence = with_loaded("a", 8.0)
        assert asked(residence, "b", 5.0, 25.0) is None
        residence.give_back("a", 25.1)
        for tick in range(12):
            assert may_take(residence, "b", 25.1 + tick / 10)
        assert may_take(residence, "a", 26.3)

    def test_a_question_leaves_no_wish(self) -> None:
        residence = with_loaded("a", 8.0)
        for tick in range(400):
            assert not residence.is_open("b", tick / 10)
        assert residence.waits_since("b", 40.0) is None
        assert may_take(residence, "a", 40.0)

    def test_who_waits_knows_since_when(self) -> None:
        residence = with_loaded("a", 8.0)
        asked(residence, "b", 3.0, 6.0)
        assert residence.waits_since("b", 6.5) == 3.0
        assert residence.waits_since("b", 7.5) is None
        assert residence.waits_since("a", 6.5) is None

    def test_asking_twice_is_asking_once(self) -> None:
        once, often = with_loaded("a", 8.0), with_loaded("a", 8.0)
        for tick in range(300):
            expected = may_take(once, "b", tick / 10)
            assert [may_take(often, "b", tick / 10) for _ in range(3)] == [expected] * 3

    def test_a_model_that_fits_does_not_come_in_the_way_of_one_whose_turn_comes(self) -> None:
        residence = holding("a", "small")
        residence.told(frozenset({"a"}), 100.0)
        residence.take("a", 100.0)
        assert asked(residence, "b", 100.0, 120.0) is None
        assert not may_take(residence, "small", 120.0)  # it fits beside a, but not beside b
        residence.give_back("a", 121.0)
        assert may_take(residence, "b", 121.0)


class TestLoadTimes:
    def test_are_learnt_from_cold_starts(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        residence.began("a", 42.0, usual_seconds=2.0)
        residence.give_back("a", 43.0)
        residence.take("b", 100.0)
        residence.began("b", 110.0)
        residence.give_back("b", 111.0)
        residence.take("a", 200.0)
        assert residence.loading() == (Loading("a", 200.0, 40.0),)

    def test_not_from_whole_answers(self) -> None:
        residence = Residence()
        residence.take("a", 0.0)
        residence.began("a", 42.0, is_first_token=False)
        assert residence.load_times.about("a") is None

    def test_not_from_answers_of_a_warm_model(self) -> None:
        residence = holding("a")
        residence.take("a", 0.0)
        residence.began("a", 42.0)
        assert residence.load_times.about("a") is None


@pytest.mark.parametrize("waiting", [0, 3])
def test_a_question_costs_next_to_nothing(waiting: int) -> None:
    """About 0.1 us where nobody waits and 0.6 us where others do (CPython 3.11): it calls little, whoever waits."""
    residence = with_loaded()
    for number in range(waiting):
        may_take(residence, f"other{number}", 0.0)
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _argument: calls.append(frame.f_code.co_name) if "call" in event else None)
    try:
        may_take(residence, "a", 0.5)
    finally:
        sys.setprofile(None)
    assert len(calls) <= 12, calls
