"""How do database, memory and routing stay the same? Every change goes through here, in that order, one at a time.

A change that has begun is carried through even if its caller goes away: otherwise a cancelled request could leave the
database with a server that memory does not know. Readers never wait: each change makes a new mapping.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from app.services.core.errors import NotFound
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from datetime import datetime

    from app.services.registry.book import HealthBook
    from app.services.registry.examination import Examined
    from app.services.registry.publisher import Publisher
    from app.services.registry.records import ServerRecord
    from app.services.registry.repository import ServerRepository

__all__ = ["Roster"]

Result = TypeVar("Result")

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
        self._writes: set[asyncio.Task[Any]] = set()
        self.servers: Mapping[str, ServerRecord] = MappingProxyType({})

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

    async def load(self) -> None:
        """Take over what the database knows, health included, and tell routing."""
        async with self._committing:  # a change that is stored meanwhile must not be missing from what was read
            loaded = await self._repository.load()
            self.servers = MappingProxyType({one.record.id: one.record for one in loaded})
            self._book.load(
                {one.record.id: one.health for one in loaded}, {one.record.id: one.history for one in loaded}
            )
        for record in self.servers.values():
            if record.key_unreadable:
                logger.error(
                    "The stored key of a server cannot be decrypted: set its api_key anew", server_id=record.id
                )
        self.publish()

    async def add(self, record: ServerRecord, examined: Examined) -> None:
        """Add a server and the check that it passed.

        Raises:
            EndpointTaken: a live server has its endpoint.
            StorageUnavailable: nothing was stored.
        """
        await self._carried_through(self._add(record, examined))

    async def rewrite(
        self, server_id: str, revise: Callable[[ServerRecord], ServerRecord], examined: Examined | None = None
    ) -> ServerRecord:
        """Change a server.

        Args:
            server_id: which one.
            revise: makes the new record out of the present one; called when it is this change's turn.
            examined: the check that the change passed, if it took one.

        Raises:
            NotFound: it was removed in the meantime.
            EndpointTaken, StorageUnavailable: nothing was stored.
        """
        return await self._carried_through(self._rewrite(server_id, revise, examined))

    async def drop(self, server_id: str) -> None:
        """Remove a server.

        Raises:
            NotFound: somebody was faster.
            StorageUnavailable: nothing was stored.
        """
        await self._carried_through(self._drop(server_id))

    def publish(self) -> None:
        """Tell routing how things stand."""
        self._publisher.publish(self.servers.values(), self._clock())

    def publish_if_due(self) -> None:
        """Tell routing of holds that have run out."""
        if self._publisher.is_due(self._clock()):
            self.publish()

    async def settle(self) -> None:
        """Wait for changes whose callers went away."""
        if self._writes:
            await asyncio.wait(self._writes)

    async def _add(self, record: ServerRecord, examined: Examined) -> None:
        async with self._committing:
            await self._repository.insert(record, examined.health, examined.check)
            self._book.load({record.id: examined.health}, {record.id: [examined.check]})
            self._install({**self.servers, record.id: record})

    async def _rewrite(
        self, server_id: str, revise: Callable[[ServerRecord], ServerRecord], examined: Examined | None
    ) -> ServerRecord:
        async with self._committing:
            record = revise(self.get(server_id))
            if examined is None:
                await self._repository.update(record)
            else:
                health = examined.after(self._book.state(server_id))
                await self._repository.update(record, health, examined.check)
                self._book.load({server_id: health}, {server_id: [examined.check, *self._book.history(server_id)]})
            self._install({**self.servers, server_id: record})
            return record

    async def _drop(self, server_id: str) -> None:
        async with self._committing:
            self.get(server_id)
            await self._repository.remove(server_id, self._clock())
            self._book.forget(server_id)
            self._install({name: record for name, record in self.servers.items() if name != server_id})

    def _install(self, servers: dict[str, ServerRecord]) -> None:
        self.servers = MappingProxyType(servers)
        self.publish()

    async def _carried_through(self, change: Coroutine[Any, Any, Result]) -> Result:
        """Run a change to its end, even if the caller is cancelled; the cancellation goes on afterwards."""
        # Not spawned by TaskKeeper: a refused change is its caller's to tell, no failure of a task.
        task = asyncio.get_running_loop().create_task(change, name="registry change")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is not None:
                logger.warning("A change whose caller went away failed", error=type(task.exception()).__name__)
            raise
