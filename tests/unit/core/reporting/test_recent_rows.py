"""Who sees how much of a request, and which requests are looked for?"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.services.core.answer.usage import Usage
from app.services.core.errors import FieldsInvalid
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.outcome import Outcome
from app.services.core.reporting.recent_rows import (
    RecentQuery,
    Seen,
    StatusFilter,
    row_of,
    seen,
    status_filter,
    wanted,
)

OUTCOME = Outcome(
    request_id="req-123", client="192.0.2.7", key_id="use-a", path="/v1/completions", model="llama", server_id="s1",
    status=200, error_code=None, stream=True, attempts=2, duration_seconds=0.3, first_token_seconds=0.02,
    usage=Usage(7, 3), ended_at=1.9e9, person="ada@example.org", group="lab", continuations=1, alias="fast",
)  # fmt: skip
OPERATOR = Principal("admin", "operator", Role.ADMIN)
ANN = Principal("own-a", "Ann", Role.OWNER, group="lab")
BEN = Principal("own-b", "Ben", Role.OWNER)


class Facts:
    """Ann made ``use-a`` and lends ``s1``; Ben made ``use-b`` and lends ``s2``."""

    def key_name(self, key_id: str) -> str:
        return {"use-a": "Ann's student", "use-b": "Ben's user"}.get(key_id, "")

    def minted_by(self, key_id: str) -> str:
        return {"use-a": "own-a", "use-b": "own-b"}.get(key_id, "")

    def owner(self, server_id: str) -> str:
        return {"s1": "own-a", "s2": "own-b"}.get(server_id, "")

    def server_name(self, server_id: str, principal: Principal) -> str:
        return f"{server_id} as {principal.name} knows it"


@pytest.mark.parametrize(
    ("principal", "key", "server", "much"),
    [
        (OPERATOR, "use-b", None, Seen.ALL),
        (Principal("lab-admin", "", Role.ADMIN, group="lab"), "use-b", "s2", Seen.ALL),
        (Principal("other-admin", "", Role.ADMIN, group="other"), "use-a", "s1", Seen.NOTHING),
        (ANN, "own-a", "s2", Seen.ALL),
        (ANN, "use-a", None, Seen.ALL),
        (ANN, "use-b", "s1", Seen.WORK),
        (ANN, "use-b", "s2", Seen.NOTHING),
        (ANN, "", None, Seen.NOTHING),
        (Principal("use-a", "", Role.USER, group="lab"), "use-a", "s1", Seen.ALL),
        (Principal("use-c", "", Role.USER, group="lab"), "use-a", "s1", Seen.NOTHING),
        (Principal("own-a", "", Role.USER), "use-b", "s1", Seen.NOTHING),
    ],
)
def test_each_role_sees_its_own(principal: Principal, key: str, server: str | None, much: Seen) -> None:
    assert seen(replace(OUTCOME, key_id=key, server_id=server), principal, Facts()) is much


def test_whose_request_it_was_is_hidden_from_whose_server_it_was() -> None:
    row = row_of(7, replace(OUTCOME, key_id="use-b"), ANN, Facts(), Seen.WORK)
    assert (row.key_id, row.key, row.person) == ("", "", "")
    assert "use-b" not in repr(row)
    assert "ada" not in repr(row)
    assert (row.number, row.model, row.status, row.completion_tokens) == (7, "llama", 200, 3)


def test_a_row_says_all_but_contents_and_addresses() -> None:
    row = row_of(7, OUTCOME, OPERATOR, Facts(), Seen.ALL)
    assert (row.key, row.person, row.alias, row.continuations) == ("Ann's student", "ada@example.org", "fast", 1)
    assert row.server == "s1 as operator knows it"
    assert not row.is_own
    assert "192.0.2.7" not in repr(row)
    nowhere = row_of(8, replace(OUTCOME, server_id=None), Principal("use-a", "", Role.USER), Facts(), Seen.ALL)
    assert (nowhere.server_id, nowhere.server, nowhere.is_own) == ("", "", True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (RecentQuery(), True),
        (RecentQuery(model="llama"), True),
        (RecentQuery(model="fast"), True),
        (RecentQuery(model="lla"), False),
        (RecentQuery(server="s1"), True),
        (RecentQuery(server="s2"), False),
        (RecentQuery(request_id="req-123"), True),
        (RecentQuery(request_id="req-1"), True),
        (RecentQuery(request_id="eq-1"), False),
        (RecentQuery(status=StatusFilter(200, 299), model="llama", server="s1"), True),
        (RecentQuery(status=StatusFilter(400, 999)), False),
    ],
)
def test_what_is_looked_for_is_found(query: RecentQuery, found: bool) -> None:
    assert wanted(query)(OUTCOME) is found


@pytest.mark.parametrize(
    ("text", "passing", "failing"),
    [
        ("404", {404}, {400, 405}),
        ("5xx", {500, 599}, {499, 600}),
        (" 4XX ", {400, 499}, {399, 500}),
        ("errors", {400, 502}, {200, 499}),
        ("OK", {200, 304}, {400, 499}),
    ],
)
def test_statuses_are_read(text: str, passing: set[int], failing: set[int]) -> None:
    read = status_filter(text)
    assert read is not None
    assert {status for status in passing | failing if read.passes(status)} == passing


@pytest.mark.parametrize("text", ["9xx", "40", "4040", "xx", "4x", "error", "\N{FULLWIDTH DIGIT FOUR}04"])
def test_what_is_no_status_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(FieldsInvalid, match="5xx") as caught:
        status_filter(text)
    assert caught.value.param == "status"


def test_no_status_is_every_status() -> None:
    assert status_filter("  ") is None
