"""How do database, memory and routing stay the same? Every change goes through here, in that order, one at a time.

A change that has begun is carried through even if its caller goes away: otherwise a cancelled request could leave the
database with a server that memory does not know. Readers never wait: each change makes a new mapping.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from app.services.core.continuation.ability import Rung
from app.services.core.errors import NotFound, StorageUnavailable
from app.services.registry.audited import told_nobody
from app.services.registry.changes import Changes
from app.services.registry.records import still_valid
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from app.services.registry.audited import Told
    from app.services.registry.book import HealthBook
    from app.services.registry.examination import Examined
    from app.services.registry.publisher import Publisher
    from app.services.registry.records import Finding, Findings, ServerRecord
    from app.services.registry.repository import ServerRepository

__all__ = ["Roster"]

_NOTHING_FOUND: Final[Findings] = MappingProxyType({})

logger = get_logger(__name__)


class Roster:
    """All live servers, in the database and in memory.

    Args:
        repository: the database's side.
        book: the live health that goes with each server.
        publisher: tells routing.
        clock: the present moment, timezone-aware UTC.
    """

    def __init__(
        self, repository: ServerRepository, book: HealthBook, publisher: Publisher, clock: Callable[[], datetime]
    ) -> None:
        self._repository = repository
        self._book = book
        self._publisher = publisher
        self._clock = clock
        self._committing = asyncio.Lock()
        self._changes = Changes("registry change")
        self.servers: Mapping[str, ServerRecord] = MappingProxyType({})
        self._findings: dict[str, Findings] = {}

    def get(self, server_id: str) -> ServerRecord:
        """Return one server.

        Raises:
            NotFound: there is none with this id.
        """
        record = self.servers.get(server_id)
        if record is None:
            message = "There is no server with this id. GET /admin/servers lists those that exist."
            raise NotFound(message)
        return record

    def findings(self, server_id: str) -> Findings:
        """Return what is known of how a server's models go on with broken answers, by what it calls them."""
        return self._findings.get(server_id, _NOTHING_FOUND)

    async def load(self) -> None:
        """Take over what the database knows, health included, and tell routing."""
        async with self._committing:  # a change that is stored meanwhile must not be missing from what was read
            loaded = await self._repository.load()
            self.servers = MappingProxyType({one.record.id: one.record for one in loaded})
            self._book.load(
                {one.record.id: one.health for one in loaded}, {one.record.id: one.history for one in loaded}
            )
            self._findings = {one.record.id: one.findings for one in loaded}
        for record in self.servers.values():
            if record.key_unreadable:
                logger.error(
                    "The stored key of a server cannot be decrypted: set its api_key anew", server_id=record.id
                )
        self.publish()

    async def add(self, record: ServerRecord, examined: Examined, told: Told = told_nobody) -> None:
        """Add a server and the check that it passed, with the line of the audit that ``told`` makes of it.

        Raises:
            EndpointTaken: a live server has its endpoint.
            StorageUnavailable: nothing was stored.
        """
        await self._changes.carry_through(self._add(record, examined, told))

    async def rewrite(
        self,
        server_id: str,
        revise: Callable[[ServerRecord], ServerRecord],
        examined: Examined | None = None,
        told: Told = told_nobody,
    ) -> ServerRecord:
        """Change a server.

        Args:
            server_id: which one.
            revise: makes the new record out of the present one; called when it is this change's turn.
            examined: the check that the change passed, if it took one.
            told: makes the line of the audit that is written with it.

        Raises:
            NotFound: it was removed in the meantime.
            EndpointTaken, StorageUnavailable: nothing was stored.
        """
        return await self._changes.carry_through(self._rewrite(server_id, revise, examined, told))

    async def drop(self, server_id: str, told: Told = told_nobody) -> None:
        """Remove a server; ``told`` makes the line of the audit that is written with it.

        Raises:
            NotFound: somebody was faster.
            StorageUnavailable: nothing was stored.
        """
        await self._changes.carry_through(self._drop(server_id, told))

    async def keep_finding(self, server_id: str, upstream_name: str, finding: Finding) -> None:
        """Take over what was found of a model: in memory and for routing at once, then in the database.

        The other way round than all else, since nobody is told that it is done: what is lost is found anew. What
        judged nothing is not stored. Nothing happens if the server is gone.
        """
        if server_id not in self.servers:
            return
        self._findings[server_id] = {**self.findings(server_id), upstream_name: finding}
        self.publish()
        if {finding.ability.chat, finding.ability.text} != {Rung.UNJUDGED}:
            await self._changes.carry_through(self._save_finding(server_id, upstream_name, finding))

    async def drop_findings(self, server_id: str) -> None:
        """Forget what was found of a server's models: in memory and for routing at once, then in the database."""
        if self._findings.pop(server_id, None):
            self.publish()
            await self._changes.carry_through(self._forget_findings(server_id))

    def publish(self) -> None:
        """Tell routing how things stand."""
        self._publisher.publish(self.servers.values(), self._clock(), self._findings)

    def publish_if_due(self) -> None:
        """Tell routing of holds that have run out."""
        if self._publisher.is_due(self._clock()):
            self.publish()

    async def settle(self) -> None:
        """Wait for changes whose callers went away."""
        await self._changes.settle()

    async def _add(self, record: ServerRecord, examined: Examined, told: Told) -> None:
        async with self._committing:
            await self._repository.insert(record, examined.health, examined.check, told(None, record))
            self._book.load({record.id: examined.health}, {record.id: [examined.check]})
            self._install({**self.servers, record.id: record})

    async def _rewrite(
        self,
        server_id: str,
        revise: Callable[[ServerRecord], ServerRecord],
        examined: Examined | None,
        told: Told,
    ) -> ServerRecord:
        async with self._committing:
            before = self.get(server_id)
            record = revise(before)
            lines = told(before, record)
            kept = still_valid(self.findings(server_id), before, record, "" if examined is None else examined.version)
            if examined is None:
                await self._repository.update(record, findings_of=kept, lines=lines)
            else:
                health = examined.after(self._book.state(server_id))
                await self._repository.update(record, health, examined.check, findings_of=kept, lines=lines)
                self._book.load({server_id: health}, {server_id: [examined.check, *self._book.history(server_id)]})
            self._findings[server_id] = kept
            self._install({**self.servers, server_id: record})
            return record

    async def _drop(self, server_id: str, told: Told) -> None:
        async with self._committing:
            lines = told(self.get(server_id), None)
            await self._repository.remove(server_id, self._clock(), lines)
            self._book.forget(server_id)
            self._findings.pop(server_id, None)
            self._install({name: record for name, record in self.servers.items() if name != server_id})

    async def _save_finding(self, server_id: str, upstream_name: str, finding: Finding) -> None:
        async with self._committing:
            if self.findings(server_id).get(upstream_name) is not finding:
                return  # the server was changed meanwhile, or more was found
            try:
                await self._repository.save_finding(server_id, upstream_name, finding)
            except StorageUnavailable as error:
                logger.warning("A finding is kept in memory alone", server_id=server_id, reason=error.message)

    async def _forget_findings(self, server_id: str) -> None:
        async with self._committing:
            try:
                await self._repository.drop_findings(server_id, except_of=self.findings(server_id))
            except StorageUnavailable as error:
                logger.warning("An outdated finding is still stored", server_id=server_id, reason=error.message)

    def _install(self, servers: dict[str, ServerRecord]) -> None:
        self.servers = MappingProxyType(servers)
        self.publish()
