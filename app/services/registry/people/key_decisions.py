"""What comes of it when somebody makes, changes, ends or rotates a key? Pure: a change comes out.

Each function judges first and raises what its caller is to be told; what it returns has only to be stored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from app.services.core.errors import Conflict, FieldsInvalid
from app.services.core.people.principal import Role
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.people.book import MAX_KEYS
from app.services.registry.people.forms import checked_key
from app.services.registry.people.principals import principal_of
from app.services.registry.people.records import Invite, KeyRecord, KeyState, SecretRecord
from app.services.registry.people.rules import (
    refuse_widening,
    refuse_wider_than_minter,
    require_keeper,
    require_key,
)
from app.services.registry.people.shown import differences, shown_key
from app.services.registry.people.store import InviteRow, PeopleChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from app.services.core.people.principal import Principal
    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.services.registry.people.book import PeopleBook
    from app.services.registry.people.records import KeyChange, KeySpec
    from app.services.registry.people.rules import Actor

__all__ = [
    "ENDED",
    "MAX_MINTED",
    "MAX_OVERLAP_SECONDS",
    "Minted",
    "alter",
    "claim",
    "line_of",
    "mint_all",
    "refuse_opening",
    "revoke",
    "rotate",
]

MAX_MINTED: Final = 1000
"""How many keys that are not revoked one owner's key may have."""
MAX_OVERLAP_SECONDS: Final = 31 * 86400

ENDED: Final = {
    KeyState.REVOKED: "This key was revoked, and that is for good. Make a new one.",
    KeyState.EXPIRED: "This key has expired. Give it a later expires_at first.",
    KeyState.UNCLAIMED: "This key has no secret yet: its person was invited. Send a new invite instead.",
}


@dataclass(frozen=True, slots=True)
class Minted:
    """A key that is asked for, with its id and what is kept of its secret (None: an invite comes first)."""

    spec: KeySpec
    key_id: str
    secret: SecretRecord | None = None
    invite: Invite | None = None


def mint_all(
    book: PeopleBook, actor: Actor, wanted: Sequence[Minted], now: datetime
) -> tuple[PeopleChange, tuple[KeyRecord, ...]]:
    """Make keys.

    Raises:
        NotAllowed: who asks may make none, or not such ones.
        FieldsInvalid: one of them is not well-formed, has ended already, or is to be in a group that is not there.
        Conflict: there would be too many.
    """
    require_keeper(actor)
    _refuse_too_many_minted(book, actor, len(wanted))
    keys = tuple(_minted(book, actor, one, now) for one in wanted)
    lines = tuple(line_of(actor.principal, now, "key.created", key, after=shown_key(key)) for key in keys)
    invites = tuple(
        InviteRow(one.invite.digest, one.key_id, now, one.invite.expires_at) for one in wanted if one.invite
    )
    return PeopleChange(added=keys, forgotten=_room_for(book, len(keys)), invites=invites, entries=lines), keys


def alter(
    book: PeopleBook, actor: Actor, key_id: str, change: KeyChange, now: datetime
) -> tuple[PeopleChange, KeyRecord]:
    """Change a key. Those that an owner's key minted follow it into another group.

    Raises:
        NotAllowed, NotFound, FieldsInvalid: as with ``mint_all``.
        Conflict: it was revoked.
    """
    before = require_key(actor, book.keys.get(key_id))
    _refuse_changing(actor, before)
    if before.revoked_at is not None:
        raise Conflict(ENDED[KeyState.REVOKED])
    given: dict[str, Any] = {
        part.name: value for part in fields(change) if (value := getattr(change, part.name)) is not UNSET
    }
    after = checked_key(replace(before, **given))
    _refuse_no_group(book, after)
    refuse_widening(actor, after, before)
    refuse_wider_than_minter(after, before, book.binding_minter(before))
    if after == before:
        return PeopleChange(), before
    changed = [replace(after, updated_at=now)]
    if after.group_id != before.group_id:
        hanging = (key for key in book.hanging_on(before) if key.revoked_at is None)
        changed += [replace(key, group_id=after.group_id, updated_at=now) for key in hanging]
    return _change_of(book, actor.principal, "key.changed", changed, now), changed[0]


def revoke(book: PeopleBook, actor: Actor, key_id: str, now: datetime) -> tuple[PeopleChange, KeyRecord]:
    """End a key for good, with all that hang on it. One that was revoked stays as it is.

    Raises:
        NotAllowed: it may do more than the key that asks.
        NotFound: there is none that one may see.
    """
    before = require_key(actor, book.keys.get(key_id))
    _refuse_changing(actor, before)
    if before.revoked_at is not None:
        return PeopleChange(), before
    ending = [before, *(key for key in book.hanging_on(before) if key.revoked_at is None)]
    ended = [replace(key, revoked_at=now, updated_at=now) for key in ending]
    return _change_of(book, actor.principal, "key.revoked", ended, now), ended[0]


def rotate(
    book: PeopleBook, actor: Actor, key_id: str, secret: SecretRecord, overlap_seconds: float, now: datetime
) -> tuple[PeopleChange, KeyRecord]:
    """Give a key a new secret. The one before it opens the key until the overlap ends, an older one no more.

    Every key may be given a new one by itself: that lets nobody do more.

    Raises:
        NotAllowed, NotFound: it is not for who asks to open.
        FieldsInvalid: the overlap is none, or too long.
        Conflict: the key is not good.
    """
    own = book.keys.get(key_id) if key_id == actor.principal.key_id else None
    before = own or require_key(actor, book.keys.get(key_id))
    if not (isfinite(overlap_seconds) and 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS):
        message = f"overlap_seconds is 0 to {MAX_OVERLAP_SECONDS} (31 days); at 0 the old secret ends at once."
        raise FieldsInvalid(message, param="overlap_seconds")
    if own is None:
        refuse_opening(actor, before)
    state = before.state(now)
    if state is not KeyState.ACTIVE:
        raise Conflict(ENDED[state])
    newest = before.secrets[-1]
    end = now + timedelta(seconds=overlap_seconds)
    replaced = replace(newest, expires_at=end if newest.expires_at is None else min(end, newest.expires_at))
    after = replace(before, secrets=(replaced, secret), updated_at=now)
    return _change_of(book, actor.principal, "key.rotated", [after], now), after


