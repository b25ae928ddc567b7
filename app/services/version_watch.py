"""When is a server asked which version of its engine it runs?

When it is first seen, and when it is well again after a failure, or after it loaded its model: then another one may
have been started. Never at each check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from app.services.core.checks.health import HealthState
    from app.services.prober_interface import Looks, ProbeTarget, Spawns

__all__ = ["VersionWatch"]


class VersionWatch:
    """The versions that servers told last, for the prober.

    Args:
        inspector: asks a server.
        tasks: starts the tasks that it is asked in.
        targets: hands out the servers by id.
        on_version: called with id and version when it is another one than was last seen.
    """

    __slots__ = ("_in_doubt", "_inspector", "_on_version", "_seen", "_targets", "_tasks")

    def __init__(
        self,
        inspector: Looks,
        tasks: Spawns,
        targets: Callable[[], Mapping[str, ProbeTarget]],
        on_version: Callable[[str, str], None],
    ) -> None:
        self._inspector = inspector
        self._tasks = tasks
        self._targets = targets
        self._on_version = on_version
        self._seen: dict[str, str] = {}
        self._in_doubt: set[str] = set()

    def keep(self, server_ids: Container[str]) -> None:
        """Forget the servers that are not named."""
        self._seen = {server_id: version for server_id, version in self._seen.items() if server_id in server_ids}
        self._in_doubt = {server_id for server_id in self._in_doubt if server_id in server_ids}

    def doubt(self, server_id: str, before: HealthState) -> None:
        """Remember whom to ask, by what was known ``before`` this look is taken in."""
        if server_id not in self._seen or before.consecutive_failures > 0 or before.loading:
            self._in_doubt.add(server_id)

    def ask(self, server_id: str, target: ProbeTarget, engine: str) -> None:
        """Ask a server that is well, if another version may run there by now."""
        if server_id in self._in_doubt:
            self._in_doubt.discard(server_id)
            self._seen.setdefault(server_id, "")
            question = self._learn(server_id, target, engine)
            self._tasks.spawn(question, name=f"version of server {server_id}")

    async def _learn(self, server_id: str, target: ProbeTarget, engine: str) -> None:
        version = await self._inspector.version(target.endpoint, target.api_key, engine)
        if self._targets().get(server_id) == target and version not in {"", self._seen.get(server_id)}:
            self._seen[server_id] = version
            self._on_version(server_id, version)
