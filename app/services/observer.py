"""Who hears what the data plane sees? Requests go to the ledger, failures to the book and the prober."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from app.services.engines.reading import readable
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.services.core.reporting.outcome import Outcome
    from app.services.core.retry import Failure

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

    def rejected(
        self, server_id: str, status: int, reason: str, now: datetime, *, asked_at: float | None = None
    ) -> None:
        """Take in that a server refused the gateway's key."""


class Checks(Protocol):
    """``prober.Prober``."""

    def check_soon(self, server_id: str) -> None:
        """Check a server at once."""

    def redial(self, server_ids: Iterable[str]) -> None:
        """Look whether servers are back that requests wait for."""

    async def answers(self, server_id: str) -> bool:
        """Find out whether a server that fell silent still answers."""


class Continuations(Protocol):
    """``canary.Canary``."""

    def refused(self, server_id: str, upstream_name: str) -> None:
        """Take in that a server would not go on with an answer."""


class Ejections(Protocol):
    """``quarantine.Quarantine``."""

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        """Take in that the breaker turned away from a server."""


class Observer:
    """Passes on what the data plane reports. Until ``attach`` no request is served, so nothing can be missed."""

    __slots__ = ("_book", "_checks", "_continuations", "_counts", "ejections")

    def __init__(self) -> None:
        self._counts: Counts | None = None
        self._book: Book | None = None
        self._checks: Checks | None = None
        self._continuations: Continuations | None = None
        self.ejections: Ejections | None = None

    def attach(self, counts: Counts, book: Book, checks: Checks, continuations: Continuations | None = None) -> None:
        """Name those who are to hear."""
        self._counts, self._book, self._checks, self._continuations = counts, book, checks, continuations

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

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        """The breaker turned away from a server."""
        if self.ejections is not None:
            self.ejections.ejected(server_id, failure, status, begun=begun, failures=failures)

    def crossed(self, request_id: str, server_id: str, words: str) -> None:
        """An answer goes on at a server that differs from the one that began it."""
        logger.info(
            "An answer goes on at a server that differs", request_id=request_id, server_id=server_id, crossed=words
        )

    def rejected(self, server_id: str, status: int, reason: str = "", *, asked_at: float | None = None) -> None:
        """A server answered a request with 401 or 403: it takes no work until it is given a chance.

        Args:
            server_id: which one.
            status: of its answer.
            reason: what it said, without its key; empty if that is not known.
            asked_at: monotonic seconds when the request was sent; what was sent with a key that has been changed
                since does not count. None for now.
        """
        if self._book is not None:
            self._book.rejected(server_id, status, readable(reason), datetime.now(UTC), asked_at=asked_at)

    def redial(self, server_ids: Iterable[str]) -> None:
        """Requests wait for these servers to come back: look whether they are there."""
        if self._checks is not None:
            self._checks.redial(server_ids)

    async def answers(self, server_id: str) -> bool:
        """Whether a server that fell silent still answers; true where nobody can ask it."""
        return self._checks is None or await self._checks.answers(server_id)

    def continuation_refused(self, server_id: str, upstream_name: str) -> None:
        """A server would not go on with an answer, though it was found to be able to."""
        if self._continuations is not None:
            self._continuations.refused(server_id, upstream_name)
