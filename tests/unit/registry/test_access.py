"""Who sees a server, who steers it, and who speaks for the operator?"""

from __future__ import annotations

import pytest

from app.services.core.errors import NotAllowed
from app.services.core.keys import Principal, Role
from app.services.core.network.addresses import parse_endpoint
from app.services.registry.access import (
    is_operator,
    require_operator,
    require_operators_word,
    require_registrant,
    require_steering,
    require_still,
    sees,
    steers,
)
from app.services.registry.records import ServerRecord
from app.services.registry.terms import Owners
from tests.fakes.registry import ADMIN, START, USER

GROUPS = {"ada": "lab", "bob": "lab", "eve": "class", "lab-admin": "lab"}
OWNERS = Owners(lambda _key_id: Role.OWNER, GROUPS.get)
ADA, BOB, EVE = (Principal(name, name, Role.OWNER, group=GROUPS[name]) for name in ("ada", "bob", "eve"))
ALONE = Principal("alone", "alone", Role.OWNER)
LAB_ADMIN = Principal("lab-admin", "lab admin", Role.ADMIN, group="lab")
EVERYBODY = (ADMIN, LAB_ADMIN, ADA, BOB, EVE, ALONE, USER)


def record(share: str, owner: str | None = "ada") -> ServerRecord:
    return ServerRecord("id", parse_endpoint("http://10.0.0.5"), (), START, START, owner=owner, share=share)


@pytest.mark.parametrize(
    ("share", "seeing"),
    [
        ("everyone", [ADMIN, LAB_ADMIN, ADA, BOB, EVE, ALONE]),
        ("group", [ADMIN, LAB_ADMIN, ADA, BOB]),
        ("me", [ADMIN, LAB_ADMIN, ADA]),
    ],
)
def test_an_owner_sees_what_is_shared_with_it(share, seeing) -> None:
    assert [who for who in EVERYBODY if sees(who, record(share), OWNERS)] == seeing


def test_it_is_steered_by_its_owner_its_groups_admin_and_the_operator() -> None:
    for share in ("everyone", "group", "me"):
        assert [who for who in EVERYBODY if steers(who, record(share), OWNERS)] == [ADMIN, LAB_ADMIN, ADA]
    assert [who for who in EVERYBODY if steers(who, record("me", None), OWNERS)] == [ADMIN]
    require_steering(ADA, record("me"))
    with pytest.raises(NotAllowed, match="another key"):
        require_steering(BOB, record("group"), OWNERS)


def test_keys_without_a_group_share_none() -> None:
    both = Owners(lambda _key_id: Role.OWNER, lambda _key_id: None)
    assert not sees(ALONE, record("group"), both)


def test_users_are_told_what_to_use_instead() -> None:
    require_registrant(ADA)
    with pytest.raises(NotAllowed, match="GET /v1/models"):
        require_registrant(USER)


def test_the_operators_word_is_given_by_admins_of_no_group() -> None:
    assert [who for who in EVERYBODY if is_operator(who)] == [ADMIN]
    require_operators_word(ADMIN)
    require_operator(LAB_ADMIN)
    with pytest.raises(NotAllowed, match="without a group"):
        require_operators_word(LAB_ADMIN)
    with pytest.raises(NotAllowed, match="Only an admin key"):
        require_operators_word(ADA)


def test_who_was_revoked_or_demoted_meanwhile_does_nothing_more() -> None:
    require_still(ADA, OWNERS)
    require_still(USER, Owners(lambda _key_id: Role.USER))
    with pytest.raises(NotAllowed, match="meanwhile"):
        require_still(ADA, Owners(lambda _key_id: Role.OWNER, is_good=lambda _key_id: False))
    with pytest.raises(NotAllowed, match="meanwhile"):
        require_still(ADA, Owners(lambda _key_id: Role.USER))
