"""Are lists handed out whole or not at all, and does a link open one key, once, and for nobody who guesses?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import Conflict, FieldsInvalid, NotAllowed, NotFound, StorageUnavailable
from app.services.core.keys import KeyForm, KeyRing, Role, digest, looks_minted
from app.services.registry.people.importing import ImportedPerson, LeftOut
from app.services.registry.people.invites import HandedOut, InviteGone, Invites
from app.services.registry.people.keys import Keys
from app.services.registry.people.records import GroupSpec, KeySpec, KeyState
from app.services.registry.people.store import InviteRow, PeopleChange, PeopleStore
from app.services.registry.people.tokens import RANDOM_BYTES, is_token, mint_token
from app.services.registry.tables import audit_log
from tests.fakes.registry import START, FakeClock, World, registry_world

ADMIN_KEY = "admin-key-canary-0123456789"
RING = KeyRing.with_admin(ADMIN_KEY)
(ADMIN,) = RING.principals.values()
ADA = ImportedPerson(2, "ada@example.org", "Ada")
GRACE = ImportedPerson(3, "grace", "Grace")
TERMS = KeySpec("")


@dataclass
class Desk:
    world: World
    keys: Keys
    store: PeopleStore
    invites: Invites

    async def invite(self, *people: ImportedPerson, terms: KeySpec = TERMS, **options) -> list[str]:
        """Hand out links; their tokens."""
        done = await self.invites.hand_out(ADMIN, people or (ADA,), terms, HandedOut.INVITES, **options)
        return [one.link.url.rpartition("/")[2] for one in done.made]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with registry_world(tmp_path) as world:
        store, random_bytes = PeopleStore(world.database), Random(7).randbytes
        keys = Keys(store, RING, world.clock, lambda _ring, _rules: None, random_bytes)
        await keys.load()
        yield Desk(world, keys, store, Invites(keys, store, world.clock, random_bytes, "https://gw.example"))
        await keys.settle()


# -------------------------------------------------------------------------------------------------- tokens


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_a_token_has_the_form_of_a_key_and_passes_for_none(random_bytes: bytes) -> None:
    token = mint_token(random_bytes)
    assert re.fullmatch("mvi_[0-9A-Za-z]{36}", token)
    assert is_token(token)
    assert looks_minted(token) is KeyForm.FOREIGN
    assert mint_token(random_bytes) == token


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES), st.integers(4, 39), st.characters(codec="ascii"))
def test_a_mistyped_token_is_none(random_bytes: bytes, place: int, character: str) -> None:
    token = mint_token(random_bytes)
    changed = token[:place] + character + token[place + 1 :]
    assert is_token(changed) is (changed == token)
    assert not is_token(token[:-1])
    assert not is_token(token + character)


@given(st.text(max_size=60))
def test_any_text_can_be_asked_about(text: str) -> None:
    assert not is_token(text)


def test_too_little_randomness_makes_no_token() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        mint_token(bytes(RANDOM_BYTES - 1))


# -------------------------------------------------------------------------------------------------- handing out


async def test_keys_are_handed_out_with_each_ones_name_and_person(desk: Desk) -> None:
    group = await desk.keys.create_group(ADMIN, GroupSpec("physics"))
    terms = replace(TERMS, group_id=group.id, models=frozenset({"m"}))
    done = await desk.invites.hand_out(ADMIN, [ADA, GRACE], terms, HandedOut.KEYS)
    assert [one.person for one in done.made] == [ADA, GRACE]
    for one in done.made:
        principal = desk.keys.ring.authenticate(one.key.encode())
        assert (principal.name, principal.person) == (one.person.name, one.person.person)
        assert (principal.group, principal.models) == (group.id, {"m"})
        assert one.link is None
    with pytest.raises(Conflict, match="in the group physics"):
        await desk.invites.hand_out(ADMIN, [ADA], terms, HandedOut.KEYS)
    elsewhere = await desk.invites.hand_out(ADMIN, [ADA], TERMS, HandedOut.KEYS)
    assert len(elsewhere.made) == 1
    with pytest.raises(Conflict, match="outside of groups"):
        await desk.invites.hand_out(ADMIN, [ADA], TERMS, HandedOut.INVITES)


async def test_a_list_that_cannot_be_stored_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_args: object) -> None:
        raise StorageUnavailable("The disk is full.")

    monkeypatch.setattr(PeopleStore, "commit", fails)
    for wanted in HandedOut:
        with pytest.raises(StorageUnavailable):
            await desk.invites.hand_out(ADMIN, [ADA, GRACE], TERMS, wanted)
    assert not desk.keys.records


async def test_nobody_left_is_nothing_made(desk: Desk) -> None:
    await desk.invite()
    done = await desk.invites.hand_out(ADMIN, [ADA], TERMS, HandedOut.INVITES, skip_existing=True)
    assert (done.made, [one.line for one in done.left_out]) == ((), [2])


async def test_what_would_come_of_a_list_is_told_and_nothing_is_made(desk: Desk) -> None:
    await desk.invite(ADA)
    chosen, left_out = await desk.invites.foresee(ADMIN, [ADA, GRACE, replace(GRACE, line=4)], TERMS)
    assert chosen == [GRACE]
    assert [(one.line, one.reason) for one in left_out] == [
        (2, "has a key outside of groups already"), (4, "is on line 3 already"),
    ]  # fmt: skip
    assert len(desk.keys.records) == 1
    await desk.invite(GRACE)
    assert await desk.invites.foresee(ADMIN, [ADA], TERMS) == ([], [LeftOut(2, ADA.person, left_out[0].reason)])


async def test_a_list_that_may_not_be_made_is_refused_before(desk: Desk) -> None:
    _record, secret = await desk.keys.create(ADMIN, KeySpec("owner", role=Role.OWNER, models=frozenset({"a"})))
    owner = desk.keys.ring.authenticate(secret.encode())
    for terms in (replace(TERMS, models=frozenset({"b"})), replace(TERMS, expires_at=START - timedelta(days=1))):
        with pytest.raises((NotAllowed, FieldsInvalid)):
            await desk.invites.foresee(owner, [ADA], terms)
    with pytest.raises(NotAllowed):
        await desk.invites.foresee(replace(owner, key_id="user", role=Role.USER), [ADA], TERMS)
    assert len(desk.keys.records) == 1


async def test_who_may_not_make_keys_for_others_hands_out_nothing(desk: Desk) -> None:
    for role in (Role.OWNER, Role.USER):
        _record, secret = await desk.keys.create(ADMIN, KeySpec(role.value, role))
        principal = desk.keys.ring.authenticate(secret.encode())
        for wanted in HandedOut:
            with pytest.raises(NotAllowed):
                await desk.invites.hand_out(principal, [ADA], TERMS, wanted)
    assert len(desk.keys.records) == 2


# -------------------------------------------------------------------------------------------------- fetching


async def test_a_link_opens_its_key_once(desk: Desk) -> None:
    (token,) = await desk.invite()
    (record,) = desk.keys.records.values()
    assert desk.keys.state(record) is KeyState.UNCLAIMED
    for _look in range(2):
        invited = await desk.invites.look(token)
        assert (invited.key_id, invited.name, invited.group) == (record.id, "Ada", None)
    invited, key = await desk.invites.claim(token)
    assert desk.keys.ring.authenticate(key.encode()).key_id == invited.key_id == record.id
    for gone in (desk.invites.look, desk.invites.claim):
        with pytest.raises(InviteGone, match="Ask whoever sent you the link"):
            await gone(token)


async def test_of_many_claims_at_once_one_wins(desk: Desk) -> None:
    (token,) = await desk.invite()
    results = await asyncio.gather(*(desk.invites.claim(token) for _claim in range(20)), return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, InviteGone) for result in results) == 19
    (record,) = desk.keys.records.values()
    assert len(record.secrets) == 1


async def test_a_claim_that_cannot_be_stored_uses_nothing_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (token,) = await desk.invite()

    async def fails(*_args: object) -> None:
        raise StorageUnavailable("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(PeopleStore, "commit", fails)
        with pytest.raises(StorageUnavailable):
            await desk.invites.claim(token)
    await desk.invites.claim(token)


async def test_open_links_outlive_a_restart_and_used_ones_stay_used(tmp_path: Path) -> None:
    random_bytes, clock = Random(3).randbytes, FakeClock()
    tokens: list[str] = []
    for _start in range(3):
        async with registry_world(tmp_path, clock=clock) as world:
            store = PeopleStore(world.database)
            keys = Keys(store, RING, clock, lambda _ring, _rules: None, random_bytes)
            await keys.load()
            invites = Invites(keys, store, clock, random_bytes)
            if not tokens:
                done = await invites.hand_out(ADMIN, [ADA, GRACE], TERMS, HandedOut.INVITES)
                tokens = [one.link.url.removeprefix("/invite/") for one in done.made]
                await invites.claim(tokens[0])
            else:
                with pytest.raises(InviteGone):
                    await invites.claim(tokens[0])
                assert (await invites.look(tokens[1])).name == "Grace"


@pytest.mark.parametrize(
    ("days", "seconds", "works"), [(14, -1, True), (14, 0, False), (0.25, -1, True), (0.25, 0, False)]
)
async def test_a_link_ends_on_time(desk: Desk, days: float, seconds: int, works: bool) -> None:
    (token,) = await desk.invite(days=days)
    desk.world.clock.moment = START + timedelta(days=days, seconds=seconds)
    if works:
        await desk.invites.claim(token)
    else:
        with pytest.raises(InviteGone):
            await desk.invites.claim(token)


async def test_a_link_to_an_ended_key_opens_nothing(desk: Desk) -> None:
    end = datetime(2030, 1, 2, tzinfo=UTC)
    revoked, ended = await desk.invite(ADA, GRACE, terms=replace(TERMS, expires_at=end))
    await desk.keys.revoke(ADMIN, (await desk.invites.look(revoked)).key_id)
    desk.world.clock.moment = end
    for token in (revoked, ended):
        with pytest.raises(InviteGone):
            await desk.invites.claim(token)


async def test_what_is_no_token_is_not_looked_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*_args: object) -> str:
        raise AssertionError

    monkeypatch.setattr(PeopleStore, "find_invite", asked)
    for token in ("", "mvi_", "' OR 1=1 --", "mvk_" + mint_token(bytes(RANDOM_BYTES))[4:], "mvi_" + "0" * 36):
        with pytest.raises(NotFound, match="not whole"):
            await desk.invites.claim(token)


async def test_a_stranger_to_the_database_is_gone(desk: Desk) -> None:
    with pytest.raises(InviteGone):
        await desk.invites.claim(mint_token(bytes(range(RANDOM_BYTES))))
    (token,) = await desk.invite()
    (record,) = desk.keys.records.values()
    other = mint_token(b"x" * RANDOM_BYTES)
    await desk.store.put_invite(InviteRow(digest(other), record.id, START, START + timedelta(days=1)))
    with pytest.raises(InviteGone):
        await desk.invites.claim(token)
    await desk.invites.claim(other)


# -------------------------------------------------------------------------------------------------- anew


async def test_a_link_is_made_anew_for_what_nobody_fetched(desk: Desk) -> None:
    (token,) = await desk.invite()
    (record,) = desk.keys.records.values()
    link = await desk.invites.renew(ADMIN, record.id, days=3)
    assert link.expires_at == START + timedelta(days=3)
    assert link.url.startswith("https://gw.example/invite/mvi_")
    assert "mvi_" not in repr(link)
    with pytest.raises(InviteGone):
        await desk.invites.claim(token)
    await desk.invites.claim(link.url.rpartition("/")[2])
    with pytest.raises(Conflict, match="Rotate it"):
        await desk.invites.renew(ADMIN, record.id)
    await desk.keys.revoke(ADMIN, record.id)
    with pytest.raises(Conflict, match="Make a new one"):
        await desk.invites.renew(ADMIN, record.id)
    with pytest.raises(NotFound):
        await desk.invites.renew(ADMIN, "nothing")


async def test_keys_and_their_links_are_stored_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[PeopleChange] = []
    plain = PeopleStore.commit

    async def watched(store: PeopleStore, change: PeopleChange, at: datetime) -> None:
        commits.append(change)
        await plain(store, change, at)

    monkeypatch.setattr(PeopleStore, "commit", watched)
    await desk.invite(ADA, GRACE)
    (change,) = commits
    assert (len(change.added), len(change.invites), len(change.entries)) == (2, 2, 2)


async def test_a_new_link_is_in_the_audit_and_its_token_is_not(desk: Desk) -> None:
    await desk.invite()
    (record,) = desk.keys.records.values()
    link = await desk.invites.renew(ADMIN, record.id, days=1)
    async with desk.world.database.read() as connection:
        rows = (await connection.execute(sa.select(audit_log).order_by(audit_log.c.id))).mappings().all()
    assert [row["action"] for row in rows] == ["key.created", "key.invited"]
    assert (rows[1]["object_id"], rows[1]["actor_id"]) == (record.id, "admin")
    assert rows[1]["after"] == {"invited_until": "2030-01-02T00:00:00+00:00"}
    assert link.url.rpartition("_")[2] not in str(rows)


async def test_what_is_shown_of_it_in_a_log_holds_no_secret(desk: Desk) -> None:
    done = await desk.invites.hand_out(ADMIN, [ADA], TERMS, HandedOut.KEYS)
    invited = await desk.invites.hand_out(ADMIN, [GRACE], TERMS, HandedOut.INVITES)
    shown = repr(done) + repr(invited)
    assert done.made[0].key not in shown
    assert invited.made[0].link.url not in shown
