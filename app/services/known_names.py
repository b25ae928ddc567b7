"""What are keys and servers called whose ids are known, and whose are they? From memory: nothing is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.registry.access import steers
from app.services.registry.accounting.usage_names import REMOVED, key_name
from app.services.server_names import server_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.services.core.people.principal import Principal
    from app.services.registry.people.records import KeyRecord
    from app.services.registry.service import Registry

__all__ = ["KnownNames"]


class KnownNames:
    """``recent_rows.Facts``.

    Args:
        keys: all keys by id, those that ended too.
        registry: the servers.
    """

    __slots__ = ("_keys", "_registry")

    def __init__(self, keys: Callable[[], Mapping[str, KeyRecord]], registry: Registry) -> None:
        self._keys = keys
        self._registry = registry

    def key_name(self, key_id: str) -> str:
        """What a key is called."""
        record = self._keys().get(key_id)
        return key_name(key_id, {}) if record is None else record.name

    def minted_by(self, key_id: str) -> str:
        """Which key made it; empty where none is known."""
        record = self._keys().get(key_id)
        return "" if record is None else record.minted_by or ""

    def owner(self, server_id: str) -> str:
        """Which key registered a server; empty where that is not known."""
        record = self._registry.servers.get(server_id)
        return "" if record is None else record.owner or ""

    def server_name(self, server_id: str, principal: Principal) -> str:
        """What a server is called, as far as a key may know."""
        record = self._registry.servers.get(server_id)
        if record is None:
            return REMOVED
        return server_name(record, knows_host=steers(principal, record, self._registry.owners))
