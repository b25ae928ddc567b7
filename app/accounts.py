"""Which services know people: their keys, who is signed in, what they use, and who changed what?

Built at each start, around an open database. A change of keys or limits reaches the way of a request at once: the ring
of keys and the limits of models are swapped whole.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from typing import TYPE_CHECKING

from app.services.core.errors import StorageUnavailable
from app.services.core.people.principal import Role
from app.services.counters import Counters
from app.services.registry.accounting.audit import Audit
from app.services.registry.accounting.counter_store import CounterStore
from app.services.registry.accounting.shown_settings import shown_settings
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_spool import UsageSpool
from app.services.registry.accounting.usage_store import UsageStore
from app.services.registry.people.invites import Invites
from app.services.registry.people.keys import Keys
from app.services.registry.people.records import KeyState
from app.services.registry.people.session_store import SessionStore
from app.services.registry.people.sessions import Sessions
from app.services.registry.people.store import PeopleStore
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.lifespan import Parts
    from app.services.core.keys import KeyRing
    from app.services.core.limits.standing import Standing
    from app.services.core.people.principal import LimitRule, Principal
    from app.utils.database import Database

__all__ = ["Accounts"]

logger = get_logger("gateway")


class Accounts:
    """All that knows people, wired up. Nothing is read before ``load``.

    Args:
        parts: what exists before the start.
        database: open.

    Attributes:
        on_ring: told of each new ring of keys, once it is in force for inference.
        on_owners: called when a key or a group changed, which may change whose servers are trusted how far.
    """

    def __init__(self, parts: Parts, database: Database) -> None:
        self._parts, self._plane, self._settings = parts, parts.plane, parts.settings
        self._operators = frozenset(one.key_id for one in parts.key_ring.principals.values())
        self.on_ring: Callable[[KeyRing], None] = _ignore_ring
        self.on_owners: Callable[[], None] = _ignore
        self._people = store = PeopleStore(database)
        self.keys = Keys(store, parts.key_ring, _utc_now, self._changed, token_bytes)
        self.sessions = Sessions(
            SessionStore(database),
            lambda: self.keys.ring,
            _utc_now,
            token_bytes,
            self._settings.session_hours,
            may_write=lambda: not database.lent,
        )
        self.invites = Invites(self.keys, store, _utc_now, token_bytes, self._settings.public_url or "")
        spool = UsageSpool(self._settings.gateway_data_dir)
        self.usage = Usage(UsageStore(database), _utc_now, may_write=lambda: not database.lent, spool=spool)
        self.usage.left = self._left
        self.audit = Audit(database, _utc_now)
        gate = self._plane.admission.gate
        self.counters = Counters(gate, CounterStore(database), may_write=lambda: not database.lent)

    async def load(self) -> None:
        """Take over what the database knows: at the start, or as another process had it.

        Raises:
            StorageUnavailable: it can't be read.
        """
        await self.keys.load()
        await self.sessions.load()
        await self.counters.load()

    async def note_settings(self) -> None:
        """Write into the audit which settings changed since the last start. A database that fails is logged."""
        try:
            await self.audit.record_settings(shown_settings(self._settings))
        except StorageUnavailable as error:
            logger.warning("The settings of this start are not in the audit", reason=error.message)

    async def flush(self) -> None:
        """Write what was used, how the limits stand, and who is still signed in."""
        await self.usage.flush()
        await self.counters.flush()
        await self.sessions.flush()

    async def close(self) -> None:
        """Write the last of it. Before the database is closed."""
        await self.keys.settle()
        await self.usage.close()
        await self.counters.flush()
        await self.sessions.flush()

    async def purge(self) -> None:
        """Forget what is past its retention, and links that nobody used in time.

        Raises:
            StorageUnavailable: some of it may be there still.
        """
        now = _utc_now()
        await self.usage.purge(now - timedelta(days=self._settings.usage_retention_days))
        await self.counters.purge()
        await self._people.purge_invites(now)
        await self.sessions.purge(now)

    def refresh(self) -> None:
        """Drop keys that have ended since."""
        self.keys.refresh(_utc_now())

    def role_of(self, key_id: str) -> Role | None:
        """What the key may do that registered a server; None for one that is not there.

        The admin of one group is an owner here: what the operator trusts is for the operator to say.
        """
        if key_id in self._operators:
            return Role.ADMIN
        record = self.keys.records.get(key_id)
        if record is None:
            return None
        return Role.OWNER if record.role is Role.ADMIN and record.group_id is not None else record.role

    def group_of(self, key_id: str) -> str | None:
        """The id of the group that a key belongs to."""
        record = self.keys.records.get(key_id)
        return None if record is None else record.group_id

    def is_good(self, key_id: str) -> bool:
        """Whether a key opens the gateway now."""
        record = self.keys.records.get(key_id)
        return key_id in self._operators or (record is not None and self.keys.state(record) is KeyState.ACTIVE)

    # -- what is told

    def _changed(self, ring: KeyRing, model_rules: Mapping[str, LimitRule]) -> None:
        """Keys, groups or limits are different from now on."""
        self._plane.reception.key_ring = ring
        self._plane.admission.gate.model_rules = model_rules
        self._plane.look_at_rules()
        if self._plane.queued:
            self._plane.shut_out({principal.key_id for principal in ring.principals.values()})
        self.on_ring(ring)
        self.on_owners()

    def _left(self, principal: Principal) -> list[Standing]:
        """How the limits of a key stand: its own, those that it shares, and those of models that it may ask for."""
        plane = self._plane
        gate = plane.admission.gate
        shared = [rule for model, rule in gate.model_rules.items() if principal.may_ask_for(model)]
        rules = (*plane.admission.rules_of(principal), *shared)
        return gate.left(rules, plane.clock(), plane.wall_clock())


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore_ring(_ring: KeyRing) -> None:
    """Nobody wants to know."""


def _ignore() -> None:
    """Nobody wants to know."""
