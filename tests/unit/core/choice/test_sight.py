"""Does a request see exactly the servers that are shared with it and trusted as far as it goes?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.choice.sight import Sight, Views, sees, sight_of
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.people.principal import Principal, Role, Trust
from app.services.core.types import Endpoint, HealthStatus, ModelEntry, Server

ALICE, BOB = "alice", "bob"
LAB, CLASS = "lab", "class"


def server(name="one", **fields):
    endpoint = Endpoint("http", f"{name}.test", 8000)
    models = (ModelEntry("m", "m"),)
    return Server(id=name, endpoint=endpoint, models=models, health=HealthStatus.HEALTHY, **fields)


def user(group=None, role=Role.USER, key_id="user"):
    return Principal(key_id, "somebody", role, group=group)


def may(principal, one, reach=Trust.PUBLIC):
    return sees(sight_of(principal, reach), one)


@pytest.mark.parametrize(
    ("share", "strangers", "members", "others"),
    [("everyone", True, True, True), ("group", False, True, False), ("me", False, False, False)],
)
def test_a_server_is_used_by_those_it_is_shared_with(share, strangers, members, others):
    lent = server(owner=ALICE, group=LAB, share=share, trust=Trust.PUBLIC)
    assert may(user(), lent) is strangers
    assert may(user(LAB), lent) is members
    assert may(user(CLASS), lent) is others
    assert may(user(LAB, Role.OWNER, ALICE), lent)
    assert may(user(None, Role.OWNER, ALICE), lent)
    assert may(user(None, Role.OWNER, BOB), lent) is strangers


def test_a_server_without_a_group_is_shared_with_no_group():
    lent = server(owner=ALICE, group=None, share="group", trust=Trust.PUBLIC)
    assert not may(user(None), lent)
    assert not may(user(LAB), lent)


@pytest.mark.parametrize(
    ("trust", "trusted", "group", "public"),
    [
        (Trust.TRUSTED, (True, True), (True, True), (True, True)),
        (Trust.GROUP, (False, False), (False, True), (True, True)),
        (Trust.PUBLIC, (False, False), (False, False), (True, True)),
    ],
)
def test_a_request_goes_as_far_as_its_reach(trust, trusted, group, public):
    lent = server(owner=ALICE, group=LAB, trust=trust)
    for reach, expected in zip((Trust.TRUSTED, Trust.GROUP, Trust.PUBLIC), (trusted, group, public), strict=True):
        assert (may(user(), lent, reach), may(user(LAB), lent, reach)) == expected


def test_an_owner_trusts_his_own_servers_and_nobody_elses():
    lent = server(owner=ALICE, trust=Trust.PUBLIC)
    assert may(user(None, Role.OWNER, ALICE), lent, Trust.TRUSTED)
    assert not may(user(None, Role.OWNER, BOB), lent, Trust.TRUSTED)


def test_a_user_key_with_an_owners_id_owns_nothing():
    assert not may(user(None, Role.USER, ALICE), server(owner=ALICE, share="me", trust=Trust.PUBLIC))


def test_the_operator_may_use_all_but_goes_no_further_than_he_says():
    operator = user(None, Role.ADMIN, "admin")
    lent = server(owner=ALICE, group=LAB, share="me", trust=Trust.PUBLIC)
    assert may(operator, lent)
    assert not may(operator, lent, Trust.TRUSTED)


def test_the_admin_of_one_group_is_no_member_of_another():
    admin = user(CLASS, Role.ADMIN, "class-admin")
    assert not may(admin, server(owner=ALICE, group=LAB, share="group", trust=Trust.PUBLIC))


def test_an_open_snapshot_is_used_as_it_is():
    base = build_snapshot([server()])
    assert Views().of(base, Sight("", None, Trust.TRUSTED)) is base


def test_views_are_kept_until_the_next_snapshot():
    views, sight = Views(), Sight("", None, Trust.PUBLIC)
    base = build_snapshot([server(share="me", owner=ALICE), server("two")])
    view = views.of(base, sight)
    assert views.of(base, sight) is view
    assert views.of(build_snapshot([*base.servers.values()]), sight) is not view


def test_a_model_whose_servers_are_all_out_of_sight_is_not_there():
    hidden = replace(server("two", owner=ALICE, share="me"), models=(ModelEntry("secret", "secret"),))
    view = Views().of(build_snapshot([server(), hidden]), Sight("", None, Trust.PUBLIC))
    assert list(view.routes) == ["m"]
    assert view.routes.get("secret") is None
    assert "secret" not in view.routes
    assert len(view.routes) == 1


servers = st.lists(
    st.builds(
        server,
        name=st.sampled_from([f"s{place}" for place in range(8)]),
        owner=st.sampled_from(["", ALICE, BOB]),
        group=st.sampled_from([None, LAB, CLASS]),
        share=st.sampled_from(["everyone", "group", "me"]),
        trust=st.sampled_from(Trust),
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)
sights = st.builds(
    sight_of,
    st.builds(
        user,
        group=st.sampled_from([None, LAB, CLASS]),
        role=st.sampled_from(Role),
        key_id=st.sampled_from([ALICE, BOB, "user"]),
    ),
    st.sampled_from(Trust),
)


@given(servers, sights)
def test_a_view_holds_exactly_what_is_seen(registered, sight):
    view = Views().of(build_snapshot(registered), sight)
    route = view.routes.get("m")
    reached = set() if route is None else {candidate.server.id for candidate in route.ready}
    assert reached == {one.id for one in registered if sees(sight, one)}


@given(servers, sights)
def test_who_goes_less_far_sees_no_more(registered, sight):
    for one in registered:
        if sees(replace(sight, reach=Trust.TRUSTED), one):
            assert sees(replace(sight, reach=Trust.GROUP), one)
        if sees(replace(sight, reach=Trust.GROUP), one):
            assert sees(sight.widened(), one)
