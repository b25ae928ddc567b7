"""How does routing learn of a change? The whole list of servers is built anew and handed over at once."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from app.services.registry.records import NO_FACTS, next_expiry, to_server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from app.services.core.checks.health import HealthState
    from app.services.core.types import Server
    from app.services.registry.records import EngineFacts, Findings, ServerRecord

__all__ = ["HealthStates", "Publisher"]

_NOTHING_FOUND: Final[Findings] = MappingProxyType({})


class HealthStates(Protocol):
    """Where the present health of a server is read (``HealthBook``)."""

    def state(self, server_id: str, /) -> HealthState:
        """Return what is known of the server now."""
        ...


class Publisher:
    """Builds what routing sees out of records and health, and installs it.

    Args:
        states: the present health of each server.
        install: takes the new list; must not block.
        facts: what the engine of a server says of itself, by the server's id.
    """

    __slots__ = ("_due_at", "_facts", "_install", "_states")

    def __init__(
        self,
        states: HealthStates,
        install: Callable[[tuple[Server, ...]], None],
        facts: Callable[[str], EngineFacts] = lambda _server_id: NO_FACTS,
    ) -> None:
        self._states = states
        self._install = install
        self._facts = facts
        self._due_at: datetime | None = None

    def publish(
        self,
        records: Collection[ServerRecord],
        now: datetime,
        findings: Mapping[str, Findings] = MappingProxyType({}),
    ) -> None:
        """Install the servers as they are at this moment; ``findings`` by server id."""
        self._due_at = next_expiry(records, now)
        self._install(
            tuple(
                to_server(
                    record,
                    self._states.state(record.id),
                    now,
                    findings.get(record.id, _NOTHING_FOUND),
                    self._facts(record.id),
                )
                for record in records
            )
        )

    def is_due(self, now: datetime) -> bool:
        """Whether a hold has run out since the last time, so that routing sees too few servers."""
        return self._due_at is not None and now >= self._due_at
