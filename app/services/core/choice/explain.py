"""Where would a request go now, and why?

The plan itself is asked, many times, with random numbers that are the same each time: so what is said of the next
request is what becomes of it, and no rule is written down twice. It is asked on a copy, for a plan may note who waits
for what. Why the others are not taken, ``core.choice.standing`` says.
"""

from __future__ import annotations

from collections import Counter
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from app.services.core.choice.aliases import lead, leads_nowhere, model_of
from app.services.core.choice.along import plan_along
from app.services.core.choice.explanation import Explanation, Leading, Place
from app.services.core.choice.load import has_model
from app.services.core.choice.plan import Forward, Queue, Refuse, unknown_model
from app.services.core.choice.route_header import home_at, why_taken
from app.services.core.choice.standing import FREE, Standing, Word, barred, behind, entering
from app.services.core.prompt.contexts import context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from app.services.core.choice.aliases import AliasRoutes, Target
    from app.services.core.choice.plan import Plan
    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.live.board import Board
    from app.services.core.prompt.demand import Demand

__all__ = ["Explanation", "Place", "explain"]

FEWEST_DRAWS: Final = 64
DRAWS: Final = 1024
"""How often the plan is asked: shares are right to about two percent."""
_DRAWS_BY_SERVERS: Final = 50_000
"""Of a thousand servers a few dozen draws are taken: somebody else waits for the event loop meanwhile."""


def explain(
    model: str,
    snapshot: Snapshot,
    board: Board,
    now: float,
    demand: Demand | None = None,
    tried: Collection[str] = (),
    draw: Callable[[], float] | None = None,
) -> Explanation:
    """Say where a request would go now, and why not elsewhere. Changes nothing.

    Args:
        model: as clients name it.
        snapshot: the registry.
        board: the live figures.
        now: monotonic seconds.
        demand: what the request asks for; None for a short one without a session.
        tried: ids of servers that it was sent to already.
        draw: what draws among the targets of an alias; None for chance.

    Raises:
        ModelNotFound: no server has such a model, or any that the alias leads to.
    """
    ways = _ways(model, snapshot, demand, draw)
    board = _copied(board)
    drawn, verdict = _asked(ways, snapshot, board, now, demand, tried)
    total = sum(each.servers.total() for each in drawn.values())
    places = [
        place
        for name, route in ways.routes.items()
        for place in _Scene(board, now, demand, tried, drawn[name], model_of(name), total).places(route)
    ]
    return Explanation(
        model=model,
        verdict=_name(verdict),
        why=_most(sum((each.reasons for each in drawn.values()), Counter())),
        message=_message(verdict),
        servers=tuple(sorted(places, key=_rank)),
        leads=ways.leads({name: each.servers.total() / max(total, 1) for name, each in drawn.items()}),
    )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """How often each server of a route was taken, and why."""

    servers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def _asked(
    ways: _Ways, snapshot: Snapshot, board: Board, now: float, demand: Demand | None, tried: Collection[str]
) -> tuple[dict[str, _Drawn], Plan]:
    """Ask the plan many times; return who was taken, by the names of the routes, and the last verdict."""
    drawn = {name: _Drawn() for name in ways.routes}
    random, verdict = _random_numbers(), ways.refusal
    for _draw in range(_draws(ways.routes.values())):
        found = plan_along(ways.names(random), snapshot, board, tried, now, random, demand=demand)
        if found is None:
            break
        name, verdict = found
        if not isinstance(verdict, Forward):
            break
        drawn[name].servers[verdict.candidate.server.id] += 1
        drawn[name].reasons[why_taken(verdict, demand)] += 1
    return drawn, verdict


class _Ways:
    """The one route of a model."""

    refusal: Plan = Queue()

    def __init__(self, routes: dict[str, Route]) -> None:
        self.routes = routes

    def names(self, _random: Callable[[], float]) -> tuple[str, ...]:
        """Name the routes that the next request tries."""
        return tuple(self.routes)

    def leads(self, _shares: Mapping[str, float]) -> tuple[Leading, ...]:
        """Tell of the models that an alias leads to, by the share of requests that goes by each route."""
        return ()


