"""Whose turn is it in the memory of a server that loads models inside requests?

Such an engine (Ollama, LM Studio, llama.cpp's router) has many models and memory for few. Asked for another one it lets
what runs end, puts one out and loads. Requests for two models that take turns would make it load for each of them, so
they are gathered: a model stays for a while, and whoever wants another waits until its turn comes.

Each model of a server is in one of three states:

===================  ==============  ===============  ==============
event                absent          loading          in memory
===================  ==============  ===============  ==============
a request is sent    loading [1]_    loading          in memory
an answer begins     in memory       in memory        in memory
its last one ends    absent          absent           in memory
told: it is there    in memory       loading          in memory
told: it is not      absent          loading          absent [2]_
===================  ==============  ===============  ==============

.. [1] Those that do not fit beside it are absent from then on.
.. [2] Not while its answers come: what they show is newer than what was told.

Those in memory and on their way into it are the *company*: one model, or several that are known to fit. A model of the
company may be asked for at any time, one that is known to fit beside it too. For any other, those that must leave for
it have to be idle:

==============================  ================================================================================
those that must leave           the one that waits longest gets its turn
==============================  ================================================================================
idle, within their dwell        once they were idle for a quarter of the dwell
idle, later                     at once
at work, within their dwell     not yet
at work, later                  after 20 s of waiting they get nothing new, and it comes when the last answer ended
==============================  ================================================================================

The *dwell* is as long as the last load took, so that at most half the time goes into loading. Which models fit together
is learnt from what the engine lists at once, and unlearnt when one of them is missing though it was just used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from app.services.core.live.companies import Companies
from app.services.core.live.loading import Loading, LoadTimes

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Residence"]

LONGEST_WAIT_SECONDS: Final = 20.0
LONGEST_LOAD_SECONDS: Final = 120.0
"""A load that takes longer may never end: while another model waits, nothing new gathers behind it."""
"""After so long a wait a model gets its turn, however busy the one in memory is."""
SHORTEST_DWELL_SECONDS: Final = 5.0
LONGEST_DWELL_SECONDS: Final = 60.0
IDLE_SHARE: Final = 0.25
"""A model that nobody asked for in so much of its dwell gives up the rest of it, if another is waited for."""
WISH_SECONDS: Final = 1.0
"""Who did not ask again for so long does not wait any more."""
TOLD_LAG_SECONDS: Final = 6.0
"""What an engine says of itself may have been so long on its way: a check's time to answer, and a bit."""
EVIDENCE_SECONDS: Final = 60.0
"""A model that is missing so soon after it was used was put out for another; later it may have idled too long."""


class _Wish:
    """Somebody waits for a model."""

    __slots__ = ("renewed_at", "since")

    def __init__(self, now: float) -> None:
        self.since = self.renewed_at = now


