"""Who is signed in to the pages? Looked up in memory with a cookie, stored as rows that open nothing.

A session stands for the key that signed in, and each look-up asks the ring of keys for it: a key that is revoked,
expired or replaced ends its sessions at once, and a right that it loses is lost here too. ``core.people.session`` says
what is made of a cookie, ``core.people.roll`` which sessions live.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from app.services.core.errors import NotAuthenticated, StorageUnavailable, TooMany
from app.services.core.keys import digest
from app.services.core.people.attempts import Attempts
from app.services.core.people.refusals import route_not_in_scope
from app.services.core.people.roll import MOST, Roll
from app.services.core.people.session import (
    NO_KEY,
    TOKEN_BYTES,
    Lifetime,
    StoredSession,
    cookie_of,
    csrf_of,
    everywhere_id,
    seal,
    session_id,
    token_of,
    unseal,
)
from app.services.registry.accounting.audit_entry import entry
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from datetime import datetime

    from app.services.core.keys import KeyRing
    from app.services.core.people.principal import Principal
    from app.services.core.people.roll import LiveSession
    from app.services.registry.people.session_store import SessionStore

__all__ = ["PAGES", "Session", "Sessions", "SignedInSession"]

PAGES: Final = "/ui"
"""The path that a key's scope has to reach for it to sign in."""
_SHOWN_CHARACTERS: Final = 16
_MOST_A_MINUTE: Final = 120
"""Sign-ins of one key; scripts that look at pages need some, nobody needs more."""

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignedInSession:
    """A sign-in that was just made.

    Attributes:
        token: what the cookie is to hold; told this once.
        csrf: what each change has to carry.
        principal: whose key it was.
        expires_at: when it ends if it is not used.
    """

    token: str = field(repr=False)
    csrf: str = field(repr=False)
    principal: Principal
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Who looks: as the key is now.

    Attributes:
        principal: whose key signed in.
        csrf: what each change has to carry.
        id: tells sessions apart; it opens nothing.
        expires_at: when it ends if it is not used again.
        notices: what the next page is to tell once; whoever shows them empties it. At most ten, the oldest go.
    """

    principal: Principal
    csrf: str = field(repr=False)
    id: bytes = field(repr=False)
    expires_at: datetime
    notices: deque[str] = field(repr=False)


class Sessions:
    """All sign-ins. Nobody is signed in before ``load``.

    Args:
        store: where they outlive the process.
        ring: gives all keys that are good now.
        now: the present moment, timezone-aware UTC.
        random_bytes: gives so many bytes that nobody can guess.
        hours: how long a sign-in lasts without being used; seven times that at most.
        may_write: whether the store is there; while another process has it, what is not urgent waits.
        monotonic: seconds that never jump, for how often an address may be wrong.
    """

    def __init__(
        self,
        store: SessionStore,
        ring: Callable[[], KeyRing],
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        hours: float,
        *,
        may_write: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._ring, self._now, self._random_bytes = store, ring, now, random_bytes
        self._may_write = may_write
        self._monotonic = monotonic
        self._lifetime = Lifetime(timedelta(hours=hours))
        self._roll = Roll(self._lifetime)
        self._attempts = Attempts()
        self._opened_lately = Attempts(_MOST_A_MINUTE)
        """By key: each sign-in writes a line of the audit, which only grows."""
        self._turn = asyncio.Lock()
        """One at a time compares what is in memory with what is in the store."""
        self._store_failed = False

    async def load(self) -> None:
        """Take over what the database knows: at the start, or as another process had it.

        Raises:
            StorageUnavailable: it can't be read; who was signed in stays so.
        """
        async with self._turn:
            self._roll.take_over(await self._store.load(MOST))

    async def sign_in(self, credential: bytes, client: str = "") -> SignedInSession:
        """Open a session for whoever has a good key. The key's oldest ones end where it has too many.

        Args:
            credential: the key; blanks around it don't count.
            client: the address that it comes from, for how often it may be wrong.

        Raises:
            TooMany: too many wrong keys came from this address.
            NotAuthenticated: no good key is like it.
            NotAllowed: its scope does not reach the pages.
            StorageUnavailable: nobody was signed in.
        """
        key = credential.strip()
        principal = self._admit(key, client)
        token = self._random_bytes(TOKEN_BYTES)
        async with self._turn:
            now = self._now()
            end = self._lifetime.end(now, now)
            opened = StoredSession(session_id(token), seal(token, digest(key)), now, end)
            crowded = self._roll.crowded_out(principal.key_id)
            line = entry(principal, now, "session.opened", "session", opened.id.hex()[:_SHOWN_CHARACTERS])
            await self._store.open(opened, crowded, line)
            for id_ in crowded:
                self._roll.drop(id_)
            self._roll.add(opened, principal.key_id, principal.minted_by)
        return SignedInSession(cookie_of(token), csrf_of(token), principal, end)

    def find(self, cookie: str, *, is_use: bool = True) -> Session | None:
        """Say who looks; None where nobody is signed in by this cookie (any more).

        Args:
            cookie: what the browser sent, be it what it may.
            is_use: whether this keeps the session going; what a page asks for by itself should not.
        """
        token, live = self._opened(cookie)
        if token is None or live is None:
            return None
        principal = self._ring().principals.get(unseal(token, live.stored.sealed_digest))
        if principal is None or not principal.may_call(PAGES):
            return None
        if not self._roll.claim(live, principal.key_id, principal.minted_by):
            return None
        if is_use:
            self._roll.use(live, self._now())
        return Session(principal, csrf_of(token), live.stored.id, live.end, live.notices)

    def why(self, cookie: str) -> str | None:
        """Say in a sentence why the key of a session is good no more; None where it is, or where nothing is known."""
        token, live = self._opened(cookie)
        if token is None or live is None:
            return None
        return self._ring().ended.get(unseal(token, live.stored.sealed_digest))

    async def sign_out(self, cookie: str) -> None:
        """End a session. One that is not there has ended.

        Raises:
            StorageUnavailable: it has ended here, and will be deleted from the database once that answers.
        """
        _token, live = self._opened(cookie)
        if live is not None:
            self._roll.close([live.stored.id])
            await self._save()

    async def sign_out_everywhere(self, principal: Principal) -> None:
        """End all sessions of a key, also those whose cookie has not come since the start.

        Raises:
            StorageUnavailable: those that came have ended here; the others may go on.
        """
        self._roll.close(self._roll.of_key(principal.key_id))
        await self._save()
        if not self._roll.has_nobodys():
            return
        async with self._turn:
            now = self._now()
            mark = StoredSession(everywhere_id(principal.key_id), NO_KEY, now, now + self._lifetime.most)
            await self._store.open(mark, ())
            self._roll.add(mark, None)

    async def flush(self) -> None:
        """Write what waits. A database that fails is logged once, until it recovers."""
        if not any(self._roll.unwritten()) or not self._may_write():
            return
        try:
            await self._save()
        except StorageUnavailable as error:
            if not self._store_failed:
                logger.warning("Sign-ins can't be saved; they go on in memory", reason=error.message)
            self._store_failed = True
        else:
            self._store_failed = False

    async def purge(self, now: datetime) -> None:
        """Forget sessions that have ended.

        Raises:
            StorageUnavailable: some are in the database still; the next call deletes them.
        """
        self._roll.expire(now)
        if self._may_write():
            await self._save()  # or what was put off would be taken for ended
            await self._store.purge(now)

    def _opened(self, cookie: str) -> tuple[bytes | None, LiveSession | None]:
        """The token of a cookie, and the session that it opens; None for what there is not."""
        token = token_of(cookie)
        return token, None if token is None else self._roll.living(session_id(token), self._now())

    def _admit(self, key: bytes, client: str) -> Principal:
        """Say whose key it is, to those who have not been wrong too often."""
        moment = self._monotonic()
        wait = self._attempts.wait_seconds(client, moment)
        if wait:
            message = f"Too many wrong keys came from your address. Try again in {wait} s."
            raise TooMany(message, retry_after_seconds=wait)
        if not key:
            raise NotAuthenticated("Enter your key.")
        try:
            principal = self._ring().authenticate(key)
        except NotAuthenticated:
            self._attempts.failed(client, moment)
            logger.warning("A sign-in was refused", client=client)
            raise
        self._refuse_floods(principal, moment)
        if principal.routes is not None and not principal.may_call(PAGES):
            raise route_not_in_scope(PAGES, principal.routes)
        return principal

    def _refuse_floods(self, principal: Principal, moment: float) -> None:
        """Count a sign-in of a key.

        Raises:
            TooMany: it has signed in very often within a minute.
        """
        wait = self._opened_lately.wait_seconds(principal.key_id, moment)
        if wait:
            message = f"This key has signed in {_MOST_A_MINUTE} times within a minute. Try again in {wait} s."
            raise TooMany(message, retry_after_seconds=wait)
        self._opened_lately.failed(principal.key_id, moment)

    async def _save(self) -> None:
        """Tell the database what it does not know; what was not seen to be written waits for the next time."""
        async with self._turn:
            ends, closed = self._roll.unwritten()
            if ends or closed:
                await self._store.save(ends, closed)
                self._roll.written(ends, closed)
