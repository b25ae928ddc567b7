"""How busy and how well is one server, live?

A lane is written by exchanges as they begin, answer and end, and by polls of the engine; the choice of the next server
reads it. Times are monotonic seconds and come in as arguments.

What speaks against a server, from light to grave: it has just failed (*suspect*: others first), it came back a moment
ago (it *ramps*: a growing share), it has refused for load (a *cap* on what is in flight), it asked to be left alone
(*cooling*: not taken), it failed again and again (*shut*: ejected, ``core.live.breaker``). Beside it stands what
makes it busier than it looks: *foreign* requests (``core.live.hearsay``), and models that take turns in its memory
(``core.live.residence``). All of it is folded into ``closer_look_until``, so that the choice looks at one figure where
nothing is wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from app.services.core.live.breaker import NEW, Phase, Signal, advance
from app.services.core.live.gaps import GAP_BOUNDS_SECONDS, GapEvidence
from app.services.core.live.hearsay import FRESH_SECONDS, NOTHING_TOLD, heard, held
from app.services.core.retry import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.services.core.live.breaker import Breaker
    from app.services.core.live.hearsay import Hearsay
    from app.services.core.live.residence import Residence
    from app.services.core.signals import Signals

__all__ = ["GAP_BOUNDS_SECONDS", "RAMP_LEAST", "RAMP_SECONDS", "SUSPICION_GAPS", "Lane"]

RAMP_SECONDS: Final = 30.0
"""How long a server that came back takes to its full share."""
RAMP_LEAST: Final = 0.1
"""The share that it begins with."""
SUSPICION_GAPS: Final = 20.0
"""A stream is suspiciously silent after so many times the 99th percentile of its server's gaps."""
_SUSPECT_SECONDS = 1.0
_SUSPECT_LONGEST_SECONDS = 10.0
_FIRST_TOKEN_DECAY_SECONDS = 60.0
_RETRY_AFTER_LONGEST_SECONDS = 300.0
_CAP_SLACK = 8
"""A cap of twice what is in flight and so much more holds nothing back."""

_BEFORE: Final[Mapping[Failure, Signal]] = {
    Failure.DIAL: Signal.CONNECT_ERROR,
    Failure.RESET: Signal.LOST,
    Failure.DEAD: Signal.LOST,
    Failure.FAILED: Signal.BAD_ANSWER,
    Failure.SILENT: Signal.BAD_ANSWER,
    Failure.BROKEN: Signal.BAD_ANSWER,
}
"""What a failure before the answer began tells the breaker. CREDENTIALS is for health to judge."""


