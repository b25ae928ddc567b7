"""Is the form of an alias judged as the API judges one, row by row?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.routers.aliases import DescribeAlias
from app.routers.dashboard.alias_forms import AliasDraft, TargetRow, draft_of, drafted, judged
from app.routers.dashboard.forms import Form
from app.services.core.choice.aliases import Alias, Target

WHOLE = Alias("fast", (Target("a", 3.0, 1, 8192), Target("b/c", 0.5)), (Target("d", 1.0, None, 4096),))


def form_of(draft: AliasDraft) -> Form:
    """What a browser sends of a draft."""
    fields = {"name": [draft.name], "was": [draft.was]}
    for part, rows in (("targets", draft.targets), ("fallbacks", draft.fallbacks)):
        for index, row in enumerate(rows):
            for name in ("model", "weight", "least", "most"):
                fields[f"{part}-{index}-{name}"] = [getattr(row, name)]
    return Form(fields)


def test_an_alias_goes_through_the_form_and_comes_back_the_same():
    draft = draft_of(WHOLE)
    assert draft.was == "fast"
    assert len(draft.targets) == 4
    assert draft.targets[0] == TargetRow("a", "3", "1", "8192")
    assert drafted(form_of(draft)) == draft
    assert judged(draft).alias == WHOLE


def test_rows_in_between_that_say_nothing_are_left_out():
    draft = drafted(form_of(AliasDraft("x", (TargetRow(), TargetRow("a"), TargetRow(), TargetRow("b", "2")))))
    assert [row.model for row in draft.targets] == ["a", "b", "", ""]
    assert judged(draft).alias == Alias("x", (Target("a"), Target("b", 2.0)))


def test_there_are_never_more_rows_than_an_alias_takes():
    full = draft_of(Alias("x", tuple(Target(f"m{number}") for number in range(32))))
    assert len(full.targets) == 32
    assert len(full.fallbacks) == 2


@pytest.mark.parametrize(
    ("draft", "at"),
    [
        (AliasDraft("", (TargetRow("a"),)), "name"),
        (AliasDraft("x" * 300, (TargetRow("a"),)), "name"),
        (AliasDraft("fast"), "targets"),
        (AliasDraft("fast", (TargetRow("", "2"),)), "targets-0-model"),
        (AliasDraft("fast", (TargetRow("a", "much"),)), "targets-0-weight"),
        (AliasDraft("fast", (TargetRow("a"), TargetRow("b", "0"))), "targets-1-weight"),
        (AliasDraft("fast", (TargetRow("a", "nan"),)), "targets-0-weight"),
        (AliasDraft("fast", (TargetRow("a", "", "0"),)), "targets-0-least"),
        (AliasDraft("fast", (TargetRow("a", "", "", "8k"),)), "targets-0-most"),
        (AliasDraft("fast", (TargetRow("a"),), (TargetRow("b", "", "", "-1"),)), "fallbacks-0-most"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(draft, at):
    found = judged(draft)
    assert found.alias is None
    assert set(found.faults) == {at}
    assert found.faults[at].endswith(".")


rows = st.lists(st.builds(TargetRow, *[st.text(max_size=6)] * 4), max_size=3).map(tuple)


@given(st.text(max_size=8), rows, rows)
def test_whatever_is_typed_is_an_alias_or_a_fault_at_a_field(name, targets, fallbacks):
    found = judged(drafted(form_of(AliasDraft(name, targets, fallbacks))))
    assert (found.alias is None) is bool(found.faults)
    for place in found.faults:
        assert re.fullmatch(r"name|targets|fallbacks|(targets|fallbacks)-\d+-(model|weight|least|most)", place), place


@given(st.lists(st.tuples(st.text(min_size=1, max_size=4), st.integers(-1, 2000)), max_size=3))
def test_the_form_takes_what_the_api_takes(targets):
    draft = AliasDraft("fast", tuple(TargetRow(model.strip(), str(weight)) for model, weight in targets))
    body = {"name": "fast", "targets": [{"model": model.strip(), "weight": weight} for model, weight in targets]}
    try:
        expected = DescribeAlias.model_validate(body).alias()
    except ValidationError:
        expected = None
    assert judged(draft).alias == expected
