"""Differences of counters add up to what came, whoever is removed meanwhile, and never fall below zero."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.deltas import Deltas
from app.services.core.reporting.outcome import CLIENT_LEFT, Outcome
from app.services.core.reporting.series import POOL, Bucket
from app.services.core.reporting.tallies import Tallies

OUTCOME = Outcome(
    request_id="r", client="", key_id="k", path="/v1/completions", model="m", server_id="s", status=200,
    error_code=None, stream=True, attempts=2, duration_seconds=0.3, first_token_seconds=0.02, usage=Usage(7, 3),
    continuations=1,
)  # fmt: skip
OWNERS = {"s": "ann", "t": "ben"}


def taken(*outcomes: Outcome, deltas: Deltas | None = None, tallies: Tallies | None = None) -> dict[str, Bucket]:
    tallies = tallies or Tallies()
    tallies.count(outcomes, {"m"}, OWNERS)
    return (deltas or Deltas()).take(tallies, OWNERS)


def figures(bucket: Bucket) -> tuple[int, ...]:
    return bucket.requests, bucket.errors, bucket.prompt_tokens, bucket.completion_tokens, bucket.continuations


def test_what_came_is_the_pools_and_its_owners() -> None:
    came = taken(OUTCOME, OUTCOME, replace(OUTCOME, server_id="t", stream=False))
    assert {owner: figures(bucket) for owner, bucket in came.items()} == {
        POOL: (3, 0, 21, 9, 3),
        "ann": (2, 0, 14, 6, 2),
        "ben": (1, 0, 7, 3, 1),
    }
    assert sum(came["ann"].first_tokens or ()) == 2
    assert came["ben"].first_tokens is None


def test_it_is_told_once() -> None:
    deltas, tallies = Deltas(), Tallies()
    assert set(taken(OUTCOME, deltas=deltas, tallies=tallies)) == {POOL, "ann"}
    assert deltas.take(tallies, OWNERS) == {}
    came = taken(OUTCOME, deltas=deltas, tallies=tallies)
    assert figures(came["ann"]) == (1, 0, 7, 3, 1)
    assert sum(came["ann"].first_tokens or ()) == 1


def test_errors_are_those_that_somebody_heard() -> None:
    came = taken(replace(OUTCOME, status=502), replace(OUTCOME, status=CLIENT_LEFT), OUTCOME)
    assert (came["ann"].requests, came["ann"].errors, came["ann"].continuations) == (3, 1, 2)


def test_lists_of_models_and_strange_keys_are_no_work() -> None:
    nobody = replace(OUTCOME, model="", server_id=None, stream=False)
    assert taken(nobody, replace(nobody, status=401)) == {}
    came = taken(replace(nobody, model="made up", status=404), replace(nobody, model="m", status=503))
    assert {owner: (bucket.requests, bucket.errors) for owner, bucket in came.items()} == {POOL: (2, 2)}


def test_a_server_that_nobody_is_known_to_own_counts_for_the_pool() -> None:
    tallies = Tallies()
    tallies.count([OUTCOME], {"m"}, {"s"})
    assert {owner: bucket.requests for owner, bucket in Deltas().take(tallies, {"s": ""}).items()} == {POOL: 1}


def test_what_a_removed_server_still_finishes_is_its_owners() -> None:
    deltas, tallies = Deltas(), Tallies()
    deltas.take(tallies, OWNERS)
    tallies.count([OUTCOME], {"m"}, {})
    assert deltas.take(tallies, {})["ann"].requests == 1


def test_servers_that_are_folded_count_once() -> None:
    deltas, tallies = Deltas(), Tallies()
    came_in_all = Bucket()
    for number in range(2500):
        servers = {"s": "ann", f"s-{number}": "ben"}
        tallies.count([OUTCOME, replace(OUTCOME, server_id=f"s-{number}")], {"m"}, servers)
        if number % 8 == 0:
            came = deltas.take(tallies, servers)
            came_in_all.add(came[POOL])
            assert all(min(figures(bucket)) >= 0 for bucket in came.values())
            assert all(min(bucket.first_tokens or (0,)) >= 0 for bucket in came.values())
    came_in_all.add(deltas.take(tallies, {"s": "ann"})[POOL])
    assert figures(came_in_all) == (5000, 0, 35_000, 15_000, 5000)
    assert sum(came_in_all.first_tokens or ()) == 5000
    assert len(deltas._owners) <= 2100


def test_a_straggler_of_a_server_that_was_folded_is_one_request() -> None:
    deltas, tallies = Deltas(), Tallies()
    tallies.count([OUTCOME] * 5, {"m"}, {"s"})
    deltas.take(tallies, OWNERS)
    tallies._fold_removed(())
    tallies.count([OUTCOME], {"m"}, {})
    came = deltas.take(tallies, {})
    assert {owner: figures(bucket) for owner, bucket in came.items()} == {POOL: (1, 0, 7, 3, 1), "ann": (1, 0, 7, 3, 1)}
    assert [sum(bucket.first_tokens or ()) for bucket in came.values()] == [1, 1]


@settings(max_examples=50)
@given(st.lists(st.lists(st.sampled_from(["s", "t", None]), max_size=4), max_size=8), st.sets(st.integers(0, 7)))
def test_nothing_is_lost_and_nothing_is_told_twice(batches: list[list[str | None]], folds: set[int]) -> None:
    deltas, tallies, total = Deltas(), Tallies(), dict.fromkeys((POOL, "ann", "ben"), 0)
    for number, batch in enumerate(batches):
        if number in folds:
            tallies._fold_removed(())
        tallies.count([replace(OUTCOME, server_id=server, status=503) for server in batch], {"m"}, OWNERS)
        for owner, bucket in deltas.take(tallies, OWNERS).items():
            total[owner] += bucket.requests
            assert bucket.requests >= 0
    assert total[POOL] == sum(map(len, batches))
    assert total["ann"] <= sum(batch.count("s") for batch in batches)
