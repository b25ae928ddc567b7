"""May a class of models bear a name that is an alias?"""

from __future__ import annotations

import pytest

from app.services.core.errors import Conflict
from app.services.registry.class_rules import refuse_conflicts
from app.services.registry.class_store import ClassRecord, ClassStatus
from tests.fakes.registry import START

HOUSE = ClassRecord("1", "house", ("a", "b"), ClassStatus.CONFIRMED, None, START)


@pytest.mark.parametrize(("alias", "param"), [("house", "name"), ("b", "members")])
def test_a_class_takes_no_name_from_an_alias(alias: str, param: str) -> None:
    with pytest.raises(Conflict, match=f"{alias} is an alias.*DELETE /admin/aliases/{alias}") as refused:
        refuse_conflicts(HOUSE, (), (), {"x", alias})
    assert refused.value.param == param


def test_other_aliases_are_in_nobodys_way() -> None:
    refuse_conflicts(HOUSE, (), ("house-2",), {"fast"})
    refuse_conflicts(HOUSE, (), ())
