"""Does signing in open the pages to a good key, for as long as the key is good, and to nobody else?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from app.services.core.errors import NotAllowed, NotAuthenticated, StorageUnavailable, TooMany
from app.services.core.keys import KeyRing, Role, digest
from app.services.core.people.roll import MOST_OF_A_KEY, Roll
from app.services.core.people.session import TOKEN_BYTES, Lifetime, StoredSession, cookie_of, csrf_of, token_of
from app.services.registry.people.keys import Keys
from app.services.registry.people.records import KeyChange, KeySpec
from app.services.registry.people.session_store import SessionStore
from app.services.registry.people.sessions import Sessions
from app.services.registry.people.store import PeopleStore
from app.services.registry.tables import audit_log, ui_sessions
from tests.fakes.registry import START, FakeClock, World, registry_world

ADMIN_KEY = "admin-key-canary-0123456789"
RING = KeyRing.with_admin(ADMIN_KEY)
(ADMIN,) = RING.principals.values()
HOURS = 12
GUESSER = "198.51.100.7"


@dataclass
class Desk:
    """The service over a real file, and the keys that it asks for."""

    world: World
    keys: Keys
    sessions: Sessions
    lent: bool = False

    @property
    def clock(self) -> FakeClock:
        return self.world.clock

    async def make(self, name: str = "alice", **spec: object) -> tuple[str, str]:
        """Make a key: its id and secret."""
        record, secret = await self.keys.create(ADMIN, KeySpec(name, **spec))
        return record.id, secret

    async def sign_in(self, key: str = ADMIN_KEY) -> str:
        return (await self.sessions.sign_in(key.encode())).token

    def is_in(self, cookie: str) -> bool:
        return self.sessions.find(cookie) is not None

    async def rows(self) -> list[sa.Row]:
        async with self.world.database.read() as connection:
            return list(await connection.execute(sa.select(ui_sessions).order_by(ui_sessions.c.created_at)))


def _seconds(clock: FakeClock) -> float:
    return clock.moment.timestamp()


@asynccontextmanager
async def desk_in(folder: Path, clock: FakeClock | None = None, dice: Random | None = None) -> AsyncIterator[Desk]:
    """Open the desk of a folder; opening it again is a restart."""
    async with registry_world(folder, clock=clock) as world:
        random_bytes = (dice or Random(7)).randbytes
        keys = Keys(PeopleStore(world.database), RING, world.clock, lambda _ring, _rules: None, random_bytes)
        await keys.load()
        store = SessionStore(world.database)
        desk: list[Desk] = []
        sessions = Sessions(
            store,
            lambda: keys.ring,
            world.clock,
            random_bytes,
            HOURS,
            may_write=lambda: not desk[0].lent,
            monotonic=partial(_seconds, world.clock),
        )
        await sessions.load()
        desk.append(Desk(world, keys, sessions))
        yield desk[0]
        await keys.settle()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_in(tmp_path) as made:
        yield made


async def fails(*_args: object) -> None:
    raise StorageUnavailable("The disk is full.")


# -------------------------------------------------------------------------------------------------- signing in


async def test_a_good_key_signs_in(desk: Desk) -> None:
    key_id, key = await desk.make(role=Role.OWNER)
    made = await desk.sessions.sign_in(f" {key}\n".encode())
    session = desk.sessions.find(made.token)
    assert session is not None
    assert session.principal == made.principal
    assert (session.principal.key_id, session.principal.role) == (key_id, Role.OWNER)
    assert session.csrf == made.csrf == csrf_of(token_of(made.token) or b"")
    assert session.expires_at == made.expires_at
    for shown in (repr(made), repr(session)):
        assert made.token not in shown
        assert made.csrf not in shown


async def test_each_sign_in_is_a_session_of_its_own(desk: Desk) -> None:
    first, second = await desk.sign_in(), await desk.sign_in()
    one, other = desk.sessions.find(first), desk.sessions.find(second)
    assert one is not None
    assert other is not None
    assert one.id != other.id
    assert one.csrf != other.csrf
    one.notices.append("Paused for 1 hour.")
    again = desk.sessions.find(first)
    assert again is not None
    assert list(again.notices) == ["Paused for 1 hour."]
    assert not other.notices


async def test_the_database_opens_nothing_and_tells_of_no_key(desk: Desk) -> None:
    _key_id, key = await desk.make()
    made = await desk.sessions.sign_in(key.encode())
    (row,) = await desk.rows()
    token = token_of(made.token)
    for secret in (token, digest(key), key.encode(), made.csrf.encode(), made.token.encode()):
        assert secret is not None
        assert secret not in b"".join((row.id, row.sealed_digest))
    for kept in (row.id, row.sealed_digest):
        assert desk.sessions.find(cookie_of(kept)) is None


async def test_a_sign_in_is_in_the_audit_without_secrets(desk: Desk) -> None:
    made = await desk.sessions.sign_in(ADMIN_KEY.encode())
    async with desk.world.database.read() as connection:
        (line,) = (await connection.execute(sa.select(audit_log))).mappings()
    assert (line["action"], line["object_kind"], line["actor_id"]) == ("session.opened", "session", "admin")
    for secret in (made.token, made.csrf, ADMIN_KEY):
        assert secret not in str(dict(line))


@pytest.mark.parametrize(
    "cookie", ["", "x", "A" * 43, "é" * 43, "\ud800", "A" * 100_000, cookie_of(bytes(TOKEN_BYTES))]
)
async def test_any_other_cookie_opens_nothing(desk: Desk, cookie: str) -> None:
    await desk.sign_in()
    assert desk.sessions.find(cookie) is None
    assert desk.sessions.why(cookie) is None
    await desk.sessions.sign_out(cookie)


async def test_a_wrong_key_is_refused_in_the_words_of_the_ring(desk: Desk) -> None:
    key_id, key = await desk.make()
    await desk.keys.revoke(ADMIN, key_id)
    cases = {key: "was revoked", key[:-1] + "!": "mistyped", "x" * 30: "unknown", "é": "unknown", "": "Enter your key"}
    for wrong, words in cases.items():
        with pytest.raises(NotAuthenticated, match=words):
            await desk.sessions.sign_in(wrong.encode())
    assert not await desk.rows()


async def test_a_key_whose_scope_does_not_reach_the_pages_stays_out(desk: Desk) -> None:
    key_id, key = await desk.make(role=Role.ADMIN, routes=frozenset({"/admin/usage"}))
    with pytest.raises(NotAllowed, match="may not call /ui"):
        await desk.sign_in(key)
    await desk.keys.change(ADMIN, key_id, KeyChange(routes=frozenset({"/ui"})))
    cookie = await desk.sign_in(key)
    assert desk.is_in(cookie)
    await desk.keys.change(ADMIN, key_id, KeyChange(routes=frozenset({"/v1/models"})))
    assert not desk.is_in(cookie)


async def test_who_guesses_waits_and_nobody_else(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    for _guess in range(10):
        with pytest.raises(NotAuthenticated):
            await desk.sessions.sign_in(b"canary-of-a-wrong-key", GUESSER)
    for key in (b"canary-of-a-wrong-key", ADMIN_KEY.encode()):
        with pytest.raises(TooMany, match="in 60 s") as refusal:
            await desk.sessions.sign_in(key, GUESSER)
        assert refusal.value.retry_after_seconds == 60
    await desk.sessions.sign_in(ADMIN_KEY.encode(), "198.51.100.8")
    desk.clock.move(seconds=60)
    await desk.sessions.sign_in(ADMIN_KEY.encode(), GUESSER)
    assert "canary" not in "".join(capsys.readouterr())


async def test_a_key_signs_in_so_often_in_a_minute_and_no_more(desk: Desk) -> None:
    _, key = await desk.make()
    for _ in range(120):
        await desk.sign_in(key)
    with pytest.raises(TooMany, match="120 times within a minute") as caught:
        await desk.sign_in(key)
    assert caught.value.retry_after_seconds
    await desk.sign_in()
    desk.clock.move(minutes=1)
    await desk.sign_in(key)


async def test_an_empty_field_is_no_guess(desk: Desk) -> None:
    for _time in range(30):
        with pytest.raises(NotAuthenticated, match="Enter your key"):
            await desk.sessions.sign_in(b" \n", GUESSER)


# -------------------------------------------------------------------------------------------------- how it ends


async def test_signing_out_ends_it(desk: Desk) -> None:
    cookie, other = await desk.sign_in(), await desk.sign_in()
    await desk.sessions.sign_out(cookie)
    assert not desk.is_in(cookie)
    assert desk.is_in(other)
    assert len(await desk.rows()) == 1


async def test_a_revoked_key_ends_its_sessions(desk: Desk) -> None:
    key_id, key = await desk.make()
    cookie, operators = await desk.sign_in(key), await desk.sign_in()
    assert desk.sessions.why(cookie) is None
    await desk.keys.revoke(ADMIN, key_id)
    assert not desk.is_in(cookie)
    assert desk.sessions.why(cookie) == "This key was revoked on 2030-01-01."
    assert desk.is_in(operators)


async def test_an_expired_key_ends_its_sessions(desk: Desk) -> None:
    desk.clock.move(seconds=1)
    _key_id, key = await desk.make(expires_at=desk.clock.moment.replace(hour=2))
    cookie = await desk.sign_in(key)
    desk.clock.move(hours=3)
    desk.keys.refresh(desk.clock.moment)
    assert not desk.is_in(cookie)
    assert "expired" in (desk.sessions.why(cookie) or "")


async def test_a_rotated_key_ends_its_sessions_when_the_old_secret_ends(desk: Desk) -> None:
    key_id, key = await desk.make()
    cookie = await desk.sign_in(key)
    _record, newer = await desk.keys.rotate(ADMIN, key_id, overlap_seconds=60)
    assert desk.is_in(cookie)
    desk.clock.move(seconds=60)
    desk.keys.refresh(desk.clock.moment)
    assert not desk.is_in(cookie)
    assert "was replaced" in (desk.sessions.why(cookie) or "")
    assert desk.is_in(await desk.sign_in(newer))


async def test_what_a_key_loses_its_session_loses(desk: Desk) -> None:
    key_id, key = await desk.make(models=frozenset({"one", "two"}))
    cookie = await desk.sign_in(key)
    await desk.keys.change(ADMIN, key_id, KeyChange(models=frozenset({"one"})))
    session = desk.sessions.find(cookie)
    assert session is not None
    assert session.principal.models == {"one"}


async def test_it_ends_when_it_is_not_used(desk: Desk) -> None:
    cookie = await desk.sign_in()
    desk.clock.move(hours=HOURS, seconds=-1)
    assert desk.sessions.find(cookie, is_use=False) is not None
    desk.clock.move(seconds=1)
    assert not desk.is_in(cookie)


async def test_using_it_keeps_it_going_for_seven_times_its_hours(desk: Desk) -> None:
    cookie = await desk.sign_in()
    for _visit in range(13):
        desk.clock.move(hours=HOURS / 2)
        assert desk.is_in(cookie)
    desk.clock.move(hours=HOURS / 2, seconds=-1)
    assert desk.is_in(cookie)
    desk.clock.move(seconds=1)
    assert not desk.is_in(cookie)


async def test_a_key_has_twenty_sessions_and_the_oldest_ends(desk: Desk) -> None:
    _key_id, key = await desk.make()
    operators = await desk.sign_in()
    cookies = []
    for _sign_in in range(MOST_OF_A_KEY + 2):
        desk.clock.move(seconds=1)
        cookies.append(await desk.sign_in(key))
    assert [desk.is_in(cookie) for cookie in cookies] == [False, False] + [True] * MOST_OF_A_KEY
    assert desk.is_in(operators)
    assert len(await desk.rows()) == MOST_OF_A_KEY + 1


async def test_many_sign_ins_at_once_keep_to_the_bound(desk: Desk) -> None:
    cookies = await asyncio.gather(*(desk.sign_in() for _sign_in in range(30)))
    assert sum(desk.is_in(cookie) for cookie in cookies) == MOST_OF_A_KEY == len(await desk.rows())


def test_when_there_are_too_many_the_one_unused_the_longest_ends() -> None:
    roll = Roll(Lifetime(START - START.replace(year=2029)), most=3)
    rows = [StoredSession(bytes([number]) * 32, b"x" * 32, START, START.replace(day=9 - number)) for number in range(3)]
    for row in rows:
        roll.add(row, f"key-{row.id[0]}")
    assert (len(roll), roll.crowded_out("another")) == (3, [rows[2].id])
    mark = replace(rows[2], sealed_digest=bytes(32))
    roll.add(mark, None)
    assert roll.crowded_out("another") == [rows[1].id]


def test_whoever_has_the_most_with_the_keys_it_made_is_crowded_out() -> None:
    roll = Roll(Lifetime(START - START.replace(year=2029)), most=4)
    by = {1: ("operator", None), 2: ("made-a", "greedy"), 3: ("made-b", "greedy"), 4: ("another", "operator")}
    for number, (key_id, minter) in by.items():
        stored = StoredSession(bytes([number]) * 32, b"x" * 32, START, START.replace(day=1 + number))
        roll.add(stored, None if number == 3 else key_id, None if number == 3 else minter)
    assert roll.crowded_out("late") == [bytes([1]) * 32], "nobody has more than the operator and who it made keys for"
    roll.drop(bytes([4]) * 32)
    live = roll.living(bytes([3]) * 32, START)
    assert live is not None
    assert roll.claim(live, *by[3])
    roll.add(StoredSession(b"5" * 32, b"x" * 32, START, START.replace(day=9)), "made-c", "greedy")
    assert roll.crowded_out("made-d") == [bytes([2]) * 32]
    assert roll.crowded_out("late") == [bytes([2]) * 32]


def test_what_ended_while_it_was_being_written_stays_ended() -> None:
    roll = Roll(Lifetime(START - START.replace(year=2029)))
    row = StoredSession(b"1" * 32, b"x" * 32, START, START.replace(day=9))
    roll.add(row, "key")
    live = roll.living(row.id, START)
    assert live is not None
    roll.use(live, START.replace(day=2))
    ends, closed = roll.unwritten()
    assert list(ends) == [row.id]
    roll.close([row.id])
    roll.written(ends, closed)
    assert len(roll) == 0
    assert roll.unwritten() == ({}, (row.id,))


# -------------------------------------------------------------------------------------------------- over a restart


async def test_sessions_outlive_a_restart(tmp_path: Path) -> None:
    clock, dice = FakeClock(), Random(3)
    async with desk_in(tmp_path, clock, dice) as desk:
        _key_id, key = await desk.make()
        cookies = [await desk.sign_in(key), await desk.sign_in(), await desk.sign_in()]
        await desk.sessions.sign_out(cookies[2])
    async with desk_in(tmp_path, clock, dice) as desk:
        assert [desk.is_in(cookie) for cookie in cookies] == [True, True, False]
        clock.move(hours=HOURS)
        assert not any(desk.is_in(cookie) for cookie in cookies)


async def test_use_is_written_once_an_hour(desk: Desk) -> None:
    cookie = await desk.sign_in()
    (before,) = await desk.rows()
    desk.clock.move(minutes=59)
    assert desk.is_in(cookie)
    await desk.sessions.flush()
    assert (await desk.rows())[0].expires_at == before.expires_at
    desk.clock.move(minutes=1)
    assert desk.is_in(cookie)
    await desk.sessions.flush()
    assert (await desk.rows())[0].expires_at == desk.clock.moment.replace(hour=13)


async def test_signing_out_everywhere_ends_also_what_was_not_seen_since_the_start(tmp_path: Path) -> None:
    clock, dice = FakeClock(), Random(3)
    async with desk_in(tmp_path, clock, dice) as desk:
        _key_id, key = await desk.make()
        seen, unseen, operators = await desk.sign_in(key), await desk.sign_in(key), await desk.sign_in()
    async with desk_in(tmp_path, clock, dice) as desk:
        session = desk.sessions.find(seen)
        assert session is not None
        clock.move(seconds=1)
        await desk.sessions.sign_out_everywhere(session.principal)
        clock.move(seconds=1)
        newer = await desk.sign_in(key)
        assert [desk.is_in(cookie) for cookie in (seen, newer, operators)] == [False, True, True]
    async with desk_in(tmp_path, clock, dice) as desk:
        assert [desk.is_in(cookie) for cookie in (seen, unseen, newer, operators)] == [False, False, True, True]
        assert not desk.is_in(unseen)


async def test_signing_out_everywhere_where_all_were_seen_leaves_nothing(desk: Desk) -> None:
    cookies = [await desk.sign_in() for _sign_in in range(3)]
    await desk.sessions.sign_out_everywhere(ADMIN)
    assert not any(desk.is_in(cookie) for cookie in cookies)
    assert not await desk.rows()


async def test_without_the_database_nobody_new_signs_in_and_who_is_in_stays_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie, other = await desk.sign_in(), await desk.sign_in()
    with monkeypatch.context() as broken:
        for method in ("open", "save", "load"):
            broken.setattr(SessionStore, method, fails)
        for change in (desk.sign_in, desk.sessions.load, lambda: desk.sessions.sign_out(other)):
            with pytest.raises(StorageUnavailable, match="disk is full"):
                await change()
        assert desk.is_in(cookie)
        assert not desk.is_in(other)
        for _turn in range(2):
            await desk.sessions.flush()
    assert len(await desk.rows()) == 2
    await desk.sessions.load()  # who signed out stays out, whatever the database says
    assert desk.is_in(cookie)
    assert not desk.is_in(other)
    await desk.sessions.flush()
    assert len(await desk.rows()) == 1


async def test_what_another_process_did_meanwhile_is_taken_over(tmp_path: Path) -> None:
    async with desk_in(tmp_path) as desk:
        first, second = await desk.sign_in(), await desk.sign_in()
        desk.clock.move(minutes=30)
        session = desk.sessions.find(first)
        assert session is not None
        session.notices.append("Told.")
        other = Sessions(
            SessionStore(desk.world.database), lambda: desk.keys.ring, desk.clock, Random(9).randbytes, HOURS
        )
        await other.load()
        await other.sign_out(second)
        third = (await other.sign_in(ADMIN_KEY.encode())).token
        await desk.sessions.load()
        assert [desk.is_in(cookie) for cookie in (first, second, third)] == [True, False, True]
        kept = desk.sessions.find(first)
        assert kept is not None
        assert kept.expires_at == session.expires_at
        assert list(kept.notices) == ["Told."]


async def test_signed_out_everywhere_by_another_process(tmp_path: Path) -> None:
    async with desk_in(tmp_path) as desk:
        cookie = await desk.sign_in()
        assert desk.is_in(cookie)
        other = Sessions(
            SessionStore(desk.world.database), lambda: desk.keys.ring, desk.clock, Random(9).randbytes, HOURS
        )
        await other.load()
        desk.clock.move(seconds=1)
        await other.sign_out_everywhere(ADMIN)
        await desk.sessions.load()
        assert not desk.is_in(cookie)


async def test_while_the_database_is_lent_what_can_wait_waits(desk: Desk) -> None:
    cookie = await desk.sign_in()
    (before,) = await desk.rows()
    desk.clock.move(hours=2)
    assert desk.is_in(cookie)
    desk.lent = True
    await desk.sessions.flush()
    await desk.sessions.purge(desk.clock.moment)
    assert (await desk.rows())[0].expires_at == before.expires_at
    desk.lent = False
    await desk.sessions.flush()
    assert (await desk.rows())[0].expires_at > before.expires_at


async def test_what_has_ended_is_purged_and_what_was_put_off_is_not(desk: Desk) -> None:
    used, unused = await desk.sign_in(), await desk.sign_in()
    desk.clock.move(minutes=59)
    assert desk.is_in(used)
    desk.clock.move(hours=HOURS, minutes=-59)
    await desk.sessions.purge(desk.clock.moment)
    assert len(await desk.rows()) == 1
    await desk.sessions.load()
    assert desk.is_in(used)
    assert not desk.is_in(unused)
