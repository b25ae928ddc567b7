"""What can be done with the registered servers? The use cases: who may, what is examined, what becomes of it.

Edits of one server (replace, change) take turns, the examination over the network included. Everything else waits for
nobody's examination: a pause or a removal made in the meantime stands.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4
from weakref import WeakValueDictionary

from msgspec import UNSET

from app.services.core.errors import Conflict, NotFound
from app.services.core.keys import Role
from app.services.core.network.addresses import parse_endpoint
from app.services.registry.access import is_operator, require_registrant, require_still, sees, steers
from app.services.registry.audited import GATEWAY, told_nobody, told_of
from app.services.registry.examination import Inspector, examine, revised
from app.services.registry.records import NO_HOLD, ServerRecord
from app.services.registry.repository import EndpointTaken
from app.services.registry.roster import Roster
from app.services.registry.specification import ServerChange, ServerSpec, adopted, applied, needs_check, spec_of
from app.services.registry.steering import Steering
from app.services.registry.terms_rules import AWAITS_APPROVAL, judged, refuse_empty_group, refuse_rank
from app.services.registry.terms_zones import in_its_zone
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from app.services.core.keys import Principal
    from app.services.core.types import DiscoveredModel, Endpoint, HealthStatus
    from app.services.registry.book import HealthBook
    from app.services.registry.examination import Examined
    from app.services.registry.publisher import Publisher
    from app.services.registry.records import Finding, Findings
    from app.services.registry.repository import ServerRepository

__all__ = ["Registry"]

MOST_OF_AN_OWNER: Final = 200
"""Servers that one owner's key may have registered at a time."""

logger = get_logger(__name__)


