"""Is use written once and whole, whatever the database does, and told to those alone who may know?"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.core.answer.usage import Usage as Tokens
from app.services.core.errors import NotAllowed, StorageUnavailable, Unavailable
from app.services.core.people.principal import Principal, Role
from app.services.registry.accounting import usage as usage_module
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_query import GroupBy, Side, Span, UsageQuery, UsageSums
from app.services.registry.accounting.usage_store import UsageStore
from app.services.registry.tables import api_keys
from tests.fakes.accounts import ended, opened_accounts
from tests.fakes.registry import ADMIN, START, wait_until

HOUR = timedelta(hours=1)
NOW = Span(START, START + HOUR)
ANN = Principal("own-a", "Ann", Role.OWNER, group="lab")
STUDENT = Principal("use-a", "Ann's student", Role.USER, group="lab")
LAB_ADMIN = Principal("lab-admin", "lab admin", Role.ADMIN, group="lab")


def query(group_by: str, span: Span = NOW, **fields) -> UsageQuery:
    filters = {GroupBy(name): frozenset(ids) for name, ids in fields.pop("filters", {}).items()}
    return UsageQuery(GroupBy(group_by), span, filters, **fields)


async def told(accounts, principal, asked) -> dict[str, tuple[str, int]]:
    report = await accounts.usage.report(principal, asked)
    return {line.id: (line.name, line.sums.requests) for line in report.lines}


async def test_what_ended_is_written_and_added_to(accounts) -> None:
    await accounts.write([ended(), ended(status=500)])
    await accounts.write([ended(usage=Tokens(1, 1, estimated=True)), ended(model="qwen")])
    assert (await accounts.rows(), await accounts.stored()) == (2, 4)
    assert await accounts.stored("errors") == 1
    assert await accounts.stored("estimated_tokens") == 2
    assert await accounts.stored("prompt_tokens") == 22
    assert await accounts.stored("seconds") == 2


async def test_nothing_is_written_where_nothing_ended(accounts) -> None:
    await accounts.database.close()
    await accounts.usage.flush()


async def test_what_waits_in_the_ledger_is_written_too(accounts) -> None:
    accounts.usage.fold = lambda: accounts.count([ended()])
    await accounts.usage.flush()
    assert await accounts.stored() == 1


async def test_a_database_that_fails_loses_nothing_counts_nothing_twice_and_is_told_of_once(accounts, caplog) -> None:
    caplog.set_level("INFO")
    path = accounts.database.path
    aside = path.with_name("aside.db")
    path.rename(aside)  # each commit is refused at its end: the next start would not find it
    for _time in range(3):
        await accounts.write([ended(), ended(model="qwen")])
    assert caplog.text.count("Use cannot be saved") == 1
    aside.rename(path)
    assert await accounts.stored() == 0
    await accounts.write([ended()])
    await accounts.write([ended()])
    assert (await accounts.rows(), await accounts.stored()) == (2, 8)
    assert caplog.text.count("Use is saved again") == 1


async def test_a_caller_that_goes_away_in_the_middle_neither_loses_nor_doubles(accounts) -> None:
    accounts.count([ended()])
    async with accounts.database.write():  # nobody else can write meanwhile
        writing = asyncio.create_task(accounts.usage.flush())
        await wait_until(lambda: accounts.usage._changes.under_way)
        writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await accounts.write([ended()])
    assert await accounts.stored() == 2


async def test_many_who_write_at_once_write_each_batch_once(accounts) -> None:
    async def one() -> None:
        await accounts.write([ended()])

    await asyncio.gather(*(one() for _number in range(20)))
    assert await accounts.stored() == 20


async def test_a_batch_that_can_never_be_written_does_not_hold_up_the_others(accounts, monkeypatch, caplog) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "add", lambda _self, rows: rows["no such row"])
        await accounts.write([ended()])
    assert "lost by a bug" in caplog.text
    await accounts.write([ended()])
    assert await accounts.stored() == 1


async def test_while_another_process_has_the_file_use_waits_in_memory(accounts) -> None:
    may_write = False
    usage = Usage(UsageStore(accounts.database), accounts.clock, may_write=lambda: may_write)
    usage.tally.count([ended()], ("llama",), {})
    await usage.flush()
    assert await accounts.stored() == 0
    may_write = True
    await usage.flush()
    assert await accounts.stored() == 1


async def test_the_last_is_written_at_the_end(accounts, caplog) -> None:
    accounts.count([ended()])
    await accounts.usage.close()
    assert await accounts.stored() == 1
    accounts.count([ended(), ended()])
    await accounts.database.close()
    await accounts.usage.close()
    assert "The last use was not written" in caplog.text
    assert caplog.records[-1].msg["requests"] == 2


async def test_names_that_no_database_takes_are_written_all_the_same(accounts) -> None:
    odd = [ended(model="a\ud800"), ended(model="a\udfff"), ended(person="k\0x")]
    await accounts.write(odd)
    await accounts.write(odd)
    assert await told(accounts, ADMIN, query("model")) == {"a?": ("a?", 4), "llama": ("llama", 2)}


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["use-a", "use-b"]),
                st.sampled_from(["s1", "s3", None]),
                st.sampled_from(["llama", "qwen", "made up"]),
                st.integers(0, 3),
                st.integers(0, 50),
            ),
            max_size=8,
        ),
        min_size=1,
        max_size=4,
    )
)
async def test_over_restarts_the_rows_add_up_to_what_ended(runs) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for run in runs:
            async with opened_accounts(Path(folder)) as accounts:
                for key, server, model, hour, tokens in run:
                    at = (START + hour * HOUR).timestamp()
                    accounts.count([ended(key, server, model, usage=Tokens(tokens, 1), ended_at=at)])
                    if tokens % 2:
                        await accounts.usage.flush()
                await accounts.usage.close()
        async with opened_accounts(Path(folder)) as accounts:
            every = [one for run in runs for one in run]
            for group_by, place in ((GroupBy.KEY, 0), (GroupBy.SERVER, 1)):
                report = await accounts.usage.report(ADMIN, query(group_by, Span(START, START + 4 * HOUR)))
                assert report.totals.requests == len(every)
                assert report.totals.total_tokens == sum(one[4] + 1 for one in every)
                for line in report.lines:
                    assert line.sums.requests == sum((one[place] or "") == line.id for one in every)


async def test_old_use_is_forgotten_and_no_more(accounts) -> None:
    days = [ended(ended_at=(START + timedelta(days=day)).timestamp()) for day in range(10)]
    await accounts.write(days)
    await accounts.usage.purge(START + timedelta(days=7))
    assert await accounts.rows() == 3
    await accounts.usage.purge(START + timedelta(days=7))
    await accounts.usage.purge(datetime(2050, 1, 1, tzinfo=UTC))
    assert await accounts.rows() == 0


# -- who is told what


async def fill(accounts) -> None:
    """Two requests of Ann's student on her own server, one on Ben's, and others' on both."""
    await accounts.write([ended("use-a", "s1"), ended("use-a", "s2"), ended("use-a", "s3", "qwen")])
    await accounts.write([ended("use-b", "s1") for _time in range(4)])
    await accounts.write([ended("own-a", "s3"), ended("admin", None, "made up", status=404, usage=Tokens(0, 0))])


