"""Which names stand for models? The use cases; database, memory and routing stay the same.

Every change goes to the database first, with its line of the audit, then into memory, then to routing, one at a time.
One that has begun is carried through even if its caller goes away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.services.core.errors import Conflict, NotFound
from app.services.registry.access import require_operators_word
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.aliases.rules import (
    MAX_ALIASES,
    checked,
    refuse_conflicts,
    refuse_idle_fallbacks,
    refuse_name_in_use,
    shown,
)
from app.services.registry.aliases.store import AliasRecord
from app.services.registry.changes import Changes
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from app.services.core.choice.aliases import Alias
    from app.services.core.choice.classes import ModelClass
    from app.services.core.people.principal import Principal
    from app.services.core.types import Server
    from app.services.registry.accounting.audit_entry import AuditEntry
    from app.services.registry.aliases.store import AliasStore

__all__ = ["Aliases"]

_KIND = "alias"

logger = get_logger(__name__)


class Aliases:
    """The operator's names for models.

    Args:
        store: where they outlive the process.
        servers: those that are registered, as routing sees them now.
        clock: the present moment, timezone-aware UTC.
        on_change: called after each change, to have the routes built anew; must not block.
        classes: the confirmed classes of models.
    """

    def __init__(
        self,
        store: AliasStore,
        servers: Callable[[], Iterable[Server]],
        clock: Callable[[], datetime],
        on_change: Callable[[], None],
        classes: Callable[[], Iterable[ModelClass]] = tuple,
    ) -> None:
        self._store = store
        self._servers = servers
        self._clock = clock
        self._on_change = on_change
        self._classes = classes
        self._committing = asyncio.Lock()
        self._changes = Changes("change of aliases")
        self._by_name: dict[str, AliasRecord] = {}
        self._hiding: frozenset[str] = frozenset()
        self.routed: tuple[Alias, ...] = ()
        """What routing takes; a change makes a new tuple."""

    @property
    def records(self) -> tuple[AliasRecord, ...]:
        """All of them, sorted by name."""
        return tuple(self._by_name.values())

    @property
    def names(self) -> frozenset[str]:
        """The names that stand for models."""
        return frozenset(self._by_name)

    async def load(self) -> None:
        """Take over what the database knows, and have the routes built anew.

        What another release wrote and this one cannot read is left out, and said in the log.
        """
        async with self._committing:
            stored = await self._store.load()
            for name in stored.unreadable:
                logger.error("A stored alias is left out: this release cannot read it. Create it anew.", name=name)
            self._install({record.name: record for record in stored.records})

    def get(self, name: str) -> AliasRecord:
        """Return one alias.

        Raises:
            NotFound: there is none of this name.
        """
        record = self._by_name.get(name)
        if record is None:
            raise NotFound("There is no alias of this name. GET /admin/aliases lists those that exist.")
        return record

    def served(self) -> frozenset[str]:
        """The names that lead to a registered server now: of models, and of classes of models."""
        served = self._registered()
        for one in self._classes():
            if not served.isdisjoint(one.names):
                served |= one.names
        return frozenset(served)

    def review(self, servers: Iterable[Server]) -> None:
        """Say in the log, once, that servers have a model which an alias hides. Called when routing changes."""
        if not self._by_name:
            return
        hiding = frozenset(model.name for server in servers for model in server.models if model.name in self._by_name)
        for name in sorted(hiding - self._hiding):
            logger.warning("An alias hides a model of the same name. Rename the alias to reach the model.", name=name)
        self._hiding = hiding

    async def create(self, principal: Principal, alias: Alias) -> AliasRecord:
        """Let a name stand for models from now on.

        Args:
            principal: whose key asks.
            alias: what is wanted; whether servers have its models now does not matter.

        Raises:
            NotAllowed: not an admin key, or one that is bound to a group: names stand for everybody.
            FieldsInvalid: it is not sound, or leads to an alias.
            Conflict: the name is taken, an alias leads to it, or there are too many.
            StorageUnavailable: nothing was stored, nothing changed.
        """
        require_operators_word(principal)
        record = await self._changes.carry_through(self._create(principal, _wanted(alias)))
        logger.info("An alias was created", name=record.name, targets=len(alias.targets))
        return record

    async def change(self, principal: Principal, name: str, alias: Alias) -> AliasRecord:
        """Describe an alias anew, its name too. Raises as ``create`` does, and NotFound."""
        require_operators_word(principal)
        self.get(name)
        record = await self._changes.carry_through(self._change(principal, name, _wanted(alias)))
        logger.info("An alias was changed", name=record.name, targets=len(alias.targets))
        return record

    async def remove(self, principal: Principal, name: str) -> None:
        """Let a name stand for nothing any more.

        Raises:
            NotAllowed, NotFound, StorageUnavailable: nothing changed.
        """
        require_operators_word(principal)
        await self._changes.carry_through(self._remove(principal, name))
        logger.info("An alias was removed", name=name)

    async def settle(self) -> None:
        """Wait for changes whose callers went away. Before the database is closed."""
        await self._changes.settle()

    async def _create(self, principal: Principal, wanted: Alias) -> AliasRecord:
        async with self._committing:
            if len(self._by_name) >= MAX_ALIASES:
                raise Conflict(f"There are {MAX_ALIASES} aliases already, which is the most. Remove one first.")
            refuse_conflicts(wanted, self.routed)
            self._refuse_name_in_use(wanted.name)
            now = self._clock()
            record = AliasRecord(wanted, principal.key_id, now, now)
            await self._store.put(record, self._line(principal, "created", None, record, now))
            self._install({**self._by_name, record.name: record})
            return record

    async def _change(self, principal: Principal, name: str, wanted: Alias) -> AliasRecord:
        async with self._committing:
            before = self.get(name)
            others = {other.name: other for other in self.records if other is not before}
            refuse_conflicts(wanted, [other.alias for other in others.values()])
            if wanted.name != name:
                self._refuse_name_in_use(wanted.name)
            now = self._clock()
            record = AliasRecord(wanted, principal.key_id, before.created_at, now)
            await self._store.put(record, self._line(principal, "changed", before, record, now), instead_of=name)
            self._install({**others, record.name: record})
            return record

    async def _remove(self, principal: Principal, name: str) -> None:
        async with self._committing:
            gone = self.get(name)
            await self._store.remove(name, self._line(principal, "removed", gone, None, self._clock()))
            self._install({other.name: other for other in self.records if other is not gone})

    def _line(
        self, principal: Principal, verb: str, before: AliasRecord | None, after: AliasRecord | None, now: datetime
    ) -> AuditEntry:
        """Tell the audit of a change. An alias is known by its name: after a change of that by the new one."""
        name = next(record.name for record in (after, before) if record is not None)
        return entry(
            principal,
            now,
            f"{_KIND}.{verb}",
            _KIND,
            name,
            name,
            before=None if before is None else shown(before.alias),
            after=None if after is None else shown(after.alias),
        )

    def _registered(self) -> set[str]:
        return {model.name for server in self._servers() for model in server.models}

    def _refuse_name_in_use(self, name: str) -> None:
        refuse_name_in_use(name, self._registered(), {each for one in self._classes() for each in one.names})

    def _install(self, by_name: dict[str, AliasRecord]) -> None:
        self._by_name = {name: by_name[name] for name in sorted(by_name)}
        self.routed = tuple(record.alias for record in self._by_name.values())
        self._hiding &= self.names
        self._on_change()


def _wanted(alias: Alias) -> Alias:
    """Return an alias that is sound, and of which nothing is idle. Those of before there was that rule go on."""
    refuse_idle_fallbacks(alias)
    return checked(alias)
