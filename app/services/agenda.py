"""Which server's turn is it? Due times and places of the periodic checks, without any waiting of its own.

Every server has a due time; those whose time has come queue for a place. Servers that are known to be down queue
apart and hold at most half of the places, so that hanging ones never keep the others from being checked.

All times are seconds of one monotonic clock, handed in by the caller.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["SOON_GAP_SECONDS", "Agenda", "Slot"]

SOON_GAP_SECONDS: Final = 1.0
"""Checks that traffic asks for come at most this often for one server."""


@dataclass(slots=True, eq=False)
class Slot:
    """One server's place in the agenda. A server that is removed and comes back gets a new one."""

    server_id: str
    due: float
    started_at: float = -math.inf
    running: bool = False
    queued: bool = False
    again: bool = False
    """Whether the check under way came too early to count for the last who asked."""


class Agenda:
    """The due times of all servers, and who holds a place.

    Args:
        places: how many checks may run at a time.
        is_down: whether a server is known to be down, by its id.
    """

    def __init__(self, places: int, is_down: Callable[[str], bool]) -> None:
        self._places = places
        self._is_down = is_down
        self._slots: dict[str, Slot] = {}
        self._heap: list[tuple[float, str]] = []
        self._queues: dict[bool, deque[Slot]] = {False: deque(), True: deque()}
        self._running: dict[Slot, bool] = {}

    def keep_only(self, server_ids: Iterable[str]) -> list[str]:
        """Drop the servers that are not named, and return the names that are new here."""
        wanted = dict.fromkeys(server_ids)
        for server_id in self._slots.keys() - wanted.keys():
            del self._slots[server_id]
        return [server_id for server_id in wanted if server_id not in self._slots]

    def add(self, server_id: str, due: float) -> None:
        """Give a server a due time for the first time."""
        slot = self._slots[server_id] = Slot(server_id, due)
        self._plan(slot, due)

    def slot(self, server_id: str) -> Slot | None:
        """Return a server's present slot, None if it has none."""
        return self._slots.get(server_id)

    def is_current(self, slot: Slot) -> bool:
        """Whether the server of this slot is still the one that it was made for."""
        return self._slots.get(slot.server_id) is slot

    def bring_forward(self, server_id: str, now: float) -> bool:
        """Make a check due at once, though at most once a second; return whether that changed a due time.

        While a check is running, the next one is planned as soon as it has ended.
        """
        slot = self._slots.get(server_id)
        if slot is None or slot.queued:
            return False
        if slot.running:
            slot.again = True
            return False
        due = max(now, slot.started_at + SOON_GAP_SECONDS)
        sooner = due < slot.due
        if sooner:
            self._plan(slot, due)
        return sooner

    def take(self, now: float) -> Iterator[Slot]:
        """Yield the slots whose check starts now; each holds a place from here on."""
        self._queue_due(now)
        for down, queue in self._queues.items():
            while queue and self._has_place(down=down):
                slot = queue.popleft()
                if slot.queued and self.is_current(slot):
                    self.start(slot, now)
                    yield slot

    def start(self, slot: Slot, now: float) -> None:
        """Let a check begin, whether there is a place for it or not."""
        slot.running, slot.queued, slot.again = True, False, False
        slot.started_at = now
        self._running[slot] = self._is_down(slot.server_id)

    def finish(self, slot: Slot, due: float) -> None:
        """Give the place back, and plan the next check for ``due``, or sooner if somebody asked meanwhile."""
        slot.running = False
        self._running.pop(slot, None)
        if self.is_current(slot):
            self._plan(slot, min(due, slot.started_at + SOON_GAP_SECONDS) if slot.again else due)

    @property
    def is_busy(self) -> bool:
        """Whether any check is running."""
        return bool(self._running)

    @property
    def next_due(self) -> float:
        """When the next server's time comes. Those that queue are left out: they wait for a place, not for a time."""
        return self._heap[0][0] if self._heap else math.inf

    def _plan(self, slot: Slot, due: float) -> None:
        slot.due = due
        heapq.heappush(self._heap, (due, slot.server_id))

    def _queue_due(self, now: float) -> None:
        """Queue the servers whose time has come. Entries that were planned anew since have no meaning any more."""
        while self._heap and self._heap[0][0] <= now:
            due, server_id = heapq.heappop(self._heap)
            slot = self._slots.get(server_id)
            if slot is not None and slot.due == due and not slot.running and not slot.queued:
                slot.queued = True
                self._queues[self._is_down(server_id)].append(slot)

    def _has_place(self, *, down: bool) -> bool:
        """Whether one more check may run."""
        if down and sum(self._running.values()) >= max(1, self._places // 2):
            return False
        return len(self._running) < self._places
