"""Do database, memory and the ring of keys say the same of a key, whatever happens to it?"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta, timezone

import pytest
import sqlalchemy as sa

from app.services.core.errors import Conflict, FieldsInvalid, NotAllowed, NotFound, StorageUnavailable
from app.services.core.keys import KeyForm, Principal, digest, looks_minted
from app.services.core.people.principal import Limits, Role, Trust
from app.services.registry.people import key_decisions
from app.services.registry.people.records import GroupSpec, KeyChange, KeySpec, KeyState
from app.services.registry.people.store import InviteRow
from app.services.registry.tables import api_keys, audit_log, key_secrets
from tests.fakes.registry import START

OPERATORS = "the-operators-own-key-000"


async def count(people, table):
    async with people.database.read() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


@pytest.mark.parametrize("person", ["key:somebody-elses", "front-end/ann@uni"])
async def test_nobody_gives_a_person_that_stands_for_another_key_or_a_front_ends_user(people, person):
    record, _principal, _secret = await people.make("alice")
    with pytest.raises(FieldsInvalid, match="without a slash"):
        await people.make("bob", person=person)
    with pytest.raises(FieldsInvalid, match="without a slash"):
        await people.keys.create_unclaimed(people.operator, [KeySpec(name="carol", role=Role.USER, person=person)])
    with pytest.raises(FieldsInvalid, match="without a slash"):
        await people.keys.change(people.operator, record.id, KeyChange(person=person))
    assert list(people.keys.records) == [record.id]


class TestCreate:
    async def test_a_key_opens_the_gateway_at_once_and_after_a_restart(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            record, principal, secret = await people.make(
                "alice",
                role=Role.OWNER,
                person="alice@uni",
                models=frozenset({"llama"}),
                routes=frozenset({"/v1/chat/completions"}),
                reach=Trust.GROUP,
                tools_anywhere=True,
                names_people=True,
                background=True,
                weight=2.5,
                limits=Limits(60, 1000, 2000, 3000, 4),
                model_limits={"llama": Limits(5)},
                expires_at=START + timedelta(days=1),
            )
            assert looks_minted(secret) is KeyForm.MINTED
            assert (record.created_at, record.minted_by) == (START, "admin")
            assert people.keys.get(people.operator, record.id) is record
        async with opened(tmp_path) as people:
            assert people.keys.records == {record.id: record}
            assert people.who(secret) == principal
            assert people.who(OPERATORS) == people.operator

    async def test_what_was_acknowledged_is_in_the_file_already(self, people, tmp_path):
        _record, _principal, secret = await people.make("alice")
        with sqlite3.connect(tmp_path / "gateway.db") as file:
            stored = file.execute("SELECT digest, shown FROM key_secrets").fetchall()
        file.close()
        assert stored == [(digest(secret), f"mvk_...{secret[-4:]}")]

    async def test_many_are_made_or_none(self, people):
        with pytest.raises(FieldsInvalid):
            await people.keys.create_all(people.operator, [KeySpec("alice"), KeySpec("")])
        assert not people.keys.records
        assert await count(people, api_keys) == await count(people, audit_log) == 0
        made = await people.keys.create_all(people.operator, [KeySpec("alice"), KeySpec("bob")])
        assert [people.who(secret).name for _record, secret in made] == ["alice", "bob"]

    @pytest.mark.parametrize(
        ("spec", "param"),
        [
            ({"name": " alice"}, "name"),
            ({"name": "a" * 129}, "name"),
            ({"name": "a\0b"}, "name"),
            ({"name": "\ud800"}, "name"),
            ({"person": ""}, "person"),
            ({"models": frozenset()}, "models"),
            ({"models": frozenset({"a\n"})}, "models"),
            ({"models": frozenset(str(number) for number in range(1001))}, "models"),
            ({"routes": frozenset({"v1"})}, "routes"),
            ({"routes": frozenset({"/v1/../admin"})}, "routes"),
            ({"routes": frozenset({"/v1//chat"})}, "routes"),
            ({"routes": frozenset({"/v1/%63hat"})}, "routes"),
            ({"routes": frozenset()}, "routes"),
            ({"weight": float("nan")}, "weight"),
            ({"weight": 0.0}, "weight"),
            ({"weight": float("inf")}, "weight"),
            ({"limits": Limits(0)}, "limits"),
            ({"limits": Limits(True)}, "limits"),
            ({"limits": Limits(tokens_per_day=10**16)}, "limits"),
            ({"model_limits": {"a": Limits(-1)}}, "model_limits"),
            ({"model_limits": {"": Limits(1)}}, "model_limits"),
            ({"model_limits": {str(number): Limits(1) for number in range(101)}}, "model_limits"),
            ({"group_id": "none"}, "group"),
            ({"expires_at": START}, "expires_at"),
            ({"expires_at": START.replace(tzinfo=None)}, "expires_at"),
            ({"expires_at": START.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "expires_at"),
        ],
    )
    async def test_what_is_not_well_formed_is_refused(self, people, spec, param):
        with pytest.raises(FieldsInvalid) as refusal:
            await people.keys.create(people.operator, KeySpec(**({"name": "alice"} | spec)))
        assert refusal.value.param == param
        assert not people.keys.records

    async def test_a_route_is_kept_without_the_slash_at_its_end(self, people):
        record, principal, _secret = await people.make("alice", routes=frozenset({"/v1/", "/"}))
        assert record.routes == {"/v1", "/"}
        assert principal.may_call("/v1/models")

    async def test_the_most_there_may_be(self, people, monkeypatch):
        monkeypatch.setattr(key_decisions, "MAX_KEYS", 2)
        first, _principal, secret = await people.make("first")
        second, _principal, _secret = await people.make("second")
        with pytest.raises(Conflict, match="Revoke some"):
            await people.make("third")
        await people.keys.revoke(people.operator, first.id)
        third, _principal, _secret = await people.make("third")
        assert list(people.keys.records) == [second.id, third.id]
        assert await count(people, api_keys) == await count(people, key_secrets) == 2
        assert "unknown" in people.why_not(secret)


class TestRevoke:
    async def test_it_is_seen_in_the_ring_at_once_and_after_a_restart(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            record, _principal, secret = await people.make("alice")
            before = people.told[-1][0]
            await people.keys.revoke(people.operator, record.id)
            assert "revoked on 2030-01-01" in people.why_not(secret)
            assert before.authenticate(secret.encode()).key_id == record.id  # a ring is swapped, never changed
        async with opened(tmp_path) as people:
            assert "revoked on 2030-01-01" in people.why_not(secret)

    async def test_it_is_for_good(self, people):
        record, _principal, _secret = await people.make("alice")
        revoked = await people.keys.revoke(people.operator, record.id)
        lines = len(await people.audit())
        people.clock.move(seconds=5)
        assert await people.keys.revoke(people.operator, record.id) == revoked
        with pytest.raises(Conflict, match="for good"):
            await people.keys.change(people.operator, record.id, KeyChange(name="bob"))
        with pytest.raises(Conflict, match="for good"):
            await people.keys.rotate(people.operator, record.id, overlap_seconds=0)
        assert len(await people.audit()) == lines

    async def test_the_operators_key_can_not_be_touched(self, people):
        keys, operator = people.keys, people.operator
        _record, admin, _secret = await people.make("admin", role=Role.ADMIN)
        for by in (operator, admin):
            for attempt in (
                keys.revoke(by, "admin"),
                keys.change(by, "admin", KeyChange(role=Role.USER)),
                keys.rotate(by, "admin", overlap_seconds=0),
            ):
                with pytest.raises(NotFound, match="ADMIN_API_KEY"):
                    await attempt
        with pytest.raises(NotFound, match="ADMIN_API_KEY"):
            keys.get(operator, "admin")
        assert people.who(OPERATORS) == operator

    async def test_the_operators_key_survives_a_minted_key_with_the_same_secret(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            record, _secret = await people.keys.create(people.operator, KeySpec("twin"))
            async with people.database.write() as connection:
                await connection.execute(sa.update(key_secrets).values(digest=digest(OPERATORS)))
        async with opened(tmp_path) as people:
            await people.keys.revoke(people.operator, record.id)
            assert people.who(OPERATORS) == people.operator

    async def test_a_key_that_was_revoked_meanwhile_changes_nothing_more(self, people):
        record, admin, _secret = await people.make("admin", role=Role.ADMIN)
        await people.keys.revoke(admin, record.id)
        with pytest.raises(NotAllowed, match="ended"):
            await people.keys.create(admin, KeySpec("late"))
        with pytest.raises(NotAllowed, match="ended"):
            people.keys.list(admin)


class TestBoundedAdmins:
    """An admin's key that is bounded steers what lies inside its bounds, by whatever way."""

    @pytest.mark.parametrize(
        ("bounds", "free"),
        [
            ({"models": frozenset({"m"})}, {}),
            ({"routes": frozenset({"/admin"})}, {"routes": frozenset({"/v1"})}),
            ({"reach": Trust.TRUSTED}, {"reach": Trust.GROUP}),
            ({"limits": Limits(5)}, {"limits": Limits(6)}),
            ({"background": True}, {"role": Role.USER}),
        ],
    )
    async def test_what_may_do_more_is_not_theirs(self, people, bounds, free):
        record, _principal, secret = await people.make("free", **({"role": Role.ADMIN} | free))
        _record, bounded, _secret = await people.make("bounded", role=Role.ADMIN, **bounds)
        lines = len(await people.audit())
        for attempt in (
            people.keys.change(bounded, record.id, KeyChange(name="renamed")),
            people.keys.change(bounded, record.id, KeyChange(**bounds)),
            people.keys.revoke(bounded, record.id),
            people.keys.rotate(bounded, record.id, overlap_seconds=0),
        ):
            with pytest.raises(NotAllowed) as refusal:
                await attempt
            assert refusal.value.param == next(iter(bounds))
        assert people.keys.records[record.id] is record
        assert people.who(secret).key_id == record.id
        assert len(await people.audit()) == lines

    async def test_what_lies_inside_is(self, people):
        bounds = {"models": frozenset({"m"}), "limits": Limits(5)}
        record, _principal, secret = await people.make("inside", **bounds)
        _record, bounded, _secret = await people.make("bounded", role=Role.ADMIN, **bounds)
        await people.keys.change(bounded, record.id, KeyChange(name="renamed"))
        await people.keys.revoke(bounded, record.id)
        assert "revoked" in people.why_not(secret)

    async def test_when_a_key_ends_does_not_matter_for_what_it_changes_and_ends(self, people):
        record, _principal, secret = await people.make("for good")
        end = START + timedelta(days=1)
        _record, admin, _secret = await people.make("for a day", role=Role.ADMIN, expires_at=end)
        await people.keys.change(admin, record.id, KeyChange(name="renamed"))
        with pytest.raises(NotAllowed) as refusal:  # its secret would open the gateway for longer
            await people.keys.rotate(admin, record.id, overlap_seconds=0)
        assert refusal.value.param == "expires_at"
        await people.keys.revoke(admin, record.id)
        assert "revoked" in people.why_not(secret)


