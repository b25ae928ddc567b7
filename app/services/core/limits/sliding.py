"""How many requests and tokens came in during the last minute, and when is there room again?

An exact sliding window: what came in at a moment counts until a whole window later, so that at most N are let through
in **any** window, and all N may come at once. No bucket that refills (it lets nearly 2 N through in some windows), no
fixed minutes (2 N around the turn of one).

To stay small, what comes within 1/6000 of the window of each other is one :class:`Mark`, which counts until the latest
of it is out: never too short, at most 10 ms of a minute too long, and some 6,000 marks however large the limit. Marks
within 1/60 of the window share a :class:`Slot`, which knows their sum: to find out when there is room takes a walk over
61 slots and the marks of one, and a window is saved as 61 sums.

Times are monotonic seconds. A window is half open: what came in at 0 is out at 60. Requests and tokens share their
marks: nearly every request brings both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MINUTE_SECONDS", "Amount", "Mark", "SlidingLog"]

MINUTE_SECONDS: Final = 60.0
_MARKS: Final = 6000
"""Marks a window."""
_SLOTS: Final = 60
"""Slots a window."""
_MOST_IDLE_MARKS: Final = 64
"""So many marks that are out may stay in the list before it is cut: that keeps cutting cheap."""
_MILLISECONDS: Final = 1000

Amount = Literal["requests", "tokens"]


class Slot(msgspec.Struct, gc=False):
    """The sum of marks that lie close together.

    Attributes:
        out_at: when the last of them is out.
        first: the number of its first mark, counted from the beginning of the log.
        requests: how many they hold.
        tokens: how many they hold.
    """

    out_at: float
    first: int
    requests: int = 0
    tokens: int = 0


class Mark(msgspec.Struct, gc=False):
    """What came in at about one moment. Opaque to callers: what ``add`` gives, and ``take_back`` takes.

    Attributes:
        out_at: when it is out.
        slot: where it is summed up.
        requests: how many it holds.
        tokens: how many it holds.
    """

    out_at: float
    slot: Slot
    requests: int
    tokens: int


class SlidingLog:
    """The requests and tokens of the last window.

    Args:
        window_seconds: how long they count.

    Attributes:
        next_out_at: from when on ``sweep`` finds something to do.
        requests: how many came in during the window that ended at the last ``sweep``, and since.
        tokens: how many did.
    """

    __slots__ = (
        "_cut",
        "_head",
        "_mark_seconds",
        "_marks",
        "_merge_until",
        "_newest",
        "_slot_seconds",
        "_slot_until",
        "_slots",
        "_swept_at",
        "_window",
        "next_out_at",
        "requests",
        "tokens",
    )

    def __init__(self, window_seconds: float = MINUTE_SECONDS) -> None:
        self._window = window_seconds
        self._mark_seconds = window_seconds / _MARKS
        self._slot_seconds = window_seconds / _SLOTS
        self._marks: list[Mark] = []
        self._slots: list[Slot] = []
        self._head = 0
        """Where in the list the oldest mark is that still counts."""
        self._cut = 0
        """How many marks were cut off before the list."""
        self._newest: Mark | None = None
        self._merge_until = -math.inf
        self._slot_until = -math.inf
        self._swept_at = -math.inf
        self.next_out_at = math.inf
        self.requests = 0
        self.tokens = 0

    def __len__(self) -> int:
        """How many marks are kept."""
        return len(self._marks) - self._head

    def add(self, requests: int, tokens: int, now: float) -> Mark:
        """Take in what came; return where it is, for ``take_back``."""
        self.requests += requests
        self.tokens += tokens
        mark = self._newest
        if mark is None or now >= self._merge_until:
            return self._open(requests, tokens, now)
        slot = mark.slot
        if (out_at := now + self._window) > mark.out_at:
            mark.out_at = slot.out_at = out_at
        mark.requests += requests
        mark.tokens += tokens
        slot.requests += requests
        slot.tokens += tokens
        return mark

    def take_back(self, mark: Mark, tokens: int) -> None:
        """Take back tokens that were added too much, at most what was added. What is out is not missed."""
        if mark.out_at > self._swept_at:
            mark.tokens -= tokens
            mark.slot.tokens -= tokens
            self.tokens -= tokens

    def sweep(self, now: float) -> None:
        """Let go of what is out. Only needed from ``next_out_at`` on."""
        marks, slots, head = self._marks, self._slots, self._head
        count = len(marks)
        while head < count and (mark := marks[head]).out_at <= now:
            slot = mark.slot
            self.requests -= mark.requests
            slot.requests -= mark.requests
            self.tokens -= mark.tokens
            slot.tokens -= mark.tokens
            head += 1
        while slots and slots[0].out_at <= now:
            del slots[0]
        self._swept_at = now
        if head == count:
            self._newest, self.next_out_at = None, math.inf
        else:
            self.next_out_at = marks[head].out_at
        if head == count or (head >= _MOST_IDLE_MARKS and head * 2 >= count):
            del marks[:head]
            self._cut += head
            head = 0
        self._head = head

    def room_in(self, amount: Amount, wanted: int, limit: int, now: float) -> float:
        """Return in how many seconds so much more of an amount fits in; infinity if it never does.

        That is when nothing else comes, and nothing is taken back.
        """
        self.sweep(now)
        over = getattr(self, amount) + wanted - limit
        if over <= 0:
            return 0.0
        if wanted > limit:
            return math.inf
        for slot in self._slots:
            held = getattr(slot, amount)
            if held >= over:
                return self._out_of(slot, amount, over) - now
            over -= held
        return self._window  # pragma: no cover - the slots hold all that is used, and that is enough

    def empty_in(self, amount: Amount, now: float) -> float:
        """Return in how many seconds nothing of an amount counts any more, if nothing else comes; to a second."""
        self.sweep(now)
        return next((slot.out_at - now for slot in reversed(self._slots) if getattr(slot, amount)), 0.0)

    def saved(self, now: float) -> list[tuple[int, int, int]]:
        """Return what counts, oldest first: an age in whole milliseconds, requests and tokens, one line for each slot.

        The age is that of the youngest in the slot: restored, it never counts for shorter than it would have.
        """
        self.sweep(now)
        began_at = now + self._window
        return [
            (max(int((began_at - slot.out_at) * _MILLISECONDS), 0), slot.requests, slot.tokens)
            for slot in self._slots
            if slot.requests or slot.tokens
        ]

    def restore(self, saved: Iterable[tuple[int, int, int]], now: float) -> None:
        """Take over what was saved, into a log that is empty; ages are by now."""
        for age, requests, tokens in sorted(saved, reverse=True):
            seconds = age / _MILLISECONDS
            if seconds < self._window:
                self.add(requests, tokens, now - seconds)

    def _open(self, requests: int, tokens: int, now: float) -> Mark:
        """Begin a mark, and a slot where the last one is full."""
        out_at = now + self._window
        marks, slots = self._marks, self._slots
        if now >= self._slot_until or not slots:
            slot = Slot(out_at, self._cut + len(marks), requests, tokens)
            slots.append(slot)
            self._slot_until = now + self._slot_seconds
        else:
            slot = slots[-1]
            slot.out_at = out_at
            slot.requests += requests
            slot.tokens += tokens
        mark = self._newest = Mark(out_at, slot, requests, tokens)
        if not marks:
            self.next_out_at = out_at
        marks.append(mark)
        self._merge_until = now + self._mark_seconds
        return mark

    def _out_of(self, slot: Slot, amount: Amount, over: int) -> float:
        """Return when so much of a slot is out."""
        marks = self._marks
        for index in range(max(slot.first - self._cut, self._head), len(marks)):
            over -= getattr(marks[index], amount)
            if over <= 0:
                return marks[index].out_at
        return slot.out_at  # pragma: no cover - a slot's marks hold what it holds
