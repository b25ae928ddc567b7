"""How much was each server given to do lately, and how long does it take for that?

What is in flight says who is busy now. A conversation stays where it began, so its first server must be one that has
few of them, and most of the time most of them are silent. Work is measured in bytes: of prompt that the server had not
seen before, and for the answer, of unknown length, a flat amount; the sum per server halves every five minutes. What a
byte takes is learnt per server from how long its requests took: a laptop is given little where a big machine stands
beside it. Until something is known of a server, it is held to be as fast as the fastest.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

__all__ = ["ANSWER_BYTES", "HALF_LIFE_SECONDS", "Work"]

HALF_LIFE_SECONDS: Final = 300.0
ANSWER_BYTES: Final = 8192
"""What an answer counts: to make one token takes about as long as to read ten to fifty, and answers have hundreds."""
_MOST_FASTER: Final = 4.0
"""Nobody counts as faster than so many of the middle: who answers at once may not have worked at all."""
_ENOUGH: Final = 5
"""Of fewer servers there is no middle."""
_FORGETTING: Final = 0.95
"""What the past counts at each answer: about the last 20 say how fast a server is."""
_LONGEST_SECONDS: Final = 900.0
"""After so long a silence nothing runs any more, whatever was not told."""


class _Share:
    """What one server was given, and how fast it is."""

    __slots__ = ("at", "done_bytes", "done_seconds", "given_bytes", "running")

    def __init__(self) -> None:
        self.given_bytes = self.at = self.done_bytes = self.done_seconds = 0.0
        self.running = 0

    def given(self, now: float) -> float:
        """What it was given, in bytes, as far as it still counts."""
        return self.given_bytes * math.exp2((self.at - now) / HALF_LIFE_SECONDS) if self.given_bytes else 0.0


class Work:
    """Recent work by server. Times are monotonic seconds."""

    __slots__ = ("_shares",)

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}

    def loads(
        self,
        server_ids: Iterable[str],
        size_bytes: int,
        known: Mapping[str, int],
        now: float,
        strength: Callable[[str], float] | None = None,
    ) -> dict[str, float]:
        """Tell for each server how long its recent work takes, together with one more prompt.

        Args:
            server_ids: which ones.
            size_bytes: of the prompt and its answer.
            known: how much of it some servers need not read.
            now: monotonic seconds.
            strength: how strong each is by its owner's word, above 0.0; then that counts, and not what was learnt.

        Returns:
            Seconds; in another unit, the same for all, as long as the speed of none is known.
        """
        shares = {server_id: self._shares.get(server_id, _UNKNOWN) for server_id in server_ids}
        rates = [share.done_seconds / share.done_bytes for share in shares.values() if share.done_bytes]
        fastest = min(rates, default=1.0)
        if len(rates) >= _ENOUGH:
            fastest = max(fastest, median(rates) / _MOST_FASTER)
        found = {}
        for server_id, share in shares.items():
            load = share.given(now) + size_bytes - known.get(server_id, 0)
            if strength is not None:
                found[server_id] = load / strength(server_id)
            else:
                rate = share.done_seconds / share.done_bytes if share.done_bytes else fastest
                found[server_id] = load * max(rate, fastest)
        return found

    def is_busy(self, server_id: str, now: float) -> bool:
        """Whether something that it was given is not done yet."""
        share = self._shares.get(server_id)
        return share is not None and share.running > 0 and now - share.at < _LONGEST_SECONDS

    def give(self, server_id: str, size_bytes: int, now: float) -> None:
        """Give a server so much to do."""
        share = self._shares.get(server_id)
        if share is None:
            share = self._shares[server_id] = _Share()
        if now - share.at >= _LONGEST_SECONDS:
            share.running = 0
        share.given_bytes = share.given(now) + size_bytes
        share.at = now
        share.running += 1

    def done(self, server_id: str, size_bytes: int, seconds: float | None) -> None:
        """Note that what it was given is over, and how long it took; None where that says nothing of its speed."""
        share = self._shares.get(server_id)
        if share is None:
            return
        share.running = max(share.running - 1, 0)
        if seconds is not None and size_bytes > 0 and 0.0 < seconds < math.inf:
            share.done_bytes = share.done_bytes * _FORGETTING + size_bytes
            share.done_seconds = share.done_seconds * _FORGETTING + seconds

    def keep(self, server_ids: Container[str]) -> None:
        """Forget all other servers."""
        for server_id in [known for known in self._shares if known not in server_ids]:
            del self._shares[server_id]


_UNKNOWN: Final = _Share()
