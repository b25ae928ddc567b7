"""What does routing see of a server, and when does that change by itself?"""

from __future__ import annotations

from datetime import UTC, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.checks.health import HealthState
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.types import HealthStatus, ModelEntry
from app.services.registry.records import (
    UNREADABLE_KEY,
    EngineFacts,
    Hold,
    ServerRecord,
    next_expiry,
    reason_of,
    to_server,
)
from tests.fakes.registry import START

LATER = START + timedelta(minutes=5)
NAMES = ("paused", "quarantined", "blocked", "draining", "pending")
HOURS = Hours("UTC", (Window(frozenset(Day), time(0, 3), time(0, 7)),), UTC)
"""Lent from three minutes past the hour that the tests begin at until seven past it."""


def record(**other) -> ServerRecord:
    models = (ModelEntry("a", "b"),)
    return ServerRecord("id", parse_endpoint("http://10.0.0.5:8000"), models, START, START, **other)


def test_routing_sees_record_and_health_together():
    health = HealthState(status=HealthStatus.HEALTHY, missing_models=frozenset({"b"}))
    server = to_server(record(api_key="key", priority=2, weight=3.0, max_concurrency=4, engine="vllm"), health, START)
    assert (server.id, server.endpoint.port, server.api_key, server.engine) == ("id", 8000, "key", "vllm")
    assert (server.priority, server.weight, server.max_concurrency) == (2, 3.0, 4)
    assert (server.health, server.missing_models) == (HealthStatus.HEALTHY, {"b"})
    assert server.accepts_work
    assert not server.misconfigured
    assert to_server(record(), HealthState(misconfigured=True), START).misconfigured


@pytest.mark.parametrize("name", NAMES)
def test_each_hold_keeps_work_away_until_its_time(name):
    held = record(**{name: Hold(active=True, until=LATER)})
    before, at = to_server(held, HealthState(), START), to_server(held, HealthState(), LATER)
    assert getattr(before, name)
    assert not before.accepts_work
    assert at.accepts_work


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.none() | st.integers(-10, 10)), max_size=6),
    st.booleans(),
)
def test_the_next_expiry_is_the_first_moment_at_which_routing_changes(holds, has_hours):
    records = [
        record(**{name: Hold(active, "", None if minutes is None else START + timedelta(minutes=minutes))})
        for name, active, minutes in holds
    ]
    records += [record(hours=HOURS)] if has_hours else []

    def seen(moment):
        return [to_server(one, HealthState(), moment) for one in records]

    due = next_expiry(records, START)
    if due is None:
        assert seen(START) == seen(START + timedelta(days=1))
    else:
        assert due > START
        assert seen(START) == seen(due - timedelta(microseconds=1))
        assert seen(START) != seen(due)


def test_the_reason_names_all_that_is_wrong():
    health = HealthState(reason="connection refused")
    held = record(
        key_unreadable=True, paused=Hold(active=True, reason="moving"), blocked=Hold(active=True, reason="abuse")
    )
    assert reason_of(held, health, START) == f"{UNREADABLE_KEY}; blocked: abuse; paused: moving; connection refused"
    assert reason_of(record(), HealthState(), START) == ""


def test_a_key_is_not_shown_by_printing():
    assert "canary" not in repr(record(api_key="sk-canary"))


def test_routing_sees_what_the_engine_says_of_itself():
    facts = EngineFacts(4, frozenset({"b"}), swaps_models=True, contexts={"b": 4096})
    server = to_server(record(), HealthState(), START, {}, facts)
    assert (server.places, server.loaded, server.swaps_models, server.contexts) == (4, {"b"}, True, {"b": 4096})
    silent = to_server(record(), HealthState(), START)
    assert (silent.places, silent.loaded, silent.swaps_models, silent.contexts) == (None, None, False, {})


def test_off_hours_are_told_with_the_time_that_they_end():
    lent = record(hours=HOURS)
    assert to_server(lent, HealthState(), START).off_hours
    assert not to_server(lent, HealthState(), START).accepts_work
    assert reason_of(lent, HealthState(), START) == "lent at other hours: opens 00:03 UTC"
    opens_at = START + timedelta(minutes=3)
    assert to_server(lent, HealthState(), opens_at).accepts_work
    assert reason_of(lent, HealthState(), opens_at) == ""


def test_who_waits_for_approval_takes_no_work_and_says_so():
    waiting = record(pending=Hold(active=True, reason="waits for the operator's approval"))
    assert to_server(waiting, HealthState(), START).pending
    assert reason_of(waiting, HealthState(), START) == "pending: waits for the operator's approval"
