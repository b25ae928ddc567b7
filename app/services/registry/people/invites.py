"""How do many people come to their keys at once: handed out as a list, or fetched by each with a link?

A link holds a token that opens one key once. What is kept of it is its SHA-256; looking at it uses nothing up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from app.services.core.errors import Conflict, NotFound
from app.services.core.keys import digest
from app.services.registry.people.importing import choose
from app.services.registry.people.records import Invite, KeyState
from app.services.registry.people.tokens import RANDOM_BYTES, is_token, mint_token
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.services.core.people.principal import Principal
    from app.services.registry.people.importing import ImportedPerson, LeftOut
    from app.services.registry.people.keys import Keys
    from app.services.registry.people.records import KeyRecord, KeySpec
    from app.services.registry.people.store import PeopleStore

__all__ = ["INVITE_DAYS", "Handed", "HandedOut", "Imported", "InviteGone", "Invited", "Invites", "Link"]

INVITE_DAYS: Final = 14
"""How long a link works unless something else is asked for."""
_ASK: Final = "Ask whoever sent you the link, or the gateway's operator, for a new one."

logger = get_logger(__name__)


class InviteGone(NotFound):
    """A link that was good once, or could have been."""

    status = 410
    default_code = "invite_gone"


class HandedOut(StrEnum):
    """What each person of a list gets."""

    KEYS = "keys"
    INVITES = "invites"


@dataclass(frozen=True, slots=True)
class Link:
    """A link by which a key is fetched, and until when; told this once."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Handed:
    """What one person of a list got: the key's record, and either the key itself or the link to it."""

    person: ImportedPerson
    record: KeyRecord
    key: str | None = field(default=None, repr=False)
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a list."""

    made: tuple[Handed, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class Invited:
    """What an invite leads to, as its page says it."""

    key_id: str
    name: str
    group: str | None
    expires_at: datetime | None


class Invites:
    """Lists of people, and the links by which they fetch their keys.

    Args:
        keys: makes the keys, and judges who may.
        store: where open invites outlive the process.
        clock: the present moment, timezone-aware UTC.
        random_bytes: gives so many bytes that nobody can guess.
        public_url: what people reach the gateway by, without a slash at its end; empty where that is not set.
    """

    def __init__(
        self,
        keys: Keys,
        store: PeopleStore,
        clock: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
        public_url: str = "",
    ) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self.public_url = public_url.rstrip("/")

    async def hand_out(
        self,
        principal: Principal,
        people: Sequence[ImportedPerson],
        terms: KeySpec,
        wanted: HandedOut,
        *,
        days: float = INVITE_DAYS,
        skip_existing: bool = False,
    ) -> Imported:
        """Make a key, or an invite to one, for each person of a list: for all of them or for none.

        Args:
            principal: whose key asks.
            people: the list.
            terms: what all of the keys may do; name and person are each one's own.
            wanted: keys, or invites.
            days: how long invites work.
            skip_existing: whether to leave out who has a live key in the group, or stands in the list twice.

        Raises:
            Conflict: somebody has one, or stands there twice, and is not to be left out.
            NotAllowed, FieldsInvalid, StorageUnavailable: nothing was made.
        """
        where, holders = self._there(principal, terms)
        chosen, left_out = choose(people, holders, where, skip_existing=skip_existing)
        specs = [replace(terms, name=one.name, person=one.person) for one in chosen]
        if not specs:
            made: list[Handed] = []
        elif wanted is HandedOut.KEYS:
            minted = await self._keys.create_all(principal, specs)
            made = [Handed(one, record, key=key) for one, (record, key) in zip(chosen, minted, strict=True)]
        else:
            links = [self._link(days) for _spec in specs]
            unclaimed = await self._keys.create_unclaimed(principal, specs, [sealed for _link, sealed in links])
            made = [
                Handed(one, record, link=link)
                for one, record, (link, _sealed) in zip(chosen, unclaimed, links, strict=True)
            ]
        logger.info("A list of people was imported", wanted=wanted.value, made=len(made), left_out=len(left_out))
        return Imported(tuple(made), tuple(left_out))

    async def foresee(
        self, principal: Principal, people: Sequence[ImportedPerson], terms: KeySpec
    ) -> tuple[list[ImportedPerson], list[LeftOut]]:
        """Say who of a list would get a key, and who not because they have one or stand there twice. Makes nothing.

        Raises:
            NotAllowed, FieldsInvalid, Conflict: as ``hand_out`` would for those who get one.
        """
        where, holders = self._there(principal, terms)
        chosen, left_out = choose(people, holders, where, skip_existing=True)
        await self._keys.rehearse(principal, [replace(terms, name=one.name, person=one.person) for one in chosen])
        return chosen, left_out

    async def renew(self, principal: Principal, key_id: str, *, days: float = INVITE_DAYS) -> Link:
        """Make a new link to a key that nobody has fetched yet; the one before works no more.

        Raises:
            NotAllowed, NotFound: the key is not for who asks to open.
            Conflict: it was fetched already, or has ended.
            StorageUnavailable: nothing changed.
        """
        link, sealed = self._link(days)
        await self._keys.invite(principal, key_id, sealed)
        return link

    async def look(self, token: str) -> Invited:
        """Say what a link leads to. Nothing is used up: programs look at links before people do.

        Raises:
            NotFound: it is not whole.
            InviteGone: it was used, has ended, or was never sent.
            StorageUnavailable: the database does not answer.
        """
        if not is_token(token):
            message = "This invite link is not whole: a part of it is missing or mistyped. Open it from the message."
            raise NotFound(message)
        key_id = await self._store.find_invite(digest(token), self._clock())
        record = None if key_id is None else self._keys.records.get(key_id)
        if record is None or self._keys.state(record) is not KeyState.UNCLAIMED:
            raise InviteGone(f"This invite was used already, has expired or was withdrawn. {_ASK}")
        return self._invited(record)

    async def claim(self, token: str) -> tuple[Invited, str]:
        """Use a link up; return what it led to, and the key, which is never told again.

        Raises:
            NotFound, InviteGone, StorageUnavailable: as ``look`` does; nothing was used up.
        """
        invited = await self.look(token)
        try:
            record, key = await self._keys.give_secret(invited.key_id, invite=digest(token))
        except (NotFound, Conflict) as error:
            raise InviteGone(f"This invite was used already, has expired or was withdrawn. {_ASK}") from error
        logger.info("A key was fetched by its invite", key_id=record.id)
        return self._invited(record), key

    def _link(self, days: float) -> tuple[Link, Invite]:
        """Make a link: as it is told, and what is kept of it."""
        token = mint_token(self._random_bytes(RANDOM_BYTES))
        end = self._clock() + timedelta(days=days)
        return Link(f"{self.public_url}/invite/{token}", end), Invite(digest(token), end)

    def _there(self, principal: Principal, terms: KeySpec) -> tuple[str, set[str]]:
        """Say where keys of these terms will be, in words, and which people have a live one there."""
        group_id = principal.group if terms.group_id is UNSET else terms.group_id
        group = self._keys.groups.get(group_id) if isinstance(group_id, str) else None
        live = {KeyState.ACTIVE, KeyState.UNCLAIMED}
        holders = {
            record.person or record.name
            for record in self._keys.list(principal)
            if record.group_id == group_id and self._keys.state(record) in live
        }
        return (f"in the group {group.name}" if group else "outside of groups"), holders

    def _invited(self, record: KeyRecord) -> Invited:
        group = self._keys.groups.get(record.group_id) if record.group_id else None
        return Invited(record.id, record.name, group.name if group else None, record.expires_at)