class TestExpiry:
    async def test_a_refresh_drops_what_has_expired(self, people):
        record, _principal, secret = await people.make("alice", expires_at=START + timedelta(seconds=10))
        people.clock.move(seconds=9)
        rings = len(people.told)
        people.keys.refresh(people.clock())
        assert len(people.told) == rings
        assert people.who(secret).key_id == record.id
        people.clock.move(seconds=1)
        people.keys.refresh(people.clock())
        assert "expired on 2030-01-01" in people.why_not(secret)
        assert people.keys.list(people.operator, state=KeyState.EXPIRED) == [record]

    async def test_a_later_end_brings_it_back(self, people):
        record, _principal, secret = await people.make("alice", expires_at=START + timedelta(seconds=10))
        people.clock.move(seconds=20)
        people.keys.refresh(people.clock())
        with pytest.raises(Conflict, match="later expires_at"):
            await people.keys.rotate(people.operator, record.id, overlap_seconds=0)
        await people.keys.change(people.operator, record.id, KeyChange(expires_at=START + timedelta(days=1)))
        assert people.who(secret).key_id == record.id
        people.clock.move(days=1)
        people.keys.refresh(people.clock())
        assert "expired on 2030-01-02" in people.why_not(secret)

    async def test_ends_come_one_after_the_other(self, people):
        secrets = [
            (await people.make(str(second), expires_at=START + timedelta(seconds=second)))[2] for second in (3, 1, 2)
        ]
        for second, left in ((1, 2), (2, 1), (3, 0)):
            people.clock.moment = START + timedelta(seconds=second)
            people.keys.refresh(people.clock())
            assert sum(digest(secret) in people.told[-1][0].principals for secret in secrets) == left

    async def test_the_longest_end_there_is_can_be_stored(self, people):
        end = START.max.replace(tzinfo=START.tzinfo)
        record, principal, _secret = await people.make("alice", role=Role.ADMIN, expires_at=end)
        assert principal.expires_at == end.timestamp()
        child, _secret = await people.keys.create(principal, KeySpec("child"))
        assert child.expires_at <= record.expires_at


