"""What has come since the counters were looked at the last time? Differences of tallies, for the pool and by owner.

Counters only grow, but servers that are gone are folded into one label, so that counters vanish and one grows by what
was counted long ago. The whole pool's difference is therefore taken over all of them, and an owner's over its own
servers alone: neither ever falls below zero.
"""

from __future__ import annotations

from operator import sub
from typing import TYPE_CHECKING, Final

from app.services.core.reporting.outcome import CLIENT_LEFT
from app.services.core.reporting.series import POOL, Bucket
from app.services.core.reporting.tallies import REMOVED_SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.services.core.reporting.tallies import Tallies, Tally

__all__ = ["Deltas"]

_OK_BELOW: Final = 400
_UNKNOWN_KEY: Final = 401
_OWNERS_KEPT: Final = 1000


Sums = tuple[int, int, int, int]
"""What a tally said: requests, prompt tokens, completion tokens, continuations."""
_NONE: Final[Sums] = (0, 0, 0, 0)


class Deltas:
    """Remembers how the counters stood."""

    __slots__ = ("_owners", "_sums", "_times")

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str | None, int], Sums] = {}
        self._times: dict[tuple[str, str | None], tuple[int, ...]] = {}
        self._owners: dict[str, str] = {}

    def take(self, tallies: Tallies, owners: Mapping[str, str]) -> dict[str, Bucket]:
        """Say what has come, by owner, and remember how the counters stand now.

        Args:
            tallies: what was counted since the start.
            owners: who registered each server that is there now, by server id. Who registered one that is gone is
                known for as long as its figures are.

        Returns:
            By owner what came to its servers, and for ``POOL`` all of it, also where no server was reached. Who had
            nothing is not there.
        """
        self._owners.update(owners)
        came: dict[str, Bucket] = {}
        places = set()
        before_of = self._sums.get
        for key, tally in tallies.by_key.items():
            before = before_of(key, _NONE)
            if tally.requests == before[0]:
                continue
            if tally.requests < before[0]:  # it was folded, and a straggler came after
                self._take_out(came, key)
                before = _NONE
            self._sums[key] = now = _sums(tally)
            places.add(key[:2])
            self._add(came, key, (now[0] - before[0], now[1] - before[1], now[2] - before[2], now[3] - before[3]))
        for place in places:
            self._add_times(came, place, tallies.by_place[place].first_tokens)
        if len(self._sums) > len(tallies.by_key):
            for key in self._sums.keys() - tallies.by_key.keys():
                self._take_out(came, key)
            for place in self._times.keys() - tallies.by_place.keys():
                self._take_times_out(came, place)
        if len(self._owners) > 2 * len(owners) + _OWNERS_KEPT:
            known = {server_id for _model, server_id, _status in self._sums}
            self._owners = {one: owner for one, owner in self._owners.items() if one in known} | dict(owners)
        return came

    def _add(self, came: dict[str, Bucket], key: tuple[str, str | None, int], more: Sums) -> None:
        _model, server_id, status = key
        if server_id is None and (status < _OK_BELOW or status == _UNKNOWN_KEY):
            return  # the list of models, and keys that nobody has: no work for the pool
        is_error = status >= _OK_BELOW and status != CLIENT_LEFT
        requests, prompt_tokens, completion_tokens, continuations = more
        for owner in self._scopes(server_id):
            bucket = came.get(owner)
            if bucket is None:
                bucket = came[owner] = Bucket()
            bucket.requests += requests
            bucket.prompt_tokens += prompt_tokens
            bucket.completion_tokens += completion_tokens
            if is_error:
                bucket.errors += requests
            else:
                bucket.continuations += continuations

    def _add_times(self, came: dict[str, Bucket], place: tuple[str, str | None], counts: Sequence[int]) -> None:
        before, now = self._times.get(place), tuple(counts)
        if before == now:
            return
        if before is not None and sum(now) < sum(before):
            self._take_times_out(came, place)
            before = None
        self._times[place] = now
        more = now if before is None else tuple(map(sub, now, before))
        if any(more):
            for owner in self._scopes(place[1]):
                came.setdefault(owner, Bucket()).began(more)

    def _take_out(self, came: dict[str, Bucket], key: tuple[str, str | None, int]) -> None:
        """Take out what vanished, as it is counted once more under the label for all that are gone."""
        gone = self._sums.pop(key)
        self._add(came, (key[0], REMOVED_SERVER, key[2]), (-gone[0], -gone[1], -gone[2], -gone[3]))

    def _take_times_out(self, came: dict[str, Bucket], place: tuple[str, str | None]) -> None:
        """Likewise."""
        came.setdefault(POOL, Bucket()).began([-count for count in self._times.pop(place)])

    def _scopes(self, server_id: str | None) -> tuple[str, ...]:
        owner = self._owners.get(server_id, POOL) if server_id is not None else POOL
        return (POOL,) if owner == POOL else (POOL, owner)


def _sums(tally: Tally) -> Sums:
    return tally.requests, tally.prompt_tokens, tally.completion_tokens, tally.continuations
