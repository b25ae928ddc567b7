"""Which services look after the registered servers, and how do they hear of each other?

Built at each start, around an open database. What one of them finds changes what routing sees: everything that matters
there ends in one place, ``install``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.services.canary import Canary
from app.services.core.checks.health import Cadence, Thresholds
from app.services.core.choice.snapshot import build_snapshot
from app.services.core.verification.kinds import Kinds
from app.services.core.verification.rota import Rota
from app.services.dataplane.fetch import Fetcher
from app.services.inquiry import Inquiry
from app.services.inspector import Inspector
from app.services.knocks import Knocks
from app.services.listening import Listener
from app.services.pacing import Paced
from app.services.places import BoardPlaces
from app.services.prober import Pace, Prober
from app.services.pulse import SystemClock
from app.services.quarantine import Quarantine
from app.services.registry.aliases.service import Aliases
from app.services.registry.aliases.store import AliasStore
from app.services.registry.book import HealthBook
from app.services.registry.class_store import ClassStore
from app.services.registry.classes import ModelClasses
from app.services.registry.finding_store import FindingStore
from app.services.registry.publisher import Publisher
from app.services.registry.service import Registry
from app.services.registry.terms import Owners
from app.services.registry.trial import Trials
from app.services.registry.verifications import Verifications
from app.services.survey import Survey
from app.services.tryout import Tryout
from app.services.verifier import Verifier
from app.targets import Targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.accounts import Accounts
    from app.housekeeping import Runs
    from app.lifespan import Parts
    from app.services.core.signals import Signals
    from app.services.core.types import Server
    from app.services.registry.records import EngineFacts, ServerRecord
    from app.services.registry.repository import ServerRepository
    from app.utils.database import Database

__all__ = ["Services"]

_FRESH_SECONDS = 10.0
"""How long an engine's word counts whole at least; with rarer checks until the next one."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database keeps."""

    book: HealthBook
    registry: Registry
    classes: ModelClasses
    aliases: Aliases
    verifications: Verifications


