"""What do requests demand of the server that they go to? Long prompts and sessions alone; most demand nothing.

A prompt of some length is best read by a server that has its beginning in the cache, and must not go to one whose
context is too short. Both are looked at once for each request, before it is routed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from app.services.core.affinity import Affinity, Trail, mark_session
from app.services.core.affinity.trail import LEAST_BYTES
from app.services.core.http.surfaces import CHAT, COMPLETIONS, STREAMING_PATHS
from app.services.core.prompt.contexts import CUTTERS, context_of
from app.services.core.prompt.demand import Demand
from app.services.core.prompt.demand_reading import needs_demand, read_demand, teach
from app.services.core.prompt.token_rates import TokenRates

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from app.services.core.answer.usage import Usage
    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.http.peek import Peek
    from app.services.core.prompt.demand import Home
    from app.services.dataplane.reception import Call

__all__ = ["LEAST_BYTES", "Demands", "Wish"]

_MEMBERS: Final = {CHAT: "messages", COMPLETIONS: "prompt"}
_OTHER_MEMBER: Final = "input"
_MOST_PLACES: Final = 16


class Wish(msgspec.Struct, frozen=True, gc=False):
    """What one request asks for, and what is to be noted of where it went."""

    demand: Demand | None
    trail: Trail
    session: int | None


class Demands:
    """Reads what requests ask for, and remembers where they went.

    Args:
        follows: whether requests go where their beginning is known; what they need of a context counts in any case.
        shared: whether what one key sent counts for another.
    """

    __slots__ = ("_affinity", "_follows", "_rates", "_shared", "_turn")

    def __init__(self, *, follows: bool = True, shared: bool = False) -> None:
        self._follows = follows
        self._shared = shared
        self._affinity = Affinity()
        self._rates = TokenRates()
        self._turn = 0

    def read(self, call: Call, body: bytes, seen: Peek, route: Route, now: float) -> Wish | None:
        """Read what a request asks for; None where it is nothing that the choice has to know.

        Args:
            call: its head.
            body: as the client sent it.
            seen: what was peeked of it.
            route: the servers of its model.
            now: monotonic seconds.
        """
        session: int | None = None
        homes: tuple[Home, ...] = ()
        trail: Trail = ()
        size = len(body)
        if self._follows and route.registered > 1 and call.path in STREAMING_PATHS:
            if call.session:
                session = mark_session(call.principal.key_id, route.family, call.session)
            if session is not None or size >= LEAST_BYTES:
                apart = "" if self._shared else call.principal.key_id
                homes, trail = self._affinity.homes(
                    route.family, body, session, now, self._places(route), apart, strength=_strength(route)
                )
        demand = Demand(homes=homes) if homes else None
        if needs_demand(size, route.least_context or None, seen.answer_tokens):
            member = _MEMBERS.get(call.path, _OTHER_MEMBER)
            demand = read_demand(body, self._rates, route.family, homes, member)
        return Wish(demand, trail, session) if demand is not None or trail or session is not None else None

    def went(self, wish: Wish, server_id: str, now: float) -> int:
        """Note where a request was sent: its server will know its beginning. Return how much work that is."""
        return self._affinity.went(wish.trail, wish.session, server_id, now)

    def ended(self, server_id: str, work_bytes: int, seconds: float | None) -> None:
        """Note that a server is done with it; ``seconds`` after it was sent, None where it was not seen through."""
        self._affinity.ended(server_id, work_bytes, seconds)

    def counted(self, model: str, body: bytes, usage: Usage, candidate: Candidate) -> None:
        """Learn how long a model's tokens are from what a server counted."""
        cuts = candidate.server.engine in CUTTERS
        teach(self._rates, model, body, usage.prompt_tokens, context_of(candidate), cuts=cuts)

    def session_homes(self, key_id: str, model: str, session: str, now: float) -> tuple[Home, ...]:
        """Name the server that a key's session ran on last, if it is known."""
        mark = mark_session(key_id, model, session.encode())
        return () if mark is None else self._affinity.homes(model, b"", mark, now)[0]

    def forget(self, server_id: str) -> None:
        """A server was down: as far as anybody knows its cache is empty."""
        self._affinity.forget(server_id)

    def keep(self, server_ids: Container[str]) -> None:
        """Forget servers that are gone."""
        self._affinity.keep(server_ids)

    def _places(self, route: Route) -> list[str]:
        """Where a conversation may begin: the first tier; of a large one a few, others each time."""
        members = route.tier.members
        stride = -(-len(members) // _MOST_PLACES)
        if stride > 1:
            self._turn = (self._turn + 1) % stride
            members = members[self._turn :: stride]
        return [candidate.server.id for candidate in members]


def _strength(route: Route) -> Callable[[str], float] | None:
    """How much of the work each server of a route should get, where their owners say so."""
    return None if route.even else lambda server_id: route.by_id[server_id].strength
