"""Does the operator's word stay with what it was given for?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.services.core.errors import FieldsInvalid
from app.services.core.network.addresses import parse_endpoint
from app.services.core.people.principal import Trust
from app.services.core.types import ModelEntry
from app.services.registry.records import NO_HOLD, Hold, ServerRecord
from app.services.registry.terms_rules import (
    AWAITS_APPROVAL,
    OWNERS_MOST_WEIGHT,
    change_in_words,
    judged,
    refuse_empty_group,
    refuse_rank,
)
from tests.fakes.registry import START

BEFORE = ServerRecord(
    "id",
    parse_endpoint("http://10.0.0.5:8000"),
    (ModelEntry("a", "b"),),
    START,
    START,
    owner="ada",
    engine="vllm",
    trust=Trust.TRUSTED,
)
ELSEWHERE = [parse_endpoint(url) for url in ("http://10.0.0.6:8000", "http://10.0.0.5:9000", "http://10.0.0.5:8000/b")]


@pytest.mark.parametrize("endpoint", ELSEWHERE, ids=lambda endpoint: endpoint.url)
def test_a_server_that_moved_is_trusted_no_more_than_its_owner(endpoint) -> None:
    moved = replace(BEFORE, endpoint=endpoint)
    after = judged(BEFORE, moved)
    assert after.trust is None
    assert not after.pending.active
    assert "another endpoint" in change_in_words(BEFORE, after)
    assert judged(BEFORE, moved, by_operator=True, needs_approval=True) is moved


def test_so_is_one_whose_engine_is_another() -> None:
    after = judged(BEFORE, replace(BEFORE, engine="ollama"))
    assert after.trust is None
    assert "another engine" in change_in_words(BEFORE, after)
    unknown = replace(BEFORE, engine="unknown")
    assert judged(unknown, BEFORE).trust is Trust.TRUSTED


def test_other_changes_leave_the_operators_word() -> None:
    after = judged(BEFORE, replace(BEFORE, priority=3, share="group", api_key="new"), needs_approval=True)
    assert (after.trust, after.pending) == (Trust.TRUSTED, NO_HOLD)
    assert change_in_words(BEFORE, after) == ""


@pytest.mark.parametrize("trust", [Trust.PUBLIC, Trust.GROUP])
def test_less_than_trusted_stays_wherever_it_moves(trust) -> None:
    before = replace(BEFORE, trust=trust)
    assert judged(before, replace(before, endpoint=ELSEWHERE[0])).trust is trust


def test_a_server_that_moved_waits_for_approval_where_that_is_asked_for() -> None:
    after = judged(BEFORE, replace(BEFORE, endpoint=ELSEWHERE[0]), needs_approval=True)
    assert after.pending == AWAITS_APPROVAL
    assert "approves it" in change_in_words(BEFORE, after)
    waiting = replace(BEFORE, pending=Hold(active=True, reason="waits"), trust=None)
    assert judged(waiting, replace(waiting, priority=1), needs_approval=True).pending == waiting.pending
    assert change_in_words(waiting, replace(waiting, priority=1)) == ""


def test_a_server_is_shared_with_no_group_that_is_none() -> None:
    for share, group in (("group", "lab"), ("everyone", None), ("me", None)):
        refuse_empty_group(share, group)
    with pytest.raises(FieldsInvalid, match="everyone or me") as caught:
        refuse_empty_group("group", None)
    assert caught.value.param == "share"


@pytest.mark.parametrize(
    ("priority", "weight", "was", "param"),
    [
        (0, 1.0, (0, 1.0), None),
        (-1000, 0.01, (0, 1.0), None),
        (0, OWNERS_MOST_WEIGHT, (0, 1.0), None),
        (1, 1.0, (0, 1.0), "priority"),
        (1, 1.0, (-5, 1.0), "priority"),
        (0, 10.001, (0, 1.0), "weight"),
        (4, 40.0, (4, 40.0), None),
        (3, 30.0, (4, 40.0), None),
        (5, 40.0, (4, 40.0), "priority"),
        (4, 41.0, (4, 40.0), "weight"),
    ],
)
def test_an_owner_gives_no_rank_above_the_usual_nor_above_what_it_was(priority, weight, was, param):
    if param is None:
        refuse_rank(priority, weight, was=was)
        return
    with pytest.raises(FieldsInvalid, match="admin") as caught:
        refuse_rank(priority, weight, was=was)
    assert caught.value.param == param