async def test_an_admin_sees_everybody_by_name_the_most_tokens_first(accounts) -> None:
    await fill(accounts)
    await accounts.write([ended("gone", "gone"), ended("anonymous")])
    report = await accounts.usage.report(ADMIN, query("key"))
    assert [(line.id, line.name, line.sums.requests) for line in report.lines] == [
        ("use-b", "=Ben's user", 4),
        ("use-a", "Ann's student", 3),
        ("anonymous", "anonymous", 1),
        ("gone", "(removed)", 1),
        ("own-a", "Ann", 1),
        ("admin", "operator", 1),
    ]
    assert (report.count, report.totals.requests, report.totals.errors) == (6, 11, 1)
    assert await told(accounts, ADMIN, query("server")) == {
        "s1": ("llama@10.0.0.5:8001", 6),
        "s3": ("llama@10.0.0.5:8003", 2),
        "gone": ("(removed)", 1),
        "s2": ("big box", 1),
        "": ("(none)", 1),
    }
    assert await told(accounts, ADMIN, query("owner")) == {
        "own-a": ("Ann", 7), "own-b": ("Ben", 2), "": ("(none)", 2),
    }  # fmt: skip
    assert await told(accounts, ADMIN, query("model")) == {
        "llama": ("llama", 9), "qwen": ("qwen", 1), "(unknown)": ("(unknown)", 1),
    }  # fmt: skip