class Lane:
    """The live figures of one server.

    ``first_token_ewma_seconds`` is 0.0 until the first answer. ``suspect_until`` marks a server that just failed: it
    is taken only when no other is there. ``cooling_until`` marks one that asked to be left alone (429, 503 with
    Retry-After): it is not taken at all, nor is one whose ``breaker`` is open. Until ``troubled_until`` any of this may
    be so, until ``closer_look_until`` that or a load that shows nowhere else; later nothing is, and only
    ``max_concurrency`` bounds it. ``residence`` is there for a server that swaps models. ``held`` is the most that its
    engine said it computes with nothing waiting.

    The rest is counted for the operator: ``ejections`` is how often the server began to be avoided, ``gaps`` how many
    gaps between the events of streams fell into each bucket of ``GAP_BOUNDS_SECONDS`` (the last is beyond them),
    ``gap_seconds_total`` their sum.
    """

    __slots__ = (
        "_capped_at",
        "_evidence",
        "_hearsay",
        "_most",
        "_returned_at",
        "_uneasy",
        "answered_at",
        "breaker",
        "closer_look_until",
        "cooling_until",
        "ejections",
        "failures_in_a_row",
        "first_token_ewma_seconds",
        "gap_seconds_total",
        "gaps",
        "held",
        "in_flight",
        "refuses_stream_options",
        "residence",
        "suspect_until",
        "troubled_until",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.failures_in_a_row = 0
        self.first_token_ewma_seconds = 0.0
        self.suspect_until = 0.0
        self.cooling_until = 0.0
        self.troubled_until = 0.0
        self.closer_look_until = 0.0
        self.refuses_stream_options = False
        self.ejections = 0
        self.gaps = [0] * (len(GAP_BOUNDS_SECONDS) + 1)
        self.gap_seconds_total = 0.0
        self.breaker: Breaker = NEW
        self.answered_at = self._returned_at = self._capped_at = -math.inf
        self._most: int | None = None
        self._uneasy = False  # whether a good answer would change more than the average
        self.held = 0
        self._hearsay: Hearsay = NOTHING_TOLD
        self.residence: Residence | None = None
        self._evidence = GapEvidence(self.gaps)

    # -- a request on it, from its beginning to its end

    def take(self, now: float) -> None:
        """Take a place for one request. On an ejected server whose time is over it is the trial."""
        self.in_flight += 1
        if self.closer_look_until > now:
            self._tell(Signal.TAKEN, now, now)

    def give_back(self, now: float, taken_at: float) -> None:
        """Give the place back, whatever became of the request. A trial without a verdict frees the next to be one.

        Args:
            now: monotonic seconds.
            taken_at: the ``now`` of its ``take``.
        """
        self.in_flight -= 1
        if self.closer_look_until > now:
            self._tell(Signal.FREED, now, taken_at)

    def answered(self, first_token_seconds: float, now: float) -> None:
        """Note that a good answer began, so long after the request was sent.

        The average forgets with time, not with answers: what is a minute old has a third of its weight, on a busy
        server and on one that answers now and then.
        """
        weight = -math.expm1((self.answered_at - now) / _FIRST_TOKEN_DECAY_SECONDS)
        self.answered_at = now
        self.first_token_ewma_seconds += weight * (first_token_seconds - self.first_token_ewma_seconds)
        if now >= self._evidence.fades_at:
            self._evidence.fade(now)
        if self._uneasy:
            self._relieve(now)

    def completed(self, now: float) -> None:
        """Note that a good answer is whole: answers do not all break off."""
        if self.breaker.cuts:
            self._tell(Signal.WHOLE, now, now)

    # -- what speaks against it

    def failed(
        self, failure: Failure, now: float, random: Callable[[], float], taken_at: float, *, begun: bool = False
    ) -> int:
        """Note a failure that is the server's: look elsewhere first for a while, longer after each in a row.

        Args:
            failure: one that ``retry.blames_server``.
            now: monotonic seconds.
            random: uniform floats in [0, 1), for the length of an ejection.
            taken_at: the ``now`` of the request's ``take``.
            begun: whether a good answer had begun.

        Returns:
            How many answers in a row were no good, where that made the breaker turn away from it just now; else 0.
        """
        signal, before, failures = _BEFORE.get(failure), self.breaker, 0
        if signal is not None and self._tell(Signal.CUT if begun else signal, now, taken_at, random):
            self.ejections += 1
            self.failures_in_a_row = 0
            self.suspect_until = 0.0  # the breaker decides from here on
            failures = before.failures + before.cuts + 1
        elif (
            now >= self.suspect_until and self.breaker.phase is Phase.CLOSED
        ):  # those lost to one crash are one failure
            doubled = _SUSPECT_SECONDS * 2.0 ** min(self.failures_in_a_row, 10)
            self.failures_in_a_row += 1
            self.ejections += 1
            self.suspect_until = now + min(doubled, _SUSPECT_LONGEST_SECONDS)
        self._uneasy = True
        self._fold()
        return failures

    def cool(self, now: float, seconds: float) -> None:
        """Honour a server's own Retry-After, for at most five minutes."""
        self.cooling_until = max(self.cooling_until, now + min(max(seconds, 0.0), _RETRY_AFTER_LONGEST_SECONDS))
        self._fold()

    def overloaded(self, now: float, taken_at: float) -> None:
        """Halve what may be in flight, for the server refused for load; each good answer then adds one (AIMD).

        A burst that is refused as a whole is one refusal: only a request that was sent since can halve it again. Call
        it before the place is given back.
        """
        if taken_at < self._capped_at:
            return
        self._capped_at = now
        base = self.in_flight if self._most is None else min(self._most, self.in_flight)
        self._most = max(base // 2, 1)
        self._uneasy = True
        self._fold()

    def returned(self, now: float) -> None:
        """Note that checks have found the server well after it was down: it is taken again, at a growing share."""
        self._tell(Signal.FOUND_WELL, now, now)
        self.failures_in_a_row = 0
        self.suspect_until = 0.0
        self._returned_at = now
        self._fold()

    # -- what its engine says

    def told(self, signals: Signals, now: float, fresh_seconds: float = FRESH_SECONDS) -> None:
        """Hear what a poll found of its load and its memory; it counts whole for ``fresh_seconds``, above 0.0."""
        self._hearsay = heard(signals, self.in_flight, now, fresh_seconds)
        self.held = held(signals, self.held)
        if self.residence is not None and signals.loaded is not None:
            self.residence.told(signals.loaded, now)
        self._fold()

    def swaps(self, residence: Residence | None) -> None:
        """Note that models take turns in its memory, or no longer do."""
        self.residence = residence
        self._fold()

    def foreign(self, now: float) -> float:
        """How many requests it has that are not ours, as far as that is known and still believed."""
        return self._hearsay.foreign_at(now)

    def is_strained(self, now: float) -> bool:
        """Whether its cache is full and requests wait in its own queue, by what it said of late."""
        return self._hearsay.strained_until > now

    # -- what the choice asks

    def is_shut(self, now: float) -> bool:
        """Whether it is ejected and not due for its trial, or the trial is under way."""
        return self.breaker.phase is not Phase.CLOSED and self.breaker.is_shut(now)

    def cap(self, max_concurrency: int | None) -> int | None:
        """How many requests may run there: what its owner says, or less while it refuses for load. None: any number."""
        if self._most is None or max_concurrency is None:
            return max_concurrency if self._most is None else self._most
        return min(self._most, max_concurrency)

    def has_room(self, max_concurrency: int | None) -> bool:
        """Whether it is below its cap."""
        most = self.cap(max_concurrency)
        return most is None or self.in_flight < most

    def share(self, now: float) -> float:
        """How much of its weight counts, above 0.0 and up to 1.0: less than all while it ramps."""
        ramped = (now - self._returned_at) / RAMP_SECONDS
        return 1.0 if ramped >= 1.0 else max(ramped, RAMP_LEAST)

    # -- silence

    def gap_p99_seconds(self, now: float) -> float:
        """The 99th percentile of the gaps between events of late, up to its bucket's bound; 0.0 if there was none."""
        return self._evidence.p99_seconds(now)

    def suspicion_seconds(self, stall_seconds: float, now: float) -> float:
        """After how much silence a stream of this server is suspicious, at least ``stall_seconds``."""
        return max(stall_seconds, SUSPICION_GAPS * self._evidence.p99_seconds(now))

    def _relieve(self, now: float) -> None:
        """Take back what spoke against it until this good answer."""
        self.failures_in_a_row = 0
        self.suspect_until = 0.0
        if self._most is not None:
            self._most += 1
            if self._most >= 2 * self.in_flight + _CAP_SLACK:
                self._most = None
        if self.breaker.phase is Phase.HALF_OPEN:
            self._returned_at = now
        self._tell(Signal.BEGAN, now, now)
        self._uneasy = self._most is not None or self.breaker.phase is not Phase.CLOSED
        self._fold()

    def _tell(self, signal: Signal, now: float, taken_at: float, random: Callable[[], float] = float) -> bool:
        """Tell the breaker; whether it opened. Only a failure does that, and only then ``random`` is drawn from."""
        before = self.breaker
        after = advance(before, signal, now, taken_at, random)
        if after is before:
            return False
        self.breaker = after
        self._fold()
        return after.phase is Phase.OPEN and before.phase is not Phase.OPEN

    def _fold(self) -> None:
        if self._most is not None or self.breaker.phase is not Phase.CLOSED:
            self.troubled_until = math.inf
        else:
            self.troubled_until = max(self.suspect_until, self.cooling_until, self._returned_at + RAMP_SECONDS)
        busier_until = self._hearsay.until if self.residence is None else math.inf
        self.closer_look_until = max(self.troubled_until, busier_until)
