"""How is a registered server paused, blocked, approved, trusted and taken out? Who may, and what stays of it.

Three states keep work away by three people's word, and each is lifted by its own: its owner's pause (and drain), the
gateway's quarantine, the operator's block. An owner gets a server out of quarantine by a check that passes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from app.services.core.errors import FieldsInvalid, NotFound
from app.services.registry.access import require_operators_word, require_registrant, require_steering, sees
from app.services.registry.audited import GATEWAY, told_of
from app.services.registry.records import NO_HOLD, Hold
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from app.services.core.keys import Principal
    from app.services.core.people.principal import Trust
    from app.services.registry.book import HealthBook
    from app.services.registry.records import ServerRecord
    from app.services.registry.roster import Roster
    from app.services.registry.terms import Owners

__all__ = ["Steering"]

logger = get_logger(__name__)


class Steering:
    """What keeps work away from servers, and what is said of them. The registry sets it up.

    Args:
        roster: all servers.
        book: their live health.
        owners: what is known of the keys that registered them.
        clock: the present moment, timezone-aware UTC.
    """

    def __init__(self, roster: Roster, book: HealthBook, owners: Owners, clock: Callable[[], datetime]) -> None:
        self._roster = roster
        self._book = book
        self._clock = clock
        self.owners = owners

    @property
    def servers(self) -> Mapping[str, ServerRecord]:
        """All servers by id, oldest first, as they are now: a later change makes a new mapping."""
        return self._roster.servers

    def get(self, server_id: str) -> ServerRecord:
        """Return one server.

        Raises:
            NotFound: there is none with this id.
        """
        return self._roster.get(server_id)

    def seen(self, principal: Principal, server_id: str) -> ServerRecord:
        """Return one server to who may look at it.

        Raises:
            NotFound: there is none with this id that is shared with the key.
            NotAllowed: a user's key.
        """
        require_registrant(principal)
        record = self.servers.get(server_id)
        if record is None or not sees(principal, record, self.owners):
            message = "There is no server with this id. GET /admin/servers lists those that exist."
            raise NotFound(message)
        return record

    def steered(self, principal: Principal, server_id: str) -> ServerRecord:
        """Return one server to who may steer it.

        Raises:
            NotFound: there is none with this id that is shared with the key.
            NotAllowed: it is another owner's, or the key a user's.
        """
        record = self.seen(principal, server_id)
        require_steering(principal, record, self.owners)
        return record

    async def pause(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no new work, by its owner's wish. ``until`` None means until ``resume``."""
        hold = Hold(active=True, reason=reason, until=until)
        return await self._hold(principal, server_id, "paused", {"paused": hold})

    async def drain(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no new work and let running requests finish, before a restart say. Ends with ``resume``."""
        hold = Hold(active=True, reason=reason, until=until)
        return await self._hold(principal, server_id, "drained", {"draining": hold})

    async def resume(self, principal: Principal, server_id: str) -> ServerRecord:
        """End a pause and a drain, and give a misconfigured server another chance. Block and quarantine stay."""
        record = await self._hold(principal, server_id, "resumed", {"paused": NO_HOLD, "draining": NO_HOLD})
        self._book.pardon(server_id)
        return record

    async def block(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no work, by the operator's word; its owner cannot lift it."""
        require_operators_word(principal)
        hold = Hold(active=True, reason=reason, until=until)
        return await self._hold(principal, server_id, "blocked", {"blocked": hold})

    async def unblock(self, principal: Principal, server_id: str) -> ServerRecord:
        """Lift a block, and a quarantine with it: the operator has looked."""
        require_operators_word(principal)
        return await self._hold(principal, server_id, "unblocked", {"blocked": NO_HOLD, "quarantined": NO_HOLD})

    async def approve(self, principal: Principal, server_id: str, trust: Trust | None = None) -> ServerRecord:
        """Let a server that waits for the operator take work.

        Args:
            principal: an admin's.
            server_id: which one.
            trust: how far it is trusted; None leaves that as it is.

        Raises:
            NotAllowed, NotFound, StorageUnavailable: nothing changed.
        """
        require_operators_word(principal)
        self.get(server_id)
        now = self._clock()

        def approved(current: ServerRecord) -> ServerRecord:
            return replace(current, pending=NO_HOLD, trust=trust or current.trust, updated_at=now)

        record = await self._roster.rewrite(server_id, approved, told=told_of("approved", principal, now))
        logger.info("A server was approved", server_id=server_id)
        return record

    async def trust(self, principal: Principal, server_id: str, trust: Trust | None) -> ServerRecord:
        """Say how far a server is trusted; None leaves it to what its owner and ``share`` imply. Raises as above."""
        require_operators_word(principal)
        self.get(server_id)
        now = self._clock()
        record = await self._roster.rewrite(
            server_id,
            lambda current: replace(current, trust=trust, updated_at=now),
            told=told_of("trust_changed", principal, now),
        )
        logger.info("The trust in a server changed", server_id=server_id, trust=trust or "as implied")
        return record

    async def quarantine(self, server_id: str, reason: str, until: datetime) -> None:
        """Take a server out for a while, by the gateway's own judgement.

        Raises:
            NotFound: it was removed meanwhile.
            StorageUnavailable: nothing was stored, nothing changed.
        """
        await self._set(
            GATEWAY, server_id, "quarantined", {"quarantined": Hold(active=True, reason=reason, until=until)}
        )

    async def release(self, server_id: str, principal: Principal = GATEWAY) -> bool:
        """Let a server out of quarantine; whether it was in it.

        Args:
            server_id: which one.
            principal: whose check it passed: one that may steer it. The gateway asks in its own name.

        Raises:
            NotFound, NotAllowed, StorageUnavailable: nothing changed.
        """
        record = self.get(server_id) if principal is GATEWAY else self.steered(principal, server_id)
        if not record.quarantined.in_force(self._clock()):
            return False
        await self._set(principal, server_id, "released", {"quarantined": NO_HOLD})
        return True

    async def _hold(self, principal: Principal, server_id: str, action: str, holds: Mapping[str, Hold]) -> ServerRecord:
        """Set or lift holds, by name, for who may steer the server."""
        self.steered(principal, server_id)
        now = self._clock()
        if any(hold.until is not None and hold.until <= now for hold in holds.values()):
            message = "until lies in the past. Give a later time with its zone, or leave it out."
            raise FieldsInvalid(message, param="until")
        return await self._set(principal, server_id, action, holds)

    async def _set(self, principal: Principal, server_id: str, action: str, holds: Mapping[str, Hold]) -> ServerRecord:
        """Set or lift holds, by name."""
        now = self._clock()
        told = told_of(action, principal, now)
        record = await self._roster.rewrite(server_id, lambda current: current.held(holds, now), told=told)
        logger.info(
            "The holds of a server changed",
            server_id=server_id,
            holds=[name for name, hold in holds.items() if hold.active],
        )
        return record
