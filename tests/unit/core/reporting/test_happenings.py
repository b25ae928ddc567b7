"""What differs between two looks at the servers is told, once, in a sentence that reads well."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.reporting.happenings import Change, Happening, Kind, Standing, changes, sentence
from app.services.core.types import HealthStatus

WELL = Standing(HealthStatus.HEALTHY, refuses_key=False, holds=frozenset())
ILL = WELL._replace(health=HealthStatus.UNHEALTHY)
NEW = WELL._replace(health=HealthStatus.UNKNOWN)
HOLDS = ("blocked", "pending", "quarantined", "paused", "draining")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
standings = st.builds(Standing, st.sampled_from(HealthStatus), st.booleans(), st.frozensets(st.sampled_from(HOLDS)))
pools = st.dictionaries(st.sampled_from("abc"), standings)


def told(before: Standing | None, after: Standing | None) -> list[Kind]:
    found = changes({"s": before} if before else {}, {"s": after} if after else {})
    return [change.kind for change in found]


def test_what_stays_the_same_is_no_news() -> None:
    for standing in (WELL, ILL, NEW):
        assert told(standing, standing) == []


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, WELL, [Kind.JOINED]),
        (None, NEW._replace(holds=frozenset({"pending"})), [Kind.JOINED, Kind.PENDING]),
        (WELL, None, [Kind.REMOVED]),
        (NEW, WELL, []),
        (NEW, ILL, [Kind.UNHEALTHY]),
        (WELL, ILL, [Kind.UNHEALTHY]),
        (ILL, WELL, [Kind.HEALTHY]),
        (WELL, NEW, [Kind.UNKNOWN]),
        (WELL, WELL._replace(refuses_key=True), [Kind.REFUSES_KEY]),
        (WELL, ILL._replace(refuses_key=True), [Kind.REFUSES_KEY]),
        (ILL._replace(refuses_key=True), WELL, [Kind.HEALTHY]),
        (WELL._replace(refuses_key=True), WELL, [Kind.TAKES_KEY]),
        (WELL, WELL._replace(holds=frozenset({"paused", "blocked"})), [Kind.BLOCKED, Kind.PAUSED]),
        (WELL._replace(holds=frozenset({"quarantined"})), WELL, [Kind.RELEASED]),
    ],
)
def test_each_change_is_told(before: Standing | None, after: Standing | None, kinds: list[Kind]) -> None:
    assert told(before, after) == kinds


def is_silent(before: Standing, after: Standing) -> bool:
    """The first good check of a server is none's news: that it was registered is."""
    is_first_word = before.health is HealthStatus.UNKNOWN and after.health is HealthStatus.HEALTHY
    return before[1:] == after[1:] and is_first_word


@given(pools, pools)
def test_there_is_news_just_where_something_differs(before: dict[str, Standing], after: dict[str, Standing]) -> None:
    found = {change.server_id for change in changes(before, after)}
    differs = {one for one in {*before, *after} if before.get(one) != after.get(one)}
    silent = {one for one in differs if one in before and one in after and is_silent(before[one], after[one])}
    assert found == differs - silent


@given(standings, standings)
def test_a_hold_is_named_by_its_change(before: Standing, after: Standing) -> None:
    for change in changes({"s": before}, {"s": after}):
        assert isinstance(change, Change)
        if change.hold:
            assert (change.hold in before.holds) is not (change.hold in after.holds)


@pytest.mark.parametrize(
    ("happening", "words"),
    [
        (Happening(1, NOON, Kind.STARTED), "The gateway started."),
        (Happening(1, NOON, Kind.CONTINUED, count=1), "1 broken answer was carried on elsewhere."),
        (Happening(1, NOON, Kind.CONTINUED, count=3), "3 broken answers were carried on elsewhere."),
        (
            Happening(1, NOON, Kind.UNHEALTHY, "s", "10.0.0.5:8000", reason="connection refused"),
            "10.0.0.5:8000 became unhealthy: connection refused.",
        ),
        (Happening(1, NOON, Kind.PAUSED, "s", "lab", reason="rehearsal today."), "lab was paused: rehearsal today."),
        (Happening(1, NOON, Kind.PAUSED, "s", "lab"), "lab was paused."),
        (Happening(1, NOON, Kind.HEALTHY, "s", "lab", reason="was refused"), "lab is healthy again."),
    ],
)
def test_it_is_a_sentence(happening: Happening, words: str) -> None:
    assert sentence(happening) == words


def test_every_kind_has_words() -> None:
    for kind in Kind:
        words = sentence(Happening(1, NOON, kind, "s", "lab", "ann", "why", 2))
        assert words.endswith(".")
        assert len(words.split()) > 2
