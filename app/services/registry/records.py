"""What does the registry know of a server, and what does routing see of it at a given moment?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from app.services.core.continuation.ability import UNJUDGED, Ability
from app.services.core.people.hours import is_open, next_change, opens_in_words
from app.services.core.types import Endpoint, ModelEntry, Server
from app.services.registry.terms import OPERATOR_ALONE, trust_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from app.services.core.checks.health import CheckRecord, HealthState
    from app.services.core.people.hours import Hours
    from app.services.core.people.principal import Trust
    from app.services.registry.terms import Owners

__all__ = [
    "NO_FACTS",
    "NO_HOLD",
    "UNREADABLE_KEY",
    "EngineFacts",
    "Finding",
    "Findings",
    "Hold",
    "LoadedServer",
    "ServerRecord",
    "changes_at",
    "next_expiry",
    "reason_of",
    "still_valid",
    "to_server",
]

UNREADABLE_KEY: Final = "stored key cannot be decrypted: set api_key anew"
"""What an owner reads when the encryption key is not the one that the server's key was stored with."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason to send a server no new work: a pause, a quarantine, a block, a drain, or that it is not approved.

    ``until`` is timezone-aware UTC, None for "until it is undone". A hold whose time has passed stays stored as it was
    and counts as lifted.
    """

    active: bool = False
    reason: str = ""
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it keeps work away at this moment."""
        return self.active and (self.until is None or now < self.until)


NO_HOLD: Final = Hold()


@dataclass(frozen=True, slots=True)
class Finding:
    """What probes found of how a model goes on with broken answers; ``probed_at`` is None while none has ended."""

    ability: Ability = UNJUDGED
    probed_at: datetime | None = None


Findings = Mapping[str, Finding]
"""Of one server, by what it calls its models."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says of itself that changes seldom, and that routing follows. Never stored: it is asked anew.

    Models go by the server's registered upstream names, those in memory that are not registered by the engine's own.
    The fields mean what those of ``Server`` do.
    """

    places: int | None = None
    loaded: frozenset[str] | None = None
    swaps_models: bool = False
    contexts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


NO_FACTS: Final = EngineFacts()


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """All that is stored of one server but for its health, which changes by itself (``HealthState``).

    ``owner`` is the id of the key that registered it. ``trust`` is how far the operator said that it is trusted; None:
    as its owner and ``share`` imply. ``hours`` is when it is lent; None: always. ``api_key`` is the server's own key in
    the clear, in memory alone; ``key_unreadable`` says that one is stored which the present encryption key does not
    open.
    """

    id: str
    endpoint: Endpoint
    models: tuple[ModelEntry, ...]
    created_at: datetime
    updated_at: datetime
    owner: str | None = None
    api_key: str | None = field(default=None, repr=False)
    key_unreadable: bool = False
    engine: str = "unknown"
    discovers_models: bool = False
    max_concurrency: int | None = None
    priority: int = 0
    weight: float = 1.0
    share: str = "everyone"
    capabilities: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    paused: Hold = NO_HOLD
    quarantined: Hold = NO_HOLD
    blocked: Hold = NO_HOLD
    draining: Hold = NO_HOLD
    pending: Hold = NO_HOLD
    trust: Trust | None = None
    hours: Hours | None = None

    @property
    def holds(self) -> dict[str, Hold]:
        """The holds by name, the operator's word first."""
        return {
            "blocked": self.blocked,
            "pending": self.pending,
            "quarantined": self.quarantined,
            "paused": self.paused,
            "draining": self.draining,
        }

    def is_off_hours(self, now: datetime) -> bool:
        """Whether its owner lends it at other hours than this."""
        return self.hours is not None and not is_open(self.hours, now)

    def held(self, holds: Mapping[str, Hold], now: datetime) -> ServerRecord:
        """Return the record with these holds set or lifted, by name."""
        changes: dict[str, Any] = dict(holds)
        return replace(self, updated_at=now, **changes)


