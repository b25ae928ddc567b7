"""How does routing learn of a change? The whole list of servers is built anew and handed over at once."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from app.services.registry.records import NO_FACTS, changes_at, next_expiry, to_server
from app.services.registry.terms import OPERATOR_ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from app.services.core.checks.health import HealthState
    from app.services.core.people.hours import Hours
    from app.services.core.types import Server
    from app.services.registry.records import EngineFacts, Findings, ServerRecord
    from app.services.registry.terms import Owners

__all__ = ["HealthStates", "Publisher"]

_NOTHING_FOUND: Final[Findings] = MappingProxyType({})


class HealthStates(Protocol):
    """Where the present health of a server is read (``HealthBook``)."""

    def state(self, server_id: str, /) -> HealthState:
        """Return what is known of the server now."""
        ...


class Turns:
    """When the hours of servers begin or end next: found once for each turn, for lists are published often."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[Hours, datetime, datetime | None]] = {}

    def __call__(self, record: ServerRecord, now: datetime) -> datetime | None:
        """Say when a server's hours begin or end next; None if they never do."""
        if record.hours is None:
            return None
        known = self._known.get(record.id)
        if known is not None:
            hours, asked_at, turn = known
            if hours is record.hours and asked_at <= now and (turn is None or now < turn):
                return turn
        turn = changes_at(record, now)
        self._known[record.id] = (record.hours, now, turn)
        return turn

    def keep_only(self, records: Collection[ServerRecord]) -> None:
        """Forget servers that are gone."""
        if len(self._known) > len(records):
            kept = {record.id for record in records}
            self._known = {server_id: known for server_id, known in self._known.items() if server_id in kept}


class Publisher:
    """Builds what routing sees out of records and health, and installs it.

    Args:
        states: the present health of each server.
        install: takes the new list; must not block.
        facts: what the engine of a server says of itself, by the server's id.
        owners: what is known of the keys that registered servers.
    """

    __slots__ = ("_due_at", "_facts", "_install", "_states", "_turns", "owners")

    def __init__(
        self,
        states: HealthStates,
        install: Callable[[tuple[Server, ...]], None],
        facts: Callable[[str], EngineFacts] = lambda _server_id: NO_FACTS,
        owners: Owners = OPERATOR_ALONE,
    ) -> None:
        self._states = states
        self._install = install
        self._facts = facts
        self._turns = Turns()
        self.owners = owners
        self._due_at: datetime | None = None

    def publish(
        self,
        records: Collection[ServerRecord],
        now: datetime,
        findings: Mapping[str, Findings] = MappingProxyType({}),
    ) -> None:
        """Install the servers as they are at this moment; ``findings`` by server id.

        Those that wait for approval are left out: nobody is told of their models, nor of a place that is not open yet.
        """
        self._turns.keep_only(records)
        self._due_at = next_expiry(records, now, self._turns)
        self._install(
            tuple(
                to_server(
                    record,
                    self._states.state(record.id),
                    now,
                    findings.get(record.id, _NOTHING_FOUND),
                    self._facts(record.id),
                    self.owners,
                )
                for record in records
                if not record.pending.in_force(now)
            )
        )

    def is_due(self, now: datetime) -> bool:
        """Whether a hold has run out, or hours have begun or ended, since routing was told the last time."""
        return self._due_at is not None and now >= self._due_at
