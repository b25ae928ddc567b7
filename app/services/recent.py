"""What were the last requests? The outcomes that the ledger folds, kept in a ring: what became of them, no contents.

A request pays for nothing here: a batch is put into the ring whole. Who looks pays: a page looks through so many at
most, the newest first, and says where to go on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from app.services.core.reporting.recent_rows import MOST_ROWS, RecentQuery, Seen, row_of, seen, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.services.core.people.principal import Principal
    from app.services.core.reporting.outcome import Outcome
    from app.services.core.reporting.recent_rows import Facts, RecentRow

__all__ = ["LOOKED_THROUGH", "RecentPage", "RecentRequests"]

LOOKED_THROUGH: Final = 20_000
"""A page looks through so many in some 20 ms."""


@dataclass(frozen=True, slots=True)
class RecentPage:
    """Some of the last requests, the newest first.

    Attributes:
        rows: those that were looked for.
        next_before: what is ``before`` for the next page, which may be empty too; None: there are no older ones.
        kept: how many requests are in memory, of all keys.
    """

    rows: tuple[RecentRow, ...]
    next_before: int | None
    kept: int


class RecentRequests:
    """The last requests.

    Args:
        capacity: how many are kept; 0: none.

    Attributes:
        facts: what is known of keys and servers.
    """

    def __init__(self, capacity: int, facts: Facts) -> None:
        self.facts = facts
        self._outcomes: deque[Outcome] = deque(maxlen=capacity)
        self._taken = 0

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch in."""
        self._outcomes.extend(outcomes)
        self._taken += len(outcomes)

    def page(self, principal: Principal, query: RecentQuery) -> RecentPage:
        """Give the newest requests that a key may see and looks for."""
        is_wanted, facts, key = wanted(query), self.facts, query.key
        limit = max(1, min(query.limit, MOST_ROWS))
        rows: list[RecentRow] = []
        number = 0
        for number, outcome in islice(self._newest_first(query.before), LOOKED_THROUGH):
            if not is_wanted(outcome) or (much := seen(outcome, principal, facts)) is Seen.NOTHING:
                continue
            if key and (much is not Seen.ALL or key not in {outcome.key_id, facts.key_name(outcome.key_id)}):
                continue
            rows.append(row_of(number, outcome, principal, facts, much))
            if len(rows) >= limit:
                break
        oldest = self._taken - len(self._outcomes) + 1
        return RecentPage(tuple(rows), number if number > oldest else None, len(self._outcomes))

    def _newest_first(self, before: int | None) -> Iterable[tuple[int, Outcome]]:
        """Number the outcomes from the newest down, or from the one before this number."""
        newest = self._taken
        skipped = 0 if before is None else max(newest - before + 1, 0)
        numbered = zip(range(newest, 0, -1), reversed(self._outcomes), strict=False)
        return islice(numbered, skipped, None)
