"""Sessions: kept apart by key and model, bounded, forgotten with time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.affinity.sessions import LONGEST_SESSION_ID_BYTES, Sessions, mark_session

HOUR = 3600.0


@pytest.mark.parametrize("session_id", [b"", b"x" * (LONGEST_SESSION_ID_BYTES + 1)])
def test_what_is_no_session(session_id: bytes) -> None:
    assert mark_session("key", "m", session_id) is None


@given(st.binary(min_size=1, max_size=LONGEST_SESSION_ID_BYTES))
def test_a_session_is_its_keys_and_its_models(session_id: bytes) -> None:
    marks = {mark_session(key, model, session_id) for key in ("one", "two") for model in ("m", "n")}
    assert len(marks) == 4
    assert None not in marks
    assert mark_session("one", "m", session_id) in marks


def test_it_is_where_it_ran_last() -> None:
    sessions = Sessions()
    assert sessions.server_of(1, 0.0) is None
    sessions.note(1, "a", 0.0)
    sessions.note(2, "b", 0.0)
    sessions.note(1, "c", 1.0)
    assert (sessions.server_of(1, 2.0), sessions.server_of(2, 2.0)) == ("c", "b")


@given(st.floats(0, 5 * HOUR), st.floats(0, 5 * HOUR))
def test_idle_ones_last_for_an_hour_and_no_more_than_two(used_at: float, later: float) -> None:
    sessions = Sessions()
    sessions.note(1, "a", used_at)
    for tick in range(10):  # others come and go meanwhile
        sessions.note(100 + tick, "b", used_at + later * tick / 10)
    server_id = sessions.server_of(1, used_at + later)
    if later < HOUR:
        assert server_id == "a"
    if later > 2 * HOUR:
        assert server_id is None


def test_a_long_silence_forgets_all() -> None:
    sessions = Sessions()
    sessions.note(1, "a", 0.0)
    assert sessions.server_of(1, 2 * HOUR) is None
    assert len(sessions) == 0


@given(st.lists(st.integers(0, 60), max_size=300))
def test_never_more_than_the_bound_and_the_latest_are_there(used: list[int]) -> None:
    sessions = Sessions(20)
    for now, session in enumerate(used):
        sessions.note(session, f"server-{session}", float(now))
        assert len(sessions) <= 20
        latest = set(used[max(0, now - 9) : now + 1])
        assert all(sessions.server_of(one, float(now)) == f"server-{one}" for one in latest)
