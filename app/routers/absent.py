"""What do pages show of services that a gateway runs without?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.signals import NO_SIGNALS, Signals
from app.services.registry.records import NO_FACTS, EngineFacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from app.services.core.verification.findings import VerificationFinding

__all__ = ["NothingSaid", "NothingVerified"]


class NothingVerified:
    """For a gateway that looks at no claims."""

    def of(self, _server_id: str) -> Mapping[str, tuple[VerificationFinding, ...]]:
        """Nothing."""
        return {}


class NothingSaid:
    """For a gateway that asks no engine."""

    def signals(self, _server_id: str) -> Signals:
        """Nothing."""
        return NO_SIGNALS

    def told_at(self, _server_id: str) -> datetime | None:
        """Never."""
        return None

    def facts(self, _server_id: str) -> EngineFacts:
        """None."""
        return NO_FACTS
