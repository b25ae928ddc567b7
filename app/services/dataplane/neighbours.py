"""What does the data plane ask of those around it: who hears, who keeps tasks, who is looked at on each tick?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from app.services.core.reporting.outcome import Outcome
    from app.services.core.retry import Failure
    from app.services.dataplane.patience import Patience

__all__ = ["Observer", "Spawner", "Unread", "Waiting"]


class Observer(Protocol):
    """Who is told what the data plane sees. Every call is synchronous and quick."""

    def finished(self, outcome: Outcome) -> None:
        """A request has ended."""

    def dial_failed(self, server_id: str, reason: str) -> None:
        """Traffic could not connect to a server."""

    def look_again(self, server_id: str) -> None:
        """A check of this server is wanted soon."""

    def answer_unusable(self, request_id: str, server_id: str, reason: str) -> None:
        """A server's answer broke off or made no sense."""

    def rejected(self, server_id: str, status: int, *, asked_at: float) -> None:
        """A server refuses the gateway's key. ``asked_at``: monotonic, when the request was sent."""

    def ejected(self, server_id: str, failure: Failure, status: int, *, begun: bool, failures: int) -> None:
        """The breaker turned away from a server.

        Args:
            server_id: which one.
            failure: the last.
            status: of the last answer; 0 where there was none.
            begun: whether something of it had gone to the client.
            failures: how many in a row.
        """

    def crossed(self, request_id: str, server_id: str, words: str) -> None:
        """An answer goes on at a server that differs from the one that began it, in these words."""

    def continuation_refused(self, server_id: str, upstream_name: str) -> None:
        """A server would not go on with an answer, though it was found to be able to."""

    def redial(self, server_ids: Iterable[str]) -> None:
        """Requests wait for these servers to come back: look whether they are there."""

    async def answers(self, server_id: str) -> bool:
        """Whether a server that fell silent still answers a check."""


class Spawner(Protocol):
    """Starts tasks and keeps them."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> Any:
        """Start a named task; its failure is logged."""


class Waiting(Protocol):
    """A connection whose request is not whole yet: a slow one is closed in time."""

    def tick(self) -> None:
        """Grow older by one tick."""


class Unread(Protocol):
    """A client that has yet to read something, however little."""

    def tick_unread(self, patience: Patience, limit_ticks: int) -> int:
        """Grow older by one tick; tell how many bytes still wait here to be read."""