def claim(
    book: PeopleBook, key_id: str, secret: SecretRecord, invite: bytes | None, now: datetime, *, is_good: bool
) -> tuple[PeopleChange, KeyRecord]:
    """Give a key that somebody was invited to its secret.

    Args:
        book: what there is.
        key_id: which key.
        secret: what is kept of its secret.
        invite: the digest of the invite that this uses up.
        now: the present moment.
        is_good: whether the key would open the gateway: the one that minted it may have ended.

    Raises:
        Conflict: it is not waiting for one, or not there.
    """
    before = book.keys.get(key_id)
    if before is None or not is_good or before.state(now) is not KeyState.UNCLAIMED:
        message = "This key was fetched already, or has ended. Ask the gateway's operator for a new invite."
        raise Conflict(message)
    after = replace(before, secrets=(secret,), updated_at=now)
    change = _change_of(book, principal_of(after, None, None), "key.claimed", [after], now)
    return replace(change, invite_taken=None if invite is None else (invite, now)), after


def refuse_opening(actor: Actor, key: KeyRecord) -> None:
    """Let nobody get a secret of a key that may do more than his own.

    What an owner's key minted never does, whatever its row says: it is bounded by that key at every request.

    Raises:
        NotAllowed: it may.
    """
    if not (actor.role is Role.OWNER and key.minted_by == actor.principal.key_id):
        refuse_widening(actor, key)


def _refuse_changing(actor: Actor, key: KeyRecord) -> None:
    """Let nobody change or end a key that may do more than his own; how long either is good does not matter."""
    refuse_opening(replace(actor, scope=replace(actor.scope, expires_at=None)), key)


def _minted(book: PeopleBook, actor: Actor, wanted: Minted, now: datetime) -> KeyRecord:
    """Fill in what was left out, and judge what comes of it."""
    spec, scope = wanted.spec, actor.scope
    minter = book.keys.get(actor.principal.key_id)
    usual: dict[str, Any] = {
        "group_id": scope.group,
        "person": None if scope.role is Role.ADMIN else scope.person,
        "models": scope.models,
        "routes": scope.routes,
        "reach": scope.reach,
        "background": scope.background,
        "weight": 1.0 if scope.is_unbounded else min(1.0, scope.weight),
        "limits": scope.limits,
        "model_limits": scope.model_limits,
        "expires_at": None if minter is None else minter.expires_at,
    }
    asked: dict[str, Any] = {
        part.name: value for part in fields(spec) if (value := getattr(spec, part.name)) is not UNSET
    }
    secrets = () if wanted.secret is None else (wanted.secret,)
    key = checked_key(
        KeyRecord(
            id=wanted.key_id,
            minted_by=actor.principal.key_id,
            created_at=now,
            updated_at=now,
            secrets=secrets,
            **(usual | asked),
        )
    )
    if key.expires_at is not None and key.expires_at <= now:
        raise FieldsInvalid("expires_at has passed already. Give a later one, or none.", param="expires_at")
    _refuse_no_group(book, key)
    refuse_widening(actor, key)
    return key


def _refuse_no_group(book: PeopleBook, key: KeyRecord) -> None:
    if key.group_id is not None and key.group_id not in book.groups:
        message = "There is no group of this id. GET /admin/groups lists them; make one with POST /admin/groups."
        raise FieldsInvalid(message, param="group")


def _refuse_too_many_minted(book: PeopleBook, actor: Actor, more: int) -> None:
    if actor.role is Role.ADMIN:
        return
    kept = sum(key.revoked_at is None for key in book.minted_by(actor.principal.key_id))
    if kept + more > MAX_MINTED:
        message = f"An owner key has at most {MAX_MINTED} keys, and yours has {kept}. Revoke some first."
        raise Conflict(message)


def _room_for(book: PeopleBook, more: int) -> tuple[str, ...]:
    """Choose what to forget so that there is room: the keys that were revoked the longest ago."""
    surplus = len(book.keys) + more - MAX_KEYS
    if surplus <= 0:
        return ()
    revoked = sorted((key.revoked_at, key.id) for key in book.keys.values() if key.revoked_at is not None)
    if len(revoked) < surplus:
        message = f"There are {len(book.keys)} keys, of {MAX_KEYS} at most. Revoke some that are no longer used first."
        raise Conflict(message)
    return tuple(key_id for _instant, key_id in revoked[:surplus])


def _change_of(
    book: PeopleBook, principal: Principal, action: str, keys: Iterable[KeyRecord], now: datetime
) -> PeopleChange:
    """Make the change that leaves keys as these are, with a line of the audit for each."""
    changed = tuple(keys)
    lines = []
    for after in changed:
        was, becomes = differences(shown_key(book.keys[after.id]), shown_key(after))
        lines.append(line_of(principal, now, action, after, was, becomes))
    return PeopleChange(changed=changed, entries=tuple(lines))


def line_of(
    principal: Principal,
    now: datetime,
    action: str,
    key: KeyRecord,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """Make the line of the audit that tells of a key."""
    return entry(principal, now, action, "key", key.id, key.name, before=before, after=after)
