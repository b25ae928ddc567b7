"""What does a client that asks hear at the seam, where another server's part of its answer begins?

Attempts that go on with a begun answer are of a kind of their own, so that all others pay nothing for the question.
"""

from __future__ import annotations

from app.services.dataplane.attempt import Attempt

__all__ = ["Successor"]


class Successor(Attempt):
    """One server that goes on with an answer which others began."""

    __slots__ = ()

    def _began(self) -> None:
        super()._began()
        self._exchange.went_on(self.candidate.server.id, self._last_at)
