"""What comes of it when somebody is invited anew to a key? Pure, as with keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.errors import Conflict
from app.services.registry.people.key_decisions import ENDED, line_of, refuse_opening
from app.services.registry.people.records import KeyState
from app.services.registry.people.rules import require_key
from app.services.registry.people.store import InviteRow, PeopleChange

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.registry.people.book import PeopleBook
    from app.services.registry.people.records import Invite, KeyRecord
    from app.services.registry.people.rules import Actor

__all__ = ["invite"]

_FETCHED: Final = "This key was fetched already: no invite leads to it. Rotate it for a new secret."
_LOST: Final = "The key that this one was made with has ended. Make a new one."


def invite(
    book: PeopleBook, actor: Actor, key_id: str, wanted: Invite, now: datetime, *, is_good: bool
) -> tuple[PeopleChange, KeyRecord]:
    """Invite somebody anew to a key that nobody has fetched yet.

    Raises:
        NotAllowed, NotFound: it is not for who asks to open.
        Conflict: it was fetched already, or has ended.
    """
    key = require_key(actor, book.keys.get(key_id))
    refuse_opening(actor, key)
    state = key.state(now)
    if state is not KeyState.UNCLAIMED or not is_good:
        raise Conflict(_FETCHED if state is KeyState.ACTIVE else ENDED.get(state, _LOST))
    told = {"invited_until": wanted.expires_at.isoformat()}
    line = line_of(actor.principal, now, "key.invited", key, after=told)
    return PeopleChange(invites=(InviteRow(wanted.digest, key_id, now, wanted.expires_at),), entries=(line,)), key
