"""Which spans of time are understood, and what may each role ask?"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import FieldsInvalid, NotAllowed
from app.services.core.people.principal import Principal, Role
from app.services.registry.accounting.usage_query import (
    GroupBy,
    Narrowing,
    Side,
    Span,
    UsageQuery,
    UsageSums,
    moment_of,
    narrowed,
    span_of,
)

NOW = datetime(2030, 5, 17, 10, 20, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, ("2030-04-17", "2030-05-17T12:00")),
        ("2030-05-01", None, ("2030-05-01", "2030-05-17T12:00")),
        ("2030-05-01", "2030-05-02", ("2030-05-01", "2030-05-02")),
        ("2030-05-01T10:30:00Z", "2030-05-01T10:30:01Z", ("2030-05-01T10:00", "2030-05-01T11:00")),
        ("2030-05-01T01:00:00+02:00", "2030-05-01T00:00:00-01:30", ("2030-04-30T23:00", "2030-05-01T02:00")),
        ("2030-05-01T01:00:00 02:00", "2030-05-01 03:15", ("2030-04-30T23:00", "2030-05-01T04:00")),
        ("0001-01-01", "9999-12-31T23:00:00Z", ("0001-01-01", "9999-12-31T23:00")),
    ],
)
def test_spans_are_whole_hours_in_utc(since, until, expected) -> None:
    assert span_of(since, until, NOW) == Span(*map(at, expected))


@pytest.mark.parametrize(
    ("since", "until", "param"),
    [
        ("yesterday", None, "from"),
        ("", "", None),
        ("20300501", None, "from"),
        ("2030-13-01", None, "from"),
        ("2030-02-30", None, "from"),
        ("2030-05-01T25:00", None, "from"),
        ("2030-05-01T10:00+99:00", None, "from"),
        ("0001-01-01T00:00:00+02:00", None, "from"),
        ("٢٠٣٠-05-01", None, "from"),
        ("2030-05-01\n", None, "from"),
        (None, "9999-12-31T23:30:00Z", "to"),
        (None, "9999-12-31T23:30:00-01:00", "to"),
        ("2031-01-01", None, "from"),
        ("2030-05-02", "2030-05-02", "from"),
        (None, "2029-01-01", "to"),
        ("2030-05-02", "nonsense", "to"),
    ],
)
def test_what_is_no_span_is_refused_and_says_how_to_write_one(since, until, param) -> None:
    if param is None:
        assert span_of(since, until, NOW) == span_of(None, None, NOW)
        return
    with pytest.raises(FieldsInvalid) as refused:
        span_of(since, until, NOW)
    assert refused.value.param == param
    assert refused.value.message


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]{0,15}(Z|[+-][0-9:]{0,6})?)?"))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with suppress(FieldsInvalid):
        assert moment_of(text, "from").tzinfo is UTC


@given(st.sampled_from(GroupBy), st.sets(st.sampled_from(GroupBy)), st.none() | st.sampled_from(Side))
def test_an_owner_never_learns_for_whom_its_servers_served(group_by, filtered, side) -> None:
    owner = Principal("o", "owner", Role.OWNER)
    span = Span(NOW, NOW + timedelta(hours=1))
    asked = UsageQuery(group_by, span, {name: frozenset({"x"}) for name in filtered}, side)
    try:
        query, narrowing = narrowed(owner, asked)
    except NotAllowed:
        assert {group_by, *filtered} & {"key", "person", "group", "owner"}
        return
    if query.side is Side.SERVED:
        assert narrowing == Narrowing(owner="o")
        assert not {group_by, *filtered} & {"key", "person", "group", "owner"}
    else:
        assert narrowing == Narrowing(keys_of="o")
        assert query.side is Side.USED


def test_admins_see_all_and_sides_are_nothing_to_them() -> None:
    asked = UsageQuery(GroupBy.KEY, Span(NOW, NOW), side=Side.SERVED)
    for group, narrowing in ((None, Narrowing()), ("lab", Narrowing(group="lab"))):
        query, found = narrowed(Principal("a", "a", Role.ADMIN, group=group), asked)
        assert (query.side, found) == (None, narrowing)


def test_sums_add_up() -> None:
    one = UsageSums(1, 2, 3, 4, 5, 6, 7.5)
    assert one.plus(one) == UsageSums(2, 4, 6, 8, 10, 12, 15.0)
    assert one.total_tokens == 7