class TestRotation:
    async def test_two_secrets_open_a_key_until_the_overlap_ends(self, people):
        record, _principal, first = await people.make("alice")
        people.clock.move(seconds=5)
        changed, second = await people.keys.rotate(people.operator, record.id, overlap_seconds=60)
        assert people.who(first) is people.who(second)
        assert [secret.expires_at for secret in changed.secrets] == [START + timedelta(seconds=65), None]
        people.clock.move(seconds=60)
        people.keys.refresh(people.clock())
        assert "replaced on 2030-01-01: use the newer one" in people.why_not(first)
        assert people.who(second).key_id == record.id

    async def test_without_an_overlap_the_old_one_ends_at_once(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            record, _principal, first = await people.make("alice")
            _changed, second = await people.keys.rotate(people.operator, record.id, overlap_seconds=0)
            assert "replaced" in people.why_not(first)
            assert people.who(second).key_id == record.id
        async with opened(tmp_path) as people:
            assert "replaced" in people.why_not(first)
            assert people.who(second).key_id == record.id

    async def test_there_are_never_more_than_two(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            record, _principal, first = await people.make("alice")
            _changed, second = await people.keys.rotate(people.operator, record.id, overlap_seconds=600)
            changed, third = await people.keys.rotate(people.operator, record.id, overlap_seconds=600)
            assert "unknown" in people.why_not(first)
            assert len(changed.secrets) == 2
        async with opened(tmp_path) as people:  # the clock stood still: which is the older one shows all the same
            assert people.keys.records[record.id] == changed
            _changed, fourth = await people.keys.rotate(people.operator, record.id, overlap_seconds=600)
            assert "unknown" in people.why_not(second)
            assert people.who(third) is people.who(fourth)

    @pytest.mark.parametrize("role", list(Role))
    async def test_each_key_rotates_itself_in_its_own_name(self, people, role):
        record, principal, first = await people.make("alice", role=role, models=frozenset({"m"}))
        changed, second = await people.keys.rotate(principal, record.id, overlap_seconds=60)
        assert people.who(first) is people.who(second)
        assert (changed.models, changed.role, changed.minted_by) == (record.models, role, record.minted_by)
        line = (await people.audit())[-1]
        assert (line["action"], line["actor_id"], line["object_id"]) == ("key.rotated", record.id, record.id)

    async def test_a_users_key_rotates_no_other(self, people):
        record, _principal, first = await people.make("alice")
        _record, other, _secret = await people.make("bob")
        with pytest.raises(NotAllowed):
            await people.keys.rotate(other, record.id, overlap_seconds=0)
        assert people.who(first).key_id == record.id

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 31 * 86400 + 1])
    async def test_an_overlap_has_bounds(self, people, seconds):
        record, _principal, _secret = await people.make("alice")
        with pytest.raises(FieldsInvalid) as refusal:
            await people.keys.rotate(people.operator, record.id, overlap_seconds=seconds)
        assert refusal.value.param == "overlap_seconds"