class Residence:
    """The memory of one server. Models go by what the server calls them; ``now`` is in monotonic seconds."""

    __slots__ = (
        "_answering",
        "_companies",
        "_company",
        "_dwell_seconds",
        "_here",
        "_leaving",
        "_loading",
        "_running",
        "_stays_until",
        "_used_at",
        "_wishes",
        "load_times",
    )

    def __init__(self) -> None:
        self.load_times = LoadTimes()
        self._here: dict[str, float] = {}  # in memory: since when; -inf: by the engine's word alone
        self._loading: dict[str, float] = {}  # on their way into it: since when
        self._running: dict[str, int] = {}
        self._answering: dict[str, int] = {}  # how many of those have begun to answer, as far as can be told
        self._used_at: dict[str, float] = {}  # of those in memory
        self._wishes: dict[str, _Wish] = {}  # who waits longest comes first
        self._dwell_seconds = SHORTEST_DWELL_SECONDS
        self._stays_until = -math.inf  # the end of the dwell
        self._companies = Companies()
        self._company: frozenset[str] = frozenset()
        self._leaving: dict[str, frozenset[str]] = {}  # looked up ten times a second by each model that waits

    # -- the turn

    def is_open(self, upstream_name: str, now: float) -> bool:
        """Whether a request may be sent for this model. Changes nothing."""
        if upstream_name in self._company and not self._wishes:
            return True  # nearly always
        first = self._longest_waiting(now)
        if first in (None, upstream_name):
            return upstream_name in self._company or self._may_enter(upstream_name, now)
        if self._is_due(first, now):
            return self._stays_beside(upstream_name, first)
        return upstream_name in self._company or not self._leaving_for(upstream_name)

    def wish(self, upstream_name: str, now: float) -> None:
        """Note that somebody waits for this model. To be noted again, at least twice a second, while somebody does."""
        wish = self._wishes.get(upstream_name)
        if wish is not None and now - wish.renewed_at <= WISH_SECONDS:
            wish.renewed_at = now
        else:  # who begins anew stands behind those that wait
            self._wishes.pop(upstream_name, None)
            self._wishes[upstream_name] = _Wish(now)

    def waits_since(self, upstream_name: str, now: float) -> float | None:
        """Since when somebody waits for this model's turn; None where nobody does."""
        wish = self._wishes.get(upstream_name)
        return wish.since if wish is not None and now - wish.renewed_at <= WISH_SECONDS else None

    # -- a request, from its beginning to its end

    def take(self, upstream_name: str, now: float) -> None:
        """A request is sent. Where its model is not in memory, this makes it load."""
        self._running[upstream_name] = self._running.get(upstream_name, 0) + 1
        self._wishes.pop(upstream_name, None)
        if upstream_name not in self._company:
            self._put_out(self._leaving_for(upstream_name))
            self._loading[upstream_name] = now
            self._stays_until = math.inf
            self._regroup()

    def began(self, upstream_name: str, now: float, *, is_first_token: bool = True, usual_seconds: float = 0.0) -> None:
        """Note that an answer began: the model is in memory.

        Args:
            upstream_name: the model.
            now: monotonic seconds.
            is_first_token: whether it was a stream's first token; a whole answer says little of the load before it.
            usual_seconds: what the server's first tokens take when nothing has to be loaded; 0.0 where unknown.
        """
        self._answering[upstream_name] = self._answering.get(upstream_name, 0) + 1
        if upstream_name not in self._here:
            self._arrived(upstream_name, now, is_first_token=is_first_token, usual_seconds=usual_seconds)
        self._used_at[upstream_name] = now

    def _arrived(self, upstream_name: str, now: float, *, is_first_token: bool, usual_seconds: float) -> None:
        since = self._loading.pop(upstream_name, None)
        if since is None:  # a request that was sent before others put it out
            self._put_out(self._leaving_for(upstream_name))
        else:
            if is_first_token:
                self.load_times.learn(upstream_name, now - since, usual_seconds)
            self._dwell_seconds = min(max(now - since, SHORTEST_DWELL_SECONDS), LONGEST_DWELL_SECONDS)
        self._stays_until = math.inf if self._loading else now + self._dwell_seconds
        self._here[upstream_name] = now
        self._regroup()

    def give_back(self, upstream_name: str, now: float) -> None:
        """A request has ended, whatever became of it. A load that nobody waits for any more is taken to be off."""
        _count_down(self._running, upstream_name)
        _count_down(self._answering, upstream_name)  # most have begun when they end
        if upstream_name in self._here:
            self._used_at[upstream_name] = now
        elif upstream_name not in self._running and self._loading.pop(upstream_name, None) is not None:
            self._stays_until = math.inf if self._loading else now
            self._regroup()

    # -- what the engine says of itself

    def told(self, loaded: frozenset[str], now: float) -> None:
        """Hear which models the engine has in memory, by its own word.

        A list without a model that an answer just came from is older than that answer, and nothing is made of it.

        Args:
            loaded: under the names that the server is registered for; others as the engine says them.
            now: when it was asked, or heard.
        """
        missing = self._company - loaded
        if any(self._is_newer(name, now) for name in missing):
            return
        for name in missing:
            if self._used_at.get(name, -math.inf) > now - EVIDENCE_SECONDS:
                self._companies.unlearn(name, loaded)
        self._put_out(missing)
        for name in loaded - self._loading.keys():
            self._here.setdefault(name, -math.inf)
        self._companies.learn(loaded)
        self._regroup()

    def _is_newer(self, name: str, now: float) -> bool:
        """Whether what was seen of a model is newer than a list without it."""
        return name in self._loading or name in self._answering or self._here[name] > now - TOLD_LAG_SECONDS

    # -- what the choice, the clients and the dashboards ask

    def is_warm(self, upstream_name: str) -> bool:
        """Whether a model is in memory, as far as is known. One that is being loaded is not yet."""
        return upstream_name in self._here

    def loading_since(self, upstream_name: str) -> float | None:
        """Since when a model is being loaded, None where it is not: whoever wants it best gathers behind this load."""
        return self._loading.get(upstream_name)

    def load_of(self, upstream_name: str) -> Loading | None:
        """The load of a model that is under way; None where there is none."""
        since = self._loading.get(upstream_name)
        return None if since is None else Loading(upstream_name, since, self.load_times.about(upstream_name))

    def loading(self) -> tuple[Loading, ...]:
        """What is being loaded now."""
        return tuple(Loading(name, since, self.load_times.about(name)) for name, since in self._loading.items())

    # -- inside

    def _longest_waiting(self, now: float) -> str | None:
        """The model that is waited for longest. Wishes before it that were not renewed are forgotten."""
        first: str | None = None
        void: list[str] = []
        for name, wish in self._wishes.items():
            if now - wish.renewed_at <= WISH_SECONDS:
                first = name
                break
            void.append(name)
        for name in void:
            del self._wishes[name]
        return first

    def _is_due(self, first: str, now: float) -> bool:
        """Whether those that must leave for a model get nothing new, so that its turn comes."""
        waits = first not in self._company and bool(self._leaving_for(first))
        hangs = any(now - since >= LONGEST_LOAD_SECONDS for since in self._loading.values())
        has_stayed = now >= self._stays_until or hangs
        return waits and has_stayed and now - self._wishes[first].since >= LONGEST_WAIT_SECONDS

    def _stays_beside(self, upstream_name: str, first: str) -> bool:
        """Whether a model is not in the way of the one whose turn comes."""
        leaving = self._leaving_for(first)
        if upstream_name in self._company:
            return upstream_name not in leaving
        return not self._companies.leaving(self._company - leaving | {first}, upstream_name)

    def _may_enter(self, upstream_name: str, now: float) -> bool:
        """Whether nothing holds a model up that is not in memory, and whose turn it would be."""
        leaving = self._leaving_for(upstream_name)
        if not leaving:
            return True
        company = self._company
        for name in self._running:
            if (name in leaving or name not in company) and name != upstream_name:
                return False
        if now >= self._stays_until:
            return True
        used_at = max(self._used_at.get(name, -math.inf) for name in leaving)
        return now - used_at >= IDLE_SHARE * self._dwell_seconds

    def _leaving_for(self, newcomer: str) -> frozenset[str]:
        leaving = self._leaving.get(newcomer)
        if leaving is None:
            leaving = self._leaving[newcomer] = self._companies.leaving(self._company, newcomer)
        return leaving

    def _put_out(self, leaving: Collection[str]) -> None:
        for name in leaving:
            self._loading.pop(name, None)
            self._here.pop(name, None)
            self._used_at.pop(name, None)

    def _regroup(self) -> None:
        self._company = frozenset((*self._here, *self._loading))
        self._leaving.clear()


def _count_down(counts: dict[str, int], name: str) -> None:
    left = counts.pop(name, 0) - 1
    if left > 0:
        counts[name] = left
