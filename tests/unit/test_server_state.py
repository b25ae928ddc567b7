"""A server is in one state: the strongest of what keeps work away from it, else what its checks found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.services.core.checks.health import HealthState
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.types import Endpoint, HealthStatus, ModelEntry
from app.services.registry.records import Hold, ServerRecord
from app.services.server_state import HOLDS, STATES, state_of

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
RECORD = ServerRecord("s", Endpoint("http", "10.0.0.5", 8000), (ModelEntry("m", "m"),), NOON, NOON)
HELD = Hold(active=True)


@pytest.mark.parametrize("health", HealthStatus)
def test_a_server_that_may_work_is_as_its_checks_found(health: HealthStatus) -> None:
    assert state_of(RECORD, HealthState(status=health), NOON) == health.value


def test_the_strongest_hold_names_the_state() -> None:
    record = RECORD
    for name in reversed(HOLDS):
        record = record.held({name: HELD}, NOON)
        assert state_of(record, HealthState(), NOON) == name


def test_a_hold_that_has_passed_counts_no_more() -> None:
    record = RECORD.held({"paused": Hold(active=True, until=NOON)}, NOON - timedelta(hours=1))
    assert state_of(record, HealthState(), NOON - timedelta(minutes=1)) == "paused"
    assert state_of(record, HealthState(), NOON) == "unknown"


def test_other_hours_are_a_state() -> None:
    morning = Hours("UTC", (Window(frozenset(Day), NOON.replace(hour=8).time(), NOON.replace(hour=9).time()),), UTC)
    assert state_of(replace(RECORD, hours=morning), HealthState(), NOON) == "off_hours"


def test_all_states_are_listed() -> None:
    assert {*HOLDS, *(status.value for status in HealthStatus), "off_hours"} == set(STATES)
