"""What is known of how servers keep their claims? In memory for whoever asks, and in the database for the next start.

Memory goes first, and ``flush`` follows: nobody is told that a verdict is stored, and what is lost is found anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from app.services.core.errors import StorageUnavailable
from app.services.core.verification.findings import VerificationFinding
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.registry.finding_store import FindingStore

__all__ = ["FindingsByModel", "Served", "Verifications"]

FindingsByModel = Mapping[str, tuple[VerificationFinding, ...]]
"""What was found of one server's models, by what it calls them; of each model at most one finding a subject."""
Served = Mapping[str, Collection[str]]
"""What servers call their models, by their ids."""

_NOTHING: Final[FindingsByModel] = MappingProxyType({})

logger = get_logger(__name__)


class Verifications:
    """What was found of all servers. Readers never wait.

    Args:
        store: the database's side.
    """

    def __init__(self, store: FindingStore) -> None:
        self._store = store
        self._found: dict[str, FindingsByModel] = {}
        self._unwritten: set[str] = set()

    async def load(self) -> None:
        """Take over what the database knows.

        Raises:
            StorageUnavailable: it can't be read.
        """
        self._found = {server_id: MappingProxyType(models) for server_id, models in (await self._store.load()).items()}

    def of(self, server_id: str) -> FindingsByModel:
        """Return what was found of a server's models; what is absent was not looked at yet."""
        return self._found.get(server_id, _NOTHING)

    def keep(self, server_id: str, upstream_name: str, findings: Iterable[VerificationFinding]) -> None:
        """Take over what was found of a model, each in place of what was known of its subject."""
        models = self.of(server_id)
        known = {finding.subject: finding for finding in models.get(upstream_name, ())}
        known |= {finding.subject: finding for finding in findings}
        merged = tuple(sorted(known.values(), key=lambda finding: finding.subject))
        self._found[server_id] = MappingProxyType({**models, upstream_name: merged})
        self._unwritten.add(server_id)

    def forget(self, server_ids: Collection[str]) -> None:
        """Forget all that was found of servers."""
        for server_id in server_ids:
            if self._found.pop(server_id, None) is not None:
                self._unwritten.add(server_id)

    def retain(self, served: Served) -> None:
        """Forget what is not served any more: servers that are gone, and models."""
        for server_id, models in tuple(self._found.items()):
            names = served.get(server_id, ())
            left = {name: findings for name, findings in models.items() if name in names}
            if len(left) < len(models):
                self.forget((server_id,))
                if left:
                    self._found[server_id] = MappingProxyType(left)

    async def flush(self) -> bool:
        """Write what changed; return whether that was possible. Else it is logged, and written the next time."""
        while self._unwritten:
            server_id = self._unwritten.pop()
            try:
                await self._store.replace(server_id, self.of(server_id))
            except StorageUnavailable as error:
                self._unwritten.add(server_id)
                logger.warning("Verdicts on servers' claims are kept in memory alone", reason=error.message)
                return False
            except BaseException:
                self._unwritten.add(server_id)
                raise
        return True
