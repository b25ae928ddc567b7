"""What does a client hear while its model is on its way into a server's memory, and how long does it wait for that?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.live.loading import Loading, loading_words, patience, turn_words
from app.services.dataplane.answering import Answering

if TYPE_CHECKING:
    from app.services.dataplane.attempt import Attempt
    from app.services.dataplane.plane import DataPlane

__all__ = ["Announcing"]


class Announcing(Answering):
    """The client's side of one request, and what it is told of the model. The exchange sets it up with its own."""

    __slots__ = ("_age_ticks", "_attempt", "_plane", "_say_at_ticks", "awaits", "started_at")

    _age_ticks: int
    _attempt: Attempt | None
    _plane: DataPlane
    _say_at_ticks: int
    awaits: tuple[str, ...]
    started_at: float

    def _announce(self) -> None:
        """Tell a client that waits for its model to be loaded, or for its turn to be."""
        plane, attempt = self._plane, self._attempt
        now, words = plane.clock(), b""
        if self._done or not self.wants_stream:
            return
        if attempt is not None:
            words = attempt.words(now)
        elif self._awaits_load():
            words = loading_words(Loading(self.model, self.started_at), now)
        elif (since := plane.waits_for_turn_since(self.model, now)) is not None:
            words = turn_words(now - max(since, self.started_at))
        self._say_at_ticks = self._age_ticks + (plane.say_every_ticks if words else plane.say_after_ticks)
        if words:
            self._say(words)

    def _awaits_load(self) -> bool:
        """Whether it waits for a server that is still loading: that one will be back by itself, but not in a second."""
        servers = self._plane.snapshot.servers
        return any(server_id in servers and servers[server_id].loading for server_id in self.awaits)

    def _queue_ticks(self) -> int:
        """How long a place is waited for; longer where the model has to wait until another leaves the memory."""
        limits, plane = self._plane.limits, self._plane
        waits_for_turn = plane.waits_for_turn_since(self.model, plane.clock()) is not None
        return patience(limits.queue_ticks, limits.model_load_ticks, needs_load=waits_for_turn)
