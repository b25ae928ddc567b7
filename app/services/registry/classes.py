"""Which names did the operator confirm to mean one model? The use cases; database, memory and routing stay the same.

Every change goes to the database first, then into memory, then to routing, one at a time. One that has begun is
carried through even if its caller goes away.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from app.services.core.choice.classes import ModelClass
from app.services.core.errors import Conflict, NotFound
from app.services.core.naming.observed import Observation
from app.services.core.naming.proposals import Proposal, propose
from app.services.registry.access import require_operators_word
from app.services.registry.accounting.audit_entry import entry
from app.services.registry.changes import Changes
from app.services.registry.class_rules import MAX_CLASSES, checked_members, checked_name, refuse_conflicts
from app.services.registry.class_store import ClassRecord, ClassStatus
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from app.services.core.keys import Principal
    from app.services.core.types import Server
    from app.services.registry.accounting.audit_entry import AuditEntry, Shown
    from app.services.registry.class_store import ClassStore

__all__ = ["ModelClasses"]


_NOBODY: Final[tuple[ClassRecord, ...]] = ()

logger = get_logger(__name__)


def _untold(_server_id: str) -> Mapping[str, str]:
    """Nobody tells of templates."""
    return {}


class ModelClasses:
    """The operator's decisions on names.

    Args:
        store: where they outlive the process.
        servers: those that are registered, as routing sees them now.
        clock: the present moment, timezone-aware UTC.
        on_change: called after each change, to have the routes built anew; must not block.
        templates: the marks of a server's chat templates, by its id; for proposals.
    """

    def __init__(
        self,
        store: ClassStore,
        servers: Callable[[], Iterable[Server]],
        clock: Callable[[], datetime],
        on_change: Callable[[], None],
        templates: Callable[[str], Mapping[str, str]] = _untold,
    ) -> None:
        self._store = store
        self._servers = servers
        self._clock = clock
        self._on_change = on_change
        self._templates = templates
        self._committing = asyncio.Lock()
        self._changes = Changes("change of model classes")
        self._dismissed = _NOBODY
        self.aliases: Callable[[], Collection[str]] = frozenset
        """The names of aliases, which go before models."""
        self.confirmed = _NOBODY
        """The confirmed classes, sorted by name; a change makes a new tuple."""
        self.routed: tuple[ModelClass, ...] = ()
        """The same, as routing takes them."""

    async def load(self) -> None:
        """Take over what the database knows, and have the routes built anew.

        Classes that contradict older ones, which no release writes, are left out.
        """
        async with self._committing:
            dismissed: list[ClassRecord] = []
            confirmed: list[ClassRecord] = []
            taken: set[str] = set()
            for record in await self._store.load():
                names = {record.name, *record.members}
                if record.status is ClassStatus.DISMISSED:
                    dismissed.append(record)
                elif taken.isdisjoint(names):
                    confirmed.append(record)
                    taken |= names
                else:
                    logger.error("A stored class of models is left out: another has one of its names", name=record.name)
            self._install(confirmed, dismissed)

    def get(self, name: str) -> ClassRecord:
        """Return one confirmed class.

        Raises:
            NotFound: there is none of this name.
        """
        for record in self.confirmed:
            if record.name == name:
                return record
        raise NotFound("There is no confirmed class of this name. GET /admin/model-classes lists those that exist.")

    async def proposals(self) -> list[Proposal]:
        """Propose names that are probably one model and were not decided on yet; sorted by what they mean."""
        observations = [
            Observation(
                name=model.name,
                upstream_name=model.upstream_name,
                engine=server.engine,
                context_length=server.contexts.get(model.upstream_name) or model.context_length,
                template=self._templates(server.id).get(model.upstream_name, ""),
            )
            for server in self._servers()
            for model in server.models
        ]
        dismissed = [record.members for record in self._dismissed]
        return await asyncio.to_thread(propose, observations, self.routed, dismissed)

    async def confirm(self, principal: Principal, name: str, members: Iterable[str]) -> ClassRecord:
        """Take names for one model from now on: each leads to all of their servers.

        Args:
            principal: whose key asks.
            name: what the class is called; it can be asked for as well.
            members: the names; whether a server has them now does not matter.

        Raises:
            NotAllowed: not an admin key, or one that is bound to a group: classes are everybody's.
            FieldsInvalid: a name is not one, or there are too few or too many.
            Conflict: one of the names is in another class already, or the class would hide a model.
            StorageUnavailable: nothing was stored, nothing changed.
        """
        require_operators_word(principal)
        wanted = self._record(principal, checked_name(name), checked_members(name, members), ClassStatus.CONFIRMED)
        await self._changes.carry_through(self._add(principal, wanted))
        logger.info("Names were confirmed to be one model", name=wanted.name, members=len(wanted.members))
        return wanted

    async def change(self, principal: Principal, name: str, new_name: str, members: Iterable[str]) -> ClassRecord:
        """Describe a class anew. Raises as ``confirm`` does, and NotFound."""
        require_operators_word(principal)
        self.get(name)
        chosen = checked_members(checked_name(new_name), members)
        record = await self._changes.carry_through(self._change(principal, name, new_name, chosen))
        logger.info("A class of models was changed", name=record.name, members=len(record.members))
        return record

    async def dissolve(self, principal: Principal, name: str) -> None:
        """Let each name mean its own servers again.

        Raises:
            NotAllowed, NotFound, StorageUnavailable: nothing changed.
        """
        require_operators_word(principal)
        await self._changes.carry_through(self._remove(principal, name))
        logger.info("A class of models was dissolved", name=name)

    async def dismiss(self, principal: Principal, members: Iterable[str]) -> None:
        """Propose these names no more, unless another one joins them.

        Raises:
            NotAllowed, FieldsInvalid, StorageUnavailable: nothing changed.
        """
        require_operators_word(principal)
        chosen = checked_members("", members)
        await self._changes.carry_through(
            self._add_dismissed(principal, self._record(principal, "", chosen, ClassStatus.DISMISSED))
        )
        logger.info("A proposed class of models was dismissed", members=len(chosen))

    async def settle(self) -> None:
        """Wait for changes whose callers went away. Before the database is closed."""
        await self._changes.settle()

    def _record(self, principal: Principal, name: str, members: tuple[str, ...], status: ClassStatus) -> ClassRecord:
        return ClassRecord(str(uuid4()), name, members, status, principal.key_id, self._clock())

    def _line(
        self, principal: Principal, verb: str, before: ClassRecord | None, after: ClassRecord | None
    ) -> AuditEntry:
        """Make the line of the audit that tells of a change."""
        known = after or before
        return entry(
            principal,
            self._clock(),
            f"model_class.{verb}",
            "model_class",
            known.id if known is not None else "",
            known.name if known is not None else "",
            before=_shown(before),
            after=_shown(after),
        )

    async def _add(self, principal: Principal, wanted: ClassRecord) -> None:
        async with self._committing:
            if len(self.confirmed) >= MAX_CLASSES:
                raise Conflict(f"There are {MAX_CLASSES} classes already, which is the most. Dissolve one first.")
            refuse_conflicts(wanted, self.confirmed, self._registered(), self.aliases())
            outdated = {record.id for record in self._dismissed if set(record.members) <= set(wanted.members)}
            line = self._line(principal, "confirmed", None, wanted)
            await self._store.put(wanted, line, instead_of=sorted(outdated))
            kept = [record for record in self._dismissed if record.id not in outdated]
            self._install([*self.confirmed, wanted], kept)

    async def _change(self, principal: Principal, name: str, new_name: str, members: tuple[str, ...]) -> ClassRecord:
        async with self._committing:
            before = self.get(name)
            others = [record for record in self.confirmed if record is not before]
            wanted = replace(before, name=new_name, members=members)
            refuse_conflicts(wanted, others, self._registered(), self.aliases())
            await self._store.put(wanted, self._line(principal, "changed", before, wanted))
            self._install([*others, wanted], self._dismissed)
            return wanted

    async def _remove(self, principal: Principal, name: str) -> None:
        async with self._committing:
            gone = self.get(name)
            await self._store.remove(gone.id, self._line(principal, "dissolved", gone, None))
            self._install([record for record in self.confirmed if record is not gone], self._dismissed)

    async def _add_dismissed(self, principal: Principal, wanted: ClassRecord) -> None:
        """Keep a dismissal in place of those that it covers, and of the oldest where there are too many."""
        async with self._committing:
            kept = [record for record in self._dismissed if not set(record.members) <= set(wanted.members)]
            kept = kept[-(MAX_CLASSES - 1) :]
            left = {record.id for record in kept}
            line = self._line(principal, "dismissed", None, wanted)
            await self._store.put(wanted, line, instead_of=[one.id for one in self._dismissed if one.id not in left])
            self._dismissed = (*kept, wanted)

    def _registered(self) -> set[str]:
        return {model.name for server in self._servers() for model in server.models}

    def _install(self, confirmed: Iterable[ClassRecord], dismissed: Iterable[ClassRecord]) -> None:
        self.confirmed = tuple(sorted(confirmed, key=lambda record: record.name))
        self._dismissed = tuple(dismissed)
        self.routed = tuple(ModelClass(record.name, frozenset(record.members)) for record in self.confirmed)
        self._on_change()


def _shown(record: ClassRecord | None) -> Shown | None:
    """A class as the audit shows it."""
    return None if record is None else {"name": record.name, "members": list(record.members)}
