"""Retries: the table at the head of the module holds literally, and the budget bounds them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core import retry
from app.services.core.errors import GatewayError
from app.services.core.retry import (
    Failure,
    RetryBudget,
    blames_server,
    classify_status,
    costs_nothing,
    final_error,
    may_move_on,
)

NOT_FAILURES = {"STALE"}
"""Rows that tell what never becomes a failure."""
FREE_ROWS = {Failure.DIAL, Failure.DENIED, Failure.OWN}


def rows() -> list[tuple[str, str, str, str, str]]:
    """The docstring's table: failure, remark, moves on, lane, client."""
    assert retry.__doc__ is not None
    ruled = [index for index, line in enumerate(retry.__doc__.splitlines()) if line.startswith("====")]
    lines = retry.__doc__.splitlines()
    columns = [found.span() for found in re.finditer("=+", lines[ruled[0]])]
    table = []
    for line in lines[ruled[1] + 1 : ruled[2]]:
        cells = [line[start : end if end < columns[-1][1] else None].strip() for start, end in columns]
        name, _space, remark = cells[0].partition(" ")
        table.append((name, remark, *cells[1:]))
    return table


TABLE = [row for row in rows() if row[0] not in NOT_FAILURES]


def error_of(failure: Failure, status: int | None = None) -> GatewayError:
    return final_error(failure, status, "llama", None)


def test_the_table_has_every_failure_once() -> None:
    assert sorted(row[0] for row in TABLE) == sorted(failure.name for failure in Failure)
    assert {row[0] for row in rows()} - {row[0] for row in TABLE} == NOT_FAILURES


@pytest.mark.parametrize(("name", "remark", "moves_on", "lane", "client"), TABLE, ids=[row[0] for row in TABLE])
def test_the_table_holds(name: str, remark: str, moves_on: str, lane: str, client: str) -> None:
    failure = Failure[name]
    assert moves_on == "yes"
    assert may_move_on(failure, 1, 3, RetryBudget(0.2))
    assert blames_server(failure) is (lane == "suspect")
    assert lane in {"suspect", "cools", "-"}
    assert (lane == "cools") is (failure is Failure.OVERLOADED)
    for status in map(int, re.findall(r"\b\d{3}\b", remark)):
        assert classify_status(status) is failure
    told = [int(status) for status in re.findall(r"\b\d{3}\b", client)]
    if failure is Failure.OVERLOADED:
        assert told == [429, 503] == [error_of(failure, status).status for status in (429, 503)]
    elif failure is Failure.NOT_SERVED:
        assert client == "the server's own answer"
    else:
        assert told == [error_of(failure).status]
    if "unavailable" in client:
        assert error_of(failure).code == "unavailable"
    if "Retry-After" in client:
        assert error_of(failure).retry_after_seconds


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        *((status, None) for status in (200, 201, 204, 400, 402, 408, 409, 413, 415, 422, 425, 499)),
        *((status, Failure.CREDENTIALS) for status in (401, 403)),
        *((status, Failure.NOT_SERVED) for status in (404, 405, 501)),
        *((status, Failure.OVERLOADED) for status in (429, 503)),
        *((status, Failure.FAILED) for status in (500, 502, 504, 505, 520, 529, 599)),
        *((status, Failure.BROKEN) for status in (0, 100, 101, 199, 300, 301, 302, 304, 307, 399)),
    ],
)
def test_what_a_status_means(status: int, failure: Failure | None) -> None:
    assert classify_status(status) is failure


@given(st.integers(0, 1000))
def test_every_status_is_an_answer_or_a_failure(status: int) -> None:
    if classify_status(status) is None:
        assert 200 <= status < 300 or 400 <= status < 500


# -- moving on


def test_an_attempt_that_reached_nobody_moves_on_without_bound_or_budget() -> None:
    empty = RetryBudget(0)
    for failure in Failure:
        assert costs_nothing(failure) is (failure in FREE_ROWS)
        assert may_move_on(failure, 99, 3, empty) is (failure in FREE_ROWS)


@pytest.mark.parametrize(("sent", "moves_on"), [(0, True), (1, True), (2, True), (3, False), (4, False)])
def test_a_request_is_sent_no_more_often_than_allowed(sent: int, moves_on: bool) -> None:
    assert may_move_on(Failure.RESET, sent, 3, RetryBudget(0.2)) is moves_on


def test_a_server_found_dead_draws_nothing_from_the_budget_and_counts_as_an_attempt() -> None:
    empty = RetryBudget(0.0)
    assert may_move_on(Failure.DEAD, 2, 3, empty)
    assert not may_move_on(Failure.DEAD, 3, 3, empty)
    assert not may_move_on(Failure.SILENT, 1, 3, empty)