class Registry(Steering):
    """The registered servers.

    Args:
        repository: where they outlive the process.
        inspector: looks at a server before it counts.
        book: their live health.
        publisher: tells routing; it knows the keys that registered them.
        clock: the present moment, timezone-aware UTC.
        needs_approval: whether a server that an owner registers waits for the operator.
    """

    def __init__(
        self,
        repository: ServerRepository,
        inspector: Inspector,
        book: HealthBook,
        publisher: Publisher,
        clock: Callable[[], datetime],
        *,
        needs_approval: bool = False,
    ) -> None:
        super().__init__(Roster(repository, book, publisher, clock), book, publisher.owners, clock)
        self._repository = repository
        self._inspector = inspector
        self._needs_approval = needs_approval
        self._editing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.on_version: Callable[[str, str], None] = _ignore
        """Told, with the server's id, which version an examination found of its engine; empty where it found none."""

    async def load(self) -> None:
        """Take over what the database knows, health included, and tell routing: at the start, or as another had it."""
        await self._roster.load()

    def find(
        self,
        principal: Principal | None = None,
        *,
        model: str | None = None,
        status: HealthStatus | None = None,
        owner: str | None = None,
    ) -> list[ServerRecord]:
        """List servers, oldest first, that meet every condition given.

        Args:
            principal: whose key asks: it is shown no servers that are not shared with it. None: all.
            model: serves a model of this name.
            status: has this health.
            owner: was registered by the key with this id, or names this owner in its metadata.
        """
        return [
            record
            for record in self.servers.values()
            if (principal is None or sees(principal, record, self.owners))
            and (model is None or any(entry.name == model for entry in record.models))
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
            FieldsInvalid: there is no such time zone, or no group to share it with.
            EndpointRefused: the URL's form or its address is refused.
            Conflict: a live server has this endpoint, or the key has registered as many as it may.
            ServerUnreachable: the examination failed; the message says why.
            StorageUnavailable: it could not be stored; nothing changed.
        """
        require_registrant(principal)
        refuse_empty_group(spec.share, principal.group)
        if not is_operator(principal):
            refuse_rank(spec.priority, spec.weight)
        self._refuse_too_many(principal)
        endpoint = parse_endpoint(spec.endpoint_url)
        self._refuse_duplicate(principal, endpoint)
        spec = replace(spec, hours=await in_its_zone(spec.hours))
        examined = await examine(self._inspector, endpoint, spec, self._clock())
        require_still(principal, self.owners)
        now = self._clock()
        blank = ServerRecord(str(uuid4()), endpoint, (), created_at=now, updated_at=now, owner=principal.key_id)
        waits = self._needs_approval and not is_operator(principal)
        record = replace(
            revised(blank, spec=spec, endpoint=endpoint, examined=examined, key_given=True, now=now),
            pending=AWAITS_APPROVAL if waits else NO_HOLD,
        )
        try:
            await self._roster.add(record, examined, told_of("registered", principal, now))
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
        await self._roster.drop(server_id, told_of("removed", principal, self._clock()))
        logger.info("A server was removed", server_id=server_id)

    async def apply_discovered(
        self, server_id: str, models: Iterable[DiscoveredModel], engine: str = "unknown"
    ) -> None:
        """Follow what a later look at a server found. Does nothing if that is no news, or the server is gone.

        Only what that takes of the operator's trust is written down: a server may list other models every second.
        """
        found = tuple(models)
        record = self.servers.get(server_id)
        if record is None or adopted(record, found, engine) is record:
            return

        def followed(current: ServerRecord) -> ServerRecord:
            is_operators = current.owner is None or self.owners.role_of(current.owner) is Role.ADMIN
            return judged(current, adopted(current, found, engine), by_operator=is_operators)

        loses_trust = record.trust is not None and followed(record).trust is None
        told = told_of("trust_changed", GATEWAY, self._clock()) if loses_trust else told_nobody
        try:
            await self._roster.rewrite(server_id, followed, told=told)
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
            if change.share is not UNSET:
                is_own = principal.key_id == current.owner
                refuse_empty_group(wanted.share, principal.group if is_own else self.owners.group(current.owner))
            if not is_operator(principal):
                refuse_rank(wanted.priority, wanted.weight, was=(current.priority, current.weight))
            if endpoint != current.endpoint:
                self._refuse_duplicate(principal, endpoint)
            if change.hours is not UNSET:
                wanted = replace(wanted, hours=await in_its_zone(wanted.hours))
            checked = always_examine or needs_check(before, replace(wanted, endpoint_url=endpoint.url))
            examined = await examine(self._inspector, endpoint, wanted, self._clock()) if checked else None
            require_still(principal, self.owners)
            record = await self._write(principal, server_id, change, wanted, examined)
        if examined is not None:
            self.on_version(server_id, examined.version)
        logger.info("A server was changed", server_id=server_id, examined=examined is not None)
        return record

    async def _write(
        self,
        principal: Principal,
        server_id: str,
        change: ServerChange,
        wanted: ServerSpec,
        examined: Examined | None,
    ) -> ServerRecord:
        """Take over a changed description, with what is left of the operator's word."""
        endpoint, now = parse_endpoint(wanted.endpoint_url), self._clock()

        def revise(current: ServerRecord) -> ServerRecord:
            key_given = change.api_key is not UNSET
            after = revised(current, spec=wanted, endpoint=endpoint, examined=examined, key_given=key_given, now=now)
            return judged(current, after, by_operator=is_operator(principal), needs_approval=self._needs_approval)

        try:
            return await self._roster.rewrite(server_id, revise, examined, told_of("changed", principal, now))
        except EndpointTaken as error:
            raise self._conflict(principal, endpoint) from error

    def _refuse_too_many(self, principal: Principal) -> None:
        """Bound what one owner can make the gateway keep and check."""
        if is_operator(principal):
            return
        if sum(record.owner == principal.key_id for record in self.servers.values()) >= MOST_OF_AN_OWNER:
            message = f"This key has registered {MOST_OF_AN_OWNER} servers, which is the most. Remove one first."
            raise Conflict(message)

    def _refuse_duplicate(self, principal: Principal, endpoint: Endpoint) -> None:
        """Answer early, before anything is examined; the database's index has the last word."""
        if any(record.endpoint == endpoint for record in self.servers.values()):
            raise self._conflict(principal, endpoint)

    def _conflict(self, principal: Principal, endpoint: Endpoint) -> Conflict:
        """Say that the endpoint is taken, and by which registration if the caller may know."""
        for record in self.servers.values():
            if record.endpoint == endpoint and steers(principal, record, self.owners):
                fix = f"Change it with PATCH /admin/register/{record.id}, or remove it first."
                message = f"The endpoint {endpoint.url} is already registered as {record.id}. {fix}"
                return Conflict(message, param="endpoint_url")
        return Conflict(f"The endpoint {endpoint.url} is already registered.", param="endpoint_url")


def _ignore(_server_id: str, _version: str) -> None:
    """Nobody wants to know."""
