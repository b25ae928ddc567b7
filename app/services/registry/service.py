"""What can be done with the registered servers? The use cases: who may, what is examined, what becomes of it.

Edits of one server (replace, change) take turns, the examination over the network included. Everything else waits for
nobody's examination: a pause or a removal made in the meantime stands.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakValueDictionary

from msgspec import UNSET

from app.services.core.errors import Conflict, FieldsInvalid, NotFound
from app.services.core.network.addresses import parse_endpoint
from app.services.registry.access import require_operator, require_registrant, require_steering, steers
from app.services.registry.examination import Inspector, examine, revised
from app.services.registry.records import NO_HOLD, Hold, ServerRecord
from app.services.registry.repository import EndpointTaken
from app.services.registry.roster import Roster
from app.services.registry.specification import ServerChange, ServerSpec, adopted, applied, needs_check, spec_of
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from app.services.core.keys import Principal
    from app.services.core.types import DiscoveredModel, Endpoint, HealthStatus
    from app.services.registry.book import HealthBook
    from app.services.registry.publisher import Publisher
    from app.services.registry.records import Finding, Findings
    from app.services.registry.repository import ServerRepository

__all__ = ["Registry"]

logger = get_logger(__name__)


class Registry:
    """The registered servers.

    Args:
        repository: where they outlive the process.
        inspector: looks at a server before it counts.
        book: their live health.
        publisher: tells routing.
        clock: the present moment, timezone-aware UTC.
    """

    def __init__(
        self,
        repository: ServerRepository,
        inspector: Inspector,
        book: HealthBook,
        publisher: Publisher,
        clock: Callable[[], datetime],
    ) -> None:
        self._repository = repository
        self._inspector = inspector
        self._book = book
        self._clock = clock
        self._roster = Roster(repository, book, publisher, clock)
        self._editing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.on_version: Callable[[str, str], None] = _ignore
        """Told, with the server's id, which version an examination found of its engine; empty where it found none."""

    @property
    def servers(self) -> Mapping[str, ServerRecord]:
        """All servers by id, oldest first, as they are now: a later change makes a new mapping."""
        return self._roster.servers

    async def load(self) -> None:
        """Take over what the database knows, health included, and tell routing: at the start, or as another had it."""
        await self._roster.load()

    def get(self, server_id: str) -> ServerRecord:
        """Return one server.

        Raises:
            NotFound: there is none with this id.
        """
        return self._roster.get(server_id)

    def steered(self, principal: Principal, server_id: str) -> ServerRecord:
        """Return one server to who may steer it.

        Raises:
            NotFound: there is none with this id.
            NotAllowed: it is another owner's.
        """
        record = self.get(server_id)
        require_steering(principal, record)
        return record

    def find(
        self, *, model: str | None = None, status: HealthStatus | None = None, owner: str | None = None
    ) -> list[ServerRecord]:
        """List servers, oldest first, that meet every condition given.

        Args:
            model: serves a model of this name.
            status: has this health.
            owner: was registered by the key with this id, or names this owner in its metadata.
        """
        return [
            record
            for record in self.servers.values()
            if (model is None or any(entry.name == model for entry in record.models))
            and (status is None or self._book.state(record.id).status is status)
            and (owner is None or owner in {record.owner, record.metadata.get("owner")})
        ]

    def declared_context(self, server_id: str) -> int | None:
        """Return the context length that an owner declared for a server, in tokens, if any."""
        record = self.servers.get(server_id)
        value = None if record is None else record.capabilities.get("context_length")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    async def register(self, principal: Principal, spec: ServerSpec) -> ServerRecord:
        """Examine a server and add it.

        Raises:
            NotAllowed: a user's key.
            EndpointRefused: the URL's form or its address is refused.
            Conflict: a live server has this endpoint.
            ServerUnreachable: the examination failed; the message says why.
            StorageUnavailable: it could not be stored; nothing changed.
        """
        require_registrant(principal)
        endpoint = parse_endpoint(spec.endpoint_url)
        self._refuse_duplicate(principal, endpoint)
        examined = await examine(self._inspector, endpoint, spec, self._clock())
        now = self._clock()
        blank = ServerRecord(str(uuid4()), endpoint, (), created_at=now, updated_at=now, owner=principal.key_id)
        record = revised(blank, spec=spec, endpoint=endpoint, examined=examined, key_given=True, now=now)
        try:
            await self._roster.add(record, examined)
        except EndpointTaken as error:
            raise self._conflict(principal, endpoint) from error
        self.on_version(record.id, examined.version)
        logger.info("A server was registered", server_id=record.id, engine=record.engine, models=len(record.models))
        return record

    async def replace(self, principal: Principal, server_id: str, spec: ServerSpec) -> ServerRecord:
        """Describe a server anew as a whole, and examine it. Raises as ``register`` does, and NotFound."""
        everything = ServerChange(**{part.name: getattr(spec, part.name) for part in fields(spec)})
        return await self._edit(principal, server_id, everything, always_examine=True)

    async def change(self, principal: Principal, server_id: str, change: ServerChange) -> ServerRecord:
        """Change the given fields; endpoint, key and models are examined. Raises as ``replace``, and FieldsInvalid."""
        return await self._edit(principal, server_id, change, always_examine=False)

    async def remove(self, principal: Principal, server_id: str) -> None:
        """Remove a server: at once no new request goes there. Its history stays, its endpoint is free again."""
        self.steered(principal, server_id)
        await self._roster.drop(server_id)
        logger.info("A server was removed", server_id=server_id)

    async def pause(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no new work, by its owner's wish. ``until`` None means until ``resume``."""
        return await self._hold(principal, server_id, {"paused": Hold(active=True, reason=reason, until=until)})

    async def drain(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no new work and let running requests finish, before a restart say. Ends with ``resume``."""
        return await self._hold(principal, server_id, {"draining": Hold(active=True, reason=reason, until=until)})

    async def resume(self, principal: Principal, server_id: str) -> ServerRecord:
        """End a pause and a drain, and give a misconfigured server another chance. Block and quarantine stay."""
        record = await self._hold(principal, server_id, {"paused": NO_HOLD, "draining": NO_HOLD})
        self._book.pardon(server_id)
        return record

    async def block(
        self, principal: Principal, server_id: str, *, reason: str = "", until: datetime | None = None
    ) -> ServerRecord:
        """Send no work, by the operator's word; its owner cannot lift it."""
        require_operator(principal)
        return await self._hold(principal, server_id, {"blocked": Hold(active=True, reason=reason, until=until)})

    async def unblock(self, principal: Principal, server_id: str) -> ServerRecord:
        """Lift a block, and a quarantine with it: the operator has looked."""
        require_operator(principal)
        return await self._hold(principal, server_id, {"blocked": NO_HOLD, "quarantined": NO_HOLD})

    async def apply_discovered(
        self, server_id: str, models: Iterable[DiscoveredModel], engine: str = "unknown"
    ) -> None:
        """Follow what a later look at a server found. Does nothing if that is no news, or the server is gone."""
        found = tuple(models)
        record = self.servers.get(server_id)
        if record is None or adopted(record, found, engine) is record:
            return
        try:
            await self._roster.rewrite(server_id, lambda current: adopted(current, found, engine))
        except NotFound:
            logger.debug("A server was removed while its models were looked up", server_id=server_id)
        else:
            logger.info("The models of a server changed", server_id=server_id, models=len(found), engine=engine)

    def findings(self, server_id: str) -> Findings:
        """Return what is known of how a server's models go on with broken answers, by what it calls them."""
        return self._roster.findings(server_id)

    async def keep_finding(self, server_id: str, upstream_name: str, finding: Finding) -> None:
        """Take over what a probe found. A database that fails is logged: then it is kept in memory."""
        await self._roster.keep_finding(server_id, upstream_name, finding)

    async def drop_findings(self, server_id: str) -> None:
        """Forget what was found of a server's models, for their engine is another one by now."""
        await self._roster.drop_findings(server_id)

    async def purge(self, *, removed_before: datetime, checks_before: datetime) -> None:
        """Forget removed servers and checks that retention no longer covers."""
        servers, checks = await self._repository.purge(removed_before=removed_before, checks_before=checks_before)
        if servers or checks:
            logger.info("Old servers and checks were purged", servers=servers, checks=checks)

    def publish(self) -> None:
        """Tell routing how things stand. The book calls this when a server's health changed."""
        self._roster.publish()

    def publish_if_due(self) -> None:
        """Tell routing of holds that have run out. To be called about once a second."""
        self._roster.publish_if_due()

    async def settle(self) -> None:
        """Wait for writes whose callers went away. Before the database is closed."""
        await self._roster.settle()

    async def _edit(
        self, principal: Principal, server_id: str, change: ServerChange, *, always_examine: bool
    ) -> ServerRecord:
        """Change a server's description in its turn, examined where it has to be."""
        self.steered(principal, server_id)
        async with self._editing.setdefault(server_id, asyncio.Lock()):
            current = self.get(server_id)
            before = spec_of(current)
            wanted = applied(before, change)
            endpoint = parse_endpoint(wanted.endpoint_url)
            change.refuse_stray_key(current, endpoint)
            if endpoint != current.endpoint:
                self._refuse_duplicate(principal, endpoint)
            checked = always_examine or needs_check(before, replace(wanted, endpoint_url=endpoint.url))
            examined = await examine(self._inspector, endpoint, wanted, self._clock()) if checked else None
            revise = partial(
                revised,
                spec=wanted,
                endpoint=endpoint,
                examined=examined,
                key_given=change.api_key is not UNSET,
                now=self._clock(),
            )
            try:
                record = await self._roster.rewrite(server_id, revise, examined)
            except EndpointTaken as error:
                raise self._conflict(principal, endpoint) from error
        if examined is not None:
            self.on_version(server_id, examined.version)
        logger.info("A server was changed", server_id=server_id, examined=examined is not None)
        return record

    async def _hold(self, principal: Principal, server_id: str, holds: Mapping[str, Hold]) -> ServerRecord:
        """Set or lift holds, by name."""
        self.steered(principal, server_id)
        now = self._clock()
        if any(hold.until is not None and hold.until <= now for hold in holds.values()):
            message = "until lies in the past. Give a later time with its zone, or leave it out."
            raise FieldsInvalid(message, param="until")
        record = await self._roster.rewrite(server_id, lambda current: current.held(holds, now))
        logger.info(
            "The holds of a server changed",
            server_id=server_id,
            holds=[name for name, hold in holds.items() if hold.active],
        )
        return record

    def _refuse_duplicate(self, principal: Principal, endpoint: Endpoint) -> None:
        """Answer early, before anything is examined; the database's index has the last word."""
        if any(record.endpoint == endpoint for record in self.servers.values()):
            raise self._conflict(principal, endpoint)

    def _conflict(self, principal: Principal, endpoint: Endpoint) -> Conflict:
        """Say that the endpoint is taken, and by which registration if the caller may know."""
        for record in self.servers.values():
            if record.endpoint == endpoint and steers(principal, record):
                fix = f"Change it with PATCH /admin/register/{record.id}, or remove it first."
                message = f"The endpoint {endpoint.url} is already registered as {record.id}. {fix}"
                return Conflict(message, param="endpoint_url")
        return Conflict(f"The endpoint {endpoint.url} is already registered.", param="endpoint_url")


def _ignore(_server_id: str, _version: str) -> None:
    """Nobody wants to know."""
