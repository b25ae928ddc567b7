"""How does a decision on people get into the database, into memory and to the data plane, in this order?

One at a time, and carried through once begun, even if the caller goes away: so the three never tell different tales.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from app.services.core.errors import NotAllowed
from app.services.core.people.principal import Role
from app.services.core.people.scope import Scope
from app.services.registry.changes import Changes
from app.services.registry.people.book import PeopleBook
from app.services.registry.people.principals import model_rule, scope_of
from app.services.registry.people.ring import RingMaker
from app.services.registry.people.rules import Actor
from app.services.registry.people.store import PeopleChange, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from app.services.core.keys import KeyRing
    from app.services.core.people.principal import LimitRule, Principal
    from app.services.registry.people.store import PeopleStore

__all__ = ["PeopleRegister"]

Result = TypeVar("Result")
_NOTHING = PeopleChange()


class PeopleRegister:
    """The book of keys and groups, with what keeps database and data plane in step with it.

    Args:
        store: where it outlives the process.
        admin_ring: the operator's key, which is in every ring.
        clock: the present moment, timezone-aware UTC.
        on_change: called after each change with the ring and the limits of models; must not block or raise.
    """

    def __init__(
        self,
        store: PeopleStore,
        admin_ring: KeyRing,
        clock: Callable[[], datetime],
        on_change: Callable[[KeyRing, Mapping[str, LimitRule]], None],
    ) -> None:
        self.clock = clock
        self._store = store
        self._admin_ring = admin_ring
        self._operators = {principal.key_id: principal for principal in admin_ring.principals.values()}
        self._on_change = on_change
        self._committing = asyncio.Lock()
        self._changes = Changes("change of keys")
        self._model_rules: Mapping[str, LimitRule] = MappingProxyType({})
        self.book = PeopleBook(Stored())
        self._rings = RingMaker(admin_ring, self.book)
        self._publishing = False

    @property
    def ring(self) -> KeyRing:
        """All keys that are good now; swapped whole."""
        return self._rings.ring

    async def load(self) -> None:
        """Take over what the database knows, and hand it on."""
        async with self._committing:
            self.book = PeopleBook(await self._store.load())
            self._rings = RingMaker(self._admin_ring, self.book)
            self._limit_models()
            await self._publish(self.book.keys, self.clock())

    async def settle(self) -> None:
        """Wait for changes whose callers went away."""
        await self._changes.settle()

    def refresh(self, now: datetime) -> None:
        """Drop what has ended since. Costs one comparison where nothing has."""
        due = [] if self._publishing else self._rings.due(now)
        if due:
            deque(self._rings.update(self.book.closure(due), now), maxlen=0)
            self._on_change(self.ring, self._model_rules)

    def is_operators(self, key_id: str) -> bool:
        """Whether this is the id of the key that stands in no database."""
        return key_id in self._operators

    def is_good(self, key_id: str) -> bool:
        """Whether a key opens the gateway, or would if it had a secret."""
        return self._rings.principal(key_id) is not None

    def actor(self, principal: Principal) -> Actor:
        """Say what the key that asks may do now: it may have been changed since the request came in.

        Raises:
            NotAllowed: it is none that is kept here, or was ended meanwhile.
        """
        operator = self._operators.get(principal.key_id)
        if operator is not None:
            return Actor(operator, Scope(operator.role, person=operator.person))
        record = self.book.keys.get(principal.key_id)
        if record is not None and self.is_good(record.id):
            return Actor(principal, scope_of(record))
        if principal.role is Role.USER:
            return Actor(principal, Scope(Role.USER, person=principal.person))
        raise NotAllowed("This key has ended meanwhile. Ask the gateway's operator for a new one.")

    async def carry(self, decide: Callable[[datetime], tuple[PeopleChange, Result]]) -> Result:
        """Take a decision, store it and hand it on.

        Args:
            decide: called when all changes before it are done; what it raises is the caller's to hear.
        """
        return await self._changes.carry_through(self._carry(decide))

    async def _carry(self, decide: Callable[[datetime], tuple[PeopleChange, Result]]) -> Result:
        async with self._committing:
            now = self.clock()
            change, result = await asyncio.to_thread(decide, now)  # thousands of keys at once take half a second
            if change != _NOTHING:
                await self._store.commit(change, now)
                touched = self.book.apply(change)
                if change.model_limits:
                    self._limit_models()
                await self._publish(touched, now)
            return result

    def _limit_models(self) -> None:
        rules = {name: model_rule(name, limits) for name, limits in self.book.model_limits.items()}
        self._model_rules = MappingProxyType(rules)

    async def _publish(self, touched: Iterable[str], now: datetime) -> None:
        """Swap the ring. Where many keys are touched, others get a turn in between."""
        self._publishing = True
        try:
            for _slice in self._rings.update(touched, now):
                await asyncio.sleep(0)
        finally:
            self._publishing = False
        self._on_change(self.ring, self._model_rules)