async def test_groups_and_people_have_names(accounts) -> None:
    people = ["key:use-a", "use-a/ann@uni", "dr/who", "use-a/=1+1", "(others)", "key:gone", "carol", "key:admin"]
    await accounts.write([ended(person=person, group="lab") for person in people])
    await accounts.write([ended(group="was-there")])
    assert await told(accounts, ADMIN, query("group")) == {
        "lab": ("The lab", 8), "was-there": ("(removed)", 1),
    }  # fmt: skip
    names = {person: name for person, (name, _count) in (await told(accounts, ADMIN, query("person"))).items()}
    assert names == {
        "key:use-a": "Ann's student", "use-a/ann@uni": "ann@uni", "dr/who": "dr/who", "use-a/=1+1": "=1+1",
        "(others)": "(others)", "key:gone": "(removed)", "carol": "carol", "key:admin": "operator",
    }  # fmt: skip


async def test_time_goes_forward_and_a_span_ends_before_its_end(accounts) -> None:
    moments = [START + timedelta(hours=hours) for hours in (0, 1, 23, 24, 25)]
    await accounts.write([ended(ended_at=moment.timestamp()) for moment in moments])
    whole = Span(START, START + timedelta(days=2))
    assert list(await told(accounts, ADMIN, query("day", whole))) == ["2030-01-01", "2030-01-02"]
    hours = await told(accounts, ADMIN, query("hour", Span(START + HOUR, START + 24 * HOUR)))
    assert hours == {
        "2030-01-01T01:00:00Z": ("2030-01-01T01:00:00Z", 1), "2030-01-01T23:00:00Z": ("2030-01-01T23:00:00Z", 1),
    }  # fmt: skip


async def test_filters_narrow_together_and_pages_hold_all_totals(accounts) -> None:
    await fill(accounts)
    asked = query("server", filters={"key": ["use-a", "own-a"], "owner": ["own-b"]})
    assert await told(accounts, ADMIN, asked) == {"s3": ("llama@10.0.0.5:8003", 2)}
    assert await told(accounts, ADMIN, query("model", filters={"model": ["nothing\ud800"]})) == {}
    for offset, ids in ((0, ["use-b", "use-a"]), (2, ["own-a", "admin"]), (4, [])):
        report = await accounts.usage.report(ADMIN, query("key", limit=2, offset=offset))
        assert [line.id for line in report.lines] == ids
        assert (report.count, report.totals.requests) == (4, 9)


async def test_an_admin_of_a_group_sees_its_use_alone(accounts) -> None:
    await accounts.write([ended("use-a", group="lab"), ended("use-b"), ended("use-c", group="other")])
    assert await told(accounts, LAB_ADMIN, query("key")) == {"use-a": ("Ann's student", 1)}
    assert await told(accounts, LAB_ADMIN, query("key", filters={"group": ["other"]})) == {}
    assert await told(accounts, LAB_ADMIN, query("server")) == {"s1": ("llama", 1)}


async def test_an_owner_sees_what_its_servers_served_and_never_for_whom(accounts) -> None:
    await fill(accounts)
    for group_by in ("server", "model", "day", "hour"):
        report = await accounts.usage.report(ANN, query(group_by))
        assert (report.totals.requests, report.query.side) == (6, Side.SERVED)
    assert await told(accounts, ANN, query("server")) == {"s1": ("llama@10.0.0.5:8001", 5), "s2": ("big box", 1)}
    assert await told(accounts, ANN, query("model", filters={"server": ["s3"]})) == {}
    for asked in (
        query("key", side=Side.SERVED),
        query("person", side=Side.SERVED),
        query("group", side=Side.SERVED),
        query("model", side=Side.SERVED, filters={"key": ["use-b"]}),
        query("hour", side=Side.SERVED, filters={"person": ["key:use-b"]}),
        query("day", side=Side.SERVED, filters={"group": ["lab"]}),
    ):
        with pytest.raises(NotAllowed, match="side=used"):
            await accounts.usage.report(ANN, asked)


