"""Who hears what the data plane sees? Requests go to the ledger, refused dials to the book and the prober."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from app.utils.logger import get_logger

if TYPE_CHECKING:
    from app.services.core.outcome import Outcome

__all__ = ["Observer"]

logger = get_logger(__name__)


class Counts(Protocol):
    """``ledger.Ledger``."""

    def finished(self, outcome: Outcome) -> None:
        """Count a request."""


class Book(Protocol):
    """``registry.book.HealthBook``."""

    def refused(self, server_id: str, reason: str, now: datetime) -> None:
        """Take in that traffic could not connect."""


class Checks(Protocol):
    """``prober.Prober``."""

    def check_soon(self, server_id: str) -> None:
        """Check a server at once."""


class Observer:
    """Passes on what the data plane reports. Until ``attach`` no request is served, so nothing can be missed."""

    __slots__ = ("_book", "_checks", "_counts")

    def __init__(self) -> None:
        self._counts: Counts | None = None
        self._book: Book | None = None
        self._checks: Checks | None = None

    def attach(self, counts: Counts, book: Book, checks: Checks) -> None:
        """Name those who are to hear."""
        self._counts, self._book, self._checks = counts, book, checks

    def finished(self, outcome: Outcome) -> None:
        """A request has ended."""
        if self._counts is not None:
            self._counts.finished(outcome)

    def dial_failed(self, server_id: str, reason: str) -> None:
        """Traffic could not connect: that counts as a miss, and the server is checked at once."""
        if self._book is not None:
            self._book.refused(server_id, reason, datetime.now(UTC))
        self.look_again(server_id)

    def look_again(self, server_id: str) -> None:
        """A check of this server is wanted."""
        if self._checks is not None:
            self._checks.check_soon(server_id)

    def answer_unusable(self, request_id: str, server_id: str, reason: str) -> None:
        """A server's answer broke off or made no sense."""
        logger.warning("A server's answer could not be used", request_id=request_id, server_id=server_id, reason=reason)
        self.look_again(server_id)
