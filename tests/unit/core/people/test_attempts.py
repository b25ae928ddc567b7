"""Is an address that guesses made to wait, and nobody else?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.people.attempts import MOST_FAILURES, Attempts, house_of

GUESSER = "198.51.100.7"


def test_ten_failures_a_minute_and_no_more() -> None:
    attempts = Attempts()
    for second in range(MOST_FAILURES):
        assert attempts.wait_seconds(GUESSER, second) == 0
        attempts.failed(GUESSER, second)
    assert attempts.wait_seconds(GUESSER, 9.5) == 51
    assert attempts.wait_seconds(GUESSER, 59.9) == 1
    assert attempts.wait_seconds(GUESSER, 60) == 0
    assert attempts.wait_seconds("198.51.100.8", 9.5) == 0


def test_the_window_slides() -> None:
    attempts = Attempts()
    for second in range(MOST_FAILURES):
        attempts.failed(GUESSER, second)
    attempts.failed(GUESSER, 60)
    assert attempts.wait_seconds(GUESSER, 60) == 1
    assert attempts.wait_seconds(GUESSER, 61) == 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_no_window_holds_more_than_ten(steps: list[float]) -> None:
    attempts, moment, heard = Attempts(), 0.0, []
    for step in steps:
        moment += step
        if not attempts.wait_seconds(GUESSER, moment):
            attempts.failed(GUESSER, moment)
            heard.append(moment)
    for begin in heard:
        assert sum(begin <= one < begin + 60 for one in heard) <= MOST_FAILURES


@given(st.floats(0, 1e6), st.floats(0, 100))
def test_who_waits_as_told_is_heard(begin: float, step: float) -> None:
    attempts = Attempts(1)
    attempts.failed(GUESSER, begin)
    moment = begin + step
    assert attempts.wait_seconds(GUESSER, moment + attempts.wait_seconds(GUESSER, moment)) == 0


def test_what_is_remembered_is_bounded() -> None:
    attempts = Attempts(most_addresses=3)
    for number in range(9):
        attempts.failed(f"192.0.2.{number}", number)
    assert len(attempts) == 3
    attempts.failed(GUESSER, 1000)
    assert len(attempts) == 1


def test_who_failed_lately_is_not_forgotten_for_the_others() -> None:
    attempts = Attempts(1, most_addresses=2)
    attempts.failed(GUESSER, 0)
    attempts.failed("192.0.2.1", 1)
    attempts.failed(GUESSER, 2)
    attempts.failed("192.0.2.2", 3)
    assert attempts.wait_seconds(GUESSER, 3) == 59
    assert attempts.wait_seconds("192.0.2.1", 3) == 0


@pytest.mark.parametrize(
    ("address", "house"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_a_house_counts_as_one(address: str, house: str) -> None:
    assert house_of(address) == house