def test_a_prompt_that_was_too_long_draws_nothing_from_the_budget() -> None:
    empty = RetryBudget(0.0)
    assert may_move_on(Failure.TOO_LONG, 2, 3, empty)
    assert not may_move_on(Failure.TOO_LONG, 3, 3, empty)
    assert not may_move_on(Failure.FAILED, 2, 3, empty)


def test_what_may_not_move_on_takes_nothing_out() -> None:
    budget = RetryBudget(0.2, capacity=1)
    assert not may_move_on(Failure.RESET, 3, 3, budget)
    assert may_move_on(Failure.DIAL, 3, 3, budget)
    assert may_move_on(Failure.RESET, 1, 3, budget)
    assert not may_move_on(Failure.RESET, 1, 3, budget)


# -- the budget

NOW = 1000.0


def drained(budget: RetryBudget) -> int:
    taken = 0
    while budget.take():
        taken += 1
    return taken


@given(
    st.floats(0, 2),
    st.integers(0, 20),
    st.integers(0, 30),
    st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=300),
)
def test_retries_never_exceed_the_budget(
    ratio: float, capacity: int, loan: int, steps: list[tuple[bool, float]]
) -> None:
    """``steps``: True for a request, False for the wish to retry; and how much later."""
    budget, now = RetryBudget(ratio, capacity=float(capacity), loan=float(loan)), NOW
    requests = retries = 0
    for is_request, later in steps:
        now += later
        if is_request:
            budget.request(now)
            requests += 1
        else:
            retries += budget.take()
        # a loan that does not divide by the ratio is paid off with up to one share more or less
        assert retries <= (max(min(capacity, loan), ratio * requests + ratio) if ratio else 0) + 1e-3


@given(st.integers(1, 300))
def test_the_loan_is_paid_off_before_more_is_earned(requests: int) -> None:
    budget = RetryBudget(0.2)
    for _request in range(requests):
        budget.request(NOW)
    assert drained(budget) == max(40, int(requests * 0.2 + 1e-6))


@given(st.integers(1, 20), st.integers(0, 500))
def test_a_long_quiet_time_saves_no_more_than_the_capacity(capacity: int, requests: int) -> None:
    budget = RetryBudget(0.5, capacity=float(capacity))
    for request in range(requests):
        budget.request(NOW + 20 * request)
    assert drained(budget) == capacity


def test_it_holds_what_ten_seconds_of_a_lot_of_traffic_pay_in() -> None:
    budget = RetryBudget(0.2)
    for request in range(100_000):
        budget.request(NOW + request / 1000)
    assert drained(budget) == pytest.approx(2000, abs=5)


def test_it_shrinks_with_the_traffic() -> None:
    busy, quiet = RetryBudget(0.2), RetryBudget(0.2)
    for budget in (busy, quiet):
        for request in range(100_000):
            budget.request(NOW + request / 1000)
    for request in range(11):
        quiet.request(NOW + 101 + request)
    assert drained(quiet) <= 401
    busy.request(NOW + 10_000)
    assert drained(busy) == 100


def test_a_spent_budget_earns_one_retry_per_so_many_requests() -> None:
    budget = RetryBudget(0.25, capacity=2, loan=0)
    assert not budget.take()
    earned = []
    for _request in range(8):
        budget.request(NOW)
        earned.append(budget.take())
    assert earned == [False, False, False, True] * 2


def test_a_ratio_of_zero_means_no_retries() -> None:
    budget = RetryBudget(0)
    budget.request(NOW)
    assert not budget.take()


# -- the last word


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("status", [None, 404, 429, 500, 503])
@pytest.mark.parametrize("wait", [None, 0, 30])
def test_the_last_word_names_the_model_and_when_to_try_again(
    failure: Failure, status: int | None, wait: int | None
) -> None:
    error = final_error(failure, status, "llama", wait)
    assert "'llama'" in error.message
    assert error.status in {400, 429, 502, 503, 504}
    assert (error.status == 400) is (failure is Failure.TOO_LONG) is (error.code == "context_length_exceeded")
    if error.status in {429, 503}:
        assert error.retry_after_seconds == (wait or retry.RETRY_AFTER_SECONDS)
        assert f"in {error.retry_after_seconds} seconds" in error.message
    else:
        assert error.retry_after_seconds is None


def test_a_status_is_told_where_there_was_one() -> None:
    assert "answered 500" in error_of(Failure.FAILED, 500).message
    assert "broke off" in error_of(Failure.BROKEN).message
    assert "stopped answering" in error_of(Failure.DEAD).message
    assert error_of(Failure.CREDENTIALS, 401).code == "server_misconfigured"
