"""Is each key that is looked for on exactly one page, in its order?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.core.errors import FieldsInvalid, NotAllowed
from app.services.core.keys import Principal
from app.services.core.people.principal import Role
from app.services.registry.people import listing
from app.services.registry.people.listing import KeyPage, KeyPager, KeyQuery
from app.services.registry.people.records import GroupSpec, KeyRecord, KeySpec, KeyState, SecretRecord

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def record(key_id: str, name: str = "some key", **fields: object) -> KeyRecord:
    secret = SecretRecord(b"digest", f"mvk_...{key_id[-4:]}", NOW)
    return KeyRecord(key_id, name, Role.USER, NOW, NOW, **{"secrets": (secret,), **fields})


def page_of(keys: list[KeyRecord], query: KeyQuery, slice_length: int = 2) -> KeyPage:
    pager = KeyPager(query, lambda key: key.minted_by != "another", lambda key: key.state(NOW))
    for start in range(0, len(keys), slice_length):
        pager.take(keys[start : start + slice_length])
    return pager.page()


@given(st.lists(st.sampled_from(["mine", "another"]), max_size=12), st.integers(1, 5), st.integers(1, 5))
def test_the_pages_together_are_all_keys_once(minters: list[str], limit: int, slice_length: int) -> None:
    keys = [record(f"id-{number}", minted_by=minter) for number, minter in enumerate(minters)]
    seen: list[KeyRecord] = []
    after = None
    while True:
        page = page_of(keys, KeyQuery(limit=limit, after=after), slice_length)
        seen += page.keys
        assert page.total == minters.count("mine")
        assert len(page.keys) <= limit
        after = page.next_after
        if after is None:
            break
        assert page.keys
    assert seen == [key for key in keys if key.minted_by == "mine"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["a1b2c3d4-wxyz", "ffff0000-QRST"]),
        ("ADA", ["a1b2c3d4-wxyz"]),
        (" ada's ", ["a1b2c3d4-wxyz"]),
        ("grace@", ["ffff0000-QRST"]),
        ("a1b2", ["a1b2c3d4-wxyz"]),
        ("...qrst", ["ffff0000-QRST"]),
        ("STRASSE", ["ffff0000-QRST"]),
        ("nobody", []),
        ("%", []),
    ],
)
def test_a_text_is_looked_for_in_all_that_names_a_key(text: str, found: list[str]) -> None:
    keys = [record("a1b2c3d4-wxyz", "Ada's notebook"), record("ffff0000-QRST", "Straße", person="Grace@example.org")]
    assert [key.id for key in page_of(keys, KeyQuery(text=text)).keys] == found


def test_a_page_after_a_key_that_went_away_says_so_and_one_that_does_not_fit_is_no_hindrance() -> None:
    keys = [record("one", "a"), record("two", "b"), record("three", "a")]
    with pytest.raises(FieldsInvalid, match="first page") as caught:
        page_of(keys, KeyQuery(after="gone"))
    assert caught.value.param == "after"
    assert [key.id for key in page_of(keys, KeyQuery(text="a", after="two")).keys] == ["three"]


class TestKeys:
    async def test_a_page_is_of_what_one_may_see(self, people) -> None:
        group = await people.keys.create_group(people.operator, GroupSpec("physics"))
        owner, owner_principal, _secret = await people.make("owner", role=Role.OWNER)
        mine, _secret = await people.keys.create(owner_principal, KeySpec("mine"))
        grouped, _principal, _secret = await people.make("grouped", group_id=group.id)
        gone = await people.keys.revoke(people.operator, grouped.id)

        async def ids(principal: Principal, **query: object) -> list[str]:
            return [key.id for key in (await people.keys.page(principal, KeyQuery(**query))).keys]

        assert await ids(people.operator) == [owner.id, mine.id, gone.id]
        assert await ids(people.operator, newest_first=True) == [gone.id, mine.id, owner.id]
        assert await ids(people.operator, newest_first=True, after=mine.id) == [owner.id]
        assert await ids(owner_principal) == [mine.id]
        assert await ids(people.operator, role=Role.OWNER) == [owner.id]
        assert await ids(people.operator, group=group.id) == [gone.id]
        assert await ids(people.operator, state=KeyState.REVOKED) == [gone.id]
        with pytest.raises(NotAllowed):
            await people.keys.page(Principal("somebody", "user", Role.USER), KeyQuery())

    async def test_others_get_a_turn_while_many_are_looked_through(self, people, monkeypatch) -> None:
        monkeypatch.setattr(listing, "_LOOKED_AT_ONCE", 2)
        await people.keys.create_all(people.operator, [KeySpec(f"key {number}") for number in range(7)])
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(other())
        try:
            page = await people.keys.page(people.operator, KeyQuery())
        finally:
            ticking.cancel()
        assert (page.total, turns >= 3) == (7, True)
