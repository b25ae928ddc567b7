"""Does a ring that was kept up to date say the same as one that a restart would make?"""

from __future__ import annotations

from collections import deque
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.core.errors import GatewayError
from app.services.core.keys import KeyRing
from app.services.core.people.principal import Limits, Principal, Role, Trust
from app.services.core.people.scope import Scope
from app.services.registry.people import group_decisions, key_decisions
from app.services.registry.people.book import PeopleBook
from app.services.registry.people.principals import scope_of
from app.services.registry.people.records import (
    GroupChange,
    GroupSpec,
    KeyChange,
    KeyRecord,
    KeySpec,
    SecretRecord,
)
from app.services.registry.people.ring import RingMaker
from app.services.registry.people.rules import Actor
from app.services.registry.people.store import PeopleChange, Stored
from tests.fakes.registry import START

ADMIN_RING = KeyRing.with_admin("the-operators-own-key-000")
OPERATOR = Actor(Principal("admin", "operator", Role.ADMIN), Scope(Role.ADMIN))
WHICH = st.integers(0, 5)
MOMENTS = st.none() | st.integers(1, 30).map(lambda seconds: START + timedelta(seconds=seconds))
NAMES = st.none() | st.frozensets(st.sampled_from("abc"), min_size=1, max_size=2)
LIMITS = st.builds(Limits, st.none() | st.integers(1, 3))
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(Role),
        "models": NAMES,
        "reach": st.sampled_from(Trust),
        "weight": st.sampled_from([0.5, 1.0]),
        "limits": LIMITS,
        "background": st.booleans(),
        "expires_at": MOMENTS,
    },
)
STEPS = st.one_of(
    st.tuples(st.just("mint"), WHICH, FIELDS),
    st.tuples(st.just("change"), WHICH, FIELDS),
    st.tuples(st.just("move"), WHICH, WHICH),
    st.tuples(st.just("revoke"), WHICH, st.just(None)),
    st.tuples(st.just("rotate"), WHICH, st.integers(0, 10)),
    st.tuples(st.just("forget"), WHICH, st.just(None)),
    st.tuples(st.just("group"), WHICH, st.fixed_dictionaries({}, optional={"models": NAMES, "limits": LIMITS})),
    st.tuples(st.just("ungroup"), WHICH, st.just(None)),
    st.tuples(st.just("wait"), WHICH, st.just(None)),
)


