"""How long does a model take to load, and what does a client hear that waits for it?"""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.live.loading import Loading, LoadTimes, loading_words, patience, turn_words

ANY = st.floats(allow_nan=True, allow_infinity=True)
SANE = st.floats(0, 1e9)


class TestWords:
    @pytest.mark.parametrize(
        ("about", "waited", "words"),
        [
            (None, 2.0, b": loading the model, this can take a minute\n"),
            (None, 59.0, b": loading the model, this can take a minute\n"),
            (None, 61.5, b": still loading the model, 62 s so far\n"),
            (40.0, 0.5, b": loading the model, about 40 s\n"),
            (40.0, 12.0, b": loading the model, about 28 s\n"),
            (40.0, 39.9, b": loading the model, about 1 s\n"),
            (40.0, 40.0, b": still loading the model, 40 s so far\n"),
            (40.0, 51.2, b": still loading the model, 52 s so far\n"),
        ],
    )
    def test_count_down_and_then_up(self, about: float | None, waited: float, words: bytes) -> None:
        assert loading_words(Loading("m", 100.0, about), 100.0 + waited) == words

    def test_of_a_turn(self) -> None:
        assert turn_words(3.2) == b": waiting for another model to leave the memory, 4 s so far\n"

    @given(st.text(), SANE, st.none() | SANE, SANE)
    def test_hold_nothing_but_our_own_words_and_numbers(
        self, name: str, since: float, about: float | None, now: float
    ) -> None:
        for words in (loading_words(Loading(name, since, about), now), turn_words(now - since)):
            assert re.fullmatch(rb": [a-z, ]+(\d{1,5} s)?( so far)?\n", words)
            assert words.count(b"\n") == 1


class TestLoadTimes:
    def test_nothing_is_known_at_first(self) -> None:
        assert LoadTimes().about("m") is None

    def test_learns_what_a_first_token_took_beyond_the_usual(self) -> None:
        times = LoadTimes()
        times.learn("m", 42.0, 2.0)
        assert times.about("m") == 40.0
        assert times.about("other") is None

    def test_later_loads_count_more(self) -> None:
        times = LoadTimes()
        for seconds in (10.0, 30.0, 30.0, 30.0):
            times.learn("m", seconds)
        assert 27.0 < (times.about("m") or 0) < 30.0

    @pytest.mark.parametrize("seconds", [0.4, -3.0, math.nan])
    def test_what_was_no_load_teaches_nothing(self, seconds: float) -> None:
        times = LoadTimes()
        times.learn("m", seconds)
        assert times.about("m") is None

    @given(st.lists(st.tuples(st.text(max_size=3), ANY, ANY), max_size=50))
    def test_stays_within_bounds_whatever_was_measured(self, measured: list[tuple[str, float, float]]) -> None:
        times = LoadTimes()
        for model, first_token, usual in measured:
            times.learn(model, first_token, usual)
            about = times.about(model)
            assert about is None or 1.0 <= about <= 600.0

    def test_forgets_the_model_that_was_loaded_longest_ago(self) -> None:
        times = LoadTimes()
        for number in range(256):
            times.learn(f"m{number}", 10.0)
        times.learn("m0", 10.0)
        times.learn("new", 10.0)
        assert times.about("m0") == 10.0
        assert times.about("m1") is None
        assert times.about("m2") == 10.0


def test_a_load_that_is_late_has_nothing_left() -> None:
    assert Loading("m", 0.0, 10.0).left_seconds(4.0) == 6.0
    assert Loading("m", 0.0, 10.0).left_seconds(40.0) == 0.0
    assert Loading("m", 0.0).left_seconds(40.0) is None


@pytest.mark.parametrize(
    ("usual", "model_load", "needs_load", "longest"),
    [(1200, 3000, False, 1200), (1200, 3000, True, 3000), (1200, 600, True, 1200)],
)
def test_a_model_that_needs_a_load_is_given_the_longer_time(
    usual: int, model_load: int, needs_load: bool, longest: int
) -> None:
    assert patience(usual, model_load, needs_load=needs_load) == longest
