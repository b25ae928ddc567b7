"""Is an invite used once, and what has ended swept away?"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from app.services.registry.people.records import KeySpec
from app.services.registry.people.store import InviteRow
from tests.fakes.registry import START

SOON = START + timedelta(hours=1)


async def invited(people, name):
    (record,) = await people.keys.create_unclaimed(people.operator, [KeySpec(name)])
    return record.id


class TestInvites:
    async def test_of_many_who_take_one_at_once_one_gets_it(self, people):
        key_id = await invited(people, "alice")
        await people.store.put_invite(InviteRow(b"a" * 32, key_id, START, SOON))
        taken = await asyncio.gather(*(people.store.take_invite(b"a" * 32, START) for _person in range(20)))
        assert [key for key in taken if key is not None] == [key_id]

    async def test_a_new_one_takes_the_place_of_the_old(self, people):
        key_id = await invited(people, "alice")
        await people.store.put_invite(InviteRow(b"a" * 32, key_id, START, SOON))
        await people.store.put_invite(InviteRow(b"b" * 32, key_id, START, SOON))
        assert await people.store.find_invite(b"a" * 32, START) is None
        assert await people.store.find_invite(b"b" * 32, START) == key_id
        assert await people.store.take_invite(b"a" * 32, START) is None

    async def test_it_ends(self, people):
        key_id = await invited(people, "alice")
        await people.store.put_invite(InviteRow(b"a" * 32, key_id, START, SOON))
        assert await people.store.find_invite(b"a" * 32, SOON) is None
        assert await people.store.take_invite(b"a" * 32, SOON) is None
        assert await people.store.purge_invites(START) == 0
        assert await people.store.purge_invites(SOON) == 1
        assert await people.store.take_invite(b"a" * 32, START) is None
