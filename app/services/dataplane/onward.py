"""How does a stream that broke go on? What its client has, how often it broke, and who may take over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.services.core.continuation.ability import UNJUDGED
from app.services.core.continuation.fit import Fit, crossed, fit, select
from app.services.core.continuation.journal import Journal
from app.services.core.continuation.judgement import Anew, Complete, Impossible, Resume, judge
from app.services.core.continuation.reading import read_asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.continuation.asked import Asked
    from app.services.core.continuation.delivered import Delivered
    from app.services.core.prompt.demand import Demand

__all__ = ["Leg", "Onward", "Order", "Preparer", "offers_tools"]


def offers_tools(body: bytes) -> bool:
    """Whether a model may call tools in its answer: a quick look, which may err on the side of yes."""
    return body.find(b'"tools"') >= 0 or body.find(b'"functions"') >= 0


@dataclass(frozen=True, slots=True)
class Leg:
    """What the next server has to do.

    Attributes:
        asked: what the client wants.
        delivered: what it has.
        anew: whether the answer is made from its beginning, since nothing that binds was delivered.
        first_engine: of the server that began.
    """

    asked: Asked
    delivered: Delivered
    anew: bool
    first_engine: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What a server is sent so that it goes on with an answer.

    Attributes:
        path: where to; ``/v1/completions`` for a chat too, where it is continued as text.
        body: what.
        tokens: how many tokens the delivered text is.
        trims: whether white space at the end of what was delivered is not in it, and so comes again.
        from_completions: whether a chat comes back as a completion.
    """

    path: str
    body: bytes
    tokens: int
    trims: bool = False
    from_completions: bool = False


class Preparer(Protocol):
    """Makes what a server is sent so that it goes on; it may have to ask that server something first."""

    async def prepare(self, body: bytes, path: str, leg: Leg, candidate: Candidate) -> Order | Complete:
        """Make it; or find that nothing is left to be generated.

        Raises:
            NotContinuable: this server can't go on with this answer.
        """


class Onward:
    """One streamed answer, over all servers that take part in it.

    ``shut_out`` names the servers that may not take over the present leg: those that failed in it.
    """

    __slots__ = ("_first", "asked", "breaks", "broke_at", "demand", "journal", "leg", "sent", "shut_out")

    broke_at: float
    """When the latest break was seen, in monotonic seconds; there from the first break on."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.leg: Leg | None = None
        self.breaks = 0
        self.sent = 0
        """How many servers the present leg was sent to."""
        self.shut_out: list[str] = []
        self.asked: Asked | None = None
        self.demand: Demand | None = None
        """What is known of the prompt, where it was read."""
        self._first: Candidate | None = None

    def broke(self, body: bytes, path: str, candidate: Candidate) -> Leg | Complete | Impossible:
        """Say how it goes on after ``candidate`` has failed in the midst of it."""
        if self.asked is None:
            self.asked, self._first = read_asked(body, path), candidate
        asked, delivered = self.asked, self.journal.delivered()
        verdict = judge(asked, delivered, None)
        if isinstance(verdict, Resume | Anew):
            self.breaks += 1
            self.sent = 0
            self.shut_out = [candidate.server.id]
            engine = self._first.server.engine if self._first is not None else ""
            self.leg = Leg(asked, delivered, isinstance(verdict, Anew), engine)
            return self.leg
        return verdict

    def crossed(self, candidate: Candidate) -> str:
        """In what a server that takes over differs from the one that began, in words; empty where in nothing."""
        return "" if self._first is None else crossed(self._first, candidate)

    def returned(self, server_id: str) -> None:
        """A server that failed is well again: it may take over after all."""
        if server_id in self.shut_out:
            self.shut_out.remove(server_id)

    def select(self, candidates: Sequence[Candidate]) -> Sequence[Sequence[Candidate]]:
        """Those of ``candidates`` that can go on with it, in groups, best first."""
        able = [candidate for candidate in candidates if self._fit(candidate) is Fit.ABLE]
        return select(able, self._first)

    def hopes(self, route: Route | None) -> tuple[str, ...]:
        """The servers that may be able to take over later: down, shut out, or about to be tried for it.

        One whose trial failed is tried again too, but who knows when.
        """
        if route is None:
            return ()
        every = (*route.ready, *route.standby, *route.down)
        return tuple(candidate.server.id for candidate in every if self._is_hope(candidate))

    def _is_hope(self, candidate: Candidate) -> bool:
        found = self._fit(candidate)
        ability = candidate.server.abilities.get(candidate.model.upstream_name, UNJUDGED)
        return found is Fit.ABLE or (found is Fit.UNJUDGED and not ability.reason)

    def _fit(self, candidate: Candidate) -> Fit:
        leg = self.leg
        if leg is None:
            return Fit.UNABLE
        return fit(candidate, leg.asked, leg.delivered, anew=leg.anew, first=self._first, demand=self.demand)
