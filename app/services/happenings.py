"""What happened to the servers lately? Each new list of servers that routing gets is compared with the last one.

Nothing is told by those who make it happen: what a request, a check or an owner changed ends in that list anyway. What
is kept is bounded, and an owner whose server comes and goes pushes nothing of another owner's out.
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Final

from app.services.core.reporting.happenings import Happening, Kind, Standing, changes
from app.services.core.reporting.series import POOL
from app.services.server_names import plain_text, server_name
from app.services.server_state import is_held

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from app.services.core.checks.health import HealthState
    from app.services.core.reporting.happenings import Change
    from app.services.registry.records import ServerRecord

__all__ = ["MOST_KEPT", "Happenings"]

MOST_KEPT: Final = 100
_LONGEST_REASON: Final = 300
_NO_HOLDS: Final[frozenset[str]] = frozenset()


class Happenings:
    """The last things that happened, for the pool and for each owner.

    Args:
        snapshot: what routing goes by now: another object as soon as anything changed.
        servers: all that are registered, by id.
        state: the present health of a server.
        now: the present moment, timezone-aware UTC.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], object],
        servers: Callable[[], Mapping[str, ServerRecord]],
        state: Callable[[str], HealthState],
        now: Callable[[], datetime],
    ) -> None:
        self._snapshot = snapshot
        self._servers = servers
        self._state = state
        self._now = now
        self._kept: dict[str, deque[Happening]] = {}
        self._count = 0
        self._seen = snapshot()
        self._records = servers()
        self._standings = self._look()
        self._keep(Kind.STARTED)

    def tick(self) -> None:
        """Take in what changed since the last time."""
        if (snapshot := self._snapshot()) is self._seen:
            return
        self._seen = snapshot
        before, self._records = self._records, self._servers()
        standings, self._standings = self._standings, self._look()
        for change in changes(standings, self._standings):
            record = self._records.get(change.server_id) or before[change.server_id]
            self._keep(
                change.kind,
                server_id=record.id,
                server=server_name(record, knows_host=True),
                owner=record.owner or POOL,
                reason=self._reason(change, record),
            )

    def continued(self, counts: Mapping[str, int]) -> None:
        """Take in how many broken answers went on elsewhere of late, by owner and for ``POOL``."""
        for owner, count in counts.items():
            self._kept_of(owner).append(self._made(Kind.CONTINUED, owner=owner, count=count))

    def of(self, owners: Collection[str], limit: int = MOST_KEPT) -> list[Happening]:
        """Tell what happened, the newest first.

        Args:
            owners: to whose servers; ``{POOL}``: to all.
            limit: so much of it at most.
        """
        kept = [reversed(known) for owner in owners if (known := self._kept.get(owner))]
        return list(islice(merge(*kept, key=lambda happening: -happening.id), limit))

    def _look(self) -> dict[str, Standing]:
        now, standings = self._now(), {}
        for server_id, record in self._records.items():
            state, holds = self._state(server_id), _NO_HOLDS
            if is_held(record):
                holds = frozenset(name for name, hold in record.holds.items() if hold.in_force(now))
            standings[server_id] = Standing(state.status, state.misconfigured, holds)
        return standings

    def _reason(self, change: Change, record: ServerRecord) -> str:
        reason = record.holds[change.hold].reason if change.hold else self._state(record.id).reason
        return plain_text(reason, _LONGEST_REASON)

    def _keep(self, kind: Kind, *, server_id: str = "", server: str = "", owner: str = POOL, reason: str = "") -> None:
        happening = self._made(kind, server_id=server_id, server=server, owner=owner, reason=reason)
        for scope in {POOL, owner}:
            self._kept_of(scope).append(happening)

    def _made(
        self, kind: Kind, *, server_id: str = "", server: str = "", owner: str = "", reason: str = "", count: int = 0
    ) -> Happening:
        self._count += 1
        return Happening(self._count, self._now(), kind, server_id, server, owner, reason, count)

    def _kept_of(self, owner: str) -> deque[Happening]:
        return self._kept.setdefault(owner, deque(maxlen=MOST_KEPT))
