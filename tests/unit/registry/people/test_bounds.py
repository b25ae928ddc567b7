"""Does anybody, by whatever chain of changes, get more than was given to him?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.services.core.errors import Conflict, FieldsInvalid, NotAllowed, NotFound
from app.services.core.people.principal import NO_LIMITS, LimitRule, Limits, Role, Trust
from app.services.registry.people import key_decisions
from app.services.registry.people.records import GroupChange, GroupSpec, KeyChange, KeySpec, KeyState
from tests.fakes.registry import START

END = START + timedelta(days=10)


class TestOwners:
    async def test_an_owner_makes_users_keys_inside_its_own_scope(self, people):
        owner, principal, _secret = await people.make(
            "owner",
            role=Role.OWNER,
            models=frozenset({"a", "b"}),
            routes=frozenset({"/v1"}),
            reach=Trust.GROUP,
            background=True,
            weight=0.5,
            limits=Limits(10),
            model_limits={"a": Limits(5)},
            expires_at=END,
        )
        record, child, _secret = await people.make("child", by=principal)
        assert (record.role, record.minted_by, record.person) == (Role.USER, owner.id, f"key:{owner.id}")
        for name in ("models", "routes", "reach", "background", "weight", "limits", "model_limits", "expires_at"):
            assert getattr(record, name) == getattr(owner, name), name
        assert (child.person, child.minted_by) == (principal.person, owner.id)

    @pytest.mark.parametrize(
        "more",
        [
            {"role": Role.OWNER},
            {"role": Role.ADMIN},
            {"person": "somebody else"},
            {"models": None},
            {"models": frozenset({"a", "c"})},
            {"routes": None},
            {"routes": frozenset({"/admin"})},
            {"reach": Trust.PUBLIC},
            {"tools_anywhere": True},
            {"names_people": True},
            {"weight": 1.5},
            {"limits": NO_LIMITS},
            {"limits": Limits(11)},
            {"model_limits": {}},
            {"expires_at": None},
            {"expires_at": END + timedelta(seconds=1)},
        ],
    )
    async def test_nothing_wider_is_made_or_changed_into(self, people, more):
        _record, owner, _secret = await people.make(
            "owner",
            role=Role.OWNER,
            models=frozenset({"a", "b"}),
            routes=frozenset({"/v1"}),
            reach=Trust.GROUP,
            limits=Limits(10),
            model_limits={"a": Limits(5)},
            expires_at=END,
        )
        child, _principal, _secret = await people.make("child", by=owner)
        param = next(iter(more))
        for attempt in (
            people.keys.create(owner, KeySpec("more", **more)),
            people.keys.change(owner, child.id, KeyChange(**more)),
        ):
            with pytest.raises(NotAllowed) as refusal:
                await attempt
            assert refusal.value.param == param
        if param != "role":
            with pytest.raises(NotAllowed, match="was made with owner"):  # not by the operator either
                await people.keys.change(people.operator, child.id, KeyChange(**more))
        assert people.keys.records[child.id] == child

    async def test_an_owner_sees_and_steers_only_what_it_made(self, people):
        owner_record, owner, _secret = await people.make("owner", role=Role.OWNER)
        other, _principal, _secret = await people.make("other")
        _record, stranger, _secret = await people.make("stranger", role=Role.OWNER)
        child, user, _secret = await people.make("child", by=owner)
        assert people.keys.list(owner) == [child]
        assert people.keys.list(stranger) == []
        for principal, key_id in ((owner, other.id), (owner, owner_record.id), (stranger, child.id)):
            attempts = [
                people.keys.change(principal, key_id, KeyChange(name="mine")),
                people.keys.revoke(principal, key_id),
            ]
            if key_id != principal.key_id:  # every key may rotate itself
                attempts.append(people.keys.rotate(principal, key_id, overlap_seconds=0))
            for attempt in attempts:
                with pytest.raises(NotFound):
                    await attempt
            with pytest.raises(NotFound):
                people.keys.openable(principal, key_id)
        with pytest.raises(NotAllowed):
            await people.keys.revoke(user, child.id)
        await people.keys.rotate(owner, child.id, overlap_seconds=0)
        await people.keys.change(owner, child.id, KeyChange(name="renamed"))
        await people.keys.revoke(owner, child.id)
        assert people.keys.state(people.keys.records[child.id]) is KeyState.REVOKED

    async def test_an_owner_makes_no_groups_and_joins_none(self, people):
        group = await people.keys.create_group(people.operator, GroupSpec("class"))
        _record, owner, _secret = await people.make("owner", role=Role.OWNER)
        with pytest.raises(NotAllowed) as refusal:
            await people.keys.create(owner, KeySpec("child", group_id=group.id))
        assert refusal.value.param == "group"
        for attempt in (
            people.keys.create_group(owner, GroupSpec("mine")),
            people.keys.change_group(owner, group.id, GroupChange(weight=9.0)),
            people.keys.remove_group(owner, group.id),
            people.keys.set_model_limits(owner, "a", Limits(1)),
            people.keys.drop_model_limits(owner, "a"),
        ):
            with pytest.raises(NotAllowed):
                await attempt

    async def test_there_is_a_most_that_one_owner_makes(self, people, monkeypatch):
        monkeypatch.setattr(key_decisions, "MAX_MINTED", 2)
        _record, owner, _secret = await people.make("owner", role=Role.OWNER)
        child, _principal, _secret = await people.make("first", by=owner)
        with pytest.raises(Conflict, match="at most 2"):
            await people.keys.create_all(owner, [KeySpec("second"), KeySpec("third")])
        await people.keys.revoke(owner, child.id)
        await people.keys.create_all(owner, [KeySpec("second"), KeySpec("third")])


class TestHanging:
    """What an owner's key made dies with it, is narrowed with it, and draws on what it may use."""

    async def test_it_is_revoked_with_it(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            owner_record, owner, _secret = await people.make("owner", role=Role.OWNER)
            child, _principal, secret = await people.make("child", by=owner)
            _record, _principal, free = await people.make("free")
            await people.keys.revoke(people.operator, owner_record.id)
            assert "revoked" in people.why_not(secret)
            assert people.who(free).name == "free"
            assert [line["object_id"] for line in await people.audit()][-2:] == [owner_record.id, child.id]
        async with opened(tmp_path) as people:
            assert "revoked" in people.why_not(secret)

    async def test_it_expires_with_it_and_comes_back_with_it(self, people):
        owner_record, owner, _secret = await people.make("owner", role=Role.OWNER)
        child, _principal, secret = await people.make("child", by=owner)
        (waiting,) = await people.keys.create_unclaimed(owner, [KeySpec("waiting")])
        await people.keys.change(people.operator, owner_record.id, KeyChange(expires_at=END))
        assert people.who(secret).expires_at == END.timestamp()
        people.clock.moment = END
        people.keys.refresh(people.clock())
        assert "made with has ended" in people.why_not(secret)
        assert people.keys.state(child) is KeyState.EXPIRED
        with pytest.raises(Conflict):
            await people.keys.give_secret(waiting.id)
        await people.keys.change(people.operator, owner_record.id, KeyChange(expires_at=None))
        assert people.who(secret).expires_at is None

    async def test_it_is_narrowed_with_it(self, people):
        owner_record, owner, _secret = await people.make("owner", role=Role.OWNER, tools_anywhere=True, weight=2.0)
        child, _principal, secret = await people.make("child", by=owner, tools_anywhere=True, weight=2.0)
        await people.keys.change(
            people.operator,
            owner_record.id,
            KeyChange(
                models=frozenset({"a"}),
                routes=frozenset({"/v1/models"}),
                reach=Trust.TRUSTED,
                tools_anywhere=False,
                background=True,
                weight=0.5,
                limits=Limits(7),
            ),
        )
        principal = people.who(secret)
        assert (principal.models, principal.routes) == ({"a"}, {"/v1/models"})
        assert (principal.reach, principal.tools_anywhere, principal.background) == (Trust.TRUSTED, False, True)
        assert principal.weight == 0.5
        assert principal.rules == (LimitRule(f"key:{owner_record.id}", Limits(7), "the key that yours was made with"),)
        renamed = await people.keys.change(owner, child.id, KeyChange(name="renamed"))
        assert renamed.weight == 2.0  # as it was; what counts is narrower
        _record, secret = await people.keys.rotate(owner, child.id, overlap_seconds=0)
        assert people.who(secret).weight == 0.5

    async def test_it_draws_on_all_that_counts_for_it(self, people):
        group = await people.keys.create_group(
            people.operator, GroupSpec("class", limits=Limits(100), person_limits=Limits(30))
        )
        owner_record, owner, _secret = await people.make(
            "owner", role=Role.OWNER, group_id=group.id, limits=Limits(20), model_limits={"a": Limits(9)}
        )
        child, principal, _secret = await people.make("child", by=owner, limits=Limits(10))
        assert child.group_id == group.id
        minter = "the key that yours was made with"
        assert principal.rules == (
            LimitRule(f"key:{child.id}", Limits(10), "your key"),
            LimitRule(f"key:{child.id}", Limits(9), "your key", "a"),
            LimitRule(f"group:{group.id}", Limits(100), "your group class"),
            LimitRule(f"person:{group.id}/key:{owner_record.id}", Limits(30), "each person in your group class"),
            LimitRule(f"key:{owner_record.id}", Limits(20), minter),
            LimitRule(f"key:{owner_record.id}", Limits(9), minter, "a"),
        )

    async def test_it_follows_it_into_another_group(self, people):
        first, second = [await people.keys.create_group(people.operator, GroupSpec(name)) for name in ("one", "two")]
        owner_record, owner, _secret = await people.make("owner", role=Role.OWNER, group_id=first.id)
        child, _principal, secret = await people.make("child", by=owner)
        await people.keys.change(people.operator, owner_record.id, KeyChange(group_id=second.id))
        assert people.who(secret).group == second.id
        with pytest.raises(NotAllowed):
            await people.keys.change(people.operator, child.id, KeyChange(group_id=first.id))
        assert {key.group_id for key in (await people.store.load()).keys} == {second.id}

    async def test_what_a_front_end_made_draws_on_what_it_may_use_itself(self, people):
        record, owner, _secret = await people.make("front end", role=Role.OWNER, names_people=True, limits=Limits(5))
        _child, principal, _secret = await people.make("child", by=owner, names_people=True)
        assert principal.person_limits == Limits(5)
        assert principal.rules == (LimitRule(f"key:{record.id}", Limits(5), "the key that yours was made with"),)

    async def test_a_key_that_is_no_admins_any_more_takes_along_what_it_made(self, people):
        admin_record, admin, _secret = await people.make("admin", role=Role.ADMIN)
        _record, _principal, secret = await people.make("child", by=admin)
        assert people.who(secret).rules == ()
        await people.keys.change(people.operator, admin_record.id, KeyChange(role=Role.OWNER, limits=Limits(3)))
        assert len(people.who(secret).rules) == 1
        await people.keys.revoke(people.operator, admin_record.id)
        assert "revoked" in people.why_not(secret)

    async def test_what_an_owner_made_is_free_of_it_once_that_is_an_admins(self, people):
        owner_record, owner, _secret = await people.make("owner", role=Role.OWNER, limits=Limits(3), weight=0.5)
        _record, _principal, secret = await people.make("child", by=owner)
        assert len(people.who(secret).rules) == 2
        await people.keys.change(people.operator, owner_record.id, KeyChange(role=Role.ADMIN))
        assert len(people.who(secret).rules) == 1

    async def test_what_an_admin_made_outlives_it(self, people):
        admin_record, admin, _secret = await people.make("admin", role=Role.ADMIN)
        _record, _principal, secret = await people.make("child", by=admin)
        await people.keys.revoke(people.operator, admin_record.id)
        assert people.who(secret).name == "child"


class TestAdmins:
    async def test_an_unbounded_admin_key_may_give_anything(self, people):
        _record, admin, _secret = await people.make("admin", role=Role.ADMIN)
        group = await people.keys.create_group(admin, GroupSpec("class", weight=50.0))
        await people.make(
            "front end",
            by=admin,
            role=Role.ADMIN,
            group_id=group.id,
            names_people=True,
            tools_anywhere=True,
            weight=99.0,
        )

    async def test_nobody_widens_itself(self, people):
        record, admin, _secret = await people.make("admin", role=Role.ADMIN, limits=Limits(5), expires_at=END)
        for change in (KeyChange(limits=Limits(6)), KeyChange(expires_at=None), KeyChange(tools_anywhere=True)):
            with pytest.raises(NotAllowed):
                await people.keys.change(admin, record.id, change)
        await people.keys.change(admin, record.id, KeyChange(limits=Limits(4), name="less"))
        with pytest.raises(NotAllowed):  # with what it may do now, not with what it could when it came in
            await people.keys.change(admin, record.id, KeyChange(limits=Limits(5)))

    async def test_nobody_opens_what_may_do_more_than_itself(self, people):
        wide, _principal, _secret = await people.make("wide", role=Role.ADMIN)
        _record, admin, _secret = await people.make("bounded", role=Role.ADMIN, models=frozenset({"a"}))
        with pytest.raises(NotAllowed):
            await people.keys.rotate(admin, wide.id, overlap_seconds=60)
        with pytest.raises(NotAllowed):
            people.keys.openable(admin, wide.id)
        with pytest.raises(NotAllowed):
            await people.keys.change(admin, wide.id, KeyChange(weight=5.0))
        assert people.keys.openable(people.operator, wide.id) == wide

    async def test_a_groups_admin_sees_and_steers_its_group_alone(self, people):
        own, other = [await people.keys.create_group(people.operator, GroupSpec(name)) for name in ("own", "other")]
        record, admin, _secret = await people.make("admin", role=Role.ADMIN, group_id=own.id)
        foreign, _principal, _secret = await people.make("foreign", group_id=other.id)
        child, _principal, _secret = await people.make("child", by=admin, role=Role.OWNER, person="alice")
        assert child.group_id == own.id
        assert people.keys.list(admin) == [record, child]
        assert people.keys.list_groups(admin) == [own]
        for attempt in (
            people.keys.create(admin, KeySpec("more", group_id=other.id)),
            people.keys.create(admin, KeySpec("more", group_id=None)),
            people.keys.change(admin, child.id, KeyChange(group_id=None)),
            people.keys.create_group(admin, GroupSpec("third")),
            people.keys.remove_group(admin, own.id),
            people.keys.set_model_limits(admin, "a", Limits(1)),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        for attempt in (
            people.keys.revoke(admin, foreign.id),
            people.keys.change_group(admin, other.id, GroupChange(name="mine")),
        ):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(NotFound):
            people.keys.get_group(admin, other.id)
        assert people.keys.get_group(admin, own.id) == own

    @pytest.mark.parametrize(
        "looser",
        [
            {"models": None},
            {"models": frozenset({"a", "b"})},
            {"reach": Trust.PUBLIC},
            {"weight": 2.0},
            {"limits": NO_LIMITS},
            {"person_limits": Limits(6)},
            {"model_limits": {}},
        ],
    )
    async def test_a_groups_admin_makes_it_tighter_and_never_looser(self, people, looser):
        group = await people.keys.create_group(
            people.operator,
            GroupSpec(
                "class",
                models=frozenset({"a"}),
                reach=Trust.GROUP,
                limits=Limits(tokens_per_day=50),
                person_limits=Limits(5),
                model_limits={"a": Limits(3)},
            ),
        )
        _record, admin, _secret = await people.make("admin", role=Role.ADMIN, group_id=group.id)
        with pytest.raises(NotAllowed) as refusal:
            await people.keys.change_group(admin, group.id, GroupChange(**looser))
        assert refusal.value.param == next(iter(looser))
        tighter = GroupChange(
            description="of 2030", person_limits=Limits(4), model_limits={"a": Limits(3), "b": Limits(1)}
        )
        changed = await people.keys.change_group(admin, group.id, tighter)
        assert changed.person_limits == Limits(4)
        await people.keys.change_group(people.operator, group.id, GroupChange(**looser))

    async def test_a_bounded_admin_limits_only_models_that_it_may_ask_for(self, people):
        _record, admin, _secret = await people.make("admin", role=Role.ADMIN, models=frozenset({"a"}), weight=1.0)
        await people.keys.set_model_limits(admin, "a", Limits(1))
        with pytest.raises(NotAllowed):
            await people.keys.set_model_limits(admin, "b", Limits(1))
        with pytest.raises(NotAllowed) as refusal:
            await people.keys.create_group(admin, GroupSpec("heavy", weight=5.0))
        assert refusal.value.param == "weight"


class TestGroups:
    async def test_what_its_keys_may_do_follows_a_group_at_once(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            group = await people.keys.create_group(people.operator, GroupSpec("class"))
            record, _principal, secret = await people.make(
                "alice", group_id=group.id, models=frozenset("ab"), weight=2.0
            )
            change = GroupChange(
                name="lab",
                models=frozenset("bc"),
                reach=Trust.GROUP,
                weight=3.0,
                limits=Limits(60),
                person_limits=Limits(6),
                model_limits={"b": Limits(2)},
            )
            await people.keys.change_group(people.operator, group.id, change)
            principal = people.who(secret)
            assert (principal.models, principal.reach, principal.weight) == ({"b"}, Trust.GROUP, 6.0)
            assert principal.rules == (
                LimitRule(f"group:{group.id}", Limits(60), "your group lab"),
                LimitRule(f"group:{group.id}", Limits(2), "your group lab", "b"),
                LimitRule(f"person:{group.id}/key:{record.id}", Limits(6), "each person in your group lab"),
            )
        async with opened(tmp_path) as people:
            assert people.who(secret) == principal
            assert people.keys.list_groups(people.operator)[0].name == "lab"

    async def test_a_front_ends_limits_are_those_of_each_person_that_it_names(self, people):
        group = await people.keys.create_group(people.operator, GroupSpec("class", person_limits=Limits(9, 100)))
        record, principal, _secret = await people.make(
            "front end", group_id=group.id, names_people=True, limits=Limits(5), model_limits={"a": Limits(2)}
        )
        assert principal.person_limits == Limits(5, 100)
        assert principal.rules == (LimitRule(f"key:{record.id}", Limits(2), "your key", "a"),)

    async def test_names_are_taken_once(self, people):
        first = await people.keys.create_group(people.operator, GroupSpec("class"))
        second = await people.keys.create_group(people.operator, GroupSpec("lab"))
        with pytest.raises(Conflict, match="called class already"):
            await people.keys.create_group(people.operator, GroupSpec("class"))
        with pytest.raises(Conflict):
            await people.keys.change_group(people.operator, second.id, GroupChange(name="class"))
        await people.keys.change_group(people.operator, first.id, GroupChange(name="course"))
        await people.keys.change_group(people.operator, second.id, GroupChange(name="class"))
        assert [group.name for group in people.keys.list_groups(people.operator)] == ["class", "course"]

    async def test_one_that_keys_are_in_stays(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            group = await people.keys.create_group(people.operator, GroupSpec("class"))
            record, _principal, secret = await people.make("alice", group_id=group.id)
            with pytest.raises(Conflict, match="1 key is in class"):
                await people.keys.remove_group(people.operator, group.id)
            await people.keys.revoke(people.operator, record.id)
            await people.keys.remove_group(people.operator, group.id)
            with pytest.raises(NotFound):
                people.keys.get_group(people.operator, group.id)
            with pytest.raises(NotFound):
                await people.keys.remove_group(people.operator, group.id)
        async with opened(tmp_path) as people:
            assert people.keys.groups == {}
            assert people.keys.records[record.id].group_id is None
            assert "revoked" in people.why_not(secret)

    @pytest.mark.parametrize(
        ("spec", "param"),
        [
            ({"name": ""}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"description": "a" * 2001}, "description"),
            ({"description": "a\0"}, "description"),
            ({"models": frozenset()}, "models"),
            ({"weight": -1.0}, "weight"),
            ({"limits": Limits(0)}, "limits"),
            ({"person_limits": Limits(-5)}, "person_limits"),
            ({"model_limits": {"a" * 257: Limits(1)}}, "model_limits"),
        ],
    )
    async def test_what_is_not_well_formed_is_refused(self, people, spec, param):
        with pytest.raises(FieldsInvalid) as refusal:
            await people.keys.create_group(people.operator, GroupSpec(**({"name": "class"} | spec)))
        assert refusal.value.param == param


class TestModelLimits:
    async def test_they_are_handed_on_and_kept(self, tmp_path, opened):
        async with opened(tmp_path) as people:
            assert people.told[-1][1] == {}
            await people.keys.set_model_limits(people.operator, "llama", Limits(concurrency=4))
            await people.keys.set_model_limits(people.operator, "llama", Limits(concurrency=5))
            rules = {"llama": LimitRule("model:llama", Limits(concurrency=5), "model llama", "llama")}
            assert people.told[-1][1] == rules
            lines = await people.audit()
            assert [line["before"] for line in lines] == [None, {"limits": {"concurrency": 4}}]
        async with opened(tmp_path) as people:
            assert people.told[-1][1] == rules
            assert people.keys.model_limits == {"llama": Limits(concurrency=5)}
            await people.keys.drop_model_limits(people.operator, "llama")
            assert people.told[-1][1] == {}
            with pytest.raises(NotFound):
                await people.keys.drop_model_limits(people.operator, "llama")
        async with opened(tmp_path) as people:
            assert people.keys.model_limits == {}

    async def test_limits_that_limit_nothing_are_refused(self, people):
        with pytest.raises(FieldsInvalid, match="DELETE"):
            await people.keys.set_model_limits(people.operator, "llama", NO_LIMITS)
