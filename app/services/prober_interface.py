"""What does the prober work on, and with whom?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from app.services.core.checks.health import Cadence

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Sequence
    from datetime import datetime

    from app.services.core.checks.health import HealthState
    from app.services.core.types import CheckFailure, Endpoint, Inspection

__all__ = ["Looks", "Pace", "ProbeTarget", "Records", "Spawns"]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What the prober needs to know of a server.

    ``expected`` holds the upstream names that it is registered for. A server that ``discovers`` was registered without
    a list of models: it follows what it lists. ``engine`` is what was identified at its registration.
    """

    endpoint: Endpoint
    api_key: str | None = field(repr=False)
    expected: tuple[str, ...]
    engine: str = "unknown"
    discovers: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How often servers are checked, and how many at a time."""

    cadence: Cadence = field(default_factory=Cadence)
    concurrency: int = 64


class Looks(Protocol):
    """Looks at a server; ``inspector.Inspector`` is the one."""

    async def inspect(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], *, engine: str | None = None
    ) -> Inspection:
        """Look once. Failures of the server are part of what is returned."""

    async def version(self, endpoint: Endpoint, api_key: str | None, engine: str) -> str:
        """Ask for the engine's own version; empty where it does not tell."""

    async def hears(self, endpoint: Endpoint, api_key: str | None, timeout_seconds: float) -> CheckFailure | None:
        """Find out whether a server answers at all; None when it does."""


class Records(Protocol):
    """Keeps what was found; ``registry.book.HealthBook`` is the one."""

    def state(self, server_id: str, /) -> HealthState:
        """Return what is known of a server."""

    def record(self, server_id: str, inspection: Inspection, now: datetime, *, wanted: bool = False) -> None:
        """Take in what a check found; ``wanted`` if one good check is to open the server."""

    def silent(self, server_id: str, now: datetime) -> None:
        """Take in that a server fell silent, and did not answer a check either."""

    def pardon(self, server_id: str) -> None:
        """Let the next good check open a server that refused a request."""

    async def flush(self) -> None:
        """Write to the database what changed."""


class Spawns(Protocol):
    """Starts tasks, keeps them, and logs their failures; ``utils.tasks`` has the one."""

    def spawn(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Start a task under a name."""
