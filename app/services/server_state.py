"""In which one state is a server? The strongest of what keeps work away from it, else what its checks found. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.core.checks.health import HealthState
    from app.services.registry.records import ServerRecord

__all__ = ["HOLDS", "STATES", "is_held", "state_of"]

HOLDS: Final = ("blocked", "quarantined", "pending", "draining", "paused")
"""What keeps work away, the strongest first."""
_OFF_HOURS: Final = "off_hours"
STATES: Final = ("healthy", "unhealthy", "unknown", *HOLDS, _OFF_HOURS)
"""All states that there are."""


def state_of(record: ServerRecord, health: HealthState, now: datetime) -> str:
    """Say in one word how a server stands."""
    if is_held(record):
        for name in HOLDS:
            if getattr(record, name).in_force(now):
                return name
    return _OFF_HOURS if record.hours is not None and record.is_off_hours(now) else health.status.value


def is_held(record: ServerRecord) -> bool:
    """Whether anything may keep work away from it; whether that is in force still is for the clock to say."""
    return (
        record.paused.active
        or record.draining.active
        or record.blocked.active
        or record.quarantined.active
        or record.pending.active
    )