async def test_an_owner_sees_what_its_own_keys_used(accounts) -> None:
    await fill(accounts)
    assert await told(accounts, ANN, query("key")) == {"use-a": ("Ann's student", 3), "own-a": ("Ann", 1)}
    assert await told(accounts, ANN, query("key", filters={"key": ["use-b"]})) == {}
    used = await told(accounts, ANN, query("server", side=Side.USED))
    assert used == {"s3": ("llama", 2), "s1": ("llama@10.0.0.5:8001", 1), "s2": ("big box", 1)}
    for asked in (query("owner"), query("model", side=Side.USED, filters={"owner": ["own-b"]})):
        with pytest.raises(NotAllowed):
            await accounts.usage.report(ANN, asked)


async def test_a_user_is_led_to_its_own(accounts) -> None:
    for group_by in GroupBy:
        with pytest.raises(NotAllowed, match="GET /v1/usage"):
            await accounts.usage.report(STUDENT, query(group_by))
    with pytest.raises(NotAllowed, match="GET /v1/usage"):
        await accounts.usage.contributions(STUDENT, NOW)


async def test_each_key_sees_its_own_use_of_today_and_this_month(accounts) -> None:
    accounts.clock.moment = datetime(2030, 1, 15, 12, 30, tzinfo=UTC)
    before = accounts.clock.moment - timedelta(days=20)
    await accounts.write([ended(ended_at=before.timestamp()), ended("use-b")])
    await accounts.write([ended(model="qwen"), ended(model="qwen"), ended(usage=Tokens(99, 0))])
    await accounts.write([ended(ended_at=accounts.clock.moment.timestamp())])
    accounts.usage.left = lambda principal: [principal.key_id]
    own = await accounts.usage.own(STUDENT)
    assert (own.today.requests, own.this_month.requests) == (1, 4)
    assert [(line.id, line.sums.requests) for line in own.models] == [("llama", 2), ("qwen", 2)]
    assert own.limits == ("use-a",)
    assert (own.day.isoformat(), own.month.isoformat()) == ("2030-01-15T00:00:00+00:00", "2030-01-01T00:00:00+00:00")
    nobody = await accounts.usage.own(Principal("new", "new", Role.USER))
    assert (nobody.this_month.requests, nobody.models) == (0, ())


async def test_each_key_sees_its_own_days_without_a_gap(accounts) -> None:
    accounts.clock.moment = datetime(2030, 3, 15, 23, 59, 59, tzinfo=UTC)
    now = accounts.clock.moment
    first = datetime(2030, 2, 14, tzinfo=UTC)
    await accounts.write([ended(ended_at=now.timestamp()), ended(ended_at=now.timestamp(), model="qwen")])
    await accounts.write([ended(ended_at=first.timestamp()), ended(ended_at=first.timestamp() - 1)])
    await accounts.write([ended("use-b", ended_at=now.timestamp(), usage=Tokens(1_000, 0))])
    days = await accounts.usage.own_days(STUDENT)
    assert list(days) == [first + timedelta(days=number) for number in range(30)]
    assert {day.day: (sums.requests, sums.total_tokens) for day, sums in days.items() if sums.requests} == {
        14: (1, 10), 15: (2, 20),
    }  # fmt: skip
    nobody = await accounts.usage.own_days(Principal("new", "new", Role.USER))
    assert set(nobody.values()) == {UsageSums()}
    assert list(nobody) == list(days)


async def test_a_key_that_is_called_as_another_one_is_shows_it_nothing(accounts) -> None:
    await accounts.write([ended("use-b", usage=Tokens(1_000, 0)), ended()])
    async with accounts.database.write() as connection:
        await connection.execute(sa.update(api_keys).where(api_keys.c.id == "use-b").values(name=STUDENT.key_id))
    own = await accounts.usage.own(STUDENT)
    assert (own.today.total_tokens, own.this_month.total_tokens) == (10, 10)
    assert sum(sums.total_tokens for sums in (await accounts.usage.own_days(STUDENT)).values()) == 10


