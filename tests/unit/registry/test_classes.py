"""Do decisions on names last, exclude each other, and reach routing at once?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.services.core.choice.classes import MAX_MEMBERS, ModelClass
from app.services.core.errors import Conflict, FieldsInvalid, GatewayError, NotAllowed, NotFound, StorageUnavailable
from app.services.core.types import Endpoint, ModelEntry, Server
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.class_rules import MAX_CLASSES
from app.services.registry.class_store import ClassRecord, ClassStatus, ClassStore
from app.services.registry.classes import ModelClasses
from app.services.registry.tables import audit_log, model_class_members, model_classes
from app.utils.database import Database
from tests.fakes.migrated import opened_database
from tests.fakes.registry import ADMIN, OWNER, START, USER, FakeClock, wait_until

LLAMA = "llama3.1:8b"
HUB = "meta-llama/Llama-3.1-8B-Instruct"
SERVER = Server(
    "s1",
    Endpoint("http", "10.0.0.5", 8000),
    (ModelEntry(LLAMA, LLAMA, 8192), ModelEntry(HUB, HUB), ModelEntry("other", "other")),
    engine="vllm",
    contexts={HUB: 131072},
)


@dataclass
class Names:
    """The decisions over a real file, with what routing was told."""

    database: Database
    store: ClassStore
    classes: ModelClasses
    installed: list[tuple[ModelClass, ...]] = field(default_factory=list)
    servers: list[Server] = field(default_factory=lambda: [SERVER])


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Names]:
    database = await opened_database(folder)
    try:
        store = ClassStore(database)
        made: list[Names] = []
        classes = ModelClasses(
            store,
            lambda: made[0].servers,
            FakeClock(),
            lambda: made[0].installed.append(made[0].classes.routed),
        )
        made.append(Names(database, store, classes))
        await classes.load()
        yield made[0]
        await classes.settle()
    finally:
        await database.close()


@pytest.fixture
async def names(tmp_path: Path) -> AsyncIterator[Names]:
    async with opened(tmp_path) as made:
        yield made


async def rows(names: Names, table: sa.Table) -> int:
    async with names.database.read() as connection:
        return (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()


async def test_a_confirmed_class_is_routed_at_once_and_after_a_restart(tmp_path):
    async with opened(tmp_path) as names:
        record = await names.classes.confirm(ADMIN, "house", [HUB, LLAMA, LLAMA])
        assert record.members == (LLAMA, HUB)
        assert (record.decided_by, record.created_at) == ("admin", START)
        assert names.installed[-1] == (ModelClass("house", frozenset({LLAMA, HUB})),)
    async with opened(tmp_path) as names:
        assert names.classes.confirmed == (record,)
        assert names.installed == [(ModelClass("house", frozenset({LLAMA, HUB})),)]


async def test_what_was_acknowledged_is_in_the_file_already(names, tmp_path):
    await names.classes.confirm(ADMIN, "house", [HUB, LLAMA])
    async with names.database.read() as connection:
        stored = (await connection.execute(sa.select(model_class_members.c.name))).scalars().all()
    assert sorted(stored) == [LLAMA, HUB]


async def test_nothing_changes_where_nothing_can_be_stored(names):
    await names.classes.confirm(ADMIN, "house", [HUB, LLAMA])
    before, told = names.classes.confirmed, len(names.installed)
    await names.database.close()
    for change in (
        names.classes.confirm(ADMIN, "more", ["a", "b"]),
        names.classes.change(ADMIN, "house", "house", ["a", "b"]),
        names.classes.dissolve(ADMIN, "house"),
        names.classes.dismiss(ADMIN, ["a", "b"]),
    ):
        with pytest.raises(StorageUnavailable):
            await change
    assert names.classes.confirmed == before
    assert len(names.installed) == told


async def test_a_class_is_changed_and_dissolved(names):
    first = await names.classes.confirm(ADMIN, "house", [HUB, LLAMA])
    changed = await names.classes.change(ADMIN, "house", "home/llama", [HUB, LLAMA, "third"])
    assert (changed.id, changed.created_at) == (first.id, first.created_at)
    assert names.installed[-1] == (ModelClass("home/llama", frozenset({LLAMA, HUB, "third"})),)
    with pytest.raises(NotFound):
        await names.classes.change(ADMIN, "house", "house", [HUB, LLAMA])
    assert await rows(names, model_class_members) == 3
    await names.classes.dissolve(ADMIN, "home/llama")
    assert names.installed[-1] == names.classes.confirmed == ()
    assert await rows(names, model_classes) == await rows(names, model_class_members) == 0
    with pytest.raises(NotFound):
        await names.classes.dissolve(ADMIN, "home/llama")


@pytest.mark.parametrize("principal", [OWNER, USER, replace(ADMIN, key_id="lab", group="lab")])
async def test_only_the_operator_decides(names, principal):
    for change in (
        names.classes.confirm(principal, "house", [HUB, LLAMA]),
        names.classes.change(principal, "house", "house", [HUB, LLAMA]),
        names.classes.dissolve(principal, "house"),
        names.classes.dismiss(principal, [HUB, LLAMA]),
    ):
        with pytest.raises(NotAllowed):
            await change
    assert await rows(names, model_classes) == 0


@pytest.mark.parametrize(
    ("name", "members", "error", "param", "said"),
    [
        ("house", [], FieldsInvalid, "members", "at least two"),
        ("house", ["house"], FieldsInvalid, "members", "at least two"),
        ("", ["a", "b"], FieldsInvalid, "name", "printable"),
        ("x" * 257, ["a", "b"], FieldsInvalid, "name", "256"),
        (" house", ["a", "b"], FieldsInvalid, "name", "no space at its ends"),
        ("a/../b", ["a", "b"], FieldsInvalid, "name", "URLs"),
        ("house", ["a", "line\nbreak"], FieldsInvalid, "members", "printable"),
        ("house", ["a", "\ud800"], FieldsInvalid, "members", "printable"),
        ("house", [str(number) for number in range(MAX_MEMBERS + 1)], FieldsInvalid, "members", "at most 100"),
        ("other", [HUB, LLAMA], Conflict, "name", "would hide"),
        ("taken", ["a", "b"], Conflict, "name", "already"),
        ("t1", ["a", "b"], Conflict, "name", "in the class taken"),
        ("house", ["a", "t1"], Conflict, "members", "in the class taken"),
        ("house", ["a", "taken"], Conflict, "members", "in the class taken"),
    ],
)
async def test_what_may_not_be_is_refused(names, name, members, error, param, said):
    await names.classes.confirm(ADMIN, "taken", ["t1", "t2"])
    await names.classes.confirm(ADMIN, "mine", ["m1", "m2"])
    before = names.classes.confirmed
    for change in (names.classes.confirm(ADMIN, name, members), names.classes.change(ADMIN, "mine", name, members)):
        with pytest.raises(error) as refused:
            await change
        assert refused.value.param == param
        assert said in refused.value.message
    assert names.classes.confirmed == before


async def test_a_class_may_bear_the_name_of_a_member_or_one_of_its_own(names):
    await names.classes.confirm(ADMIN, LLAMA, [HUB, LLAMA])
    await names.classes.confirm(ADMIN, "short", ["other"])
    assert [record.name for record in names.classes.confirmed] == [LLAMA, "short"]


async def test_of_many_that_want_one_name_one_gets_it(names):
    tries = [names.classes.confirm(ADMIN, f"class-{number}", [HUB, f"m{number}"]) for number in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, ClassRecord) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    assert await rows(names, model_classes) == 1


async def test_there_are_only_so_many_classes(names):
    records = [
        ClassRecord(f"id-{number:04}", f"class-{number}", (f"a{number}", f"b{number}"), status, None, START)
        for number in range(MAX_CLASSES)
        for status in (ClassStatus.CONFIRMED,)
    ]
    async with names.database.write() as connection:
        await connection.execute(
            sa.insert(model_classes),
            [{"id": one.id, "name": one.name, "status": "confirmed", "created_at": START} for one in records],
        )
        await connection.execute(
            sa.insert(model_class_members),
            [{"class_id": one.id, "name": member} for one in records for member in one.members],
        )
    await names.classes.load()
    assert len(names.classes.confirmed) == MAX_CLASSES
    with pytest.raises(Conflict, match="Dissolve one first"):
        await names.classes.confirm(ADMIN, "one-more", ["x", "y"])
    await names.classes.change(ADMIN, "class-7", "class-7", ["x", "y"])


async def test_what_was_dismissed_stays_so_after_a_restart_until_it_is_confirmed(tmp_path):
    async with opened(tmp_path) as names:
        (proposal,) = await names.classes.proposals()
        assert proposal.members == (LLAMA, HUB)
        assert "contexts 8,192 and 131,072" in proposal.reason
        await names.classes.dismiss(ADMIN, proposal.members)
        await names.classes.dismiss(ADMIN, [*proposal.members, "x"])
        assert await names.classes.proposals() == []
        assert await rows(names, model_classes) == 1, "the greater dismissal stands for the smaller one"
    async with opened(tmp_path) as names:
        assert await names.classes.proposals() == []
        assert names.classes.confirmed == ()
        await names.classes.confirm(ADMIN, "house", [LLAMA, HUB, "x"])
        assert await rows(names, model_classes) == 1
        await names.classes.dissolve(ADMIN, "house")
        assert len(await names.classes.proposals()) == 1


async def test_the_oldest_dismissals_are_forgotten(names):
    async with names.database.write() as connection:
        await connection.execute(
            sa.insert(model_classes),
            [
                {"id": f"id-{number:04}", "name": "", "status": "dismissed", "created_at": START}
                for number in range(MAX_CLASSES)
            ],
        )
        await connection.execute(
            sa.insert(model_class_members),
            [{"class_id": f"id-{number:04}", "name": f"n{number}"} for number in range(MAX_CLASSES)],
        )
    await names.classes.load()
    await names.classes.dismiss(ADMIN, [LLAMA, HUB])
    assert await rows(names, model_classes) == MAX_CLASSES
    async with names.database.read() as connection:
        kept = set((await connection.execute(sa.select(model_class_members.c.name))).scalars())
    assert "n0" not in kept
    assert {"n1", LLAMA, HUB} <= kept


async def test_stored_classes_that_contradict_each_other_stop_nobody(names, caplog):
    line = entry(ADMIN, START, "model_class.confirmed", "model_class", "1")
    await names.store.put(ClassRecord("1", "house", ("a", "b"), ClassStatus.CONFIRMED, None, START), line)
    await names.store.put(ClassRecord("2", "home", ("b", "c"), ClassStatus.CONFIRMED, None, START), line)
    async with names.database.write() as connection:
        await connection.execute(
            sa.insert(model_classes).values(id="3", name="odd", status="of a later release", created_at=START)
        )
    await names.classes.load()
    assert [record.name for record in names.classes.confirmed] == ["house"]
    assert "another has one of its names" in caplog.text


async def test_a_change_whose_caller_goes_away_is_carried_through(names):
    async with names.database.write():  # nobody else can write meanwhile
        change = asyncio.create_task(names.classes.confirm(ADMIN, "house", [HUB, LLAMA]))
        await wait_until(lambda: names.classes._changes.under_way)
        change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    assert [record.name for record in names.classes.confirmed] == ["house"]
    assert await rows(names, model_classes) == 1


async def test_every_refusal_names_a_fix(names):
    with pytest.raises(GatewayError) as refused:
        names.classes.get("nothing")
    assert "GET /admin/model-classes" in refused.value.message


async def test_each_change_is_told_in_the_audit_and_a_refused_one_is_not(names):
    first = await names.classes.confirm(ADMIN, "house", [HUB, LLAMA])
    await names.classes.change(ADMIN, "house", "home", ["x", LLAMA])
    with pytest.raises(Conflict):
        await names.classes.confirm(ADMIN, "other one", [LLAMA, "y"])
    await names.classes.dismiss(ADMIN, ["p", "q"])
    await names.classes.dissolve(ADMIN, "home")
    async with names.database.read() as connection:
        lines = (await connection.execute(sa.select(audit_log).order_by(audit_log.c.id))).mappings().all()
    was, now = {"name": "house", "members": [LLAMA, HUB]}, {"name": "home", "members": [LLAMA, "x"]}
    assert [(line["action"], line["object_name"], line["before"], line["after"]) for line in lines] == [
        ("model_class.confirmed", "house", None, was),
        ("model_class.changed", "home", was, now),
        ("model_class.dismissed", "", None, {"name": "", "members": ["p", "q"]}),
        ("model_class.dissolved", "home", now, None),
    ]
    assert {(line["actor_id"], line["object_kind"]) for line in lines} == {("admin", "model_class")}
    assert [line["object_id"] == first.id for line in lines] == [True, True, False, True]