class _AliasWays(_Ways):
    """The routes of an alias."""

    def __init__(
        self, known: AliasRoutes, snapshot: Snapshot, demand: Demand | None, draw: Callable[[], float] | None
    ) -> None:
        alias = known.alias
        inner = ((branch.name, snapshot.inner.get(branch.name)) for branch in (*alias.branches, *alias.spare))
        super().__init__({name: route for name, route in inner if route is not None})
        self._known, self._models, self._draw = known, snapshot.routes, draw
        self._need = 0 if demand is None else demand.prompt_tokens + demand.answer_tokens
        if not self.routes:
            raise leads_nowhere(alias, snapshot)
        self.refusal = Refuse(leads_nowhere(alias, snapshot, self._need))

    def names(self, random: Callable[[], float]) -> tuple[str, ...]:
        return lead(self._known, self._need, self._draw or random, self._models)

    def leads(self, shares: Mapping[str, float]) -> tuple[Leading, ...]:
        alias, told = self._known.alias, dict(shares)
        return tuple(
            self._leading(branch.target, told.pop(branch.name, 0.0), is_fallback=is_fallback)
            for branches, is_fallback in ((alias.branches, False), (alias.spare, True))
            for branch in branches
        )

    def _leading(self, target: Target, share: float, *, is_fallback: bool) -> Leading:
        route = self._models.get(target.model)
        return Leading(
            model=target.model,
            fallback=is_fallback,
            weight=target.weight,
            bounds=target.bounds,
            takes=route is not None and target.takes(self._need),
            share=share,
            healthy_servers=0 if route is None else len(route.ready),
        )


def _ways(model: str, snapshot: Snapshot, demand: Demand | None, draw: Callable[[], float] | None) -> _Ways:
    known = snapshot.aliases.get(model)
    if known is not None:
        return _AliasWays(known, snapshot, demand, draw)
    route = snapshot.routes.get(model)
    if route is None:
        raise unknown_model(model, snapshot)
    return _Ways({model: route})


@dataclass(frozen=True, slots=True)
class _Scene:
    """What all servers are looked at with."""

    board: Board
    now: float
    demand: Demand | None
    tried: Collection[str]
    drawn: _Drawn
    model: str
    total: int

    def places(self, route: Route) -> list[Place]:
        """Look at every server of a route."""
        candidates = (*route.ready, *route.standby, *route.down, *route.held)
        by_id = {candidate.server.id: candidate for candidate in candidates}
        top = self.drawn.servers.most_common(1)
        best = by_id[top[0][0]] if top else None
        return [self._place(candidate, best) for candidate in candidates]

    def _place(self, candidate: Candidate, best: Candidate | None) -> Place:
        server, now = candidate.server, self.now
        lane = self.board.lane(server.id)
        share = self.drawn.servers[server.id] / self.total if self.total else 0.0
        standing = self._standing(candidate, best)
        home = home_at(server.id, self.demand)
        return Place(
            server_id=server.id,
            model=self.model,
            takes=best is not None and not standing.is_left_out,
            share=share,
            word=str(standing.word),
            why=standing.words,
            in_flight=lane.in_flight,
            foreign=round(lane.foreign(now), 1),
            places=candidate.places,
            cap=lane.cap(server.max_concurrency),
            priority=server.priority,
            weight=server.weight,
            ramp=round(lane.share(now), 2),
            warm=has_model(candidate, lane, now),
            context_length=context_of(candidate),
            home=home.by if home is not None else "",
        )

    def _standing(self, candidate: Candidate, best: Candidate | None) -> Standing:
        """What speaks against a server. Against one that was drawn nothing does, but that it may still be loading."""
        server_id = candidate.server.id
        lane = self.board.lane(server_id)
        if self.drawn.servers[server_id]:
            return entering(candidate, lane, self.now) or FREE
        standing = barred(candidate, lane, self.now, self.demand, self.tried)
        if standing.word:
            return standing
        if best is None:
            return _LED_ELSEWHERE if self.total else standing
        return behind(candidate, best, lane, self.now, self.demand, _most(self.drawn.reasons))


_LED_ELSEWHERE: Final = Standing(Word.ELSEWHERE, "the alias leads to another model now")


def _rank(place: Place) -> tuple[float, bool, int]:
    """Those that are taken first come first."""
    return -place.share, not place.takes, -place.priority


def _most(counted: Counter[str]) -> str:
    """What was counted most; empty if nothing was."""
    return counted.most_common(1)[0][0] if counted else ""


def _draws(routes: Iterable[Route]) -> int:
    """How many requests are made up: of a large pool fewer, as each takes longer."""
    servers = max(sum(len(route.ready) + len(route.standby) for route in routes), 1)
    return max(FEWEST_DRAWS, min(DRAWS, _DRAWS_BY_SERVERS // servers))


def _copied(board: Board) -> Board:
    """A board that may be written to. Lanes are only read, but for memories that models take turns in."""
    copied = copy(board)
    copied.lanes = {
        server_id: lane if lane.residence is None else deepcopy(lane) for server_id, lane in board.lanes.items()
    }
    copied.gathered = dict(board.gathered)
    return copied


def _random_numbers() -> Callable[[], float]:
    """Make the same numbers each time, well spread (SplitMix64, Steele, Lea, Flood 2014)."""
    state = 0

    def draw() -> float:
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

    return draw


_MASK: Final = (1 << 64) - 1


def _name(verdict: Plan) -> str:
    return type(verdict).__name__.lower()


def _message(verdict: Plan) -> str:
    """What the client would hear in the end."""
    return "" if isinstance(verdict, Forward | Queue) else verdict.error.message
