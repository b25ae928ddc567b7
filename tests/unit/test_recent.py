"""The last requests are kept, bounded, and given a page at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.services import recent as module
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.recent_rows import RecentQuery, status_filter
from app.services.recent import RecentRequests
from tests.unit.core.reporting.test_recent_rows import ANN, OPERATOR, OUTCOME, Facts


def kept(*outcomes: Outcome, capacity: int = 100) -> RecentRequests:
    recent = RecentRequests(capacity, Facts())
    recent.take(outcomes)
    return recent


def numbers(recent: RecentRequests, query: RecentQuery, principal: Principal = OPERATOR) -> list[int]:
    return [row.number for row in recent.page(principal, query).rows]


def test_the_newest_come_first_and_the_oldest_go() -> None:
    recent = kept(*[OUTCOME] * 3, capacity=5)
    recent.take([OUTCOME] * 4)
    page = recent.page(OPERATOR, RecentQuery())
    assert [row.number for row in page.rows] == [7, 6, 5, 4, 3]
    assert (page.next_before, page.kept) == (None, 5)


def test_none_are_kept_where_none_are_wanted() -> None:
    page = kept(OUTCOME, capacity=0).page(OPERATOR, RecentQuery())
    assert (page.rows, page.next_before, page.kept) == ((), None, 0)
    assert kept().page(OPERATOR, RecentQuery(before=5)).rows == ()


@given(st.integers(0, 40), st.integers(1, 60), st.integers(1, 7), st.integers(0, 5))
def test_pages_give_each_request_once_while_more_come(count: int, capacity: int, limit: int, more: int) -> None:
    recent = kept(*[OUTCOME] * count, capacity=capacity)
    found: list[int] = []
    before: int | None = None
    for _page in range(100):
        page = recent.page(OPERATOR, RecentQuery(before=before, limit=limit))
        found += [row.number for row in page.rows]
        before = page.next_before
        if before is None:
            break
        recent.take([OUTCOME] * more)
    assert before is None
    assert found == sorted(set(found), reverse=True)
    if not more:
        assert found == list(range(count, max(count - capacity, 0), -1))


def test_filters_meet_what_a_key_may_see() -> None:
    recent = kept(
        OUTCOME,
        replace(OUTCOME, key_id="use-b", server_id="s1", status=502),
        replace(OUTCOME, key_id="use-b", server_id="s2"),
    )
    assert numbers(recent, RecentQuery(), ANN) == [2, 1]
    assert numbers(recent, RecentQuery(status=status_filter("5xx")), ANN) == [2]
    assert numbers(recent, RecentQuery(key="Ben's user")) == [3, 2]
    assert numbers(recent, RecentQuery(key="use-a")) == [1]
    assert numbers(recent, RecentQuery(), Principal("use-b", "", Role.USER)) == [3, 2]


def test_a_hidden_key_is_not_found_by_its_name() -> None:
    recent = kept(replace(OUTCOME, key_id="use-b", server_id="s1"))
    assert numbers(recent, RecentQuery(), ANN) == [1]
    for name in ("use-b", "Ben's user"):
        assert numbers(recent, RecentQuery(key=name), ANN) == []


def test_a_page_looks_through_so_many_and_says_where_to_go_on(monkeypatch) -> None:
    monkeypatch.setattr(module, "LOOKED_THROUGH", 10)
    recent = kept(replace(OUTCOME, model="rare"), *[OUTCOME] * 25)
    page = recent.page(OPERATOR, RecentQuery(model="rare"))
    assert (page.rows, page.next_before) == ((), 17)
    page = recent.page(OPERATOR, RecentQuery(model="rare", before=17))
    page = recent.page(OPERATOR, RecentQuery(model="rare", before=page.next_before))
    assert ([row.number for row in page.rows], page.next_before) == ([1], None)
