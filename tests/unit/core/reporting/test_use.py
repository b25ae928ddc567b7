"""Is use added up whole, by whom it belongs to, and within bounds?"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.use import (
    MOST_PEOPLE,
    MOST_PEOPLE_OF_A_KEY,
    MOST_ROWS,
    OTHERS,
    UNKNOWN_MODEL,
    Use,
    UseKey,
    UseTally,
)
from app.services.core.types import Server
from tests.fakes.house import server

HOUR = 500_000
OUTCOME = Outcome(
    request_id="r", client="", key_id="k", path="/v1/completions", model="m", server_id="s", status=200,
    error_code=None, stream=True, attempts=1, duration_seconds=0.5, first_token_seconds=0.02, usage=Usage(7, 3),
    ended_at=HOUR * 3600 + 1.5, person="key:k", group="g",
)  # fmt: skip


def owned(server_id: str, owner: str) -> Server:
    made = server(server_id, "http://127.0.0.1:9")
    return Server(**{name: getattr(made, name) for name in made.__slots__} | {"owner": owner})


SERVERS = {"s": owned("s", "alice"), "t": owned("t", "bob")}
MODELS = {"m", "n"}


def counted(outcomes: Iterable[Outcome], tally: UseTally | None = None) -> dict[UseKey, Use]:
    tally = tally or UseTally()
    tally.count(list(outcomes), MODELS, SERVERS)
    return tally.take()


def sums(use: Use) -> dict[str, float]:
    return {name: getattr(use, name) for name in Use.__slots__}


def total(rows: Iterable[Use], name: str) -> float:
    return sum(getattr(use, name) for use in rows)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    key_id = draw(st.sampled_from(["k", "l"]))
    return replace(
        OUTCOME,
        model=draw(st.sampled_from(["m", "n", "made up", ""])),
        server_id=draw(st.sampled_from([None, "s", "t", "gone"])),
        status=draw(st.sampled_from([200, 400, 429, 499, 502])),
        key_id=key_id,
        person=draw(st.sampled_from(["key:k", f"{key_id}/ann", f"{key_id}/ben"])),
        group=draw(st.sampled_from(["", "g"])),
        attempts=draw(st.integers(0, 3)),
        continuations=draw(st.integers(0, 2)),
        duration_seconds=draw(st.integers(0, 100)) / 4,
        usage=Usage(draw(st.integers(0, 100)), draw(st.integers(0, 100)), draw(st.booleans())),
        ended_at=draw(st.sampled_from([HOUR * 3600.0, HOUR * 3600 + 3599.9, HOUR * 3600 + 3600.0])),
    )


@given(st.lists(outcomes(), max_size=40), st.lists(st.integers(0, 40), max_size=3))
def test_the_rows_add_up_to_what_ended_however_it_is_cut(given: list[Outcome], cuts: list[int]) -> None:
    tally, rows = UseTally(), []
    edges = [0, *sorted(cuts), len(given)]
    for start, end in pairwise(edges):
        tally.count(given[start:end], MODELS, SERVERS)
        if start % 2:
            rows += tally.take().values()
    rows += tally.take().values()
    used = [outcome for outcome in given if outcome.model]
    assert total(rows, "requests") == len(used)
    assert total(rows, "errors") == sum(outcome.status >= 400 and outcome.status != 499 for outcome in used)
    assert total(rows, "prompt_tokens") == sum(outcome.usage.prompt_tokens for outcome in used)
    assert total(rows, "completion_tokens") == sum(outcome.usage.completion_tokens for outcome in used)
    assert total(rows, "seconds") == sum(outcome.duration_seconds for outcome in used)
    assert total(rows, "estimated_tokens") == sum(
        outcome.usage.prompt_tokens + outcome.usage.completion_tokens for outcome in used if outcome.usage.estimated
    )
    assert total(rows, "continuations") == sum(one.continuations for one in used if one.attempts > 1)
    assert tally.is_empty


@given(st.lists(outcomes(), max_size=20))
def test_each_row_is_that_of_its_own(given: list[Outcome]) -> None:
    for key, use in counted(given).items():
        mine = [
            one
            for one in given
            if (int(one.ended_at // 3600), one.key_id, one.person, one.group, one.server_id or "")
            == (key.hour, key.key_id, key.person, key.group, key.server_id)
            and key.model == (one.model if one.model and (one.server_id or one.model in MODELS) else UNKNOWN_MODEL)
            and one.model
        ]
        assert use.requests == len(mine)
        assert key.owner == {"s": "alice", "t": "bob"}.get(key.server_id, "")


def test_what_is_told_of_a_request() -> None:
    broken = replace(OUTCOME, status=502, usage=Usage(4, 2, estimated=True), attempts=3, continuations=2)
    ((key, use),) = counted([OUTCOME, broken]).items()
    assert key == UseKey(HOUR, "k", "key:k", "g", "m", "s", "alice")
    assert sums(use) == {
        "requests": 2, "errors": 1, "prompt_tokens": 11, "completion_tokens": 5, "estimated_tokens": 6,
        "continuations": 2, "seconds": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (400, 1), (404, 1), (429, 1), (499, 0), (503, 1)])
def test_a_client_that_leaves_is_nobodys_error(status: int, errors: int) -> None:
    (use,) = counted([replace(OUTCOME, status=status)]).values()
    assert (use.requests, use.errors) == (1, errors)


def test_an_answer_without_a_model_is_no_use() -> None:
    assert counted([replace(OUTCOME, model="", server_id=None, status=401)]) == {}


def test_names_that_no_server_has_share_one_row() -> None:
    tally = UseTally()
    rows = counted([replace(OUTCOME, model=f"x{number}", server_id=None, status=404) for number in range(5000)], tally)
    ((key, use),) = rows.items()
    assert (key.model, key.server_id, key.owner, use.requests, use.errors) == (UNKNOWN_MODEL, "", "", 5000, 5000)
    assert tally._seen == {}


def test_a_model_that_a_server_had_a_moment_ago_keeps_its_name() -> None:
    assert next(iter(counted([replace(OUTCOME, model="just removed")]))).model == "just removed"


def test_a_server_that_is_gone_when_its_last_answer_ends_is_its_owners_still() -> None:
    tally = UseTally()
    counted([OUTCOME], tally)
    tally.count([OUTCOME, replace(OUTCOME, server_id="never seen")], MODELS, {})
    assert {key.server_id: key.owner for key in tally.take()} == {"s": "alice", "never seen": ""}


def test_only_so_many_owners_of_servers_that_are_gone_are_remembered() -> None:
    tally = UseTally()
    for number in range(12_000):
        name = f"s{number}"
        tally.count([replace(OUTCOME, server_id=name)], MODELS, {"s": SERVERS["s"], name: owned(name, "o")})
    assert len(tally._owners) <= 10_001
    assert total(tally.take().values(), "requests") == 12_000


def test_the_people_of_a_front_end_are_told_apart_up_to_a_bound_in_each_hour() -> None:
    tally = UseTally()
    named = [replace(OUTCOME, person=f"k/user{number}") for number in range(MOST_PEOPLE_OF_A_KEY + 50)]
    rows = counted([*named, *named, OUTCOME, replace(OUTCOME, key_id="l", person="l/user0")], tally)
    assert len(rows) == MOST_PEOPLE_OF_A_KEY + 3
    by_person = {(key.key_id, key.person): use.requests for key, use in rows.items()}
    assert by_person["k", OTHERS] == 100
    assert by_person["k", "k/user7"] == 2
    assert (by_person["k", "key:k"], by_person["l", "l/user0"]) == (1, 1)
    later = replace(OUTCOME, person="k/user-late", ended_at=OUTCOME.ended_at + 3600)
    assert [key.person for key in counted([later], tally)] == ["k/user-late"]
    assert [key.person for key in counted([replace(OUTCOME, person="k/user-late")], tally)] == [OTHERS]


def test_all_front_ends_together_have_a_bound_and_the_past_is_forgotten() -> None:
    tally = UseTally()
    keys = [f"k{number}" for number in range(20)]
    many = [replace(OUTCOME, key_id=key, person=f"{key}/u{user}") for key in keys for user in range(MOST_PEOPLE // 10)]
    assert sum(key.person != OTHERS for key in counted(many, tally)) == MOST_PEOPLE
    for hour in range(5):
        counted([replace(OUTCOME, person="k/u", ended_at=OUTCOME.ended_at + 3600 * hour)], tally)
    assert len(tally._named) == 2


def test_what_could_not_be_written_is_given_back_and_merged() -> None:
    tally = UseTally()
    failed = counted([OUTCOME, replace(OUTCOME, model="n")], tally)
    tally.count([OUTCOME], MODELS, SERVERS)
    tally.give_back(failed)
    tally.count([OUTCOME], MODELS, SERVERS)
    rows = tally.take()
    assert {key.model: use.requests for key, use in rows.items()} == {"m": 3, "n": 1}
    assert (tally.take(), tally.is_empty) == ({}, True)


def test_however_long_the_database_fails_memory_is_bounded_and_sums_are_right() -> None:
    tally = UseTally()
    given = 0
    for start in range(0, 3 * MOST_ROWS, 5000):
        names = [f"k{number}" for number in range(start, start + 5000)]
        given += 2 * len(names)
        tally.count([replace(OUTCOME, key_id=name) for name in names for _twice in "ab"], MODELS, SERVERS)
        tally.give_back(tally.take())
    rows = tally.take()
    assert len(rows) == 2 * MOST_ROWS + 1
    assert total(rows.values(), "requests") == given
    assert rows[UseKey(HOUR, OTHERS, OTHERS, "", OTHERS, OTHERS, "")].requests == 2 * MOST_ROWS
    assert rows[UseKey(HOUR, f"k{MOST_ROWS}", OTHERS, "g", OTHERS, OTHERS, "alice")].requests == 2
