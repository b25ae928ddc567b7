"""What do exchanges report of servers and of their answers? The plane passes it on to who is to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.choice.snapshot import Candidate
    from app.services.core.retry import Failure
    from app.services.dataplane.neighbours import Observer
    from app.services.dataplane.reception import Call

__all__ = ["Reporting"]


class Reporting:
    """The part of the data plane that reports."""

    _observer: Observer

    def look_again(self, server_ids: Iterable[str]) -> None:
        """Ask for checks of servers that might be back."""
        for server_id in server_ids:
            self._observer.look_again(server_id)

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        """The breaker turned away from a server, after so many answers in a row that were no good."""
        self._observer.ejected(server_id, failure, status, begun=begun, failures=failures)

    def dial_failed(self, server_id: str, reason: str) -> None:
        """Report a failed dial."""
        self._observer.dial_failed(server_id, reason)

    def answer_unusable(self, call: Call, server_id: str, reason: str) -> None:
        """Report an answer that broke off."""
        self._observer.answer_unusable(call.request_id.decode("latin-1"), server_id, reason)

    def rejected(self, server_id: str, status: int, asked_at: float) -> None:
        """Report that a server refuses our key."""
        self._observer.rejected(server_id, status, asked_at=asked_at)

    def crossed(self, call: Call, candidate: Candidate, words: str) -> None:
        """Report that an answer goes on at a server that differs from the one that began it."""
        self._observer.crossed(call.request_id.decode("latin-1"), candidate.server.id, words)

    def continuation_refused(self, candidate: Candidate) -> None:
        """Report that a server would not go on with an answer."""
        self._observer.continuation_refused(candidate.server.id, candidate.model.upstream_name)
