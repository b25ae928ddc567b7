"""When a server that refused our key gets its chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.checks.rejections import Rejections


def test_the_pause_doubles_up_to_five_minutes() -> None:
    rejections, now = Rejections(), 1000.0
    for pause in (60.0, 120.0, 240.0, 300.0, 300.0):
        assert rejections.reject("a", now, now)
        assert not rejections.has_chance("a", now + pause - 0.01)
        now += pause
        assert rejections.has_chance("a", now)
        rejections.opened("a", now)


def test_a_server_that_served_well_for_five_minutes_begins_anew() -> None:
    rejections = Rejections()
    rejections.reject("a", 0.0, 0.0)
    rejections.opened("a", 60.0)
    rejections.reject("a", 61.0, 61.0)
    rejections.opened("a", 181.0)
    rejections.reject("a", 481.0, 481.0)
    assert rejections.has_chance("a", 541.0)


def test_a_pardon_gives_a_chance_at_once_and_a_short_pause_the_next_time() -> None:
    rejections = Rejections()
    for now in (0.0, 10.0, 20.0):
        rejections.reject("a", now, now)
        rejections.opened("a", now)
    rejections.reject("a", 30.0, 30.0)
    rejections.pardon("a", 31.0)
    rejections.pardon("nobody", 31.0)
    assert rejections.has_chance("a", 31.0)
    rejections.opened("a", 32.0)
    rejections.reject("a", 33.0, 33.0)
    assert rejections.has_chance("a", 93.0)
    assert not rejections.has_chance("a", 92.9)


@pytest.mark.parametrize("trust", [Rejections.opened, Rejections.renewed])
def test_what_was_sent_before_a_server_was_trusted_again_does_not_count(trust) -> None:
    rejections = Rejections()
    rejections.reject("a", 0.0, 0.0)
    trust(rejections, "a", 70.0)
    assert not rejections.reject("a", 71.0, 69.9)
    assert rejections.has_chance("a", 71.0)
    assert rejections.reject("a", 71.0, 70.0)


def test_a_removed_server_is_forgotten() -> None:
    rejections = Rejections()
    rejections.reject("a", 0.0, 0.0)
    rejections.forget("a")
    rejections.forget("a")
    assert rejections.has_chance("a", 1.0)


@given(st.lists(st.floats(0, 1000), max_size=20))
def test_a_chance_comes_within_a_minute_and_five(pauses: list[float]) -> None:
    rejections, now = Rejections(), 0.0
    for seconds in pauses:
        rejections.reject("a", now, now)
        assert not rejections.has_chance("a", now + 59.99)
        assert rejections.has_chance("a", now + 300.0)
        rejections.opened("a", now + 300.0)
        now += 300.0 + seconds
