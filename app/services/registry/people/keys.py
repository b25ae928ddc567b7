"""Which keys open the gateway, for whom and for what? The use cases of keys.

Every change is decided, written with its line of the audit in one transaction, put into memory and handed to the data
plane before it is acknowledged. A secret is told once, to whom it is made for, and kept as its SHA-256.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING
from uuid import uuid4

from app.services.core.errors import NotFound
from app.services.core.keys import RANDOM_BYTES, digest, display, mint
from app.services.registry.people import invite_decisions, key_decisions
from app.services.registry.people.forms import refuse_reserved_person
from app.services.registry.people.groups import Groups
from app.services.registry.people.key_decisions import Minted, refuse_opening
from app.services.registry.people.listing import KeyPager, KeyQuery, slices
from app.services.registry.people.records import KeyState, SecretRecord
from app.services.registry.people.register import PeopleRegister
from app.services.registry.people.rules import require_keeper, require_key, sees_key
from app.services.registry.people.store import PeopleChange
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from app.services.core.keys import KeyRing
    from app.services.core.people.principal import LimitRule, Principal, Role
    from app.services.registry.people.listing import KeyPage
    from app.services.registry.people.records import Invite, KeyChange, KeyRecord, KeySpec
    from app.services.registry.people.store import PeopleStore

__all__ = ["Keys"]

_OPERATORS = "This is the operator's own key: it is the setting ADMIN_API_KEY. Change that and restart the gateway."

logger = get_logger(__name__)


class Keys(Groups):
    """All keys and groups, and who may change them.

    Args:
        store: where they outlive the process.
        admin_ring: the operator's key, which is in every ring: the last way in can't get lost.
        clock: the present moment, timezone-aware UTC.
        on_change: called after each change with the ring and the limits of models; must not block or raise.
        random_bytes: gives so many bytes that nobody can guess.
    """

    def __init__(
        self,
        store: PeopleStore,
        admin_ring: KeyRing,
        clock: Callable[[], datetime],
        on_change: Callable[[KeyRing, Mapping[str, LimitRule]], None],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(PeopleRegister(store, admin_ring, clock, on_change))
        self._random_bytes = random_bytes

    @property
    def ring(self) -> KeyRing:
        """All keys that are good now; swapped whole."""
        return self._register.ring

    @property
    def records(self) -> Mapping[str, KeyRecord]:
        """All keys by id, the oldest first; the operator's is not among them."""
        return self._register.book.keys

    async def load(self) -> None:
        """Take over what the database knows, and hand it on."""
        await self._register.load()

    async def settle(self) -> None:
        """Wait for changes whose callers went away. Before the database is closed."""
        await self._register.settle()

    def refresh(self, now: datetime) -> None:
        """Drop what has ended since: about once a second. Costs one comparison where nothing has."""
        self._register.refresh(now)

    def list(
        self,
        principal: Principal,
        *,
        group: str | None = None,
        role: Role | None = None,
        state: KeyState | None = None,
    ) -> list[KeyRecord]:
        """The keys that one may see, the oldest first; of this group, role and state where those are given.

        Raises:
            NotAllowed: a user's key asks.
        """
        pager = self._pager(principal, KeyQuery(group, role, state, limit=len(self.records)))
        pager.take(self.records.values())
        return [*pager.page().keys]

    async def page(self, principal: Principal, query: KeyQuery) -> KeyPage:
        """Find keys that one may see, a page of them. Where many are looked through, others get a turn in between.

        Raises:
            NotAllowed: a user's key asks.
            FieldsInvalid: the key that the page comes after is not there.
        """
        pager = self._pager(principal, query)
        for some in slices(self.records.values(), newest_first=query.newest_first):
            pager.take(some)
            await asyncio.sleep(0)
        return pager.page()

    def get(self, principal: Principal, key_id: str) -> KeyRecord:
        """Return one key.

        Raises:
            NotAllowed: a user's key asks.
            NotFound: there is none that one may see.
        """
        return require_key(self._register.actor(principal), self._found(key_id))

    def state(self, key: KeyRecord) -> KeyState:
        """What a key is good for now: what an owner's key minted has expired where that one has."""
        state = key.state(self._register.clock())
        lost = state in {KeyState.ACTIVE, KeyState.UNCLAIMED} and not self._register.is_good(key.id)
        return KeyState.EXPIRED if lost else state

    def openable(self, principal: Principal, key_id: str) -> KeyRecord:
        """Return a key to which one may make a new secret, or an invite.

        Raises:
            NotAllowed: it may do more than the key that asks.
            NotFound: there is none that one may see.
        """
        actor = self._register.actor(principal)
        key = require_key(actor, self._found(key_id))
        refuse_opening(actor, key)
        return key

    async def create(self, principal: Principal, spec: KeySpec) -> tuple[KeyRecord, str]:
        """Make a key; return it with its secret, which is never told again.

        Raises:
            NotAllowed: who asks may make none, or not such a one.
            FieldsInvalid: it is not well-formed, has ended already, or is to be in a group that is not there.
            Conflict: there are too many.
            StorageUnavailable: nothing was stored, nothing changed.
        """
        return (await self.create_all(principal, [spec]))[0]

    async def create_all(self, principal: Principal, specs: Sequence[KeySpec]) -> tuple[tuple[KeyRecord, str], ...]:
        """Make keys, all or none. Raises as ``create`` does."""
        made = [self._secret() for _spec in specs]
        wanted = [Minted(spec, str(uuid4()), kept) for spec, (_told, kept) in zip(specs, made, strict=True)]
        keys = await self._mint(principal, wanted)
        return tuple((key, told) for key, (told, _kept) in zip(keys, made, strict=True))

    async def rehearse(self, principal: Principal, specs: Sequence[KeySpec]) -> None:
        """Judge keys as ``create_all`` does, and make none. Raises likewise."""
        await self._mint(principal, [Minted(spec, str(uuid4())) for spec in specs], is_rehearsal=True)

    async def create_unclaimed(
        self, principal: Principal, specs: Sequence[KeySpec], invites: Sequence[Invite] = ()
    ) -> tuple[KeyRecord, ...]:
        """Make keys without a secret, each with its invite if those are given; all or none. Raises as ``create``."""
        wanted = [Minted(spec, str(uuid4()), invite=invite) for spec, invite in zip_longest(specs, invites)]
        return await self._mint(principal, wanted)

    async def invite(self, principal: Principal, key_id: str, invite: Invite) -> KeyRecord:
        """Invite somebody anew to a key that nobody has fetched yet; the invite before opens it no more.

        Raises:
            NotAllowed: it may do more than who asks.
            NotFound, StorageUnavailable: nothing changed.
            Conflict: it was fetched already, or has ended.
        """
        self._refuse_operators(key_id)
        register = self._register
        key = await register.carry(
            lambda now: invite_decisions.invite(
                register.book, register.actor(principal), key_id, invite, now, is_good=register.is_good(key_id)
            )
        )
        logger.info("Somebody was invited to a key anew", key_id=key_id)
        return key

    async def give_secret(self, key_id: str, *, invite: bytes | None = None) -> tuple[KeyRecord, str]:
        """Give a key that somebody was invited to its secret, in its person's own name.

        Args:
            key_id: which.
            invite: the digest of the invite that is used up by it, in the same transaction.

        Raises:
            Conflict: it has one already, or has ended.
            NotFound: the invite is not open.
            StorageUnavailable: nothing was stored, nothing changed.
        """
        told, kept = self._secret()
        register = self._register
        key = await register.carry(
            lambda now: key_decisions.claim(register.book, key_id, kept, invite, now, is_good=register.is_good(key_id))
        )
        logger.info("A key was claimed", key_id=key_id)
        return key, told

    async def change(self, principal: Principal, key_id: str, change: KeyChange) -> KeyRecord:
        """Change a key.

        Raises:
            NotAllowed: it would do more than who asks, or than the owner's key that minted it.
            NotFound, FieldsInvalid, StorageUnavailable: nothing changed.
            Conflict: it was revoked.
        """
        self._refuse_operators(key_id)
        refuse_reserved_person(change.person, principal.person)
        register = self._register
        key = await register.carry(
            lambda now: key_decisions.alter(register.book, register.actor(principal), key_id, change, now)
        )
        logger.info("A key was changed", key_id=key_id)
        return key

    async def revoke(self, principal: Principal, key_id: str) -> KeyRecord:
        """End a key for good, with those that it minted if it is an owner's. Once more changes nothing.

        Raises:
            NotAllowed, NotFound, StorageUnavailable: nothing changed.
        """
        self._refuse_operators(key_id)
        register = self._register
        key = await register.carry(
            lambda now: key_decisions.revoke(register.book, register.actor(principal), key_id, now)
        )
        logger.info("A key was revoked", key_id=key_id)
        return key

    async def rotate(self, principal: Principal, key_id: str, *, overlap_seconds: float) -> tuple[KeyRecord, str]:
        """Give a key a new secret and return both; the one before opens the key until the overlap ends.

        Args:
            principal: whose key asks.
            key_id: which key.
            overlap_seconds: 0 ends the old secret at once. One that is older still ends in any case.

        Raises:
            NotAllowed: it may do more than who asks.
            NotFound, FieldsInvalid, StorageUnavailable: nothing changed.
            Conflict: it is not good.
        """
        self._refuse_operators(key_id)
        told, kept = self._secret()
        register = self._register
        key = await register.carry(
            lambda now: key_decisions.rotate(
                register.book, register.actor(principal), key_id, kept, overlap_seconds, now
            )
        )
        logger.info("A key was rotated", key_id=key_id)
        return key, told

    async def _mint(
        self, principal: Principal, wanted: Sequence[Minted], *, is_rehearsal: bool = False
    ) -> tuple[KeyRecord, ...]:
        for one in wanted:
            refuse_reserved_person(one.spec.person, principal.person)
        register = self._register

        def decide(now: datetime) -> tuple[PeopleChange, tuple[KeyRecord, ...]]:
            change, keys = key_decisions.mint_all(register.book, register.actor(principal), wanted, now)
            return (PeopleChange(), ()) if is_rehearsal else (change, keys)

        keys = await register.carry(decide)
        if not is_rehearsal:
            logger.info("Keys were created", keys=len(keys))
        return keys

    def _pager(self, principal: Principal, query: KeyQuery) -> KeyPager:
        actor = self._register.actor(principal)
        require_keeper(actor)
        return KeyPager(query, partial(sees_key, actor), self.state)

    def _secret(self) -> tuple[str, SecretRecord]:
        """Make a secret: as it is told, and what is kept of it."""
        secret = mint(self._random_bytes(RANDOM_BYTES))
        return secret, SecretRecord(digest(secret), display(secret), self._register.clock())

    def _found(self, key_id: str) -> KeyRecord | None:
        self._refuse_operators(key_id)
        return self.records.get(key_id)

    def _refuse_operators(self, key_id: str) -> None:
        if self._register.is_operators(key_id):
            raise NotFound(_OPERATORS)
