"""What is said of a server in words and in a small picture?"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routers.dashboard.server_standing import (
    HEIGHT,
    STATES,
    WIDTH,
    caption_of,
    load_in_words,
    models_in_words,
    owner_of,
    picture_of,
    state_of,
    words_of,
)
from app.services.core.checks.health import CheckRecord, HealthState
from app.services.core.people.hours import Day, Hours, Window
from app.services.core.signals import NO_SIGNALS, Signals
from app.services.core.types import Endpoint, HealthStatus, ModelEntry
from app.services.registry.records import Hold, ServerRecord
from app.services.server_state import HOLDS

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NEVER_NOW = Hours("UTC", (Window(frozenset({Day.SUN}), NOON.time(), NOON.replace(hour=13).time()),), UTC)
HELD = Hold(active=True, reason="moving")
holds = st.sets(st.sampled_from(HOLDS))


def server(**fields: object) -> ServerRecord:
    models = (ModelEntry("llama", "llama"),)
    made = {"endpoint": Endpoint("http", "10.0.0.5", 8000), "models": models, "created_at": NOON, "updated_at": NOON}
    return ServerRecord("3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11", **(made | fields))  # type: ignore[arg-type]


def checks(*latencies: float | None) -> list[CheckRecord]:
    """Checks, newest first; None failed."""
    return [
        CheckRecord(
            NOON, ok=latency is not None, reason="" if latency is not None else "refused", latency_ms=latency or 0
        )
        for latency in latencies
    ]


@given(holds, st.sampled_from(HealthStatus), st.booleans())
def test_the_state_is_the_strongest_of_what_keeps_work_away(
    held: set[str], status: HealthStatus, is_off_hours: bool
) -> None:
    record = server(**dict.fromkeys(held, HELD), hours=NEVER_NOW if is_off_hours else None)
    found = state_of(record, HealthState(status), NOON)
    strongest = next((name for name in HOLDS if name in held), "off-hours" if is_off_hours else status.value)
    assert found == strongest
    assert found in STATES
    words = words_of(record, HealthState(status), NOON)
    assert words.startswith(STATES[found])
    for name in held:
        assert STATES[name].lower() in words.lower()
    if status is not HealthStatus.HEALTHY:
        assert STATES[status.value].lower() in words.lower()
    assert words[0].isupper()


def test_a_server_that_is_paused_and_dead_says_both() -> None:
    record = server(paused=HELD)
    assert words_of(record, HealthState(HealthStatus.UNHEALTHY), NOON) == "Paused, unhealthy"
    assert words_of(record, HealthState(HealthStatus.HEALTHY), NOON) == "Paused"


def test_a_hold_that_has_run_out_keeps_nothing_away() -> None:
    record = server(paused=Hold(active=True, until=NOON))
    assert state_of(record, HealthState(HealthStatus.HEALTHY), NOON) == "healthy"
    assert state_of(record, HealthState(HealthStatus.HEALTHY), NOON - timedelta(seconds=1)) == "paused"


def test_where_it_listens_is_told_to_those_who_may_know() -> None:
    record = server(metadata={"description": "lab box"})
    assert caption_of(record, known=True) == "10.0.0.5:8000"
    assert caption_of(record, known=False) == "lab box"
    assert caption_of(server(metadata={"description": 7}), known=False) == "server 3f0c4a52"


@pytest.mark.parametrize(
    ("fields", "name", "told"),
    [
        ({"owner": "admin"}, "", "the operator"),
        ({"owner": None}, "", "the operator"),
        ({"owner": "faea916b-26e3"}, "", "key faea916b"),
        ({"owner": "faea916b-26e3"}, "alice's key", "alice's key"),
        ({"owner": "admin", "metadata": {"owner": " al\nice "}}, "x", "al ice"),
        ({"owner": "admin", "metadata": {"owner": ["alice"]}}, "", "the operator"),
    ],
)
def test_owners_are_named(fields: dict[str, object], name: str, told: str) -> None:
    assert owner_of(server(**fields), lambda _key_id: name) == told


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        (NO_SIGNALS, ""),
        (Signals(places=4), ""),
        (Signals(running=2, waiting=1, places=4), "2 of 4 running, 1 waiting"),
        (Signals(running=0, waiting=0), "0 running"),
        (Signals(waiting=3), "3 waiting"),
    ],
)
def test_load_is_told_as_far_as_the_engine_does(signals: Signals, words: str) -> None:
    assert load_in_words(signals) == words


def test_many_models_are_a_line() -> None:
    many = tuple(ModelEntry(f"m{number}", "x") for number in range(120))
    assert models_in_words(server(models=many)) == "m0, m1, m2, m3, m4, m5 and 114 more"
    assert models_in_words(server(models=())) == ""


@given(st.lists(st.none() | st.floats(0, 1e7, allow_nan=False), max_size=100))
def test_the_picture_stays_in_its_frame_and_shows_each_check(latencies: list[float | None]) -> None:
    line, misses, words = picture_of(checks(*latencies))
    shown = latencies[:24]
    points = [(int(across), int(down)) for across, down in re.findall(r"[ML](\d+),(\d+)", line)]
    assert len(points) == sum(latency is not None for latency in shown)
    assert misses.count("v-8") == sum(latency is None for latency in shown)
    assert all(0 <= across <= WIDTH and 0 <= down <= HEIGHT for across, down in points)
    assert [across for across, _ in points] == sorted(across for across, _ in points)
    assert words


def test_the_picture_in_words() -> None:
    assert picture_of([])[2] == "no checks yet"
    assert picture_of(checks(2.0))[2] == "the first check: 2.0\N{NARROW NO-BREAK SPACE}ms"
    assert picture_of(checks(2.0, None, 12.0))[2].replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        "last 3 checks: 2.0 ms to 12 ms, 1 failed"
    )
    assert picture_of(checks(None, None))[2] == "last 2 checks: all failed"
    assert picture_of(checks(1.0, None, 3.0))[0].count("M") == 2


def test_a_latency_that_falls_goes_down_in_the_picture() -> None:
    line, _misses, _words = picture_of(checks(1.0, 10.0))
    first, second = re.findall(r",(\d+)", line)
    assert int(first) < int(second)