# -- contributions


async def test_what_owners_gave_and_took(accounts) -> None:
    await fill(accounts)
    await accounts.write([ended("use-c", "s3"), ended("use-a", "s1", group="lab")])
    found = await accounts.usage.contributions(ADMIN, NOW)
    assert [(one.owner, one.name, one.served.requests, one.used.requests, one.balance_tokens) for one in found] == [
        ("own-a", "Ann", 7, 5, 20),
        ("own-b", "Ben", 3, 4, -10),
        ("admin", "operator", 0, 2, -10),
    ]
    assert [one.group_used and one.group_used.requests for one in found] == [1, None, None]
    assert [one.group for one in found] == ["The lab", "", ""]
    assert [one.owner for one in await accounts.usage.contributions(ANN, NOW)] == ["own-a"]
    (mine,) = await accounts.usage.contributions(ANN, NOW)
    assert mine == found[0]
    assert [one.owner for one in await accounts.usage.contributions(LAB_ADMIN, NOW)] == ["own-a"]
    (nothing,) = await accounts.usage.contributions(ANN, Span(START - HOUR, START))
    assert (nothing.served.requests, nothing.balance_tokens) == (0, 0)


# -- reading


async def test_what_has_just_ended_can_be_read(accounts) -> None:
    accounts.count([ended()])
    assert await told(accounts, ADMIN, query("key")) == {"use-a": ("Ann's student", 1)}
    assert accounts.slept == []


async def test_who_reads_waits_for_what_is_being_written(accounts) -> None:
    accounts.count([ended()])
    async with accounts.database.write():  # nobody else can write meanwhile
        writing = asyncio.create_task(accounts.usage.flush())
        await wait_until(lambda: accounts.usage.tally.is_empty)
        reading = asyncio.create_task(told(accounts, ADMIN, query("key")))
        await wait_until(lambda: accounts.usage._writing._waiters or reading.done())
    await writing
    assert await reading == {"use-a": ("Ann's student", 1)}


async def test_who_reads_waits_for_what_another_took_while_it_slept(accounts, monkeypatch) -> None:
    monkeypatch.setattr(usage_module, "_LEAST_SECONDS_BETWEEN_READS", 1000.0)
    await accounts.write([ended()])
    accounts.count([ended()])
    writing: list[asyncio.Task[None]] = []
    async with accounts.database.write():  # nobody else can write meanwhile

        async def sleep(_seconds: float) -> None:
            writing.append(asyncio.create_task(accounts.usage.flush()))
            await wait_until(lambda: accounts.usage.tally.is_empty)

        monkeypatch.setattr(accounts.usage, "_sleep", sleep)
        reading = asyncio.create_task(told(accounts, ADMIN, query("key")))
        await wait_until(lambda: accounts.usage._writing._waiters or reading.done())
    await asyncio.gather(*writing)
    assert await reading == {"use-a": ("Ann's student", 2)}


async def test_readers_cause_ten_writes_a_second_at_most(accounts, monkeypatch) -> None:
    monkeypatch.setattr(usage_module, "_LEAST_SECONDS_BETWEEN_READS", 1000.0)
    await accounts.write([ended()])
    accounts.count([ended()])
    assert await told(accounts, ADMIN, query("key")) == {"use-a": ("Ann's student", 2)}
    (waited,) = accounts.slept
    assert 900 < waited <= 1000


async def test_too_many_who_ask_at_once_are_told_so(accounts, monkeypatch) -> None:
    monkeypatch.setattr(usage_module, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(accounts.usage, "_readers", asyncio.Semaphore(0))
    with pytest.raises(Unavailable, match="Too many ask"):
        await accounts.usage.own(STUDENT)


async def test_a_database_that_is_gone_is_told_of(accounts) -> None:
    await accounts.database.close()
    for asking in (accounts.usage.report(ADMIN, query("key")), accounts.usage.own(STUDENT)):
        with pytest.raises(StorageUnavailable):
            await asking
