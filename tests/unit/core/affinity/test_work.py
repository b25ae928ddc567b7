"""Work: what was given lately, and how fast a server is."""

from __future__ import annotations

import math

import pytest

from app.services.core.affinity.work import HALF_LIFE_SECONDS, Work

NOW = 10_000.0


def test_without_work_all_are_equal() -> None:
    assert Work().loads(["a", "b"], 100, {}, NOW) == {"a": 100.0, "b": 100.0}


def test_what_is_known_need_not_be_read() -> None:
    assert Work().loads(["a", "b"], 100, {"b": 60}, NOW) == {"a": 100.0, "b": 40.0}


def test_what_was_given_counts_half_after_its_half_life() -> None:
    work = Work()
    work.give("a", 1000, NOW)
    work.give("a", 500, NOW + HALF_LIFE_SECONDS)
    assert work.loads(["a"], 0, {}, NOW + HALF_LIFE_SECONDS)["a"] == pytest.approx(1000)
    assert work.loads(["a"], 0, {}, NOW + 1e9)["a"] == 0.0


def test_a_slow_server_has_more_to_do_with_the_same() -> None:
    work = Work()
    for server_id, seconds in (("slow", 8.0), ("fast", 1.0)):
        work.give(server_id, 1000, NOW)
        work.done(server_id, 1000, seconds)
    loads = work.loads(["slow", "fast", "new"], 500, {}, NOW)
    assert loads["slow"] == pytest.approx(8 * loads["fast"])
    assert loads["new"] == pytest.approx(loads["fast"] / 3)  # as fast as the fastest, and idle


def test_it_is_learnt_anew_when_a_server_changes() -> None:
    work = Work()
    for seconds, times in ((10.0, 50), (1.0, 100)):
        for _time in range(times):
            work.give("a", 1000, NOW)
            work.done("a", 1000, seconds)
    later = NOW + 100 * HALF_LIFE_SECONDS
    assert work.loads(["a"], 1000, {}, later)["a"] == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("seconds", [None, 0.0, -1.0, math.inf, math.nan])
def test_what_says_nothing_of_speed_is_only_over(seconds: float | None) -> None:
    work = Work()
    work.give("a", 1000, NOW)
    assert work.is_busy("a", NOW)
    work.done("a", 1000, seconds)
    assert not work.is_busy("a", NOW)
    assert work.loads(["a"], 0, {}, NOW)["a"] == pytest.approx(1000)


def test_busy_while_anything_runs_but_not_for_ever() -> None:
    work = Work()
    assert not work.is_busy("a", NOW)
    work.give("a", 1, NOW)
    work.give("a", 1, NOW)
    work.done("a", 1, 1.0)
    assert work.is_busy("a", NOW + 1)
    assert not work.is_busy("a", NOW + 901)
    work.give("a", 1, NOW + 901)
    work.done("a", 1, 1.0)
    assert not work.is_busy("a", NOW + 902)
    work.done("a", 1, 1.0)  # told once too often
    work.give("a", 1, NOW + 903)
    assert work.is_busy("a", NOW + 903)


def test_others_are_forgotten() -> None:
    work = Work()
    for server_id in ("a", "b"):
        work.give(server_id, 100, NOW)
    work.keep({"b"})
    work.done("a", 100, 1.0)
    assert work.loads(["a", "b"], 0, {}, NOW) == {"a": 0.0, "b": 100.0}


def test_who_answers_at_once_counts_as_at_most_four_times_the_middle() -> None:
    work = Work()
    for name, seconds in (("liar", 0.0001), ("a", 1.0), ("b", 1.0), ("c", 1.0), ("slow", 9.0)):
        work.give(name, 1000, 0.0)
        work.done(name, 1000, seconds)
    loads = work.loads(("liar", "a", "b", "c", "slow"), 1000, {}, 0.0)
    assert loads["a"] / loads["liar"] == pytest.approx(4.0)
    assert loads["slow"] / loads["a"] == pytest.approx(9.0)
