"""What does a client hear while it waits for its turn, or its model for a server's memory, and how long does it wait?

It hears of the load of its model, or of the model that has to leave the memory first, where that is what holds it up;
else at which position it waits, after two seconds and then whenever that changes, every five seconds at most.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from app.services.core.live.loading import Loading, loading_words, patience, turn_words
from app.services.core.queue.words import place_words
from app.services.dataplane.answering import Answering

if TYPE_CHECKING:
    from app.services.core.choice.snapshot import Route
    from app.services.core.queue.use import Charge
    from app.services.dataplane.attempt import Attempt
    from app.services.dataplane.plane import DataPlane

__all__ = ["Announcing"]


class Announcing(Answering):
    """The client's side of one request, and what it is told while it waits. The exchange sets it up with its own.

    ``charge``: what its person was charged with when it was sent; None where that is done at its end.
    """

    __slots__ = (
        "_age_ticks", "_attempt", "_plane", "_say_at_ticks", "_told_place", "awaits", "charge", "started_at",
    )  # fmt: skip

    _age_ticks: int
    _attempt: Attempt | None
    _plane: DataPlane
    _say_at_ticks: int
    _told_place: tuple[int, int] | None
    awaits: tuple[str, ...]
    charge: Charge | None
    started_at: float

    @property
    def is_sent(self) -> bool:
        """Whether a server has it now."""
        return self._attempt is not None

    def _announce(self) -> None:
        """Tell a client that waits what it waits for."""
        plane, attempt = self._plane, self._attempt
        now, words = plane.clock(), b""
        if self._done or not self.wants_stream:
            return
        if attempt is not None:
            words = attempt.words(now)
        elif self._awaits_load():
            words = loading_words(Loading(self.model, self.started_at), now)
        elif (since := self._waits_for_turn_since(now)) is not None:
            words = turn_words(now - max(since, self.started_at))
        else:
            words = self._place_words()
        self._say_at_ticks = self._age_ticks + (plane.say_every_ticks if words else plane.say_after_ticks)
        if words:
            self._say(words)

    def _place_words(self) -> bytes:
        """At which position it waits; nothing where it was told that already."""
        place = self._place()
        if place is None or place == self._told_place:
            return b""
        self._told_place = place
        return place_words(*place)

    def _waits_for_turn_since(self, now: float) -> float | None:
        """Since when the model waits until another leaves a server's memory; None where it is not that it waits for."""
        route = self.known_route()
        for candidate in route.ready if route is not None else ():
            residence = self._plane.board.lane(candidate.server.id).residence
            since = residence.waits_since(candidate.model.upstream_name, now) if residence is not None else None
            if since is not None:
                return since
        return None

    def _awaits_load(self) -> bool:
        """Whether it waits for a server that is still loading: that one will be back by itself, but not in a second."""
        servers = self._plane.snapshot.servers
        return any(server_id in servers and servers[server_id].loading for server_id in self.awaits)

    def _queue_ticks(self) -> int:
        """How long a place is waited for; longer where the model has to wait until another leaves the memory."""
        limits, plane = self._plane.limits, self._plane
        waits_for_turn = self._waits_for_turn_since(plane.clock()) is not None
        return patience(limits.queue_ticks, limits.model_load_ticks, needs_load=waits_for_turn)

    @abstractmethod
    def _place(self) -> tuple[int, int] | None:
        """At which position it waits, and how many wait for its model; None where that is not known."""

    @abstractmethod
    def known_route(self) -> Route | None:
        """The servers that may serve this request; None where there is none."""
