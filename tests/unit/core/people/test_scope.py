"""Does nothing that is minted ever reach beyond what minted it?"""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.people.principal import NO_LIMITS, Limits, Principal, Role, Trust
from app.services.core.people.scope import (
    Scope,
    allows,
    common_names,
    common_routes,
    loosening,
    tighter,
    widening,
)

NUMBERS = st.none() | st.integers(1, 3)
LIMITS = st.just(NO_LIMITS) | st.builds(Limits, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
MODELS = st.sampled_from(["a", "b", "c"])
NAMES = st.none() | st.frozensets(MODELS, max_size=3)
PATHS = [
    "/",
    "/v1",
    "/v1/",
    "/v1/models",
    "/v1/chat/completions",
    "/admin",
    "/admin/keys",
    "/admin/keys/7",
    "/v10",
    "//",
]
ROUTES = st.none() | st.frozensets(st.sampled_from(PATHS), max_size=3)
SCOPES = st.builds(
    Scope,
    role=st.sampled_from(Role),
    group=st.none() | st.sampled_from(["g", "h"]),
    person=st.sampled_from(["alice", "bob"]),
    models=NAMES,
    routes=ROUTES,
    reach=st.sampled_from(Trust),
    tools_anywhere=st.booleans(),
    names_people=st.booleans(),
    background=st.booleans(),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
    limits=LIMITS,
    model_limits=st.dictionaries(MODELS, LIMITS, max_size=2),
    expires_at=st.none() | st.sampled_from([10.0, 20.0]),
)
UNBOUNDED = Scope(Role.ADMIN)


@st.composite
def inside(draw: st.DrawFn, outer: Scope) -> Scope:
    """A scope near another, often inside it: some of its fields are drawn anew."""
    other = draw(SCOPES)
    names = draw(st.sets(st.sampled_from([part.name for part in fields(Scope)]), max_size=3))
    return replace(outer, **{name: getattr(other, name) for name in names})


CHAINS = SCOPES.flatmap(
    lambda first: inside(first).flatmap(lambda second: inside(second).map(lambda third: (first, second, third)))
)


class TestWidening:
    @given(SCOPES)
    def test_each_scope_lies_inside_itself(self, scope: Scope) -> None:
        assert widening(scope, scope) is None

    @given(CHAINS)
    def test_what_lies_inside_what_lies_inside_lies_inside(self, chain: tuple[Scope, Scope, Scope]) -> None:
        first, second, third = chain
        if widening(second, first) is None and widening(third, second) is None:
            assert widening(third, first) is None

    @given(SCOPES)
    def test_everything_lies_inside_an_unbounded_admin_key(self, scope: Scope) -> None:
        assert widening(scope, UNBOUNDED) is None

    @given(SCOPES, SCOPES)
    def test_nobody_mints_what_is_unbounded_but_who_is(self, inner: Scope, outer: Scope) -> None:
        if inner.is_unbounded and widening(inner, outer) is None:
            assert outer.is_unbounded

    @given(CHAINS)
    def test_what_lies_inside_may_do_nothing_more(self, chain: tuple[Scope, Scope, Scope]) -> None:
        outer, inner, _third = chain
        if widening(inner, outer) is not None:
            return
        wide, narrow = _principal(outer.granting), _principal(inner)
        assert all(wide.may_ask_for(model) for model in "abcd" if narrow.may_ask_for(model))
        assert all(wide.may_call(path) for path in [*PATHS, "/v1/x", "/v10/x"] if narrow.may_call(path))
        assert inner.reach.breadth <= outer.reach.breadth
        assert inner.tools_anywhere <= outer.granting.tools_anywhere
        assert inner.names_people <= outer.granting.names_people
        assert inner.weight <= outer.granting.weight
        assert inner.limits.lies_within(outer.limits)

    @pytest.mark.parametrize(
        ("outer", "change", "param"),
        [
            (Scope(Role.OWNER), {"role": Role.ADMIN}, "role"),
            (Scope(Role.OWNER), {"group": "g"}, "group"),
            (Scope(Role.ADMIN, group="g"), {"group": "h"}, "group"),
            (Scope(Role.ADMIN, group="g"), {"group": None}, "group"),
            (Scope(Role.OWNER, person="alice"), {"person": "bob"}, "person"),
            (Scope(Role.ADMIN, models=frozenset("a")), {"models": None}, "models"),
            (Scope(Role.ADMIN, models=frozenset("a")), {"models": frozenset("ab")}, "models"),
            (Scope(Role.ADMIN, routes=frozenset({"/v1"})), {"routes": None}, "routes"),
            (Scope(Role.ADMIN, routes=frozenset({"/v1"})), {"routes": frozenset({"/v10"})}, "routes"),
            (Scope(Role.ADMIN, reach=Trust.GROUP), {"reach": Trust.PUBLIC}, "reach"),
            (Scope(Role.OWNER), {"tools_anywhere": True}, "tools_anywhere"),
            (Scope(Role.OWNER), {"names_people": True}, "names_people"),
            (Scope(Role.ADMIN, background=True), {"background": False}, "background"),
            (Scope(Role.OWNER), {"weight": 1.5}, "weight"),
            (Scope(Role.ADMIN, limits=Limits(5)), {"limits": NO_LIMITS}, "limits"),
            (Scope(Role.ADMIN, limits=Limits(5)), {"limits": Limits(6)}, "limits"),
            (Scope(Role.ADMIN, model_limits={"a": Limits(5)}), {"model_limits": {}}, "model_limits"),
            (Scope(Role.ADMIN, expires_at=10.0), {"expires_at": None}, "expires_at"),
            (Scope(Role.ADMIN, expires_at=10.0), {"expires_at": 11.0}, "expires_at"),
        ],
    )
    def test_each_way_out_is_named(self, outer: Scope, change: dict[str, object], param: str) -> None:
        found = widening(replace(outer, **change), outer)
        assert found is not None
        assert found.param == param

    def test_what_is_said_names_what_is_allowed(self) -> None:
        outer = Scope(Role.ADMIN, models=frozenset("abcdefg"), limits=Limits(5, concurrency=2))
        found = widening(replace(outer, models=None), outer)
        assert found is not None
        assert found.words == "give these models only: a, b, c, d, e and 2 more"
        found = widening(replace(outer, limits=NO_LIMITS), outer)
        assert found is not None
        assert found.words == "give limits of at most requests_per_minute 5, concurrency 2, each of them set"

    def test_an_unbounded_admin_key_that_ends_gives_nothing_that_outlives_it(self) -> None:
        ending = replace(UNBOUNDED, expires_at=10.0)
        assert (
            widening(Scope(Role.USER, tools_anywhere=True, names_people=True, weight=9, expires_at=10.0), ending)
            is None
        )
        assert widening(Scope(Role.USER), ending) is not None

    def test_a_bound_on_all_models_bounds_each(self) -> None:
        outer = Scope(Role.ADMIN, model_limits={"a": Limits(5)})
        assert widening(Scope(Role.USER, limits=Limits(4)), outer) is None
        assert widening(Scope(Role.USER, models=frozenset("b")), outer) is None

    def test_a_front_ends_limits_hold_for_each_person_and_bound_no_model(self) -> None:
        outer = Scope(Role.ADMIN, names_people=True, model_limits={"a": Limits(5)})
        inner = Scope(Role.USER, names_people=True, limits=Limits(4))
        found = widening(inner, outer)
        assert found is not None
        assert found.param == "model_limits"
        assert widening(replace(inner, names_people=False), outer) is None

    @given(CHAINS)
    def test_a_chain_of_changes_never_loosens(self, chain: tuple[Scope, Scope, Scope]) -> None:
        first, second, third = chain
        assert loosening(first, first) is None
        if loosening(second, first) is None and loosening(third, second) is None:
            assert loosening(third, first) is None

    def test_an_unbounded_key_gives_what_it_has_not_and_is_itself_no_looser_for_it(self) -> None:
        heavier = replace(UNBOUNDED, weight=5.0, tools_anywhere=True)
        assert widening(heavier, UNBOUNDED) is None
        assert loosening(heavier, UNBOUNDED) is not None


class TestCommon:
    @given(LIMITS, LIMITS)
    def test_the_tighter_lies_within_both_and_is_one_of_them(self, one: Limits, other: Limits) -> None:
        both = tighter(one, other)
        assert both.lies_within(one)
        assert both.lies_within(other)
        for part in fields(Limits):
            assert getattr(both, part.name) in {getattr(one, part.name), getattr(other, part.name)}

    @given(NAMES, NAMES, MODELS)
    def test_common_names_are_those_of_both(
        self, one: frozenset[str] | None, other: frozenset[str] | None, model: str
    ) -> None:
        both = common_names(one, other)
        assert (both is None or model in both) == all(names is None or model in names for names in (one, other))

    @given(ROUTES, ROUTES, st.sampled_from([*PATHS, "/v1/x", "/admin/keys/7/rotate", "/other"]))
    def test_common_routes_are_those_of_both(
        self, one: frozenset[str] | None, other: frozenset[str] | None, path: str
    ) -> None:
        both = common_routes(one, other)
        assert (both is None or allows(both, path)) == all(
            routes is None or allows(routes, path) for routes in (one, other)
        )

    @given(ROUTES.filter(lambda routes: routes is not None), st.sampled_from(PATHS))
    def test_paths_are_judged_as_requests_are(self, routes: frozenset[str], path: str) -> None:
        is_open = path in ("/v1/models", "/v1/usage") or path.startswith("/v1/models/")  # to every key
        may = Principal("key", "name", Role.USER, routes=routes).may_call(path)
        assert may == (allows(routes, path) or is_open)


def _principal(scope: Scope) -> Principal:
    return Principal("key", "name", scope.role, models=scope.models, routes=scope.routes)