class TestInvited:
    async def test_a_key_waits_for_its_person(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            (record,) = await people.keys.create_unclaimed(people.operator, [KeySpec("alice")])
            assert people.keys.state(record) is KeyState.UNCLAIMED
            with pytest.raises(Conflict, match="invite"):
                await people.keys.rotate(people.operator, record.id, overlap_seconds=0)
        async with opened(tmp_path) as people:
            claimed, secret = await people.keys.give_secret(record.id)
            assert people.keys.state(claimed) is KeyState.ACTIVE
            assert people.who(secret).key_id == record.id
            with pytest.raises(Conflict, match="fetched already"):
                await people.keys.give_secret(record.id)
            line = (await people.audit())[-1]
            assert (line["action"], line["actor_id"]) == ("key.claimed", record.id)

    async def test_an_invite_is_used_up_with_the_secret_that_it_gives(self, people):
        first, second = await people.keys.create_unclaimed(people.operator, [KeySpec("alice"), KeySpec("bob")])
        await people.store.put_invite(InviteRow(b"d" * 32, first.id, START, START + timedelta(days=1)))
        people.clock.move(days=1)
        with pytest.raises(NotFound, match="new one"):
            await people.keys.give_secret(first.id, invite=b"d" * 32)
        people.clock.moment = START
        await people.keys.give_secret(first.id, invite=b"d" * 32)
        with pytest.raises(NotFound, match="new one"):
            await people.keys.give_secret(second.id, invite=b"d" * 32)
        assert people.keys.state(people.keys.records[second.id]) is KeyState.UNCLAIMED

    async def test_of_many_who_claim_at_once_one_gets_it(self, people):
        (record,) = await people.keys.create_unclaimed(people.operator, [KeySpec("alice")])
        results = await asyncio.gather(
            *(people.keys.give_secret(record.id) for _person in range(20)), return_exceptions=True
        )
        assert sum(isinstance(result, tuple) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19

    async def test_one_that_was_revoked_is_claimed_no_more(self, people):
        (record,) = await people.keys.create_unclaimed(people.operator, [KeySpec("alice")])
        await people.keys.revoke(people.operator, record.id)
        with pytest.raises(Conflict):
            await people.keys.give_secret(record.id)
        with pytest.raises(Conflict):
            await people.keys.give_secret("no such key")


class TestStorage:
    async def test_nothing_changes_where_nothing_can_be_stored(self, people):
        keys, operator = people.keys, people.operator
        group = await keys.create_group(operator, GroupSpec("class"))
        record, _principal, secret = await people.make("alice")
        (unclaimed,) = await keys.create_unclaimed(operator, [KeySpec("bob")])
        await keys.set_model_limits(operator, "llama", Limits(5))
        before = (dict(keys.records), dict(keys.groups), dict(keys.model_limits), len(people.told), keys.ring)
        await people.database.close()
        for change in (
            keys.create(operator, KeySpec("more")),
            keys.create_unclaimed(operator, [KeySpec("more")]),
            keys.give_secret(unclaimed.id),
            keys.change(operator, record.id, KeyChange(name="other")),
            keys.rotate(operator, record.id, overlap_seconds=0),
            keys.revoke(operator, record.id),
            keys.create_group(operator, GroupSpec("more")),
            keys.remove_group(operator, group.id),
            keys.set_model_limits(operator, "llama", Limits(6)),
            keys.drop_model_limits(operator, "llama"),
        ):
            with pytest.raises(StorageUnavailable):
                await change
        assert (dict(keys.records), dict(keys.groups), dict(keys.model_limits), len(people.told), keys.ring) == before
        assert people.who(secret).key_id == record.id

    async def test_a_change_without_its_line_of_the_audit_is_none(self, people):
        """What fails in the middle leaves nothing behind, as a kill would."""
        record, _principal, secret = await people.make("alice")
        async with people.database.write() as connection:
            await connection.exec_driver_sql(
                "CREATE TRIGGER broken BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'broken'); END"
            )
        for change in (
            people.keys.revoke(people.operator, record.id),
            people.keys.rotate(people.operator, record.id, overlap_seconds=0),
            people.keys.create(people.operator, KeySpec("bob")),
        ):
            with pytest.raises(sa.exc.IntegrityError):
                await change
        assert await count(people, api_keys) == await count(people, key_secrets) == 1
        stored = await people.store.load()
        assert stored.keys == (record,)
        assert people.who(secret).key_id == record.id

    async def test_a_change_is_carried_through_when_its_caller_goes_away(self, people):
        record, _principal, secret = await people.make("alice")
        async with people.database.write():
            change = asyncio.create_task(people.keys.revoke(people.operator, record.id))
            while not people.keys._register._changes.under_way:
                await asyncio.sleep(0)
            change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        assert "revoked" in people.why_not(secret)
        assert (await people.store.load()).keys[0].revoked_at == START

    async def test_changes_of_one_key_at_once_are_all_kept(self, people):
        record, _principal, _secret = await people.make("alice")
        changes = [
            KeyChange(weight=2.0),
            KeyChange(name="bob"),
            KeyChange(person="bob"),
            KeyChange(models=frozenset({"a"})),
            KeyChange(background=True),
        ]
        await asyncio.gather(*(people.keys.change(people.operator, record.id, change) for change in changes))
        await asyncio.gather(
            *(people.keys.rotate(people.operator, record.id, overlap_seconds=60) for _time in range(5))
        )
        after = people.keys.records[record.id]
        assert (after.weight, after.name, after.person, after.models, after.background) == (
            2.0,
            "bob",
            "bob",
            frozenset({"a"}),
            True,
        )
        assert (await people.store.load()).keys == (after,)
        ring = people.told[-1][0]
        assert sum(principal.key_id == record.id for principal in ring.principals.values()) == 2

    async def test_a_refresh_during_a_large_change_waits_its_turn(self, people, monkeypatch):
        """Others get a turn while many keys are made anew, and none of them meets half a ring."""
        monkeypatch.setattr("app.services.registry.people.ring._SLICE", 1)
        group = await people.keys.create_group(people.operator, GroupSpec("class"))
        specs = [
            KeySpec(str(number), group_id=group.id, expires_at=START + timedelta(seconds=5)) for number in range(5)
        ]
        made = await people.keys.create_all(people.operator, specs)
        people.clock.move(seconds=5)
        changing = asyncio.create_task(people.keys.revoke(people.operator, made[0][0].id))
        while not changing.done():
            people.keys.refresh(people.clock())
            await asyncio.sleep(0)
        await changing
        people.keys.refresh(people.clock())
        assert all("expired" in people.why_not(secret) for _record, secret in made[1:])
        assert "revoked" in people.why_not(made[0][1])

    async def test_a_row_that_is_not_understood_opens_nothing(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            secrets = [(await people.make(f"key {number}"))[2] for number in range(5)]
            group = await people.keys.create_group(people.operator, GroupSpec("class"))
            member = (await people.make("member", group_id=group.id))[2]
            healthy = (await people.make("healthy"))[2]
            async with people.database.write() as connection:
                for column, value, name in (
                    ("role", "'emperor'", "key 0"),
                    ("limits", "'{\"lines_per_minute\": 5}'", "key 1"),
                    ("models", "'5'", "key 2"),
                    ("reach", "'the moon'", "key 3"),
                    ("model_limits", "'[]'", "key 4"),
                ):
                    await connection.exec_driver_sql(f"UPDATE api_keys SET {column} = {value} WHERE name = '{name}'")
                await connection.exec_driver_sql("UPDATE key_groups SET limits = '5'")
        async with opened(tmp_path) as people:
            assert people.who(healthy).name == "healthy"
            assert all("unknown" in people.why_not(secret) for secret in secrets)
            assert "group of this key" in people.why_not(member)


class TestAudit:
    async def test_every_change_leaves_its_line_and_none_a_secret(self, people, tmp_path):
        keys, operator = people.keys, people.operator
        group = await keys.create_group(operator, GroupSpec("class"))
        record, _principal, first = await people.make("alice")
        _changed, second = await keys.rotate(operator, record.id, overlap_seconds=60)
        await keys.change(operator, record.id, KeyChange(weight=3.0, group_id=group.id))
        (unclaimed,) = await keys.create_unclaimed(operator, [KeySpec("bob")])
        _claimed, third = await keys.give_secret(unclaimed.id)
        await keys.revoke(operator, record.id)
        lines = await people.audit()
        assert [line["action"] for line in lines] == [
            "group.created",
            "key.created",
            "key.rotated",
            "key.changed",
            "key.created",
            "key.claimed",
            "key.revoked",
        ]
        assert lines[3]["before"] == {"weight": 1.0, "group": None}
        assert lines[3]["after"] == {"weight": 3.0, "group": group.id}
        await people.database.close()
        files = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
        for secret in (first, second, third):
            assert not any(secret.encode() in content for content in files)
            told = repr(lines)
            assert secret not in told
            assert repr(digest(secret)) not in told
            assert digest(secret).hex() not in told

    async def test_what_changes_nothing_leaves_no_line(self, people):
        record, _principal, _secret = await people.make("alice")
        lines, rings = len(await people.audit()), len(people.told)
        assert await people.keys.change(people.operator, record.id, KeyChange(name="alice")) == record
        assert (len(await people.audit()), len(people.told)) == (lines, rings)

    def test_no_secret_stands_in_a_repr(self):
        assert "ddd" not in repr(InviteRow(b"d" * 32, "key", START, START))


class TestList:
    async def test_it_is_filtered(self, people):
        group = await people.keys.create_group(people.operator, GroupSpec("class"))
        alice, _principal, _secret = await people.make("alice", group_id=group.id)
        bob, _principal, _secret = await people.make("bob", role=Role.OWNER)
        await people.keys.revoke(people.operator, bob.id)
        bob = people.keys.records[bob.id]
        listed = people.keys.list
        assert listed(people.operator) == [alice, bob]
        assert listed(people.operator, group=group.id) == [alice]
        assert listed(people.operator, role=Role.OWNER) == [bob]
        assert listed(people.operator, state=KeyState.REVOKED) == [bob]
        assert listed(people.operator, group="none") == []

    async def test_strangers_and_users_see_nothing(self, people):
        _record, user, _secret = await people.make("user")
        anonymous = Principal("anonymous", "anonymous", Role.USER)
        for principal in (user, anonymous):
            for ask in (
                people.keys.list,
                people.keys.list_groups,
                lambda who: people.keys.get(who, "key"),
                lambda who: people.keys.get_group(who, "group"),
            ):
                with pytest.raises(NotAllowed):
                    ask(principal)
            with pytest.raises(NotAllowed):
                await people.keys.create(principal, KeySpec("more"))
        with pytest.raises(NotAllowed):
            people.keys.list(Principal("no such key", "forged", Role.ADMIN))
