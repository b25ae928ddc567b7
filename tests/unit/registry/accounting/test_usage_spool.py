"""Is use that a process could not write taken in by the next one, once?"""

from __future__ import annotations

import asyncio

from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_spool import UsageSpool
from app.services.registry.accounting.usage_store import UsageStore
from tests.fakes.accounts import MODELS, SERVERS, ended


def usage_of(accounts, folder, *, has_database: bool) -> Usage:
    store = UsageStore(accounts.database)
    return Usage(store, accounts.clock, may_write=lambda: has_database, spool=UsageSpool(folder))


async def test_what_an_outgoing_process_counts_is_written_by_the_one_that_replaces_it(accounts, tmp_path) -> None:
    folder = tmp_path / "data"
    old = usage_of(accounts, folder, has_database=False)
    old.tally.count([ended(), ended(model="a\nb"), ended(person="k/\u00e9")], MODELS, SERVERS)
    await old.flush()
    await old.close()
    (left,) = folder.iterdir()
    assert left.stat().st_mode & 0o777 == 0o600
    new = usage_of(accounts, folder, has_database=True)
    new.tally.count([ended()], MODELS, SERVERS)
    await new.flush()
    assert list(folder.iterdir()) == []
    assert (await accounts.stored(), await accounts.stored("prompt_tokens"), await accounts.rows()) == (4, 28, 3)
    await new.flush()
    await new.close()
    assert await accounts.stored() == 4


async def test_it_is_looked_for_every_ten_seconds_and_taken_by_one_alone(accounts, tmp_path) -> None:
    new = usage_of(accounts, tmp_path, has_database=True)
    await new.flush()
    old = usage_of(accounts, tmp_path, has_database=False)
    old.tally.count([ended()], MODELS, SERVERS)
    await old.close()
    for _half_second in range(20):
        await new.flush()
    assert await accounts.stored() == 1
    spool = UsageSpool(tmp_path)
    spool.leave({})
    found = await asyncio.gather(*(asyncio.to_thread(spool.collect) for _reader in range(4)))
    assert [one for each in found for one in each] == [{}]
    assert list(tmp_path.glob("usage-*")) == []


async def test_what_cannot_be_read_is_put_aside_and_told_of(accounts, tmp_path, caplog) -> None:
    for number, content in enumerate((b"{", b"[]x", b'[{"key": [1], "sums": {}}]', b'[{"key": 1}]', b"\xff")):
        (tmp_path / f"usage-{number}.json").write_bytes(content)
    (tmp_path / "usage-9.json").mkdir()
    await usage_of(accounts, tmp_path, has_database=True).flush()
    assert len(list(tmp_path.glob("usage-*.unreadable"))) == 5
    assert caplog.text.count("put aside") == 5
    assert "stays where it is" in caplog.text
    assert await accounts.stored() == 0


async def test_where_nothing_can_be_left_it_is_told_how_much_was_lost(accounts, tmp_path, caplog) -> None:
    (tmp_path / "a-file").touch()
    old = usage_of(accounts, tmp_path / "a-file", has_database=False)
    old.tally.count([ended(), ended()], MODELS, SERVERS)
    await old.close()
    assert "The last use was not written" in caplog.text
    assert caplog.records[-1].msg["requests"] == 2