@dataclass(frozen=True, slots=True)
class LoadedServer:
    """One server as the database gives it at the start.

    The record, its last known health, its checks newest first, and how it goes on with broken answers.
    """

    record: ServerRecord
    health: HealthState
    history: tuple[CheckRecord, ...] = ()
    findings: Findings = field(default_factory=dict)


def still_valid(findings: Findings, before: ServerRecord, after: ServerRecord, version: str) -> Findings:
    """Return what still holds after a change: nothing at another endpoint or of another engine or version.

    Args:
        findings: what was found of the server's models.
        before: the server as that was found.
        after: the server as it is to be.
        version: of the engine, as seen just now; empty where it was not asked for or told.
    """
    if after.endpoint != before.endpoint or after.engine != before.engine:
        return {}
    served = {model.upstream_name for model in after.models}
    return {
        name: finding
        for name, finding in findings.items()
        if name in served and not (version and finding.ability.version and finding.ability.version != version)
    }


def to_server(
    record: ServerRecord,
    health: HealthState,
    now: datetime,
    findings: Findings = MappingProxyType({}),
    facts: EngineFacts = NO_FACTS,
    owners: Owners = OPERATOR_ALONE,
) -> Server:
    """Say what routing sees of a server at this moment.

    Args:
        record: what is stored of it.
        health: what its checks found.
        now: decides which holds are in force, and whether it is lent.
        findings: how its models go on with broken answers.
        facts: what its engine says of itself.
        owners: what is known of the key that registered it.
    """
    return Server(
        id=record.id,
        endpoint=record.endpoint,
        models=record.models,
        api_key=record.api_key,
        engine=record.engine,
        max_concurrency=record.max_concurrency,
        priority=record.priority,
        weight=record.weight,
        health=health.status,
        missing_models=health.missing_models,
        paused=record.paused.in_force(now),
        quarantined=record.quarantined.in_force(now),
        blocked=record.blocked.in_force(now),
        draining=record.draining.in_force(now),
        loading=health.loading,
        misconfigured=health.misconfigured,
        abilities={name: finding.ability for name, finding in findings.items()},
        places=facts.places,
        loaded=facts.loaded,
        swaps_models=facts.swaps_models,
        contexts=facts.contexts,
        pending=record.pending.in_force(now),
        off_hours=record.is_off_hours(now),
        owner=record.owner or "",
        group=owners.group(record.owner),
        share=record.share,
        trust=trust_of(record, owners),
    )


def changes_at(record: ServerRecord, now: datetime) -> datetime | None:
    """Say when a server's hours next begin or end; None if they never do."""
    return None if record.hours is None else next_change(record.hours, now)


def next_expiry(
    records: Iterable[ServerRecord],
    now: datetime,
    changes: Callable[[ServerRecord, datetime], datetime | None] = changes_at,
) -> datetime | None:
    """Say when the next hold runs out or the hours of a server begin or end, so that routing has to be told.

    None when nothing does. ``changes`` says when a server's hours do.
    """
    due = []
    for record in records:
        due += [hold.until for hold in record.holds.values() if hold.until is not None and hold.in_force(now)]
        hours_change = changes(record, now)
        due += [hours_change] if hours_change is not None else []
    return min(due, default=None)


def reason_of(record: ServerRecord, health: HealthState, now: datetime) -> str:
    """Say in an owner's words why a server takes no work, or not all; empty when nothing is wrong."""
    parts = [UNREADABLE_KEY] if record.key_unreadable else []
    parts += [f"{name}: {hold.reason}" for name, hold in record.holds.items() if hold.in_force(now) and hold.reason]
    if record.hours is not None and record.is_off_hours(now):
        parts.append(f"lent at other hours: {opens_in_words(record.hours, now, changes_at(record, now))}")
    parts += [health.reason] if health.reason else []
    return "; ".join(parts)