class Office:
    """Decides and keeps books as the service does, without a database."""

    def __init__(self) -> None:
        self.book = PeopleBook(Stored())
        self.rings = RingMaker(ADMIN_RING, self.book)
        self.now = START
        self.made = 0

    def step(self, verb: str, which: int, more: object) -> None:
        self.made += 1
        try:
            change = getattr(self, verb)(which, more)
        except GatewayError:
            return
        deque(self.rings.update(self.book.apply(change), self.now), maxlen=0)

    def key(self, which: int) -> KeyRecord:
        keys = list(self.book.keys.values())
        if not keys:
            raise GatewayError("no key yet")
        return keys[which % len(keys)]

    def secret(self) -> SecretRecord:
        return SecretRecord(self.made.to_bytes(32, "big"), "mvk_...", self.now)

    def mint(self, which: int, more: dict) -> PeopleChange:
        actor = OPERATOR
        if which and self.book.keys:
            minter = self.key(which)
            if self.rings.principal(minter.id) is None:
                raise GatewayError("it has ended")
            actor = Actor(self.rings.principal(minter.id), scope_of(minter))
        minted = key_decisions.Minted(KeySpec("key", **more), f"key-{self.made}", self.secret())
        return key_decisions.mint_all(self.book, actor, [minted], self.now)[0]

    def change(self, which: int, more: dict) -> PeopleChange:
        return key_decisions.alter(self.book, OPERATOR, self.key(which).id, KeyChange(**more), self.now)[0]

    def move(self, which: int, group: int) -> PeopleChange:
        groups = [None, *self.book.groups]
        change = KeyChange(group_id=groups[group % len(groups)])
        return key_decisions.alter(self.book, OPERATOR, self.key(which).id, change, self.now)[0]

    def revoke(self, which: int, _more: None) -> PeopleChange:
        return key_decisions.revoke(self.book, OPERATOR, self.key(which).id, self.now)[0]

    def rotate(self, which: int, overlap: int) -> PeopleChange:
        return key_decisions.rotate(self.book, OPERATOR, self.key(which).id, self.secret(), overlap, self.now)[0]

    def forget(self, which: int, _more: None) -> PeopleChange:
        key = self.key(which)
        if key.revoked_at is None:
            raise GatewayError("only revoked keys are forgotten")
        return PeopleChange(forgotten=(key.id,))

    def group(self, which: int, more: dict) -> PeopleChange:
        groups = list(self.book.groups)
        if which < len(groups):
            return group_decisions.alter_group(self.book, OPERATOR, groups[which], GroupChange(**more), self.now)[0]
        name = f"group-{self.made}"
        return group_decisions.make_group(self.book, OPERATOR, GroupSpec(name, **more), name, self.now)[0]

    def ungroup(self, which: int, _more: None) -> PeopleChange:
        groups = list(self.book.groups)
        if which >= len(groups):
            raise GatewayError("no such group")
        return group_decisions.remove_group(self.book, OPERATOR, groups[which], self.now)

    def wait(self, which: int, _more: None) -> PeopleChange:
        self.now += timedelta(seconds=which)
        due = self.rings.due(self.now)
        deque(self.rings.update(self.book.closure(due), self.now), maxlen=0)
        return PeopleChange()

    def restarted(self) -> tuple[PeopleBook, RingMaker]:
        book = PeopleBook(Stored(tuple(self.book.keys.values()), tuple(self.book.groups.values())))
        rings = RingMaker(ADMIN_RING, book)
        deque(rings.update(book.keys, self.now), maxlen=0)
        return book, rings


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_a_ring_that_is_kept_equals_one_that_is_made_anew(steps) -> None:
    office = Office()
    for step in steps:
        office.step(*step)
    office.step("wait", 0, None)
    book, fresh = office.restarted()
    kept = office.rings
    assert kept.ring.principals == fresh.ring.principals
    assert kept.ring.ended == fresh.ring.ended
    assert set(kept.ring.principals).isdisjoint(kept.ring.ended)
    for key in book.keys.values():
        assert {one.id for one in office.book.hanging_on(key)} == {one.id for one in book.hanging_on(key)}
        assert kept.principal(key.id) == fresh.principal(key.id)
    for group in book.groups:
        assert {key.id for key in office.book.keys_in(group)} == {key.id for key in book.keys_in(group)}


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_what_hangs_on_a_key_never_may_more_than_that(steps) -> None:
    office = Office()
    for step in steps:
        office.step(*step)
    for key in office.book.keys.values():
        minter = office.book.binding_minter(key)
        may = office.rings.principal(key.id)
        if minter is None or may is None:
            continue
        bound = office.rings.principal(minter.id)
        assert bound is not None
        assert bound.models is None or (may.models is not None and may.models <= bound.models)
        assert may.reach.breadth <= bound.reach.breadth
        assert may.weight <= bound.weight
        assert may.background >= bound.background
        assert bound.expires_at is None or (may.expires_at is not None and may.expires_at <= bound.expires_at)
        assert {(rule.subject, rule.model) for rule in bound.rules} <= {(one.subject, one.model) for one in may.rules}


def test_keys_that_made_each_other_open_nothing() -> None:
    """No release writes that; a hand in the database may."""
    keys = tuple(
        KeyRecord(
            own, own, Role.OWNER, START, START, minted_by=other, secrets=(SecretRecord(own.encode() * 32, "s", START),)
        )
        for own, other in (("a", "b"), ("b", "a"), ("c", "c"))
    )
    book = PeopleBook(Stored(keys))
    rings = RingMaker(ADMIN_RING, book)
    deque(rings.update(book.closure(book.keys), START), maxlen=0)
    assert rings.ring.principals == ADMIN_RING.principals
    assert len(rings.ring.ended) == 3
    assert [key.id for key in book.hanging_on(book.keys["a"])] == ["b"]