class Services:
    """All that looks after the servers, wired up. Nothing runs and nothing is read before ``load``.

    Args:
        parts: what exists before the start.
        database: open.
        repository: the servers in it.
        accounts: whose servers they are.
    """

    def __init__(self, parts: Parts, database: Database, repository: ServerRepository, accounts: Accounts) -> None:
        self._parts, self._plane, self._settings = parts, parts.plane, parts.settings
        self._fetcher = Fetcher(parts.link, parts.plane.reception.via)
        self._places = BoardPlaces(parts.plane.board, parts.plane.clock, parts.plane.place_freed)
        self._kinds = Kinds()
        self._published = Paced(self._publish)
        self._accounts = accounts
        accounts.on_owners = self._published.ask
        settings = self._settings
        self._thresholds = Thresholds(unhealthy=settings.unhealthy_threshold, healthy=settings.healthy_threshold)
        inspector = Inspector(self._fetcher, settings.health_check_timeout_seconds)
        stored = self._stored(database, repository, inspector)
        self.book, self.registry = stored.book, stored.registry
        self.classes, self.aliases, self.verifications = stored.classes, stored.aliases, stored.verifications
        targets = Targets(self.registry)
        self.survey = self._survey(targets)
        self.canary = Canary(
            self._fetcher, self.registry, parts.tasks, places=self._places, enabled=settings.continuation_enabled
        )
        self.verifier = self._verifier() if settings.verification_enabled else None
        self.registry.on_version = self._versioned
        self.knocks = Knocks(
            parts.link,
            parts.tasks,
            targets=targets,
            status=lambda server_id: self.book.state(server_id).status,
            check_soon=self._check_soon,
        )
        self.prober = self._prober(inspector, targets)
        self.quarantine = self._quarantine() if settings.quarantine_enabled else None
        tryout = Tryout(self._fetcher) if settings.continuation_enabled else None
        self.trials = Trials(self.registry, inspector, _utc_now, time.monotonic, tryout)

    def _check_soon(self, server_id: str) -> None:
        self.prober.check_soon(server_id)

    @property
    def servers(self) -> Mapping[str, ServerRecord]:
        """All servers by id."""
        return self.registry.servers

    @property
    def looking(self) -> Mapping[str, Runs]:
        """What runs for as long as this process is on duty, by name."""
        verifying: dict[str, Runs] = {} if self.verifier is None else {"verifier": self.verifier}
        return {"prober": self.prober, "canary": self.canary, "knocks": self.knocks, **verifying}

    async def load(self) -> None:
        """Take over what the database knows, and tell routing: at the start, or as another process had it.

        Raises:
            StorageUnavailable: it can't be read.
        """
        await self._accounts.load()
        await self.verifications.load()
        await self.registry.load()
        await self.classes.load()
        await self.aliases.load()

    # -- how they hear of each other

    def _install(self, servers: tuple[Server, ...]) -> None:
        """Everything that routing follows has changed, or may have."""
        routed = self.classes.routed
        self._kinds.confirmed(routed)
        self._plane.install(build_snapshot(servers, routed, self.aliases.routed))
        self.aliases.review(servers)
        if self.quarantine is not None:
            self.quarantine.review(self._plane.snapshot)
        self.canary.review(servers)
        if self.verifier is not None:
            self.verifier.review(servers)

    def _versioned(self, server_id: str, version: str) -> None:
        """A server's engine tells its version."""
        self.canary.versioned(server_id, version)
        self.survey.versioned(server_id, version)
        if self.verifier is not None:
            self.verifier.versioned(server_id, version)

    def _loaded(self, server_id: str, signals: Signals) -> None:
        """A server has said how busy it is."""
        fresh_seconds = max(_FRESH_SECONDS, self._settings.health_check_interval_seconds)
        self._plane.board.lane(server_id).told(signals, self._plane.clock(), fresh_seconds)

    def _facts(self, server_id: str) -> EngineFacts:
        return self.survey.facts(server_id)

    def _templates(self, server_id: str) -> Mapping[str, str]:
        return self.survey.signals(server_id).templates

    def _publish(self) -> None:
        self.registry.publish()

    def _routed(self) -> Iterable[Server]:
        return self._plane.snapshot.servers.values()

    # -- how they are made

    def _stored(self, database: Database, repository: ServerRepository, inspector: Inspector) -> _Stored:
        book = HealthBook(
            repository,
            self._thresholds,
            on_change=self._published.ask,
            may_write=lambda: not database.lent,
        )
        accounts = self._accounts
        owners = Owners(accounts.role_of, accounts.group_of, accounts.is_good)
        publisher = Publisher(book, self._install, self._facts, owners)
        needs_approval = self._settings.registration_needs_approval
        registry = Registry(repository, inspector, book, publisher, _utc_now, needs_approval=needs_approval)
        classes = ModelClasses(ClassStore(database), self._routed, _utc_now, registry.publish, self._templates)
        store = AliasStore(database)
        aliases = Aliases(store, self._routed, _utc_now, registry.publish, lambda: classes.routed)
        classes.aliases = lambda: aliases.names
        return _Stored(book, registry, classes, aliases, Verifications(FindingStore(database)))

    def _survey(self, targets: Targets) -> Survey:
        return Survey(
            self._fetcher,
            self._parts.tasks,
            targets=targets,
            states=self.book,
            on_facts=self._published.ask,
            on_load=self._loaded,
            timeout_seconds=self._settings.health_check_timeout_seconds,
        )

    def _verifier(self) -> Verifier:
        plane, clock = self._plane, SystemClock()
        listener = Listener(self._parts.link, plane.reception.via, clock.monotonic)
        rota = Rota(
            lambda server_id: plane.board.in_flight(server_id) == 0,
            self._places.has_room,
            after_trials=self._settings.continuation_enabled,
            declared=self.registry.declared_context,
        )
        return Verifier(
            Inquiry(listener, self._fetcher, self._places, clock),
            rota,
            self.verifications,
            self._parts.tasks,
            clock=clock,
            interval_seconds=self._settings.verification_interval_seconds,
            kind_of=self._kinds,
        )

    def _quarantine(self) -> Quarantine:
        plane, lanes = self._plane, self._plane.board.lanes
        return Quarantine(
            self.registry,
            self._parts.tasks,
            snapshot=lambda: plane.snapshot,
            is_shut=lambda server_id: server_id in lanes and lanes[server_id].is_shut(plane.clock()),
            clock=lambda: plane.clock(),  # noqa: PLW0108 - the plane's clock of the moment
        )

    def _prober(self, inspector: Inspector, targets: Targets) -> Prober:
        settings = self._settings
        cadence = Cadence(interval_seconds=settings.health_check_interval_seconds, thresholds=self._thresholds)
        return Prober(
            inspector,
            self.book,
            self._parts.tasks,
            Pace(cadence, settings.health_check_concurrency),
            targets=targets,
            on_models=self.registry.apply_discovered,
            on_version=self._versioned,
            on_checked=self.survey.checked,
            on_returned=self._plane.returned,
            is_watched=self.knocks.is_watched,
        )


def _utc_now() -> datetime:
    return datetime.now(UTC)
