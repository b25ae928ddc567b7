"""Whose servers' figures may each role see?"""

from __future__ import annotations

import pytest

from app.services.core.errors import NotAllowed
from app.services.core.people.principal import Principal, Role
from app.services.core.reporting.series import POOL
from app.services.registry.terms import Owners
from app.services.scopes import scope_of

OWNERS = Owners(group_of={"ann": "lab", "ben": "lab", "cyd": None}.get)
SERVED = ("ann", "ben", "cyd")


def test_the_operator_sees_the_pool() -> None:
    assert scope_of(Principal("admin", "", Role.ADMIN), SERVED, OWNERS) == {POOL}


def test_a_groups_admin_sees_its_owners_and_itself() -> None:
    assert scope_of(Principal("boss", "", Role.ADMIN, group="lab"), SERVED, OWNERS) == {"ann", "ben", "boss"}
    assert scope_of(Principal("boss", "", Role.ADMIN, group="other"), SERVED, OWNERS) == {"boss"}


def test_an_owner_sees_itself() -> None:
    assert scope_of(Principal("ann", "", Role.OWNER, group="lab"), SERVED, OWNERS) == {"ann"}


def test_a_user_is_sent_to_its_own_use() -> None:
    with pytest.raises(NotAllowed, match="/v1/usage"):
        scope_of(Principal("ada", "", Role.USER, group="lab"), SERVED, OWNERS)
