"""Which servers are checked, and for what? The registry's records, as the prober wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.prober_interface import ProbeTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.registry.records import ServerRecord
    from app.services.registry.service import Registry

__all__ = ["Targets"]


class Targets:
    """Gives the prober its targets; the same mapping until the registry's changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen: Mapping[str, ServerRecord] | None = None
        self._targets: Mapping[str, ProbeTarget] = {}

    def __call__(self) -> Mapping[str, ProbeTarget]:
        """Return the targets by server id."""
        servers = self._registry.servers
        if servers is not self._seen:
            self._seen = servers
            self._targets = {server_id: _target(record) for server_id, record in servers.items()}
        return self._targets


def _target(record: ServerRecord) -> ProbeTarget:
    return ProbeTarget(
        endpoint=record.endpoint,
        api_key=record.api_key,
        expected=tuple(model.upstream_name for model in record.models),
        engine=record.engine,
        discovers=record.discovers_models,
    )
