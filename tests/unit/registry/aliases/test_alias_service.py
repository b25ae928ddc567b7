"""Do aliases last, exclude each other, reach routing at once and leave their line in the audit?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.services.core.choice.aliases import Alias, Target
from app.services.core.choice.classes import ModelClass
from app.services.core.errors import Conflict, FieldsInvalid, GatewayError, NotAllowed, NotFound, StorageUnavailable
from app.services.core.types import Endpoint, ModelEntry, Server
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.accounting.origin import Origin, coming_from
from app.services.registry.aliases.rules import MAX_ALIASES
from app.services.registry.aliases.service import Aliases
from app.services.registry.aliases.store import AliasRecord, AliasStore
from app.services.registry.tables import aliases as alias_table
from app.services.registry.tables import audit_log
from app.utils.database import Database
from tests.fakes.migrated import opened_database
from tests.fakes.registry import ADMIN, OWNER, START, USER, FakeClock, wait_until

FAST = Alias("fast", (Target("llama", 3.0), Target("qwen", 1.0, 100, 8000)), (Target("mistral"), Target("phi", 1.0, 5)))
SERVER = Server(
    "s1", Endpoint("http", "10.0.0.5", 8000), (ModelEntry("llama", "llama"), ModelEntry("member", "up/member"))
)
LINE = entry(ADMIN, START, "alias.created", "alias", "fast", "fast")
CLASS = ModelClass("house", frozenset({"member", "other"}))


@dataclass
class Names:
    """The aliases over a real file, with what routing was told."""

    database: Database
    store: AliasStore
    aliases: Aliases
    clock: FakeClock
    installed: list[tuple[Alias, ...]] = field(default_factory=list)
    servers: list[Server] = field(default_factory=lambda: [SERVER])

    async def stored(self) -> list[str]:
        async with self.database.read() as connection:
            return list((await connection.execute(sa.select(alias_table.c.name))).scalars())

    async def audit(self) -> list[dict]:
        async with self.database.read() as connection:
            rows = await connection.execute(sa.select(audit_log).order_by(audit_log.c.id))
            return [dict(row) for row in rows.mappings()]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Names]:
    database = await opened_database(folder)
    try:
        store, clock = AliasStore(database), FakeClock()
        made: list[Names] = []
        aliases = Aliases(
            store,
            lambda: made[0].servers,
            clock,
            lambda: made[0].installed.append(made[0].aliases.routed),
            lambda: (CLASS,),
        )
        made.append(Names(database, store, aliases, clock))
        await aliases.load()
        yield made[0]
        await aliases.settle()
    finally:
        await database.close()


@pytest.fixture
async def names(tmp_path: Path) -> AsyncIterator[Names]:
    async with opened(tmp_path) as made:
        yield made


async def test_an_alias_is_routed_at_once_and_after_a_restart(tmp_path):
    async with opened(tmp_path) as names:
        record = await names.aliases.create(ADMIN, FAST)
        assert record == AliasRecord(FAST, "admin", START, START)
        assert names.installed[-1] == (FAST,)
        assert await names.stored() == ["fast"]
    async with opened(tmp_path) as names:
        assert names.aliases.records == (record,)
        assert names.installed == [(FAST,)]
        assert names.aliases.names == {"fast"}


async def test_aliases_are_sorted_by_name(names):
    for name in ("b", "a", "c"):
        await names.aliases.create(ADMIN, Alias(name, (Target("llama"),)))
    assert [alias.name for alias in names.installed[-1]] == ["a", "b", "c"]


async def test_an_alias_is_changed_renamed_and_removed(names):
    await names.aliases.create(ADMIN, FAST)
    names.clock.move(hours=1)
    changed = await names.aliases.change(ADMIN, "fast", Alias("fast", (Target("qwen"),)))
    assert (changed.created_at, changed.updated_at) == (START, names.clock())
    renamed = await names.aliases.change(ADMIN, "fast", Alias("org/quick", (Target("qwen"),)))
    assert renamed.created_at == START
    assert await names.stored() == ["org/quick"]
    assert names.installed[-1] == (Alias("org/quick", (Target("qwen"),)),)
    with pytest.raises(NotFound):
        await names.aliases.change(ADMIN, "fast", FAST)
    await names.aliases.remove(ADMIN, "org/quick")
    assert names.installed[-1] == names.aliases.records == ()
    assert await names.stored() == []
    for missing in (names.aliases.remove(ADMIN, "org/quick"), names.aliases.change(ADMIN, "org/quick", FAST)):
        with pytest.raises(NotFound):
            await missing


async def test_each_change_leaves_its_line(names):
    with coming_from(Origin("10.1.1.1", "request-7")):
        await names.aliases.create(ADMIN, FAST)
    await names.aliases.change(ADMIN, "fast", Alias("quick", (Target("qwen"),)))
    await names.aliases.remove(ADMIN, "quick")
    lines = await names.audit()
    quick = {"name": "quick", "targets": [{"model": "qwen", "weight": 1.0}], "fallbacks": []}
    fast = {
        "name": "fast",
        "targets": [
            {"model": "llama", "weight": 3.0},
            {"model": "qwen", "weight": 1.0, "min_context_tokens": 100, "max_context_tokens": 8000},
        ],
        "fallbacks": [{"model": "mistral"}, {"model": "phi", "min_context_tokens": 5}],
    }
    told = [(line["action"], line["object_id"], line["object_name"], line["before"], line["after"]) for line in lines]
    assert told == [
        ("alias.created", "fast", "fast", None, fast),
        ("alias.changed", "quick", "quick", fast, quick),
        ("alias.removed", "quick", "quick", quick, None),
    ]
    assert {(line["actor_id"], line["actor_name"], line["object_kind"]) for line in lines} == {
        ("admin", "operator", "alias")
    }
    assert (lines[0]["client"], lines[0]["request_id"], lines[0]["at"]) == ("10.1.1.1", "request-7", START)


async def test_nothing_changes_where_nothing_can_be_stored(names):
    await names.aliases.create(ADMIN, FAST)
    before, told = names.aliases.records, len(names.installed)
    await names.database.close()
    for change in (
        names.aliases.create(ADMIN, Alias("more", (Target("llama"),))),
        names.aliases.change(ADMIN, "fast", Alias("fast", (Target("qwen"),))),
        names.aliases.remove(ADMIN, "fast"),
    ):
        with pytest.raises(StorageUnavailable):
            await change
    assert names.aliases.records == before
    assert len(names.installed) == told


async def test_a_change_whose_line_cannot_be_written_is_not_made(names):
    async with names.database.write() as connection:
        await connection.execute(sa.text("DROP TABLE audit_log"))
    with pytest.raises(StorageUnavailable):
        await names.aliases.create(ADMIN, FAST)
    assert await names.stored() == []
    assert names.aliases.records == ()


@pytest.mark.parametrize(
    ("target", "fallback"),
    [
        (Target("qwen"), Target("qwen")),
        (Target("qwen", 9.0), Target("qwen", 1.0, 9000)),
        (Target("qwen", 1.0, 5, 90), Target("qwen", 1.0, 5, 90)),
        (Target("qwen", 1.0, 5, 90), Target("qwen", 1.0, 6, 89)),
        (Target("qwen", 1.0, 1), Target("qwen")),
    ],
)
async def test_a_fallback_that_takes_no_more_than_its_target_is_refused_and_a_stored_one_goes_on(
    names, target, fallback
) -> None:
    idle = Alias("fast", (Target("llama"), target), (Target("mistral"), fallback))
    with pytest.raises(FieldsInvalid):
        await names.aliases.create(ADMIN, idle)
    assert await names.stored() == []
    await names.aliases.create(ADMIN, FAST)
    with pytest.raises(FieldsInvalid, match="qwen is a target already") as refusal:
        await names.aliases.change(ADMIN, "fast", idle)
    assert refusal.value.param == "fallbacks"
    await names.store.put(AliasRecord(idle, "admin", START, START), LINE)
    await names.aliases.load()
    assert names.aliases.routed == (idle,)


@pytest.mark.parametrize(
    ("target", "fallback"),
    [
        (Target("qwen", 1.0, 5), Target("qwen")),
        (Target("qwen", 1.0, None, 90), Target("qwen", 1.0, None, 91)),
        (Target("qwen", 1.0, 5, 90), Target("qwen", 1.0, 4, 90)),
    ],
)
async def test_a_target_may_be_a_fallback_for_what_it_does_not_take_as_a_target(names, target, fallback) -> None:
    alias = Alias("fast", (Target("llama"), target), (fallback,))
    assert (await names.aliases.create(ADMIN, alias)).alias == alias


@pytest.mark.parametrize("principal", [OWNER, USER, replace(ADMIN, key_id="lab", group="lab")])
async def test_only_the_operator_decides(names, principal):
    for change in (
        names.aliases.create(principal, FAST),
        names.aliases.change(principal, "fast", FAST),
        names.aliases.remove(principal, "fast"),
    ):
        with pytest.raises(NotAllowed):
            await change
    assert await names.stored() == []
    assert await names.audit() == []


def to(*targets: Target, name: str = "new", fallbacks: tuple[Target, ...] = ()) -> Alias:
    return Alias(name, targets, fallbacks)


NEVER = float("nan")
MANY = tuple(Target(f"m{number}") for number in range(33))


@pytest.mark.parametrize(
    ("alias", "error", "param", "said"),
    [
        (to(), FieldsInvalid, "targets", "at least one target"),
        (to(*MANY), FieldsInvalid, "targets", "at most 32"),
        (to(Target("a"), fallbacks=MANY), FieldsInvalid, "fallbacks", "at most 32"),
        (to(Target("a"), name=""), FieldsInvalid, "name", "printable"),
        (to(Target("a"), name="x" * 257), FieldsInvalid, "name", "256"),
        (to(Target("a"), name="a\nb"), FieldsInvalid, "name", "printable"),
        (to(Target("a"), name="a/../b"), FieldsInvalid, "name", "URLs"),
        (to(Target("a\nb")), FieldsInvalid, "targets", "printable"),
        (to(Target("a"), fallbacks=(Target("\ud800"),)), FieldsInvalid, "fallbacks", "printable"),
        (to(Target("new")), FieldsInvalid, "targets", "lead to itself"),
        (to(Target("a"), fallbacks=(Target("new"),)), FieldsInvalid, "fallbacks", "lead to itself"),
        (to(Target("a"), Target("b"), Target("a")), FieldsInvalid, "targets", "a is named twice"),
        (to(Target("b"), fallbacks=(Target("a"), Target("a"))), FieldsInvalid, "fallbacks", "a is named twice"),
        (to(Target("a", 0.0)), FieldsInvalid, "targets", "weight of a"),
        (to(Target("a", -1.0)), FieldsInvalid, "targets", "weight of a"),
        (to(Target("a", 1000.5)), FieldsInvalid, "targets", "at most 1000"),
        (to(Target("a", NEVER)), FieldsInvalid, "targets", "weight of a"),
        (to(Target("a", 1.0, 0)), FieldsInvalid, "targets", "bounds of a"),
        (to(Target("a", 1.0, None, 2**31)), FieldsInvalid, "targets", "bounds of a"),
        (to(Target("a", 1.0, 11, 10)), FieldsInvalid, "targets", "takes nothing"),
        (to(Target("taken")), FieldsInvalid, "targets", "Name what it leads to: t1, t2."),
        (to(Target("a"), fallbacks=(Target("taken"),)), FieldsInvalid, "fallbacks", "an alias itself"),
        (to(Target("a"), name="taken"), Conflict, "name", "PUT /admin/aliases/taken"),
        (to(Target("a"), name="t2"), Conflict, "name", "alias taken leads to t2"),
        (to(Target("a"), name="llama"), Conflict, "name", "would hide"),
        (to(Target("a"), name="house"), Conflict, "name", "in a class"),
        (to(Target("a"), name="other"), Conflict, "name", "in a class"),
    ],
)
async def test_what_may_not_be_is_refused(names, alias, error, param, said):
    await names.aliases.create(ADMIN, Alias("taken", (Target("t1"),), (Target("t2"),)))
    await names.aliases.create(ADMIN, Alias("mine", (Target("m1"),)))
    before = names.aliases.records
    for change in (names.aliases.create(ADMIN, alias), names.aliases.change(ADMIN, "mine", alias)):
        with pytest.raises(error) as refused:
            await change
        assert refused.value.param == param
        assert said in refused.value.message
    assert names.aliases.records == before


async def test_a_target_may_be_a_fallback_too_and_bounds_may_be_a_point(names):
    alias = Alias("fast", (Target("a", 1000.0, 5, 5), Target("b", 1e-9)), (Target("a"), Target("house")))
    assert (await names.aliases.create(ADMIN, alias)).alias == alias


async def test_what_leads_to_a_server_is_told_with_the_names_of_a_class(names):
    assert names.aliases.served() == {"llama", "member", "other", "house"}
    names.servers.clear()
    assert names.aliases.served() == frozenset()


async def test_a_model_that_comes_later_is_hidden_said_once_and_hinders_no_change(names, caplog):
    names.aliases.review([SERVER])
    await names.aliases.create(ADMIN, FAST)
    names.aliases.review([SERVER])
    assert "hides" not in caplog.text
    later = Server("s2", SERVER.endpoint, (ModelEntry("fast", "fast"),))
    names.servers.append(later)
    for _time in range(3):
        names.aliases.review(names.servers)
    assert caplog.text.count("An alias hides a model of the same name") == 1
    await names.aliases.change(ADMIN, "fast", Alias("fast", (Target("qwen"),)))
    names.aliases.review([SERVER])
    names.aliases.review(names.servers)
    assert caplog.text.count("An alias hides a model of the same name") == 2


async def test_of_many_that_want_one_name_one_gets_it(names):
    tries = [names.aliases.create(ADMIN, Alias("one", (Target(f"m{number}"),))) for number in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, AliasRecord) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    assert await names.stored() == ["one"]
    assert len(await names.audit()) == 1


async def test_two_that_would_lead_to_each_other_are_not_both_made(names):
    ways = (Alias("a", (Target("b"),)), Alias("b", (Target("a"),)))
    results = await asyncio.gather(*(names.aliases.create(ADMIN, way) for way in ways), return_exceptions=True)
    assert sum(isinstance(result, GatewayError) for result in results) == 1
    assert len(names.aliases.records) == 1


async def test_there_are_only_so_many(names):
    async with names.database.write() as connection:
        common = {"targets": [{"model": "llama"}], "fallbacks": [], "created_at": START, "updated_at": START}
        rows = [{"name": f"alias-{number:04}", **common} for number in range(MAX_ALIASES)]
        await connection.execute(sa.insert(alias_table), rows)
    await names.aliases.load()
    assert len(names.aliases.records) == MAX_ALIASES
    with pytest.raises(Conflict, match="Remove one first"):
        await names.aliases.create(ADMIN, Alias("one-more", (Target("llama"),)))
    await names.aliases.change(ADMIN, "alias-0007", Alias("alias-0007", (Target("qwen"),)))


@pytest.mark.parametrize(
    "targets",
    [
        [],
        {},
        "llama",
        [1],
        [{"weight": 1}],
        [{"model": "a", "weight": "x"}],
        [{"model": "a", "weight": -1}],
        [{"model": "a"}, {"model": "a"}],
        [{"model": "odd"}],
    ],
)
async def test_what_another_release_stored_stops_nobody(names, caplog, targets):
    row = {"name": "odd", "targets": targets, "fallbacks": [], "created_at": START, "updated_at": START}
    async with names.database.write() as connection:
        await connection.execute(sa.insert(alias_table).values(**row))
    await names.store.put(AliasRecord(FAST, None, START, START), LINE)
    await names.aliases.load()
    assert [record.name for record in names.aliases.records] == ["fast"]
    assert "A stored alias is left out" in caplog.text
    made = await names.aliases.create(ADMIN, Alias("odd", (Target("llama"),)))
    assert sorted(await names.stored()) == ["fast", made.name]


async def test_a_change_whose_caller_goes_away_is_carried_through(names):
    async with names.database.write():  # nobody else can write meanwhile
        change = asyncio.create_task(names.aliases.create(ADMIN, FAST))
        await wait_until(names.aliases._committing.locked)
        change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    await names.aliases.settle()
    assert names.installed[-1] == (FAST,)
    assert await names.stored() == ["fast"]
